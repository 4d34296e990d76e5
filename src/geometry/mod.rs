//! Camera model, calibration files, triangulation. Pure: no clock, no device, files only in the `load` functions.
//!
//! Conventions: world in metres, z up; `x_cam = rotation * x_world + translation_m`; the camera looks along its +z with
//! x to the right and y down; a pixel's integer coordinate is its centre; distortion is the five-parameter model
//! k1 k2 p1 p2 k3 of OpenCV. Triangulation of six views by 23 keypoints allocates nothing.

mod anipose;
mod calibration;
mod camera;
mod error;
pub mod mat;
mod mat_calibration;
mod mat_read;
mod mat_value;
mod opencv_yaml;
mod toml_calibration;
mod triangulate;

pub use calibration::Calibration;
pub use camera::{CameraModel, MOVED_SHARE, RigidTransform};
pub use error::CalibrationError;
pub use triangulate::{
    Observation, Triangulated, TriangulationOptions, VIEWS_MAX, triangulate_dlt, triangulate_robust,
};
