//! What can be wrong with a calibration file.

use std::path::{Path, PathBuf};

/// A calibration that cannot be used; the message names the file, the place, the value and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// The file or folder cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// No reader for this kind of file.
    #[error(
        "{}: no calibration reader for {found}; expected .toml (ours or anipose), .mat (DANNCE, label3d), \
         .yaml or .yml (OpenCV), or a folder with one .mat or .yaml for each camera", path.display()
    )]
    UnknownKind {
        /// Which file.
        path: PathBuf,
        /// What its name ends with.
        found: String,
    },
    /// The file is damaged or lacks something.
    #[error("{}: {place}: {reason}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Camera and field.
        place: String,
        /// What is there and what was expected.
        reason: String,
    },
    /// The calibration does not have the camera that the config names.
    #[error("calibration has no camera {wanted:?}; it offers {}", offered.join(", "))]
    NoCamera {
        /// The camera asked for.
        wanted: String,
        /// The names in the file.
        offered: Vec<String>,
    },
    /// The calibration belongs to images of another shape.
    #[error(
        "camera {name:?}: calibrated at {calibrated_px:?} px, frames are {frames_px:?} px: expected the same shape \
         (width to height), as scaling cannot change it"
    )]
    Shape {
        /// Which camera.
        name: String,
        /// Width and height in the calibration.
        calibrated_px: (u32, u32),
        /// Width and height of the frames.
        frames_px: (u32, u32),
    },
}

impl CalibrationError {
    pub(super) fn malformed(path: &Path, place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), place: place.into(), reason: reason.into() }
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), reason: error.to_string() }
    }
}
