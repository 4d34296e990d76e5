//! The stage as a whole, on made signals whose spikes are known.

use mimicd_device::{ArrayIndex, Integrity, SampleBlock, SampleIndex};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::config::{ArrayBackend, ArrayConfig, SpikesConfig};

const GAIN: f64 = 0.195;

fn array(channels: usize) -> ArrayConfig {
    ArrayConfig::new("a", ArrayBackend::Twin, channels)
}

/// A biphasic wave of unit trough, 1.2 ms long, trough at sample 10.
fn wave(sample: usize) -> f32 {
    let t = sample as f32 - 10.0;
    -(-t * t / 12.0).exp() + 0.35 * (-(t - 11.0) * (t - 11.0) / 50.0).exp()
}

struct Made {
    samples: Vec<i16>,
    channels: usize,
    /// (trough sample, tetrode)
    spikes: Vec<(u64, u16)>,
}

fn make(channels: usize, seconds: f64, sigma_uv: f32, peak_uv: f32, seed: u64) -> Made {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let length = (seconds * 30_000.0) as usize;
    let mut uv = vec![0.0_f32; length * channels];
    let mut common = 0.0_f32;
    for row in uv.chunks_mut(channels) {
        common = 0.95 * common + 8.0 * gauss(&mut rng);
        for x in row {
            *x = common + 200.0 + sigma_uv * gauss(&mut rng);
        }
    }
    let mut spikes = Vec::new();
    for tetrode in 0..channels / 4 {
        let mut at = 700 + rng.random_range(0..900_usize);
        while at + 100 < length {
            for channel in 0..4 {
                let gain = peak_uv * [1.0, 0.8, 0.5, 0.3][(channel + tetrode) % 4];
                for sample in 0..40 {
                    uv[(at - 10 + sample) * channels + tetrode * 4 + channel] += gain * wave(sample);
                }
            }
            spikes.push((at as u64, tetrode as u16));
            at += rng.random_range(200..4_000_usize);
        }
    }
    let samples = uv.iter().map(|x| (f64::from(*x) / GAIN).round().clamp(-32_768.0, 32_767.0) as i16).collect();
    Made { samples, channels, spikes }
}

fn gauss(rng: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}

fn run(stage: &mut SpikeStage, made: &Made, block_samples: usize, gap_at: Option<(usize, u64)>) -> Vec<SpikeEvent> {
    let mut out = stage.output();
    let mut events = Vec::new();
    let mut first = 5_000_u64;
    for (index, part) in made.samples.chunks(block_samples * made.channels).enumerate() {
        let mut block = SampleBlock::with_capacity(ArrayIndex(0), made.channels, block_samples);
        if let Some((_, missing)) = gap_at.filter(|(at, _)| *at == index) {
            first += missing;
            block.integrity = Integrity::GAP_BEFORE;
        }
        block.first = SampleIndex(first);
        block.samples.extend_from_slice(part);
        block.digital.resize(part.len() / made.channels, 0);
        first = block.end().0;
        stage.process(&block, &mut out);
        events.extend_from_slice(&out.events);
    }
    events
}

fn found(events: &[SpikeEvent], sample: u64, tetrode: u16) -> bool {
    events.iter().any(|e| e.tetrode == tetrode && e.sample.0.abs_diff(sample) <= 5)
}

#[test]
fn finds_the_spikes_and_little_else() {
    let made = make(32, 6.0, 12.0, 110.0, 11);
    let mut stage = SpikeStage::new(&SpikesConfig::default(), &array(32));
    let events = run(&mut stage, &made, 30, None);
    let hits = made.spikes.iter().filter(|(at, tetrode)| found(&events, at + 5_000, *tetrode)).count();
    assert!(hits as f64 >= 0.98 * made.spikes.len() as f64, "{hits} of {}", made.spikes.len());
    assert!(
        events.len() as f64 <= 1.02 * made.spikes.len() as f64,
        "{} events for {}",
        events.len(),
        made.spikes.len()
    );
    for event in &events {
        let wire = usize::from(event.channel) % 4;
        assert_eq!(event.snippet[wire][SNIPPET_BEFORE], event.peak_uv, "the peak is in its place");
        assert_eq!(usize::from(event.channel) / 4, usize::from(event.tetrode));
    }
    // Robust noise of what is left of white noise of 12 uV after the band-pass.
    for sigma in stage.noise_uv() {
        assert!((6.0..13.0).contains(&sigma), "noise {sigma}");
    }
}

#[test]
fn the_cut_into_blocks_changes_nothing() {
    let made = make(16, 1.5, 10.0, 120.0, 5);
    let mut config = SpikesConfig { threshold_noise_factor: 0.0, ..SpikesConfig::default() };
    config.sort = false;
    let by = |size| {
        let mut stage = SpikeStage::new(&config, &array(16));
        let mut events = run(&mut stage, &made, size, None);
        events.sort_by_key(|e| (e.tetrode, e.sample.0));
        events
    };
    let whole = by(30);
    assert!(whole.len() > 40);
    for size in [1, 7, 32, 128, 1_000] {
        let other = by(size);
        assert_eq!(whole.len(), other.len(), "blocks of {size}");
        assert!(whole.iter().zip(&other).all(|(a, b)| a == b), "blocks of {size}");
    }
}

#[test]
fn a_gap_makes_no_spike_and_loses_only_its_surroundings() {
    let made = make(16, 2.0, 10.0, 120.0, 6);
    let mut stage = SpikeStage::new(&SpikesConfig::default(), &array(16));
    let events = run(&mut stage, &made, 30, Some((1_000, 12_345)));
    assert_eq!(stage.counters().resets, 1);
    let gap = 5_000 + 30_000_u64;
    assert!(!events.iter().any(|e| (gap..gap + 12_345 + 300).contains(&e.sample.0)));
    let after: Vec<_> = made.spikes.iter().filter(|(at, _)| *at > 30_000 + 320).collect();
    let hits = after.iter().filter(|(at, tetrode)| found(&events, at + 5_000 + 12_345, *tetrode)).count();
    assert!(hits + 1 >= after.len(), "{hits} of {} after the gap", after.len());
}

#[test]
fn one_artefact_on_all_wires_is_no_spike() {
    let mut made = make(64, 1.0, 8.0, 0.0, 7);
    made.spikes.clear();
    for channel in 0..64 {
        // Different on each wire, or the reference would remove it.
        let value = if channel % 2 == 0 { 1_500 } else { -1_500 };
        made.samples[15_000 * 64 + channel] += value;
    }
    let mut stage = SpikeStage::new(&SpikesConfig::default(), &array(64));
    let events = run(&mut stage, &made, 30, None);
    assert!(events.iter().all(|e| e.sample.0.abs_diff(20_000) > 40), "an artefact passed for a spike");
    assert!(stage.counters().artefacts >= 16);
}

#[test]
fn dead_and_permuted_channels() {
    let mut made = make(16, 2.0, 10.0, 120.0, 8);
    let length = made.samples.len() / 16;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for at in 0..length {
        made.samples[at * 16 + 5] = rng.random_range(-30_000..30_000);
    }
    let config = SpikesConfig { dead_channels: vec![5], ..SpikesConfig::default() };
    // Tetrodes in reverse order.
    let tetrodes: Vec<[u16; 4]> = (0..4).rev().map(|t| [4 * t, 4 * t + 1, 4 * t + 2, 4 * t + 3]).collect();
    let layout = ChannelLayout::of_tetrodes(&tetrodes, &config.dead_channels);
    let mut stage = SpikeStage::with_layout(&config, &array(16), layout);
    let mut events = run(&mut stage, &made, 30, None);
    assert!(events.iter().all(|e| e.channel != 5 && e.channel / 4 == 3 - e.tetrode));
    for event in &mut events {
        event.tetrode = 3 - event.tetrode;
    }
    let hits = made.spikes.iter().filter(|(at, tetrode)| found(&events, at + 5_000, *tetrode)).count();
    assert!(hits as f64 >= 0.97 * made.spikes.len() as f64, "{hits} of {}", made.spikes.len());
}

#[test]
fn edges_are_exact_to_the_sample_and_say_when_they_are_not() {
    let mut finder = EdgeFinder::default();
    let mut edges = Vec::with_capacity(16);
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), 4, 8);
    block.first = SampleIndex(100);
    block.samples.resize(32, 0);
    block.digital.extend([1, 1, 3, 3, 2, 2, 2, 2]);
    assert_eq!(finder.find(&block, true, &mut edges), 0);
    let edge = |sample, bit, level, exact| DigitalEdge { sample: SampleIndex(sample), bit, level, exact };
    assert_eq!(edges, [edge(102, 1, true, true), edge(104, 0, false, true)]);
    edges.clear();
    block.first = SampleIndex(500);
    block.digital.fill(0);
    finder.find(&block, true, &mut edges);
    assert_eq!(edges, [edge(500, 1, false, false)]);
}

/// Blocks of a made signal through a stage.
fn feed(stage: &mut SpikeStage, channels: usize, samples: &[i16]) -> Vec<SpikeEvent> {
    let made = Made { samples: samples.to_vec(), channels, spikes: Vec::new() };
    run(stage, &made, 30, None)
}

#[test]
fn electrodes_that_are_wrong_are_named_and_the_others_are_not() {
    let (channels, length) = (32, 75_000);
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let mut samples = Vec::with_capacity(channels * length);
    for at in 0..length {
        let t = at as f64 / 30_000.0;
        let common = 6.0 * gauss(&mut rng);
        let shared = 9.0 * gauss(&mut rng);
        for channel in 0..channels {
            let own = 9.0 * gauss(&mut rng);
            let uv = match channel {
                3 => 0.0,
                9 | 10 => common + shared + 1.5 * gauss(&mut rng),
                17 => common + own + 150.0 * (std::f64::consts::TAU * 50.0 * t).sin() as f32,
                18 => common + own + 150.0 * (std::f64::consts::TAU * 60.0 * t).sin() as f32,
                20 => {
                    if at % 100 < 20 {
                        6_400.0
                    } else {
                        own
                    }
                }
                27 => 120.0 * gauss(&mut rng),
                _ => common + own + 8.0 * (std::f64::consts::TAU * 50.0 * t).sin() as f32,
            };
            samples.push((f64::from(uv) / GAIN).round().clamp(-32_768.0, 32_767.0) as i16);
        }
    }
    let config = SpikesConfig { dead_channels: vec![30], sort: false, ..SpikesConfig::default() };
    let mut stage = SpikeStage::new(&config, &array(channels));
    feed(&mut stage, channels, &samples);
    let health = stage.health();
    assert_eq!(health.windows(), 2);
    let flags = |channel: usize| health.channels()[channel].flags;
    assert_eq!(flags(3), ElectrodeFlags::DEAD);
    assert_eq!((flags(9), flags(10)), (ElectrodeFlags::SHORTED, ElectrodeFlags::SHORTED));
    assert_eq!((flags(17), flags(18)), (ElectrodeFlags::LINE, ElectrodeFlags::LINE));
    assert!(flags(20).contains(ElectrodeFlags::SATURATED), "{:?}", health.channels()[20]);
    assert!(flags(27).contains(ElectrodeFlags::NOISY), "{:?}", health.channels()[27]);
    assert_eq!(flags(30), ElectrodeFlags::EXCLUDED);
    for channel in (0..channels).filter(|c| ![3, 9, 10, 17, 18, 20, 27, 30].contains(c)) {
        assert_eq!(flags(channel), ElectrodeFlags::empty(), "channel {channel}: {:?}", health.channels()[channel]);
    }
    let [hum, other] = health.channels()[17].line_uv;
    assert!((hum - 150.0).abs() < 4.0 && other < 4.0, "50 Hz {hum}, 60 Hz {other}");
    assert!((health.channels()[0].line_uv[0] - 8.0).abs() < 1.5, "{:?}", health.channels()[0]);
}

/// Two cells a tetrode, of different shape over the wires, at known times.
fn two_cells(seconds: f64, seed: u64) -> (Made, Vec<u16>) {
    let gains = [[1.0_f32, 0.7, 0.3, 0.2], [0.2, 0.3, 0.9, 1.1]];
    let mut made = make(16, seconds, 8.0, 0.0, seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
    made.spikes.clear();
    let mut cells = Vec::new();
    for tetrode in 0..4_u16 {
        let mut at = 900_usize;
        while at + 100 < made.samples.len() / 16 {
            let cell = rng.random_range(0..2_usize);
            for sample in 0..40 {
                for wire in 0..4 {
                    let uv = 130.0 * gains[cell][wire] * wave(sample);
                    let place = (at - 10 + sample) * 16 + usize::from(tetrode) * 4 + wire;
                    made.samples[place] = made.samples[place].saturating_add((f64::from(uv) / GAIN) as i16);
                }
            }
            made.spikes.push((at as u64, tetrode));
            cells.push(cell as u16);
            at += rng.random_range(250..2_500_usize);
        }
    }
    (made, cells)
}

#[test]
fn units_known_beforehand_are_followed_after_seconds_under_their_own_ids() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("units.toml");
    // As another program would know them: unfiltered shapes, tetrode by tetrode, cell by cell.
    let gains = [[1.0_f32, 0.7, 0.3, 0.2], [0.2, 0.3, 0.9, 1.1]];
    let units = (0..8_usize).map(|unit| Template {
        id: unit as i64 + 40,
        channels: (0..4).map(|wire| (unit / 2 * 4 + wire) as u16).collect(),
        waves_uv: (0..4).map(|wire| (0..40).map(|s| 130.0 * gains[unit % 2][wire] * wave(s)).collect()).collect(),
    });
    let templates = Templates::new(units.collect(), false);
    let layout = ChannelLayout::in_rows(16, &[]);
    let config = SpikesConfig { learn_secs: 3_600.0, learn_spikes: 4_000, ..SpikesConfig::default() };
    let known = templates.on_tetrodes(&layout, &config, &array(16)).expect("on the tetrodes");
    assert_eq!(known.iter().map(|unit| unit.tetrode).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2, 3, 3]);
    // Filtered as the live signal is, they go through the file of our own.
    let filtered = known.iter().enumerate().map(|(index, unit)| Template {
        id: index as i64,
        channels: (0..4).map(|wire| unit.tetrode * 4 + wire).collect(),
        waves_uv: unit.wave_uv.iter().map(|wave| wave.to_vec()).collect(),
    });
    std::fs::write(&path, Templates::new(filtered.collect(), true).to_toml()).expect("written");
    let config = SpikesConfig { templates: path, ..config };
    let mut stage = SpikeStage::for_array(&config, &array(16)).expect("the templates load");
    let (made, cells) = two_cells(30.0, 3);
    let events = run(&mut stage, &made, 30, None);
    let (mut right, mut late) = (0, 0);
    for ((at, tetrode), cell) in made.spikes.iter().zip(&cells).filter(|((at, _), _)| *at > 15 * 30_000) {
        late += 1;
        let near = |e: &&SpikeEvent| e.tetrode == *tetrode && e.sample.0.abs_diff(at + 5_000) <= 6;
        let unit = events.iter().find(near).map_or(0, |e| e.unit);
        right += usize::from(unit == tetrode * 2 + cell + 1);
    }
    assert!(right * 100 >= late * 95, "{right} of {late}");
    assert_eq!(stage.units().len(), 8);
}
