//! Views to 3D keypoints: ONNX sessions and decoding.
//!
//! A [`Manifest`] says what a network's tensors mean, so that a lab's own network runs without code. [`PoseStage`] cuts a
//! crop around the animal's expected place out of every view, runs all crops as one batch, decodes sub-pixel peaks,
//! triangulates them robustly, and follows the animal. A coarse network over whole views starts it and finds the
//! animal again. A frame set costs one inference (two while searching); nothing is allocated outside ONNX Runtime;
//! nothing is ever claimed from fewer than two agreeing views.

mod crop;
mod decode;
mod detector;
mod egocentric;
mod error;
mod estimate;
mod inspect;
mod keypoint;
mod manifest;
mod network;
mod refiner;
pub mod runtime;
mod stage;
mod track;
mod watch;

pub use crate::config::{PoseConfig, Provider};
pub use crop::CropBox;
pub use detector::{Detector, DetectorOptions};
pub use egocentric::{Egocentric, POINT_ROW, VIEW_ROW};
pub use error::PoseError;
pub use estimate::{PoseEstimate, TrackState, ViewEstimate};
pub use inspect::inspect;
pub use keypoint::Keypoint;
pub use manifest::{
    CAMERA_ROW, CropSpec, Decode, Layout, Manifest, ModelKind, NetworkSpec, Refine, RefinerSpec, Response, Spread,
};
pub use stage::PoseStage;
pub use watch::CameraWatch;
