//! `mimicd published`: the paper's own recordings through our path, and ours in the paper's layout.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, ensure};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use crate::config::Config;
use crate::encoding::EncodeOptions;
use crate::export::Published;
use crate::pipeline::KeypointReplay;
use crate::pose::Keypoint;

/// Options of `mimicd published`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A recording in the published layout through registration, imitation and encoding.
    Analyse(AnalyseOptions),
    /// A recording of ours as one HDF5 file in the published layout.
    Export(ExportOptions),
}

#[derive(Debug, Args)]
struct AnalyseOptions {
    /// The HDF5 file.
    file: PathBuf,
    /// Config whose body, policy, encoding settings and recordings folder are used.
    #[arg(long, default_value = "configs/twin.toml")]
    config: PathBuf,
    /// Subject file (`mimicd body fit` writes it).
    #[arg(long)]
    subject: Option<PathBuf>,
    /// Frames a second.
    #[arg(long, default_value_t = 50.0)]
    rate_hz: f64,
    /// Feature sets, comma-separated; all by default.
    #[arg(long, value_delimiter = ',')]
    sets: Vec<String>,
}

#[derive(Debug, Args)]
struct ExportOptions {
    /// The recording's folder.
    dataset: PathBuf,
    /// The HDF5 file to write.
    file: PathBuf,
    /// Behaviour labels (CSV), as for `mimicd encode`; they override the classifier.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Behaviour classifier (manifest); overrides the recording's.
    #[arg(long)]
    classifier: Option<PathBuf>,
}

/// Does it.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::Analyse(options) => analyse(options),
        What::Export(options) => export(options),
    }
}

fn analyse(options: &AnalyseOptions) -> Result<ExitCode> {
    let config = Config::load(&options.config).map_err(|errors| anyhow!("{errors}"))?;
    let published = Published::read(&options.file)?;
    ensure!(published.units > 0, "{}: no units, so there is nothing to predict", options.file.display());
    let mut body = config.body.clone();
    if let Some(subject) = &options.subject {
        body.subject.clone_from(subject);
    }
    std::fs::create_dir_all(&config.record.folder)?;
    let keypoint = |frame: usize, index: usize| {
        let mm = published.keypoint_mm(frame, index);
        let known = mm.iter().all(|value| value.is_finite());
        Keypoint::recorded(mm.map(|value| value * 1e-3), f32::from(u8::from(known)))
    };
    let names: Vec<String> = mimicd_rat::RAT23.iter().map(|name| (*name).to_owned()).collect();
    let replay = KeypointReplay {
        frames: (0..published.frames).map(|f| (0..names.len()).map(|k| keypoint(f, k)).collect()).collect(),
        names,
        source: options.file.clone(),
        rate_hz: options.rate_hz,
        body,
        imitation: config.imitation,
        record: config.record,
    };
    let bar = ProgressBar::new(published.frames as u64);
    let report = replay.run(|done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    println!("registered and imitated {} frames into {}", report.frames, report.folder.display());
    let encode = EncodeOptions {
        config: Some(options.config.clone()),
        sets: options.sets.clone(),
        published: Some(options.file.clone()),
        ..EncodeOptions::of(&report.folder)
    };
    super::encode::run(&encode)
}

fn export(options: &ExportOptions) -> Result<ExitCode> {
    let encode = EncodeOptions {
        labels: options.labels.clone(),
        classifier: options.classifier.clone(),
        ..EncodeOptions::of(&options.dataset)
    };
    let published = crate::encoding::published(&encode)?;
    published.write(&options.file)?;
    let labelled = published.motion_mapper.iter().filter(|label| **label > 0).count();
    println!(
        "wrote {} frames, {} units, {labelled} labelled frames to {}",
        published.frames,
        published.units,
        options.file.display()
    );
    Ok(ExitCode::SUCCESS)
}
