//! Verification: does the dataset add up, and how good is it?

mod board;
mod display;
mod exposures;
mod files;
mod notes;
mod stats;
mod streams;
mod truth;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use board::TriggerAccount;
pub use exposures::ExposureAccount;
pub use stats::{ColumnStats, Percentiles};
pub use streams::{ArrayAccount, CameraAccount, VideoAccount};

use super::error::RecordError;
use super::manifest::{GapEntry, Manifest, Stage};
use super::tables;

/// Everything `mimicd verify` says.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// The dataset.
    pub folder: PathBuf,
    /// Its identity.
    pub recording: String,
    /// How it ended.
    pub stage: Stage,
    /// Seconds from the first to the last row.
    pub seconds: f64,
    /// What does not add up; empty when all is well.
    pub problems: Vec<String>,
    /// The board's trigger train; empty where there was none.
    pub triggers: Vec<TriggerAccount>,
    /// Cameras.
    pub cameras: Vec<CameraAccount>,
    /// Arrays.
    pub arrays: Vec<ArrayAccount>,
    /// Frames held against the exposure lines that arrays sampled; empty where none does.
    pub exposures: Vec<ExposureAccount>,
    /// Videos.
    pub videos: Vec<VideoAccount>,
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// Gaps by stream and cause: how many, and how many items where they are counted.
    pub gaps: BTreeMap<String, (u64, i64)>,
    /// Residual of each clock map, ns.
    pub sync: Vec<ColumnStats>,
    /// The latency ladder, µs from mid-exposure.
    pub latency: Vec<ColumnStats>,
    /// Time spent in each stage of a loop tick, µs.
    pub stages: Vec<ColumnStats>,
    /// Residuals and errors that the stages wrote.
    pub errors: Vec<ColumnStats>,
    /// Differences from a simulated rig's truth.
    pub truth: Vec<ColumnStats>,
    /// What is best said in words: resets of the virtual rat, share of true spikes found.
    pub notes: Vec<String>,
    /// Files whose hash and size are those of the manifest.
    pub files_good: usize,
    /// Bytes of them.
    pub bytes: u64,
}

impl VerifyReport {
    /// Whether the dataset adds up.
    pub fn ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks the dataset in `folder`.
///
/// # Errors
/// When there is no manifest that can be read. Whatever is wrong with the data is a problem in the report.
pub fn verify(folder: &Path) -> Result<VerifyReport, RecordError> {
    let manifest = Manifest::open(folder)?;
    let mut problems = Vec::new();
    let mut lines = exposures::lines(&manifest.info.config);
    let (files_good, bytes) = files::check(folder, &manifest, &mut problems);
    let mut report = VerifyReport {
        folder: folder.to_owned(),
        recording: manifest.info.recording.clone(),
        stage: manifest.stage,
        seconds: manifest.seconds().unwrap_or(0.0),
        problems: Vec::new(),
        triggers: keep(board::triggers(folder, &manifest), &mut problems),
        cameras: keep(streams::cameras(folder, &manifest), &mut problems),
        arrays: keep(streams::arrays(folder, &manifest, &mut lines), &mut problems),
        exposures: keep(exposures::exposures(folder, &manifest, &lines), &mut problems),
        videos: keep(streams::videos(folder, &manifest), &mut problems),
        rows: manifest.tables.iter().map(|(name, table)| (name.clone(), table.rows)).collect(),
        gaps: gaps(&manifest.gaps),
        sync: keep(sync(folder, &manifest), &mut problems),
        latency: keep(stats::durations(folder, &manifest, "latency"), &mut problems),
        stages: keep(stats::durations(folder, &manifest, "stages"), &mut problems),
        errors: keep(stats::errors(folder, &manifest), &mut problems),
        truth: keep(truth::compare(folder, &manifest), &mut problems),
        notes: [notes::resets, notes::spikes, notes::detection, notes::processors]
            .map(|note| keep(note(folder, &manifest), &mut problems))
            .concat(),
        files_good,
        bytes,
    };
    if manifest.stage == Stage::Recording {
        problems.push("the recording is unfinished: run `mimicd recover` (or wait until it is sealed)".to_owned());
    }
    problems.extend(keep(streams::frames_without_video(folder, &manifest).map(Vec::from_iter), &mut Vec::new()));
    judge(&report, &mut problems);
    report.problems = problems;
    Ok(report)
}

/// The value, or nothing and a problem.
fn keep<T>(result: Result<Vec<T>, RecordError>, problems: &mut Vec<String>) -> Vec<T> {
    result.unwrap_or_else(|error| {
        problems.push(error.to_string());
        Vec::new()
    })
}

fn judge(report: &VerifyReport, problems: &mut Vec<String>) {
    for train in report.triggers.iter().filter(|train| !train.adds_up()) {
        problems.push(format!(
            "triggers: span of {}, {} heard of, {} declared missing, {} missing undeclared, {} repeated or out of order",
            train.span, train.heard, train.declared, train.undeclared, train.repeated
        ));
    }
    for camera in report.cameras.iter().filter(|camera| !camera.adds_up()) {
        problems.push(format!(
            "{}: {} triggers, {} frames, {} declared missing, {} missing undeclared",
            camera.name, camera.triggers, camera.matched, camera.declared, camera.undeclared
        ));
    }
    for array in report.arrays.iter().filter(|array| !array.adds_up()) {
        let manifest = if array.manifest_agrees { "" } else { "; the manifest's counts are not those of the table" };
        problems.push(format!(
            "{}: span of {} samples, {} there, {} declared missing, {} missing undeclared{manifest}",
            array.name, array.span, array.samples, array.declared, array.undeclared
        ));
    }
    for exposure in report.exposures.iter().filter(|exposure| !exposure.adds_up()) {
        problems.push(format!(
            "{}: {} of {} frames are of triggers on which its exposure line ({}) did not rise, the first of trigger {}",
            exposure.camera,
            exposure.silent,
            exposure.checked,
            exposure.array,
            exposure.first_silent.unwrap_or_default()
        ));
    }
    for video in report.videos.iter().filter(|video| !video.adds_up) {
        problems.push(format!(
            "{}: {} rows, {} frames, {} declared missing",
            video.file, video.rows, video.counted, video.declared
        ));
    }
}

fn gaps(entries: &[GapEntry]) -> BTreeMap<String, (u64, i64)> {
    let mut by_cause: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for gap in entries {
        let known = by_cause.entry(format!("{} {} ({})", gap.stream, gap.unit, gap.cause)).or_default();
        known.0 += 1;
        known.1 += gap.count.unwrap_or(0);
    }
    by_cause
}

/// Residual of each clock, its sign left out.
fn sync(folder: &Path, manifest: &Manifest) -> Result<Vec<ColumnStats>, RecordError> {
    let mut clocks: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    tables::scan(folder, manifest, "clock", &["clock", "residual_ns"], |batch| {
        let residuals = tables::floats(batch, "residual_ns");
        for (clock, residual) in tables::texts(batch, "clock").into_iter().zip(residuals) {
            clocks.entry(clock).or_default().push(residual.abs());
        }
    })?;
    let stats = clocks.into_iter().map(|(name, values)| ColumnStats {
        name,
        unit: "ns".to_owned(),
        values: Percentiles::of(values),
    });
    Ok(stats.collect())
}
