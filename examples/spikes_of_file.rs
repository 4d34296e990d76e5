//! Runs the spike stage over a raw recording (int16, sample-major) as fast as it goes and writes what it finds as CSV.
//!
//! `cargo run --release --example spikes_of_file -- RAW CHANNELS RATE_HZ GAIN_UV OUT.csv [THRESHOLD_UV] [LEARN_SECS]
//! [NOISE_FACTOR]`
//!
//! For comparisons with other programs (tests/peers/); prints the cost as a part of one core.

use std::io::Write as _;
use std::time::Duration;

use mimicd::config::{ArrayBackend, ArrayConfig, SpikesConfig};
use mimicd::spikes::SpikeStage;
use mimicd_device::{ArrayIndex, SampleBlock, SampleIndex};

/// Samples of a block: 1 ms at 30 kHz.
const BLOCK: usize = 30;

/// Time this thread has spent on a core: what else runs on the machine does not count.
fn spent_so_far() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    anyhow::ensure!(
        args.len() >= 5,
        "usage: RAW CHANNELS RATE_HZ GAIN_UV OUT.csv [THRESHOLD_UV] [LEARN_SECS] [FACTOR]"
    );
    let (channels, rate_hz): (usize, f64) = (args[1].parse()?, args[2].parse()?);
    let number = |index: usize, default: f64| args.get(index).map_or(Ok(default), |text| text.parse());
    let array = ArrayConfig {
        rate_hz,
        gain_uv_per_bit: args[3].parse()?,
        ..ArrayConfig::new("file", ArrayBackend::File, channels)
    };
    let defaults = SpikesConfig::default();
    let config = SpikesConfig {
        threshold_uv: number(5, defaults.threshold_uv)?,
        return_uv: number(5, defaults.threshold_uv)? * 0.4,
        learn_secs: number(6, defaults.learn_secs)?,
        threshold_noise_factor: number(7, defaults.threshold_noise_factor)?,
        reference_group_channels: if channels >= 16 { 32 } else { 0 },
        sort: std::env::var_os("NO_SORT").is_none(),
        ..defaults
    };
    let mut stage = SpikeStage::new(&config, &array);
    let mut out = stage.output();
    let bytes = std::fs::read(&args[0])?;
    let mut csv = std::io::BufWriter::new(std::fs::File::create(&args[4])?);
    writeln!(csv, "sample,tetrode,channel,unit,confidence,peak_uv")?;
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), channels, BLOCK);
    let (mut spent, mut longest) = (Duration::ZERO, Duration::ZERO);
    let mut first = 0_u64;
    for part in bytes.chunks(BLOCK * channels * 2) {
        block.clear();
        block.first = SampleIndex(first);
        block.samples.extend(part.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])));
        block.digital.resize(block.samples.len() / channels, 0);
        first = block.end().0;
        let began = spent_so_far();
        stage.process(&block, &mut out);
        let took = spent_so_far() - began;
        spent += took;
        longest = longest.max(took);
        for event in &out.events {
            let (sample, unit) = (event.sample.0, event.unit);
            writeln!(
                csv,
                "{sample},{},{},{unit},{:.3},{:.1}",
                event.tetrode, event.channel, event.confidence, event.peak_uv
            )?;
        }
    }
    let seconds = first as f64 / rate_hz;
    println!(
        "{channels} channels, {seconds:.1} s: {:.1} % of one core, longest block {:.2} ms; {:?}",
        100.0 * spent.as_secs_f64() / seconds,
        longest.as_secs_f64() * 1e3,
        stage.counters()
    );
    for unit in stage.units() {
        println!(
            "unit {:3} tetrode {:3}: {:6} spikes, {:6.1} Hz, snr {:5.1}, violations {:.4}, drift {:.2}",
            unit.id, unit.tetrode, unit.count, unit.rate_hz, unit.snr, unit.violations, unit.drift_sigma
        );
    }
    Ok(())
}
