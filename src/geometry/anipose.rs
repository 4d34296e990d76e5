//! Anipose and aniposelib calibration TOML: `[cam_0]` tables with `matrix`, `distortions`, `rotation` (Rodrigues vector),
//! `translation` in the unit of the calibration board.
//!
//! The files do not say their unit. Boards are measured in millimetres, so millimetres it is, unless `[metadata]` carries
//! `length_unit = "m"` (or `"mm"`).

use std::path::Path;

use nalgebra::{Rotation3, Vector3};
use serde::Deserialize;

use super::toml_calibration::rows;
use super::{CalibrationError, CameraModel, RigidTransform};

#[derive(Deserialize)]
struct RawCamera {
    name: String,
    size: [u32; 2],
    matrix: [[f64; 3]; 3],
    distortions: Vec<f64>,
    rotation: [f64; 3],
    translation: [f64; 3],
    #[serde(default)]
    fisheye: bool,
}

/// Whether a TOML text is anipose's rather than ours.
pub(super) fn looks_like(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("[cam_"))
}

pub(super) fn read(path: &Path, text: &str) -> Result<Vec<CameraModel>, CalibrationError> {
    let table: toml::Table = toml::from_str(text)
        .map_err(|error| CalibrationError::malformed(path, "TOML", error.to_string().trim_end().to_owned()))?;
    let metres = metres_per_unit(path, &table)?;
    // Numbered names sort as text only up to ten cameras.
    let mut keys: Vec<&String> = table.keys().filter(|key| key.starts_with("cam_")).collect();
    keys.sort_by_key(|key| (key.len(), (*key).clone()));
    let mut cameras = Vec::new();
    for key in keys {
        let raw: RawCamera = table[key]
            .clone()
            .try_into()
            .map_err(|error| CalibrationError::malformed(path, key, error.to_string().trim_end().to_owned()))?;
        cameras.push(camera(path, key, raw, metres)?);
    }
    Ok(cameras)
}

fn metres_per_unit(path: &Path, table: &toml::Table) -> Result<f64, CalibrationError> {
    match table.get("metadata").and_then(|m| m.get("length_unit")).and_then(|u| u.as_str()) {
        None | Some("mm") => Ok(1e-3),
        Some("m") => Ok(1.0),
        Some(other) => Err(CalibrationError::malformed(
            path,
            "metadata.length_unit",
            format!("{other:?}, expected \"mm\" or \"m\""),
        )),
    }
}

fn camera(path: &Path, key: &str, raw: RawCamera, metres: f64) -> Result<CameraModel, CalibrationError> {
    if raw.fisheye {
        return Err(CalibrationError::malformed(path, key, "fisheye = true, expected the five-parameter lens model"));
    }
    if raw.distortions.len() > 5 {
        let found = format!("{} distortions, expected at most 5 (k1 k2 p1 p2 k3)", raw.distortions.len());
        return Err(CalibrationError::malformed(path, key, found));
    }
    let mut distortion = [0.0; 5];
    distortion[..raw.distortions.len()].copy_from_slice(&raw.distortions);
    Ok(CameraModel {
        name: raw.name,
        width_px: raw.size[0],
        height_px: raw.size[1],
        k: rows(raw.matrix),
        distortion,
        cam_from_world: RigidTransform {
            rotation: *Rotation3::new(Vector3::from(raw.rotation)).matrix(),
            translation_m: Vector3::from(raw.translation) * metres,
        },
    })
}
