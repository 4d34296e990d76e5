//! What can go wrong while the body is set up. Registration itself never fails: damage is flagged on its output.

use std::path::PathBuf;

/// Why the body layer could not be set up, or a file not be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The body itself.
    #[error(transparent)]
    Rat(#[from] mimicd_rat::RatError),
    /// A subject file.
    #[error("{}: {reason}", path.display())]
    Subject {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// Keypoints of the pose network and of the subject do not fit together.
    #[error("the subject has no {missing}; it has {has}, the keypoints given are {given}")]
    Keypoints {
        /// What is missing.
        missing: String,
        /// Names in the subject file.
        has: String,
        /// Names given.
        given: String,
    },
    /// Units or axes of a recording cannot be told; the message names the option that gives them.
    #[error("{reason}")]
    Convention {
        /// What cannot be told, and why.
        reason: String,
    },
    /// A recording of keypoints.
    #[error("{}: {reason}", path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
}
