//! Who may touch a recording's folder: the running recorder, or recovery, never both.

use std::fs::File;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::error::RecordError;

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
}
