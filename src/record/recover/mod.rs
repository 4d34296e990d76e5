//! Recovery: whatever is left of a recording becomes a valid dataset that says what it lost.
//!
//! 1. The manifest, or, when it is gone, what journal segments and Parquet parts say of themselves.
//! 2. Left-over segments of sealed epochs and temporary files go.
//! 3. Every other epoch is sealed from its segments, as it would have been.
//! 4. Videos are closed and counted; frames without rows and rows without frames are declared.
//! 5. One last epoch holds the rows that declare the loss; it is committed together with the manifest's new stage.
//!
//! Each step may be interrupted and run again: the outcome is the same.

mod rebuild;
mod video;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use mimicd_device::RigTime;
use serde::Serialize;

use super::disk::{Disk, OsDisk};
use super::error::RecordError;
use super::gap::{Gap, GapCause, GapUnit};
use super::journal::{journal_folder, remove_journal_folder, segment_numbers};
use super::lock::FolderLock;
use super::manifest::{MANIFEST, Manifest, Stage};
use super::schema::FRAMES;
use super::seal::{Sealer, lock};
use super::tables;

/// Stream name of the gap that stands for what never reached the journal.
pub(super) const RECORDING: &str = "recording";

/// What recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecoverReport {
    /// The recording.
    pub folder: PathBuf,
    /// Whether there was anything to do.
    pub was_unfinished: bool,
    /// Whether the manifest was gone or damaged and had to be made again.
    pub manifest_rebuilt: bool,
    /// Temporary and left-over files removed.
    pub files_removed: usize,
    /// Epochs sealed from the journal.
    pub epochs_sealed: u32,
    /// Bytes of journal that could not be read.
    pub journal_bytes_lost: u64,
    /// Newest rig time that was saved; what came later is lost.
    pub saved_until_ns: Option<i64>,
    /// At most this much time was lost after it in a power cut; a killed process loses what it had not yet written.
    pub lost_nanos_max: i64,
    /// Rows of each table.
    pub rows: Vec<(String, u64)>,
    /// Samples of each array.
    pub samples: Vec<(String, u64)>,
    /// Videos: file, frames that have rows, frames counted.
    pub videos: Vec<(String, u64, u64)>,
    /// Gaps declared in all.
    pub gaps: usize,
}

impl fmt::Display for RecoverReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.was_unfinished {
            return writeln!(f, "{}: complete, nothing to recover", self.folder.display());
        }
        writeln!(f, "{}: recovered", self.folder.display())?;
        if self.manifest_rebuilt {
            writeln!(f, "  manifest       made again from journal and tables")?;
        }
        let until = self.saved_until_ns.map_or("nothing".to_owned(), |ns| format!("up to t_ns = {ns}"));
        writeln!(f, "  saved          {until}")?;
        let millis = self.lost_nanos_max as f64 * 1e-6;
        writeln!(f, "  lost           at most {millis:.0} ms after it; {} bytes of journal", self.journal_bytes_lost)?;
        writeln!(f, "  sealed         {} epochs, {} files removed", self.epochs_sealed, self.files_removed)?;
        for (name, count) in &self.samples {
            writeln!(f, "  {name:<14} {count} samples")?;
        }
        for (file, rows, counted) in &self.videos {
            writeln!(f, "  {file}: {counted} frames, {rows} rows")?;
        }
        writeln!(f, "  gaps declared  {}", self.gaps)
    }
}

/// Makes the recording in `folder` whole. Does nothing to one that is complete.
///
/// # Errors
/// When another process holds the folder, nothing in it describes a recording, or the disk refuses.
pub fn recover(folder: &Path) -> Result<RecoverReport, RecordError> {
    let _held = FolderLock::take_when_free(folder)?;
    recover_held(&(Arc::new(OsDisk) as Arc<dyn Disk>), folder)
}

/// Recordings under `folder` that are neither sealed nor recovered nor being written.
pub fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_unfinished = |path: &PathBuf| match Manifest::open(path) {
        Ok(manifest) => manifest.stage == Stage::Recording,
        Err(_) => journal_folder(path).is_dir() || path.join("tables").is_dir(),
    };
    let is_free = |path: &PathBuf| FolderLock::take_when_free(path).is_ok();
    let mut found: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    found.retain(|path| is_unfinished(path) && is_free(path));
    found.sort();
    found
}

/// As [`recover`]; the caller holds the folder.
pub(super) fn recover_held(disk: &Arc<dyn Disk>, folder: &Path) -> Result<RecoverReport, RecordError> {
    let (manifest, manifest_rebuilt) = match Manifest::load(&**disk, folder) {
        Ok(manifest) => (manifest, false),
        Err(error) => (rebuild::manifest(&**disk, folder).ok_or(error)?, true),
    };
    if manifest.stage != Stage::Recording && !manifest_rebuilt {
        return Ok(summary(folder, &manifest, RecoverReport::default()));
    }
    let mut report = RecoverReport { was_unfinished: true, manifest_rebuilt, ..RecoverReport::default() };
    report.files_removed = remove_left_over(&**disk, folder, manifest.sealed_epochs)?;
    let bytes_lost_before = manifest.journal_bytes_lost;
    let manifest = Arc::new(Mutex::new(manifest));
    report.epochs_sealed = seal_epochs(disk, folder, &manifest)?;

    let mut sealer = Sealer::new(Arc::clone(disk), folder, Arc::clone(&manifest));
    let newest = newest_ns(&lock(&manifest));
    video::close_videos(folder, &manifest, &mut sealer, newest)?;
    declare_kill(folder, &manifest, &mut sealer, newest)?;
    let epoch = {
        let mut manifest = lock(&manifest);
        manifest.stage = Stage::Recovered;
        if let Some(run) = manifest.runs.last_mut() {
            run.ended = "killed".to_owned();
        }
        manifest.sealed_epochs
    };
    sealer.end_epoch(epoch)?;
    remove_journal_folder(folder);
    let manifest = lock(&manifest);
    report.journal_bytes_lost = manifest.journal_bytes_lost - bytes_lost_before;
    report.saved_until_ns = newest;
    report.lost_nanos_max = flush_nanos(&manifest);
    Ok(summary(folder, &manifest, report))
}

fn summary(folder: &Path, manifest: &Manifest, report: RecoverReport) -> RecoverReport {
    RecoverReport {
        folder: folder.to_owned(),
        rows: manifest.tables.iter().map(|(name, table)| (name.clone(), table.rows)).collect(),
        samples: manifest.arrays.iter().map(|(name, array)| (name.clone(), array.samples)).collect(),
        videos: manifest.videos.iter().map(|video| (video.file.clone(), video.offered, video.counted)).collect(),
        gaps: manifest.gaps.len(),
        ..report
    }
}

/// Temporary files everywhere, and segments of epochs that are sealed.
fn remove_left_over(disk: &dyn Disk, folder: &Path, sealed_epochs: u32) -> Result<usize, RecordError> {
    let listed = |path: &Path| disk.list(path).map_err(|error| RecordError::file(path, "list", error));
    let mut gone: Vec<PathBuf> = vec![];
    for path in listed(&journal_folder(folder))? {
        let is_sealed = segment_numbers(&path).is_some_and(|(epoch, _)| epoch < sealed_epochs);
        gone.extend(is_sealed.then_some(path));
    }
    let tables = disk.list_folders(&folder.join("tables"));
    let folders = tables.map_err(|error| RecordError::file(folder, "list", error))?;
    for path in folders.iter().map(PathBuf::as_path).chain([folder, &folder.join("video")]) {
        gone.extend(listed(path)?.into_iter().filter(|file| file.extension().is_some_and(|e| e == "tmp")));
    }
    for path in &gone {
        disk.remove(path).map_err(|error| RecordError::file(path, "remove", error))?;
    }
    Ok(gone.len())
}

/// Seals what a running recording's own sealer left behind; the caller holds the folder and nobody writes any more.
pub(super) fn seal_rest(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    manifest: &Arc<Mutex<Manifest>>,
) -> Result<(), RecordError> {
    let sealed_epochs = lock(manifest).sealed_epochs;
    remove_left_over(&**disk, folder, sealed_epochs)?;
    seal_epochs(disk, folder, manifest).map(|_| ())
}

/// Seals every epoch that still has its journal; returns how many.
fn seal_epochs(disk: &Arc<dyn Disk>, folder: &Path, manifest: &Arc<Mutex<Manifest>>) -> Result<u32, RecordError> {
    let journal = journal_folder(folder);
    let segments = disk.list(&journal).map_err(|error| RecordError::file(&journal, "list", error))?;
    let mut numbered: Vec<_> = segments.into_iter().filter_map(|path| Some((segment_numbers(&path)?, path))).collect();
    numbered.sort();
    let mut sealer = Sealer::new(Arc::clone(disk), folder, Arc::clone(manifest));
    let mut sealed = 0;
    for epoch in numbered.chunk_by(|a, b| a.0.0 == b.0.0) {
        for (_, path) in epoch {
            sealer.segment(path)?;
        }
        sealer.end_epoch(epoch[0].0.0)?;
        sealed += 1;
    }
    Ok(sealed)
}

/// What had not reached the journal when the writer ended is lost, and nobody can count it. Every stream gets an open gap
/// from its last item on; one row stands for everything else.
fn declare_kill(
    folder: &Path,
    manifest: &Mutex<Manifest>,
    sealer: &mut Sealer,
    newest: Option<i64>,
) -> Result<(), RecordError> {
    let manifest = lock(manifest).clone();
    for (camera, last) in last_frames(folder, &manifest)? {
        let stream = format!("frames/{}", manifest.catalog.cameras[camera].name);
        sealer.gap_row(&open(&stream, GapUnit::Triggers, last.trigger.map(|index| index + 1), last.at_ns, None))?;
    }
    for (stream, array) in &manifest.arrays {
        sealer.gap_row(&open(stream, GapUnit::Samples, Some(array.end as i64), array.end_ns, None))?;
    }
    let at_ns = newest.unwrap_or(0);
    let until = at_ns + flush_nanos(&manifest);
    sealer.gap_row(&open(RECORDING, GapUnit::Rows, None, at_ns, Some(until)))
}

/// A gap whose end nobody knows.
fn open(stream: &str, unit: GapUnit, first: Option<i64>, at_ns: i64, until_ns: Option<i64>) -> Gap<'_> {
    let (at, until) = (RigTime::from_nanos(at_ns), until_ns.map(RigTime::from_nanos));
    Gap { stream, unit, first, end: None, count: None, at, until, cause: GapCause::Killed }
}

/// A camera's last frame.
#[derive(Clone, Copy, Default)]
struct LastFrame {
    trigger: Option<i64>,
    at_ns: i64,
}

fn last_frames(folder: &Path, manifest: &Manifest) -> Result<BTreeMap<usize, LastFrame>, RecordError> {
    let places = 0..manifest.catalog.cameras.len();
    let mut last: BTreeMap<usize, LastFrame> = places.map(|place| (place, LastFrame::default())).collect();
    tables::scan(folder, manifest, FRAMES, &["t_ns", "camera", "trigger_index"], |batch| {
        let times = tables::integers(batch, "t_ns");
        let cameras = tables::integers(batch, "camera");
        let triggers = tables::integers(batch, "trigger_index");
        for ((time, camera), trigger) in times.iter().zip(&cameras).zip(triggers) {
            let (Some(time), Some(camera)) = (time, camera) else { continue };
            let Some(known) = last.get_mut(&(*camera as usize)) else { continue };
            known.at_ns = known.at_ns.max(*time);
            known.trigger = known.trigger.max(trigger);
        }
    })?;
    Ok(last)
}

/// The flush interval of the recording's own config.
fn flush_nanos(manifest: &Manifest) -> i64 {
    let millis = manifest.info.config.pointer("/record/flush_millis").and_then(serde_json::Value::as_i64);
    millis.unwrap_or(100) * 1_000_000
}

/// Largest `t_ns` of all parts.
pub(super) fn newest_ns(manifest: &Manifest) -> Option<i64> {
    manifest.tables.values().flat_map(|table| &table.parts).map(|part| part.t_ns.1).max()
}

/// The newest trigger that any table knows, and its rig time.
pub(super) fn newest_trigger(folder: &Path, manifest: &Manifest) -> Result<Option<(i64, i64)>, RecordError> {
    let mut newest = None;
    for table in ["triggers", FRAMES] {
        tables::scan(folder, manifest, table, &["t_ns", "trigger_index"], |batch| {
            let [times, indices] = ["t_ns", "trigger_index"].map(|name| tables::integers(batch, name));
            newest =
                indices.into_iter().zip(times).filter_map(|(index, time)| Some((index?, time?))).chain(newest).max();
        })?;
    }
    Ok(newest)
}

/// Whether `folder` looks like a recording at all.
pub fn is_recording(folder: &Path) -> bool {
    folder.join(MANIFEST).is_file() || journal_folder(folder).is_dir() || folder.join("tables").is_dir()
}
