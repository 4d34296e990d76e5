//! `mimicd replay`: recorded data through the live stages.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use crate::body::import::Recording;
use crate::config::Config;
use crate::pipeline::KeypointReplay;

/// Options of `mimicd replay`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Keypoints (DANNCE `.mat`, CSV) through registration, imitation and recording.
    Keypoints(KeypointOptions),
}

#[derive(Debug, Args)]
struct KeypointOptions {
    /// The recording of keypoints.
    file: PathBuf,
    /// Config whose body, policy and recordings folder are used.
    #[arg(long, default_value = "configs/twin.toml")]
    config: PathBuf,
    /// Subject file (`mimicd body fit` writes it).
    #[arg(long)]
    subject: Option<PathBuf>,
    /// Metres in one unit of the file; DANNCE writes millimetres.
    #[arg(long, default_value_t = 0.001)]
    unit_m: f64,
    /// Frames a second.
    #[arg(long, default_value_t = 50.0)]
    rate_hz: f64,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Replays and prints what came of it; exit code 1 when the dataset does not verify.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::Keypoints(options) => keypoints(options),
    }
}

fn keypoints(options: &KeypointOptions) -> Result<ExitCode> {
    let config = Config::load(&options.config).map_err(|errors| anyhow!("{errors}"))?;
    let mut recording = Recording::open(&options.file)?;
    recording.scale(options.unit_m);
    if recording.names.is_empty() {
        let names: Vec<String> = mimicd_rat::RAT23.iter().map(|name| (*name).to_owned()).collect();
        recording.name(&names)?;
    }
    let mut body = config.body;
    if let Some(subject) = &options.subject {
        body.subject = subject.clone();
    }
    std::fs::create_dir_all(&config.record.folder)?;
    let replay = KeypointReplay {
        names: recording.names,
        source: options.file.clone(),
        rate_hz: options.rate_hz,
        body,
        imitation: config.imitation,
        record: config.record,
        frames: recording.frames,
    };
    let bar = ProgressBar::new(replay.frames.len() as u64);
    let report = replay.run(|done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("replayed {} frames into {}", report.frames, report.folder.display());
        println!(
            "  registration  {:.2} mm mean residual, {:.3} deg joint step (RMS a frame)",
            report.residual_mean_mm, report.joint_step_rms_deg
        );
        println!(
            "  virtual rat   {:.1} mm root, {:.2} deg joints (means)",
            report.root_error_mean_mm, report.joint_error_mean_deg
        );
        let resets: Vec<String> = report.resets.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        println!("  resets        {}", if resets.is_empty() { "none".to_owned() } else { resets.join(", ") });
    }
    let verified = crate::record::verify(&report.folder)?;
    if !verified.ok() {
        println!("{verified}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
