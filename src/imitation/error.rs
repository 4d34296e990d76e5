//! What can be wrong with a policy.

use std::path::{Path, PathBuf};

use mimicd_rat::RatError;

/// A policy that cannot be used; the message names the file, the place, what it offers and what was expected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImitationError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The manifest, or a file read with it, is wrong.
    #[error("{}: {place}: {reason}", path.display())]
    Manifest {
        /// The file.
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
    /// The body cannot be loaded.
    #[error(transparent)]
    Rat(#[from] RatError),
    /// The rig does not fit the policy.
    #[error("{reason}")]
    Rig {
        /// What is there and what was expected.
        reason: String,
    },
}

impl ImitationError {
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
