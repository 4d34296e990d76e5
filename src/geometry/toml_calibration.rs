//! Our calibration TOML: explicit units, row-major matrices.
//!
//! ```toml
//! [[camera]]
//! name = "Camera1"
//! width_px = 1920
//! height_px = 1200
//! k = [[2268.3, 0.0, 939.9], [0.0, 2275.5, 616.5], [0.0, 0.0, 1.0]]
//! distortion = [-0.0899, 0.1137, 0.0, 0.0, 0.0]   # k1 k2 p1 p2 k3
//! rotation = [[...], [...], [...]]                # cam_from_world, row-major
//! translation_m = [0.083, 0.078, 0.965]           # cam_from_world
//! ```

use std::fmt::Write as _;
use std::path::Path;

use nalgebra::{Matrix3, Vector3};
use serde::Deserialize;

use super::{CalibrationError, CameraModel, RigidTransform};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    camera: Vec<RawCamera>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCamera {
    name: String,
    width_px: u32,
    height_px: u32,
    k: [[f64; 3]; 3],
    #[serde(default)]
    distortion: [f64; 5],
    rotation: [[f64; 3]; 3],
    translation_m: [f64; 3],
}

/// Row-major rows as a matrix.
pub(super) fn rows(m: [[f64; 3]; 3]) -> Matrix3<f64> {
    Matrix3::from_fn(|i, j| m[i][j])
}

pub(super) fn read(path: &Path, text: &str) -> Result<Vec<CameraModel>, CalibrationError> {
    let raw: RawFile = toml::from_str(text)
        .map_err(|error| CalibrationError::malformed(path, "TOML", error.to_string().trim_end().to_owned()))?;
    Ok(raw
        .camera
        .into_iter()
        .map(|c| CameraModel {
            name: c.name,
            width_px: c.width_px,
            height_px: c.height_px,
            k: rows(c.k),
            distortion: c.distortion,
            cam_from_world: RigidTransform {
                rotation: rows(c.rotation),
                translation_m: Vector3::from(c.translation_m),
            },
        })
        .collect())
}

pub(super) fn write(cameras: &[CameraModel]) -> String {
    let matrix = |m: &Matrix3<f64>| {
        let row = |i: usize| format!("[{:?}, {:?}, {:?}]", m[(i, 0)], m[(i, 1)], m[(i, 2)]);
        format!("[{}, {}, {}]", row(0), row(1), row(2))
    };
    let mut text = String::from(
        "# Cameras of a rig. Metres and pixels; matrices row-major; rotation and translation map world to camera;\n\
         # distortion is k1 k2 p1 p2 k3.\n",
    );
    for camera in cameras {
        let t = camera.cam_from_world.translation_m;
        write!(
            text,
            "\n[[camera]]\nname = {:?}\nwidth_px = {}\nheight_px = {}\nk = {}\ndistortion = {:?}\nrotation = {}\n\
             translation_m = [{:?}, {:?}, {:?}]\n",
            camera.name,
            camera.width_px,
            camera.height_px,
            matrix(&camera.k),
            camera.distortion,
            matrix(&camera.cam_from_world.rotation),
            t.x,
            t.y,
            t.z
        )
        .expect("writing to a string does not fail");
    }
    text
}
