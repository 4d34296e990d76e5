//! `mimicd body`: fit a subject to a recording of keypoints, register a whole recording.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::body::convention::{Convention, Detected, Known, Up, detect};
use crate::body::fit::FitOptions;
use crate::body::import::Recording;
use crate::body::{FitCommand, Subject};
use crate::config::BodyConfig;
use crate::pipeline::{Registered, Registration};
use crate::pose::Keypoint;
use crate::record::{MANIFEST, keypoint_rows};

/// Subcommands of `mimicd body`.
#[derive(Debug, Subcommand)]
pub(super) enum BodyCommand {
    /// Fit an animal's size and keypoint offsets to a recording; writes a subject file and a report.
    Fit(FitArgs),
    /// Register a whole recording of keypoints to the body; writes a body table (Parquet).
    Register(RegisterArgs),
}

/// The recording, and what is known about it.
#[derive(Debug, Args)]
struct Source {
    /// Keypoints: DANNCE `.mat`, SLEAP / sleap-anipose / stac-mjx `.h5`, anipose or DeepLabCut `.csv`, a dataset's folder or
    /// its pose table `.parquet`.
    file: PathBuf,
    /// Names of the keypoints in the file's order, where the file does not say (default: the subject's).
    #[arg(long, value_delimiter = ',')]
    names: Vec<String>,
    /// Frames a second (default: the dataset's own, else 50).
    #[arg(long)]
    rate_hz: Option<f64>,
    /// Metres in one unit of the file (default: told by the animal's size).
    #[arg(long)]
    unit_m: Option<f64>,
    /// Axis of the file that points up (default: told by the paws being below the trunk).
    #[arg(long, value_enum, allow_hyphen_values = true)]
    up: Option<Up>,
    /// Whether the file's world is left-handed (default: told by which image of the animal fits).
    #[arg(long)]
    mirrored: Option<bool>,
    /// The rat's MJCF (fetched by `cargo xtask setup`).
    #[arg(long, default_value = ".deps/rat/rodent.xml")]
    mjcf: PathBuf,
}

/// Arguments of `mimicd body fit`.
#[derive(Debug, Args)]
pub(super) struct FitArgs {
    #[command(flatten)]
    source: Source,
    /// Subject file to start from (default: rat23 with its published offsets; `configs/subjects` has mice).
    #[arg(long)]
    subject: Option<PathBuf>,
    /// Subject file to write.
    #[arg(long, short)]
    out: PathBuf,
    /// Report to write (default: beside the subject file, `.html`).
    #[arg(long)]
    report: Option<PathBuf>,
    /// Name of the animal (default: the name of the file written).
    #[arg(long)]
    name: Option<String>,
    /// Keep the start's scale instead of estimating it.
    #[arg(long)]
    keep_scale: bool,
    /// Fit the proportions of the limbs and the trunk too; they come slowly, so give more rounds.
    #[arg(long)]
    proportions: bool,
    /// Frames to fit to, at most.
    #[arg(long, default_value_t = 1_000, value_parser = at_least::<30>)]
    frames: usize,
    /// Rounds of pose and offset steps.
    #[arg(long, default_value_t = 40, value_parser = at_least::<5>)]
    rounds: usize,
}

/// Arguments of `mimicd body register`.
#[derive(Debug, Args)]
pub(super) struct RegisterArgs {
    #[command(flatten)]
    source: Source,
    /// Subject file (`mimicd body fit` writes it).
    #[arg(long)]
    subject: PathBuf,
    /// Parquet file to write.
    #[arg(long, short)]
    out: PathBuf,
    /// Smoothing against the measured default: 0 none, 1 the default.
    #[arg(long, default_value_t = 1.0)]
    smoothing: f64,
    /// Iterations of the solver a frame, at most.
    #[arg(long, default_value_t = 3)]
    iterations_max: u8,
    /// Keep refining the offsets on the way, forgetting over this many seconds.
    #[arg(long)]
    refine_s: Option<f64>,
    /// Do not keep the body above the floor.
    #[arg(long)]
    no_floor: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// A count that makes sense.
fn at_least<const LEAST: usize>(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| format!("expected a whole number from {LEAST}"))?;
    if count >= LEAST { Ok(count) } else { Err(format!("expected {LEAST} or more")) }
}

/// Runs the command.
pub(super) fn run(command: &BodyCommand) -> Result<ExitCode> {
    match command {
        BodyCommand::Fit(args) => fit(args),
        BodyCommand::Register(args) => register(args),
    }
}

/// A recording in metres, z up.
struct Opened {
    names: Vec<String>,
    frames: Vec<Vec<Keypoint>>,
    t_ns: Vec<i64>,
    rate_hz: f64,
    detected: Detected,
}

impl Source {
    fn open(&self, subject: &Subject) -> Result<Opened> {
        let (mut recording, times) = self.read(subject)?;
        if recording.frames.is_empty() {
            bail!("{}: no frames", self.file.display());
        }
        if !self.names.is_empty() {
            recording.name(&self.names)?;
        } else if recording.names.is_empty() {
            let own: Vec<String> = subject.keypoint.iter().map(|keypoint| keypoint.name.clone()).collect();
            recording
                .name(&own)
                .context("the file does not name its keypoints, so they must be the subject's; else give --names")?;
        }
        let unknown: Vec<&str> =
            recording.names.iter().filter(|name| subject.index(name).is_none()).map(String::as_str).collect();
        if !unknown.is_empty() {
            eprintln!("mimicd: not in the subject, so not used: {}", unknown.join(", "));
        }
        let rate_hz = self.rate_hz.or_else(|| rate_of(&times)).unwrap_or(50.0);
        if !(1.0..=2_000.0).contains(&rate_hz) {
            bail!("--rate-hz {rate_hz}: expected 1 to 2000");
        }
        let rat = mimicd_rat::load(&self.mjcf, &subject.rat_options())?;
        let known = Known { unit_m: self.unit_m, up: self.up, mirrored: self.mirrored };
        let detected = detect(&rat, subject, &recording.names, &recording.frames, known)?;
        detected.convention.apply(&mut recording.frames);
        let period_ns = 1e9 / rate_hz;
        let even = |index: usize| (index as f64 * period_ns).round() as i64;
        let t_ns = if times.is_empty() { (0..recording.frames.len()).map(even).collect() } else { times };
        Ok(Opened { names: recording.names, frames: recording.frames, t_ns, rate_hz, detected })
    }

    /// The file, and the times that it knows.
    fn read(&self, subject: &Subject) -> Result<(Recording, Vec<i64>)> {
        let is_table = self.file.is_dir() || self.file.extension().is_some_and(|extension| extension == "parquet");
        if !is_table {
            return Ok((Recording::open(&self.file)?, Vec::new()));
        }
        if self.file.is_dir() && !self.file.join(MANIFEST).is_file() {
            bail!("{}: is not a dataset: it has no manifest.json", self.file.display());
        }
        let rows = keypoint_rows(&self.file)?;
        let keypoints = rows.confidence.len() / rows.t_ns.len();
        let own = || subject.keypoint.iter().map(|keypoint| keypoint.name.clone()).collect::<Vec<_>>();
        let names = if subject.keypoint.len() == keypoints { own() } else { Vec::new() };
        let frame = |(xyz, confidence): (&[f64], &[f64])| {
            let one = |(xyz, confidence): (&[f64; 3], &f64)| Keypoint::recorded(*xyz, *confidence as f32);
            xyz.as_chunks::<3>().0.iter().zip(confidence).map(one).collect()
        };
        let frames = rows.keypoints_m.chunks(3 * keypoints).zip(rows.confidence.chunks(keypoints)).map(frame).collect();
        Ok((Recording { path: self.file.clone(), names, frames }, rows.t_ns))
    }
}

/// Rate of the rows: from the median of their distances.
fn rate_of(t_ns: &[i64]) -> Option<f64> {
    let mut steps: Vec<i64> = t_ns.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).filter(|step| **step > 0).map(|step| 1e9 / *step as f64)
}

fn bar(length: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:14} {bar:40} {pos}/{len}  {eta}");
    ProgressBar::new(length)
        .with_message(what.to_owned())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn fit(args: &FitArgs) -> Result<ExitCode> {
    let mut subject = match &args.subject {
        Some(path) => Subject::load(path)?,
        None => Subject::rat23("rat"),
    };
    let stem = args.out.file_stem().map_or_else(|| "animal".to_owned(), |stem| stem.to_string_lossy().into_owned());
    subject.name = args.name.clone().unwrap_or(stem);
    let opened = args.source.open(&subject)?;
    println!("recording: {}, animal {:.3} of the start's size", opened.detected.convention, opened.detected.size);
    let command = FitCommand {
        mjcf: args.source.mjcf.clone(),
        source: format!("{}: {}", file_name(&args.source.file), opened.detected.convention),
        names: opened.names,
        frames: opened.frames,
        rate_hz: opened.rate_hz,
        detected: opened.detected,
        fit_scale: !args.keep_scale,
        options: FitOptions {
            frames: args.frames,
            rounds: args.rounds,
            proportions: args.proportions,
            ..FitOptions::default()
        },
    };
    let bar = bar(command.steps(), "fitting");
    let report = command.run(subject, || bar.inc(1))?;
    bar.finish_and_clear();
    report.subject.save(&args.out)?;
    let page = args.report.clone().unwrap_or_else(|| args.out.with_extension("html"));
    std::fs::write(&page, report.html()).with_context(|| format!("{}: cannot be written", page.display()))?;
    print!("{}", report.summary());
    println!("subject file    {}\nreport          {}", args.out.display(), page.display());
    Ok(ExitCode::SUCCESS)
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn register(args: &RegisterArgs) -> Result<ExitCode> {
    let opened = args.source.open(&Subject::load(&args.subject)?)?;
    let Convention { unit_m, .. } = opened.detected.convention;
    eprintln!(
        "recording: {}, animal {:.3} of the subject's size, {} frames at {:.3} Hz",
        opened.detected.convention,
        opened.detected.size,
        opened.frames.len(),
        opened.rate_hz
    );
    if !(0.8..1.25).contains(&opened.detected.size) {
        eprintln!("mimicd: the keypoints are not of this subject's size (unit {unit_m} m): is it the right subject?");
    }
    let registration = Registration {
        frames: opened.frames,
        t_ns: opened.t_ns,
        names: opened.names,
        rate_hz: opened.rate_hz,
        body: BodyConfig {
            mjcf: args.source.mjcf.clone(),
            subject: args.subject.clone(),
            iterations_max: args.iterations_max,
            smoothing: args.smoothing,
            floor: !args.no_floor,
            refine_offsets: args.refine_s.is_some(),
            refine_memory_s: args.refine_s.unwrap_or(300.0),
        },
    };
    let bar = bar(registration.frames.len() as u64, "registering");
    let done = registration.run(&args.out, |frame| bar.set_position(frame as u64))?;
    bar.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&done)?);
    } else {
        print(&done, &args.out);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(done: &Registered, out: &Path) {
    println!("registered      {} frames into {}", done.rows, out.display());
    if done.missing_frames > 0 {
        println!("missing         {} frames between rows", done.missing_frames);
    }
    println!("residual        {:.2} mm mean", done.residual_mean_mm);
    let mut worst: Vec<&(String, f64)> = done.residual_mm.iter().filter(|(_, mm)| mm.is_finite()).collect();
    worst.sort_by(|a, b| b.1.total_cmp(&a.1));
    let worst: Vec<String> = worst.iter().take(5).map(|(name, mm)| format!("{name} {mm:.2}")).collect();
    println!("worst keypoints {} mm", worst.join(", "));
    println!(
        "joint step      {:.3} deg RMS a frame, {:.2} deg at most",
        done.joint_step_rms_deg, done.joint_step_max_deg
    );
    let flags: Vec<String> = done.flags.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
    println!("flagged frames  {}", if flags.is_empty() { "none".to_owned() } else { flags.join(", ") });
}
