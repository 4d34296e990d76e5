//! Views to 3D keypoints: ONNX sessions and decoding.

mod keypoint;

pub use keypoint::Keypoint;
