//! The ground-truth rat: its body, its movement, and what is known about it at any instant.

mod sites;
mod skeleton;
mod tail;

pub use sites::{Keypoints, twin_sites};
pub(crate) use skeleton::SCALE;
pub use skeleton::{BODIES, Body, HINGES, Hinge, Placement, QPOS, Shape, Skeleton, Solid};
pub use tail::Tail;
