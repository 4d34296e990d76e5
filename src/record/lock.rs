//! Who may touch a recording's folder: the running recorder, or recovery, never both.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::error::RecordError;

/// How long a process that was killed may take to let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Held while somebody writes in the folder; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _folder: File,
}

impl FolderLock {
    /// Takes the folder.
    ///
    /// # Errors
    /// When it is not there or another process holds it.
    pub(super) fn take(folder: &Path) -> Result<Self, RecordError> {
        let file = File::open(folder).map_err(|error| RecordError::file(folder, "open", error))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            if error == rustix::io::Errno::WOULDBLOCK {
                RecordError::format(folder, "is being recorded or recovered by another process, expected a free folder")
            } else {
                RecordError::file(folder, "lock", error.into())
            }
        })?;
        Ok(Self { _folder: file })
    }

    /// Takes the folder, with patience: a killed recorder's memory and encoders take a moment to go.
    ///
    /// # Errors
    /// As [`FolderLock::take`], once [`PATIENCE`] is over.
    pub(super) fn take_when_free(folder: &Path) -> Result<Self, RecordError> {
        let until = Instant::now() + PATIENCE;
        loop {
            match Self::take(folder) {
                Err(_) if folder.is_dir() && Instant::now() < until => std::thread::sleep(PATIENCE / 100),
                taken => return taken,
            }
        }
    }
}
