//! What can go wrong while the body is loaded.

use std::path::PathBuf;

/// Why the rat could not be loaded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RatError {
    /// The MJCF file cannot be read; run the set-up, or correct the path.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The file is not the expected rat.
    #[error("{}: {found}; expected the dm_control rat (rodent.xml)", path.display())]
    NotTheRat {
        /// The file.
        path: PathBuf,
        /// What is different.
        found: String,
    },
    /// MuJoCo refused the edited model.
    #[error("MuJoCo refused the body: {reason}")]
    Mujoco {
        /// What MuJoCo said.
        reason: String,
    },
    /// A keypoint site names a body that the rat does not have.
    #[error("keypoint {site}: no body named {body:?} in the rat")]
    UnknownBody {
        /// The site.
        site: String,
        /// The body it names.
        body: String,
    },
    /// A segment with proportions of its own names a body that the rat does not have.
    #[error("segment {body:?}: no such body in the rat")]
    UnknownSegment {
        /// The body it names.
        body: String,
    },
    /// An option outside what is possible.
    #[error("{name} = {value}: expected {expected}")]
    Option {
        /// Which option.
        name: String,
        /// The value given.
        value: f64,
        /// What would be accepted.
        expected: &'static str,
    },
}
