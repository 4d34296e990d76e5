//! The ground-truth rat: its body, its movement, and what is known about it at any instant.

mod animal;
mod behaviour;
mod limb;
mod paws;
mod sites;
mod skeleton;
mod tail;
mod track;
mod world;

pub use behaviour::Behaviour;
pub use sites::{Keypoints, twin_sites};
pub use skeleton::{BODIES, Body, HINGES, Hinge, Placement, QPOS, Shape, Skeleton, Solid};
pub use tail::Tail;
pub use world::{Movement, Truth, World};
