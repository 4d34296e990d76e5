//! Frames of the twin's cameras with a bright and a dark spot, for the graphs of `training/pose/fixtures.py`.

use std::path::{Path, PathBuf};

use mimicd::geometry::{Calibration, CameraModel};
use mimicd_device::{CameraIndex, Frame, FrameGeometry, PixelFormat};
use nalgebra::Vector3;

/// A spot's side, pixels.
const SPOT_PX: usize = 13;

/// A graph of the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pose").join(name)
}

/// The twin's six cameras.
pub fn calibration() -> Calibration {
    Calibration::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/twin-calibration.toml")).unwrap()
}

/// What every camera sees of spots of these values on this grey.
pub fn frames(grey: u8, spots: &[(Vector3<f64>, u8)]) -> Vec<Frame> {
    let draw = |camera: &CameraModel| {
        let (width_px, height_px) = (camera.width_px, camera.height_px);
        let mut frame = Frame::blank(CameraIndex(0), FrameGeometry { width_px, height_px, format: PixelFormat::Mono8 });
        frame.pixels.fill(grey);
        for (point, value) in spots {
            let pixel = camera.project(point).unwrap();
            let corner = |at: f64| (at - 0.5 * SPOT_PX as f64).round() as usize;
            for row in corner(pixel.y)..corner(pixel.y) + SPOT_PX {
                frame.pixels[row * width_px as usize + corner(pixel.x)..][..SPOT_PX].fill(*value);
            }
        }
        frame
    };
    calibration().cameras.iter().map(draw).collect()
}
