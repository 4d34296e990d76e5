//! `mimicd replay ephys`: a recording of another program through the spike stage and into a dataset.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Args;
use indicatif::ProgressBar;
use mimicd_hw::file::{FileOptions, Pace};

use crate::config::{Config, RecordConfig, SpikesConfig};
use crate::pipeline::{EphysReplay, EphysReplayReport};

/// Options of `mimicd replay ephys`.
#[derive(Debug, Args)]
pub(super) struct EphysOptions {
    /// `.rhd`, a folder of an Intan or Open Ephys recording, SpikeGLX `.bin` or `.meta`, or a `.toml` that describes raw int16.
    path: PathBuf,
    /// Config whose spike settings and recordings folder are used; the defaults without one.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the dataset goes; the config's recordings folder without it.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The animal.
    #[arg(long, default_value = "replay")]
    subject: String,
    /// First channel to use.
    #[arg(long, default_value_t = 0)]
    channel_first: usize,
    /// Channels to use; all that follow without it.
    #[arg(long)]
    channels: Option<usize>,
    /// Samples of a block.
    #[arg(long, default_value_t = 30)]
    block_samples: usize,
    /// As it was taken, instead of as fast as possible.
    #[arg(long)]
    real_time: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Replays and prints what came of it; exit code 1 when the dataset does not verify.
pub(super) fn run(options: &EphysOptions) -> Result<ExitCode> {
    let (spikes, mut record) = match &options.config {
        Some(path) => {
            let config = Config::load(path).map_err(|errors| anyhow!("{errors}"))?;
            (config.spikes, config.record)
        }
        None => (SpikesConfig::default(), RecordConfig::default()),
    };
    if let Some(out) = &options.out {
        record.folder.clone_from(out);
    }
    let file = FileOptions {
        channel_first: options.channel_first,
        channels: options.channels,
        block_samples: options.block_samples,
        pace: if options.real_time { Pace::RealTime } else { Pace::Fast },
        ..FileOptions::new(&options.path)
    };
    let bar = ProgressBar::new(1);
    let replay = EphysReplay { file, spikes, record, subject: options.subject.clone() };
    let report = replay.run(|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    let verified = crate::record::verify(&report.folder)?;
    if !verified.ok() {
        println!("{verified}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &EphysReplayReport) {
    println!("replayed {} into {}", report.source, report.folder.display());
    println!(
        "  samples  {} of {} channels ({:.1} s), {} gaps",
        report.samples, report.channels, report.seconds, report.gaps
    );
    println!(
        "  spikes   {}, {} of them sorted; {:.1} % of one core in real time",
        report.spikes,
        report.sorted,
        100.0 * report.spike_cost
    );
    for (id, tetrode, count, rate_hz, snr) in &report.units {
        println!("  unit {id:3}  tetrode {tetrode:3}  {count:7} spikes  {rate_hz:6.1} Hz  SNR {snr:5.1}");
    }
}
