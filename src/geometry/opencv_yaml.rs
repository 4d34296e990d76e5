//! One camera from an OpenCV `FileStorage` YAML.
//!
//! Reads what calibration tools write: a camera matrix, distortion coefficients, and (for rigs) rotation and translation,
//! under any of their usual names. A YAML library is of no use here: OpenCV's `%YAML:1.0` header and tags are not YAML.
//! A translation is in millimetres unless the file has `length_unit: m`.

use std::collections::BTreeMap;
use std::path::Path;

use nalgebra::{Matrix3, Rotation3, Vector3};

use super::{CalibrationError, CameraModel, RigidTransform};

const MATRIX_NAMES: [&str; 4] = ["camera_matrix", "cameraMatrix", "K", "intrinsic_matrix"];
const DISTORTION_NAMES: [&str; 5] =
    ["distortion_coefficients", "distCoeffs", "dist_coeffs", "D", "distortion_coefficients_matrix"];
const ROTATION_NAMES: [&str; 5] = ["R", "rotation", "rotation_matrix", "rvec", "rotation_vector"];
const TRANSLATION_NAMES: [&str; 5] = ["T", "t", "translation", "tvec", "translation_vector"];

/// Top-level scalars and matrices of a `FileStorage` text.
struct Storage {
    scalars: BTreeMap<String, String>,
    matrices: BTreeMap<String, Vec<f64>>,
}

pub(super) fn read(path: &Path, text: &str) -> Result<CameraModel, CalibrationError> {
    let storage = parse(path, text)?;
    let matrix = |names: &[&str], sizes: &[usize]| storage.matrix(path, names, sizes);
    let k = matrix(&MATRIX_NAMES, &[9])?.ok_or_else(|| storage.missing(path, "camera matrix", &MATRIX_NAMES))?;
    let lens = matrix(&DISTORTION_NAMES, &[4, 5])?.unwrap_or_default();
    let mut distortion = [0.0; 5];
    distortion[..lens.len()].copy_from_slice(&lens);
    let rotation = match matrix(&ROTATION_NAMES, &[9, 3])? {
        None => return Err(storage.missing(path, "rotation", &ROTATION_NAMES)),
        Some(v) if v.len() == 9 => Matrix3::from_row_slice(&v),
        Some(v) => *Rotation3::new(Vector3::from_row_slice(&v)).matrix(),
    };
    let translation =
        matrix(&TRANSLATION_NAMES, &[3])?.ok_or_else(|| storage.missing(path, "translation", &TRANSLATION_NAMES))?;
    let metres = match storage.scalars.get("length_unit").map(String::as_str) {
        Some("m") => 1.0,
        None | Some("mm") => 1e-3,
        Some(other) => {
            return Err(CalibrationError::malformed(path, "length_unit", format!("{other:?}, expected mm or m")));
        }
    };
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let size = |name: &str| storage.scalars.get(name).and_then(|v| v.parse().ok()).unwrap_or(0);
    Ok(CameraModel {
        name: storage.scalars.get("camera_name").cloned().unwrap_or(stem),
        width_px: size("image_width"),
        height_px: size("image_height"),
        k: Matrix3::from_row_slice(&k),
        distortion,
        cam_from_world: RigidTransform { rotation, translation_m: Vector3::from_row_slice(&translation) * metres },
    })
}

impl Storage {
    fn matrix(&self, path: &Path, names: &[&str], sizes: &[usize]) -> Result<Option<Vec<f64>>, CalibrationError> {
        let Some((name, values)) = names.iter().find_map(|name| self.matrices.get_key_value(*name)) else {
            return Ok(None);
        };
        if !sizes.contains(&values.len()) {
            let reason = format!("{} values, expected {sizes:?}", values.len());
            return Err(CalibrationError::malformed(path, name, reason));
        }
        Ok(Some(values.clone()))
    }

    fn missing(&self, path: &Path, what: &str, names: &[&str]) -> CalibrationError {
        let offered: Vec<_> = self.matrices.keys().map(String::as_str).collect();
        CalibrationError::malformed(
            path,
            what,
            format!("expected a matrix named {}; the file offers {}", names.join(", "), offered.join(", ")),
        )
    }
}

/// Reads `key: value` lines and `key: !!opencv-matrix` blocks whose `data: [ … ]` may span lines.
fn parse(path: &Path, text: &str) -> Result<Storage, CalibrationError> {
    let mut storage = Storage { scalars: BTreeMap::new(), matrices: BTreeMap::new() };
    let mut lines = text.lines().filter(|line| !line.starts_with('%') && !line.trim().is_empty()).peekable();
    let mut top = String::new();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if !line.starts_with(char::is_whitespace) {
            key.trim().clone_into(&mut top);
        }
        let Some(open) = value.find('[') else {
            if !value.is_empty() && !value.starts_with("!!") && !line.starts_with(char::is_whitespace) {
                storage.scalars.insert(top.clone(), value.trim_matches(['"', '\'']).to_owned());
            }
            continue;
        };
        let mut data = value[open + 1..].to_owned();
        while !data.contains(']') {
            let Some(more) = lines.next() else {
                return Err(CalibrationError::malformed(path, &top, "a list without its closing bracket"));
            };
            data.push(' ');
            data.push_str(more);
        }
        let list = data.split(']').next().unwrap_or_default();
        let values: Result<Vec<f64>, _> =
            list.split(',').map(str::trim).filter(|v| !v.is_empty()).map(str::parse).collect();
        let values =
            values.map_err(|error| CalibrationError::malformed(path, &top, format!("{:?}: {error}", list.trim())))?;
        storage.matrices.insert(top.clone(), values);
    }
    Ok(storage)
}
