//! Why an export stopped. Lost data is never an error: it is written as the format's own gap.

use std::io;
use std::path::{Path, PathBuf};

use crate::record::RecordError;

/// A failure of an export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The dataset itself. `mimicd verify` says more.
    #[error(transparent)]
    Dataset(#[from] RecordError),
    /// A file of the export could not be made or written. Check the disk and the permissions, or give another `--out`.
    #[error("{}: cannot {action}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was asked.
        action: &'static str,
        /// What the system said.
        reason: io::Error,
    },
    /// The request cannot be met; the text says what was expected.
    #[error("{0}")]
    Request(String),
    /// An external program failed. Its own words are in the text.
    #[error("{program}: {reason}")]
    Program {
        /// Which.
        program: String,
        /// What it said.
        reason: String,
    },
    /// The HDF5 file could not be written.
    #[error("{}: {reason}", path.display())]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
}

impl ExportError {
    pub(super) fn file(path: &Path, action: &'static str, reason: io::Error) -> Self {
        Self::File { path: path.to_owned(), action, reason }
    }
}
