//! Detection and sorting against the twin's truth.

use mimicd::config::{ArrayBackend, ArrayConfig, SpikesConfig};
use mimicd::spikes::{SpikeEvent, SpikeStage};
use mimicd_device::{ArrayIndex, EphysSource as _, HostTime, Polled, SampleBlock, Span};
use mimicd_sim::{Twin, TwinArray, TwinOptions};

const CHANNELS: usize = 32;
const SECONDS: i64 = 90;
const LEARN_SECS: f64 = 30.0;
/// Spikes of two cells of a tetrode within this many samples are one event by FAST's own rule.
const APART: u64 = 45;
/// A detection within this many samples of the truth is its own: the filter's delay, the wave's width.
const NEAR: u64 = 12;

struct Seen {
    events: Vec<SpikeEvent>,
    noise_uv: Vec<f32>,
    twin: Twin,
}

fn run(seed: u64) -> Seen {
    let array = TwinArray {
        channels: CHANNELS,
        rate_hz: 30_000.0,
        gain_uv_per_bit: 0.195,
        trigger_bit: 0,
        exposure_bits: Vec::new(),
        block_samples: 30,
        units: 16,
    };
    let options = TwinOptions { seed, arrays: vec![array], stepped: true, ..TwinOptions::default() };
    let twin = Twin::new(options, HostTime::ZERO).expect("a twin");
    let mut source = twin.array(ArrayIndex(0));
    source.start().expect("starts");
    let config = SpikesConfig { learn_secs: LEARN_SECS, ..SpikesConfig::default() };
    let mut stage = SpikeStage::new(&config, &ArrayConfig::new("A", ArrayBackend::Twin, CHANNELS));
    let mut out = stage.output();
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), CHANNELS, source.block_samples_max());
    let mut events = Vec::new();
    let mut now = HostTime::ZERO;
    while now < HostTime::from_nanos(SECONDS * 1_000_000_000) {
        now += Span::from_millis(1);
        while source.poll(now, &mut block).expect("a twin delivers") == Polled::Ready {
            stage.process(&block, &mut out);
            events.extend_from_slice(&out.events);
        }
    }
    Seen { events, noise_uv: stage.noise_uv().collect(), twin }
}

#[test]
fn spikes_are_found_and_cells_told_apart() {
    let Seen { events, noise_uv, twin } = run(11);
    let truth = twin.truth();
    let units = truth.units(ArrayIndex(0)).to_vec();
    let spikes = truth.spikes(ArrayIndex(0), 0);
    let end = SECONDS as u64 * 30_000 - 3_000;
    let snr = |unit: &mimicd_sim::Unit| {
        let wire = |wire: usize| unit.amplitudes_uv[wire] / f64::from(noise_uv[usize::from(unit.tetrode) * 4 + wire]);
        (0..4).map(wire).fold(0.0, f64::max)
    };
    let near = |sample: u64, tetrode: u16| {
        events.iter().find(move |e| e.tetrode == tetrode && e.sample.0.abs_diff(sample) <= NEAR)
    };
    let alone = |at: u64, unit: u16, tetrode: u16| {
        !spikes.iter().any(|s| s.tetrode == tetrode && s.unit != unit && s.sample.0.abs_diff(at) <= APART)
    };
    let (mut all, mut hits, mut single, mut single_hits) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut accuracies = Vec::new();
    for unit in &units {
        let own: Vec<u64> = spikes.iter().filter(|s| s.unit == unit.unit).map(|s| s.sample.0).collect();
        let own: Vec<u64> = own.into_iter().filter(|at| (15_000..end).contains(at)).collect();
        let found = own.iter().filter(|at| near(**at, unit.tetrode).is_some()).count() as u64;
        let snr = snr(unit);
        if snr >= 5.0 {
            (all, hits) = (all + own.len() as u64, hits + found);
            let own_alone: Vec<u64> = own.iter().copied().filter(|at| alone(*at, unit.unit, unit.tetrode)).collect();
            single += own_alone.len() as u64;
            single_hits += own_alone.iter().filter(|at| near(**at, unit.tetrode).is_some()).count() as u64;
        }
        let late: Vec<u64> = own.into_iter().filter(|at| *at > 45 * 30_000).collect();
        let accuracy = accuracy(&events, unit.tetrode, &late, 45 * 30_000);
        println!(
            "unit {:2} tetrode {} snr {snr:5.1}: {} spikes, accuracy {accuracy:.3}",
            unit.unit,
            unit.tetrode,
            late.len()
        );
        if snr >= 8.0 && late.len() >= 30 {
            accuracies.push(accuracy);
        }
    }
    accuracies.sort_by(f64::total_cmp);
    let (recall, median) = (hits as f64 / all as f64, accuracies[accuracies.len() / 2]);
    let single_recall = single_hits as f64 / single.max(1) as f64;
    println!(
        "recall {recall:.4} of {all} spikes at SNR >= 5; median accuracy {median:.3} of {} units at SNR >= 8",
        accuracies.len()
    );
    println!("recall {single_recall:.4} of the {single} that no other cell of the tetrode overlaps");
    // Measured 0.997, 0.985 and 0.973. Of the separate ones the filter leaves some of the smallest cell under the threshold.
    assert!(single_recall >= 0.99 && recall >= 0.98, "recall {single_recall}, with overlaps {recall}");
    assert!(median >= 0.95, "median accuracy {median}");
}

/// Hits over hits, misses and false positives of the sorted unit that fits best (the usual ground-truth accuracy).
fn accuracy(events: &[SpikeEvent], tetrode: u16, truth: &[u64], from: u64) -> f64 {
    let sorted = events.iter().filter(|e| e.tetrode == tetrode && e.unit != 0 && e.sample.0 > from);
    let mut units: std::collections::BTreeMap<u16, Vec<u64>> = std::collections::BTreeMap::new();
    sorted.for_each(|e| units.entry(e.unit).or_default().push(e.sample.0));
    let score = |own: &Vec<u64>| {
        let hits = truth.iter().filter(|at| own.iter().any(|o| o.abs_diff(**at) <= NEAR)).count();
        hits as f64 / (truth.len() + own.len() - hits) as f64
    };
    units.values().map(score).fold(0.0, f64::max)
}
