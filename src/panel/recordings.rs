//! Recordings that are there: the list, and what can be done with one (verify, report, export), one job at a time.
//!
//! A name in a request is only ever compared with the names of folders that are there; it never becomes a path.
//! Jobs read a disk for minutes, so each has a thread of its own, as nice as the panel; a job is never started on a recording
//! that is being written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::export::{Format, Progress, Request, SubjectFacts, export};
use crate::record::{Manifest, Stage, report, verify};
use crate::telemetry::memory;

/// What is asked of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Does it add up?
    Verify,
    /// One page with plots.
    Report,
    /// Other people's formats.
    Export,
}

/// Work on a recording, going on or done.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Job {
    /// What.
    pub kind: JobKind,
    /// How far, 0 to 1.
    pub fraction: f64,
    /// Whether it has ended.
    pub done: bool,
    /// How it ended, or what it is at.
    pub message: String,
}

/// Whether a recording can be trusted, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingStatus {
    /// It is being written.
    Recording,
    /// Its writer ended without sealing it: `mimicd recover`.
    Unsealed,
    /// Sealed, and not verified since this daemon started.
    Sealed,
    /// Everything adds up.
    Verified,
    /// Something does not.
    Failed,
}

/// One recording.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RecordingLine {
    /// Name of its folder.
    pub name: String,
    /// From the first to the last row, where it is sealed.
    pub seconds: Option<f64>,
    /// Bytes of its sealed files.
    pub bytes: u64,
    /// How it stands.
    pub status: RecordingStatus,
    /// Whether it has a report page.
    pub report: bool,
    /// The latest job on it.
    pub job: Option<Job>,
}

/// Why a job was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobRefusal {
    /// No recording of that name.
    Unknown,
    /// It is being written, or another job is at work.
    Busy,
}

/// The recordings of one folder.
#[derive(Debug)]
pub struct Library {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<String, Job>,
    verdicts: BTreeMap<String, bool>,
}

impl Library {
    /// The recordings under `folder`.
    pub fn new(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self { folder, state: Mutex::default() })
    }

    /// All recordings, newest first; `current` is being written.
    pub fn list(&self, current: Option<&str>) -> Vec<RecordingLine> {
        let mut names = self.names();
        names.sort_unstable_by(|a, b| b.cmp(a));
        names.into_iter().filter_map(|name| self.line(name, current)).collect()
    }

    /// The report page of a recording, if both are there.
    pub fn report_page(&self, name: &str) -> Option<Vec<u8>> {
        let folder = self.find(name)?;
        std::fs::read(folder.join("report.html")).ok()
    }

    /// Starts a job on a recording.
    ///
    /// # Errors
    /// Why not.
    pub fn start(
        self: &Arc<Self>,
        name: &str,
        kind: JobKind,
        format: Format,
        current: Option<&str>,
    ) -> Result<Job, JobRefusal> {
        let folder = self.find(name).ok_or(JobRefusal::Unknown)?;
        if current == Some(name) {
            return Err(JobRefusal::Busy);
        }
        let job = Job { kind, fraction: 0.0, done: false, message: String::new() };
        {
            let mut state = self.state();
            if state.jobs.values().any(|job| !job.done) {
                return Err(JobRefusal::Busy);
            }
            state.jobs.insert(name.to_owned(), job.clone());
        }
        let (library, name) = (Arc::clone(self), name.to_owned());
        let work = move || library.work(&name, &folder, kind, format);
        let spawned = std::thread::Builder::new().name("recording-job".to_owned()).spawn(work);
        spawned.map(|_| job).map_err(|_| JobRefusal::Busy)
    }

    fn work(&self, name: &str, folder: &Path, kind: JobKind, format: Format) {
        // Refused niceness changes nothing but the tail under load.
        rustix::process::setpriority_process(None, super::NICENESS).ok();
        let (message, adds_up) = match kind {
            JobKind::Verify => match verify(folder) {
                Ok(verdict) if verdict.ok() => ("everything adds up".to_owned(), Some(true)),
                Ok(verdict) => (verdict.problems.join("; "), Some(false)),
                Err(error) => (error.to_string(), Some(false)),
            },
            JobKind::Report => match report(folder, None) {
                Ok((_, adds_up)) => ("the report is ready".to_owned(), Some(adds_up)),
                Err(error) => (error.to_string(), None),
            },
            JobKind::Export => (self.export(name, folder, format), None),
        };
        let mut state = self.state();
        if let Some(adds_up) = adds_up {
            state.verdicts.insert(name.to_owned(), adds_up);
        }
        state.jobs.insert(name.to_owned(), Job { kind, fraction: 1.0, done: true, message });
        drop(state);
        memory::give_back();
    }

    fn export(&self, name: &str, folder: &Path, format: Format) -> String {
        let request = Request { format, out: None, from_s: None, to_s: None, subject: SubjectFacts::default() };
        let mut tell = |done: u64, total: u64| {
            if let Some(job) = self.state().jobs.get_mut(name) {
                job.fraction = done as f64 / total.max(1) as f64;
            }
        };
        match export(folder, &request, &mut Progress::new(&mut tell)) {
            Ok(done) => format!("{} files in {}", done.files, done.out.display()),
            Err(error) => error.to_string(),
        }
    }

    fn line(&self, name: String, current: Option<&str>) -> Option<RecordingLine> {
        let folder = self.folder.join(&name);
        let manifest = Manifest::open(&folder).ok()?;
        let parts = manifest.tables.values().flat_map(|table| &table.parts);
        let state = self.state();
        let is_current = current == Some(name.as_str());
        let status = match (is_current, manifest.stage, state.verdicts.get(&name)) {
            (true, ..) => RecordingStatus::Recording,
            (_, Stage::Recording, _) => RecordingStatus::Unsealed,
            (.., Some(true)) => RecordingStatus::Verified,
            (.., Some(false)) => RecordingStatus::Failed,
            (.., None) => RecordingStatus::Sealed,
        };
        Some(RecordingLine {
            seconds: manifest.seconds(),
            bytes: parts.map(|part| part.bytes).sum::<u64>() + manifest.videos.iter().map(|v| v.bytes).sum::<u64>(),
            status,
            report: folder.join("report.html").is_file(),
            job: state.jobs.get(&name).cloned(),
            name,
        })
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        self.names().into_iter().find(|known| known == name).map(|known| self.folder.join(known))
    }

    /// A job that panicked leaves the state as it was; it stays usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_become_paths() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let inside = folder.path().join("recordings");
        std::fs::create_dir(&inside).expect("made");
        std::fs::create_dir(folder.path().join("secret")).expect("made");
        std::fs::write(folder.path().join("secret/report.html"), "no").expect("written");
        let library = Library::new(inside);
        for name in ["../secret", "..", ".", "", "/", "secret", "..%2fsecret"] {
            assert_eq!(library.report_page(name), None, "{name}");
            assert_eq!(library.start(name, JobKind::Verify, Format::Csv, None), Err(JobRefusal::Unknown), "{name}");
        }
        assert!(library.list(None).is_empty());
    }
}
