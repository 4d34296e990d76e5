//! DANNCE and label3d calibrations.
//!
//! MATLAB works with row vectors: `X_cam = X_world * r + t` and the intrinsic matrix is transposed. Both are turned here,
//! once. Lengths are millimetres. Pixel coordinates are taken as they are in the file.

use std::path::Path;

use nalgebra::{Matrix3, Vector3};

use super::mat::{MatError, MatFile, MatValue};
use super::{CalibrationError, CameraModel, RigidTransform};

const METRES_PER_MILLIMETRE: f64 = 1e-3;

pub(super) fn read(path: &Path) -> Result<Vec<CameraModel>, CalibrationError> {
    let file = MatFile::open(path).map_err(|error| match error {
        MatError::Unreadable { path, reason } => CalibrationError::Unreadable { path, reason },
        other => CalibrationError::malformed(path, "MAT file", other.to_string()),
    })?;
    if let Ok(params) = file.get("params") {
        return label3d(path, &file, params);
    }
    if file.get("K").is_ok() {
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(vec![camera(path, stem, |name| file.get(name).ok())?]);
    }
    let offered: Vec<_> = file.variables().map(|(name, _)| name.to_owned()).collect();
    Err(CalibrationError::malformed(
        path,
        "variables",
        format!("expected params (label3d) or K, r, t (DANNCE); the file offers {}", offered.join(", ")),
    ))
}

fn label3d(path: &Path, file: &MatFile, params: &MatValue) -> Result<Vec<CameraModel>, CalibrationError> {
    let cells = params.cells().ok_or_else(|| {
        CalibrationError::malformed(path, "params", format!("{}, expected a cell of structs", params.describe()))
    })?;
    let names = file.get("camnames").ok().and_then(MatValue::cells);
    let mut cameras = Vec::new();
    for (i, cell) in cells.iter().enumerate() {
        let named = names.and_then(|n| n.get(i)).and_then(MatValue::text);
        let name = named.map_or_else(|| format!("Camera{}", i + 1), str::to_owned);
        cameras.push(camera(path, name, |field| cell.field(field, 0))?);
    }
    Ok(cameras)
}

fn camera<'a>(
    path: &Path,
    name: String,
    field: impl Fn(&str) -> Option<&'a MatValue>,
) -> Result<CameraModel, CalibrationError> {
    let numbers = |wanted: &str, sizes: &[usize]| -> Result<&'a [f64], CalibrationError> {
        let found = field(wanted);
        match found.and_then(MatValue::numbers) {
            Some(array) if sizes.contains(&array.data.len()) => Ok(&array.data),
            _ => Err(CalibrationError::malformed(
                path,
                format!("camera {name:?}, {wanted}"),
                format!("{}, expected {sizes:?} numbers", found.map_or("nothing".to_owned(), MatValue::describe)),
            )),
        }
    };
    let radial = numbers("RDistort", &[2, 3])?;
    let tangential = numbers("TDistort", &[2])?;
    // Column-major data of a transposed matrix are its rows: `from_row_slice` is both turns at once.
    let k = Matrix3::from_row_slice(numbers("K", &[9])?);
    let rotation = Matrix3::from_row_slice(numbers("r", &[9])?);
    let translation_m = Vector3::from_row_slice(numbers("t", &[3])?) * METRES_PER_MILLIMETRE;
    let k3 = radial.get(2).copied().unwrap_or(0.0);
    Ok(CameraModel {
        name,
        width_px: 0,
        height_px: 0,
        k,
        distortion: [radial[0], radial[1], tangential[0], tangential[1], k3],
        cam_from_world: RigidTransform { rotation, translation_m },
    })
}
