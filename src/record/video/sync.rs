//! Makes videos durable while they grow: without it a power cut takes what the system had not written yet, half a minute.
//!
//! A thread of its own, so that the megabytes of a video never delay the journal's sync.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::record::error::RecordError;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// How often the end is looked for.
const TICK: Duration = Duration::from_millis(50);

/// Starts the thread for the videos of the recording in `folder`; it ends when `stop` is set.
pub(in crate::record) fn keep_durable(folder: &Path, stop: &Arc<AtomicBool>) -> Result<JoinHandle<()>, RecordError> {
    let (videos, stop) = (folder.join("video"), Arc::clone(stop));
    let thread = std::thread::Builder::new().name("rec-video-sync".to_owned());
    let work = move || {
        let mut due = Instant::now();
        while !stop.load(Ordering::Acquire) {
            if Instant::now() >= due {
                sync_all(&videos);
                due = Instant::now() + EVERY;
            }
            std::thread::sleep(TICK);
        }
    };
    thread.spawn(work).map_err(|reason| RecordError::Encoder { program: "thread".to_owned(), reason })
}

/// Files and their names. A disk that refuses shows in the journal's own sync, which is what the state is taken from.
fn sync_all(videos: &Path) {
    let Ok(entries) = std::fs::read_dir(videos) else { return };
    let is_video = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "mkv" || extension == "raw");
    for path in entries.flatten().map(|entry| entry.path()).filter(is_video) {
        File::open(path).and_then(|file| file.sync_data()).ok();
    }
    File::open(videos).and_then(|folder| folder.sync_all()).ok();
}
