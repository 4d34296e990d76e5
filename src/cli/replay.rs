//! `mimicd replay`: recorded data through the live stages.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use crate::body::import::Recording;
use crate::config::Config;
use crate::geometry::Calibration;
use crate::pipeline::{KeypointReplay, VideoReplay, VideoReport, VideoSource};

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
    /// Electrode recordings (Intan, Open Ephys, SpikeGLX, raw int16) through detection, sorting and recording.
    Ephys(super::replay_ephys::EphysOptions),
    /// Videos of one rig's cameras through gathering and recording, with the frame sets proved aligned.
    Video(VideoOptions),
}

#[derive(Debug, Args)]
struct VideoOptions {
    /// Cameras, each as NAME=FILE; names as in the calibration.
    #[arg(required = true, value_name = "NAME=FILE")]
    cameras: Vec<String>,
    /// Calibration: a file, or a folder with one file a camera.
    #[arg(long)]
    calibration: Option<PathBuf>,
    /// Config whose recordings folder and video settings are used.
    #[arg(long, default_value = "configs/twin.toml")]
    config: PathBuf,
    /// Frames a second.
    #[arg(long, default_value_t = 50.0)]
    rate_hz: f64,
    /// Sets at most.
    #[arg(long, default_value_t = u64::MAX)]
    frames: u64,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
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
        What::Video(options) => video(options),
        What::Ephys(options) => super::replay_ephys::run(options),
    }
}

fn video(options: &VideoOptions) -> Result<ExitCode> {
    let config = Config::load(&options.config).map_err(|errors| anyhow!("{errors}"))?;
    if !(options.rate_hz.is_finite() && options.rate_hz > 0.0) {
        bail!("--rate-hz {}: expected a positive number", options.rate_hz);
    }
    let source = |text: &String| {
        let (name, file) = text.split_once('=').with_context(|| format!("{text:?}: expected NAME=FILE"))?;
        Ok(VideoSource { name: name.to_owned(), file: file.into(), fault: None })
    };
    let sources = options.cameras.iter().map(source).collect::<Result<Vec<_>>>()?;
    let calibration = options.calibration.as_deref().map(Calibration::load).transpose()?;
    std::fs::create_dir_all(&config.record.folder)?;
    let replay = VideoReplay {
        sources,
        calibration,
        rate_hz: options.rate_hz,
        frames_max: options.frames,
        record: config.record,
    };
    let bar = ProgressBar::new_spinner().with_message("sets");
    let report = replay.run(|done| bar.set_position(done))?;
    bar.finish_and_clear();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print_alignment(&report);
    }
    let verified = crate::record::verify(&report.folder)?;
    if !verified.ok() {
        println!("{verified}");
    }
    Ok(if verified.ok() && report.is_aligned() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_alignment(report: &VideoReport) {
    println!("replayed {} sets ({} incomplete) into {}", report.sets, report.partial, report.folder.display());
    println!("  camera        frames  windows in step  unproved  out of step  residual px");
    for camera in &report.cameras {
        let residual = camera.residual_px.map_or("-".to_owned(), |px| format!("{px:.1}"));
        println!(
            "  {:<12} {:>7} {:>16} {:>9} {:>12} {residual:>12}",
            camera.name,
            camera.frames,
            camera.aligned,
            camera.unproved,
            camera.shifted.len()
        );
    }
    for camera in &report.cameras {
        for (first, lag) in &camera.shifted {
            println!("  {}: frames from {first} on come {lag:+} places late", camera.name);
        }
    }
    for (camera, frame) in &report.repeated {
        println!("  {camera}: frame {frame} is the one before it, given twice");
    }
    println!("  {}", if report.is_aligned() { "the frame sets are aligned" } else { "the frame sets are NOT aligned" });
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
