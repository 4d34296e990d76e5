//! The rat's body: kinematics and registration of keypoints to joint angles.
//!
//! [`BodyStage`] is the stage of the loop. It fits the 74 coordinates of the rat to each frame's keypoints by damped
//! Gauss–Newton steps on the kinematic tree, within joint limits and above the floor, warm-started from the frame
//! before. It is causal: nothing waits for a later frame. A frame costs a bounded number of iterations and no
//! allocation, and registration cannot fail: damage is flagged ([`BodyFlags`], [`KeypointFlags`]).

mod align;
mod cold;
mod command;
pub mod convention;
mod error;
pub mod fit;
mod floor;
pub mod import;
mod intake;
mod known;
mod math;
mod normal;
mod refine;
mod registrar;
pub mod report;
mod skeleton;
mod solver;
mod stage;
mod state;
mod subject;
#[cfg(test)]
mod testing;
mod tree;
mod tuning;

pub use command::FitCommand;
pub use error::BodyError;
pub use registrar::Registrar;
pub use skeleton::Skeleton;
pub use stage::BodyStage;
pub use state::{BodyFlags, BodyState, HingeFlags, KeypointFlags};
pub use subject::{FitRecord, RAT23_TRUNK, Subject, SubjectKeypoint, SubjectLimb, SubjectSegment, stock_segments};
pub use tuning::Tuning;
