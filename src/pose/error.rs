//! What can be wrong with a keypoint model.

use std::path::{Path, PathBuf};

/// A model that cannot be used; the message names the file, the place, what it offers and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoseError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The manifest is wrong.
    #[error("{}: {place}: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Dotted key.
        place: String,
        /// What is there and what was expected.
        reason: String,
    },
    /// ONNX Runtime is not there or refuses.
    #[error("ONNX Runtime: {reason}")]
    Runtime {
        /// What it said.
        reason: String,
    },
    /// The graph does not fit the manifest.
    #[error("{}: {place}: {reason}", path.display())]
    Graph {
        /// The ONNX file.
        path: PathBuf,
        /// Which input or output.
        place: String,
        /// What the file offers and what the manifest expects.
        reason: String,
    },
    /// The rig does not fit the model.
    #[error("{reason}")]
    Rig {
        /// What is there and what was expected.
        reason: String,
    },
}

impl PoseError {
    pub(super) fn manifest(path: &Path, place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Manifest { path: path.to_owned(), place: place.into(), reason: reason.into() }
    }

    pub(super) fn graph(path: &Path, place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Graph { path: path.to_owned(), place: place.into(), reason: reason.into() }
    }

    pub(super) fn runtime(error: &ort::Error) -> Self {
        Self::Runtime { reason: error.message().to_owned() }
    }
}
