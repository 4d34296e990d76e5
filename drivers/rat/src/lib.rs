//! The rat: the stock dm_control body, scaled, on a free joint, with keypoint sites.
//!
//! [`load`] is the one way in. Coordinates are everywhere [`QPOS_LEN`] = 74 numbers: position (3) and quaternion (4, w
//! first) of the `walker` body, then 67 hinge angles in file order. World frame: z up, floor at z = 0, metres, radians.

#![warn(clippy::unwrap_used)]

mod error;
mod keypoints;
mod kinematics;
mod mjcf;
mod model;
mod options;

pub use error::RatError;
pub use keypoints::{KeypointSite, RAT23, RAT23_EDGES, rat23_sites};
pub use kinematics::Kinematics;
pub use model::{ACTUATORS, Actuator, Body, Geom, GeomShape, Joint, QPOS_LEN, QVEL_LEN, RatModel, Sensor, load};
pub use options::{Actuators, RatOptions, Root, SegmentScale, SolverEffort};
