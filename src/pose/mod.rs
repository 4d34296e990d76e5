//! Views to 3D keypoints: ONNX sessions and decoding.
