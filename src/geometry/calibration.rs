//! The cameras of a rig, from whichever file the lab has.

use std::path::{Path, PathBuf};

use nalgebra::Matrix3;

use super::{CalibrationError, CameraModel, anipose, mat_calibration, opencv_yaml, toml_calibration};

/// All calibrated cameras of a rig.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// In file order, or in the config's order after [`Calibration::for_frames`].
    pub cameras: Vec<CameraModel>,
}

impl Calibration {
    /// Reads a calibration by what the path is:
    ///
    /// - `.toml`: ours (`[[camera]]`) or anipose's (`[cam_0]`, …);
    /// - `.mat`: label3d (`params`, `camnames`) or one DANNCE camera (`K`, `r`, `t`, `RDistort`, `TDistort`);
    /// - `.yaml`, `.yml`: OpenCV, one camera;
    /// - a folder: one `.mat` or `.yaml` for each camera, in the order of the names; a camera is named after its file.
    ///
    /// `.mat` files give no image size: [`Calibration::for_frames`] supplies it.
    ///
    /// # Errors
    /// [`CalibrationError`] names file, place and value.
    pub fn load(path: &Path) -> Result<Self, CalibrationError> {
        let cameras = if path.is_dir() { load_folder(path)? } else { load_file(path)? };
        if cameras.is_empty() {
            return Err(CalibrationError::malformed(path, "cameras", "none found, expected at least one"));
        }
        for (i, camera) in cameras.iter().enumerate() {
            check(camera)
                .map_err(|reason| CalibrationError::malformed(path, format!("camera {:?}", camera.name), reason))?;
            if cameras[..i].iter().any(|other| other.name == camera.name) {
                let place = format!("camera {:?}", camera.name);
                return Err(CalibrationError::malformed(path, place, "named twice, expected distinct names"));
            }
        }
        Ok(Self { cameras })
    }

    /// Writes our TOML; [`Calibration::load`] reads it back bit for bit.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), CalibrationError> {
        std::fs::write(path, toml_calibration::write(&self.cameras))
            .map_err(|error| CalibrationError::unreadable(path, &error))
    }

    /// The cameras named in `frames`, in that order, scaled to the frames' size (name, width, height in pixels).
    ///
    /// # Errors
    /// [`CalibrationError::NoCamera`] names what the file offers; [`CalibrationError::Shape`] when width to height differ.
    pub fn for_frames<'a>(
        &self,
        frames: impl IntoIterator<Item = (&'a str, u32, u32)>,
    ) -> Result<Self, CalibrationError> {
        let cameras = frames.into_iter().map(|(name, width_px, height_px)| {
            let camera = self.cameras.iter().find(|c| c.name == name).ok_or_else(|| CalibrationError::NoCamera {
                wanted: name.to_owned(),
                offered: self.cameras.iter().map(|c| c.name.clone()).collect(),
            })?;
            if camera.width_px == 0 || camera.height_px == 0 {
                return Ok(CameraModel { width_px, height_px, ..camera.clone() });
            }
            let stretch =
                f64::from(width_px) * f64::from(camera.height_px) / (f64::from(height_px) * f64::from(camera.width_px));
            if (stretch - 1.0).abs() > 0.01 {
                return Err(CalibrationError::Shape {
                    name: name.to_owned(),
                    calibrated_px: (camera.width_px, camera.height_px),
                    frames_px: (width_px, height_px),
                });
            }
            Ok(camera.scaled_to(width_px, height_px))
        });
        Ok(Self { cameras: cameras.collect::<Result<_, _>>()? })
    }

    /// The world point that comes nearest to all optical axes, metres: where the cameras look.
    pub fn centre_m(&self) -> nalgebra::Vector3<f64> {
        let mut normal = Matrix3::identity() * 1e-9;
        let mut right = nalgebra::Vector3::zeros();
        for camera in &self.cameras {
            let axis = camera.cam_from_world.rotation.row(2).transpose();
            let across = Matrix3::identity() - axis * axis.transpose();
            normal += across;
            right += across * camera.centre_m();
        }
        normal.try_inverse().map_or(right, |inverse| inverse * right)
    }
}

fn load_file(path: &Path) -> Result<Vec<CameraModel>, CalibrationError> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    let text = || std::fs::read_to_string(path).map_err(|error| CalibrationError::unreadable(path, &error));
    match extension.as_deref() {
        Some("toml") => {
            let text = text()?;
            if anipose::looks_like(&text) { anipose::read(path, &text) } else { toml_calibration::read(path, &text) }
        }
        Some("mat") => mat_calibration::read(path),
        Some("yaml" | "yml") => opencv_yaml::read(path, &text()?).map(|camera| vec![camera]),
        other => Err(CalibrationError::UnknownKind {
            path: path.to_owned(),
            found: other.map_or_else(|| "a name without an extension".to_owned(), |e| format!(".{e}")),
        }),
    }
}

fn load_folder(folder: &Path) -> Result<Vec<CameraModel>, CalibrationError> {
    let entries = std::fs::read_dir(folder).map_err(|error| CalibrationError::unreadable(folder, &error))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "mat" || e == "yaml" || e == "yml"))
        .collect();
    files.sort();
    let mut cameras = Vec::new();
    for file in files {
        cameras.extend(load_file(&file)?);
    }
    Ok(cameras)
}

/// What every calibration must satisfy.
fn check(camera: &CameraModel) -> Result<(), String> {
    let numbers = camera
        .k
        .iter()
        .chain(&camera.distortion)
        .chain(camera.cam_from_world.rotation.iter())
        .chain(camera.cam_from_world.translation_m.iter());
    if let Some(bad) = numbers.into_iter().find(|v| !v.is_finite()) {
        return Err(format!("a value is {bad}, expected finite numbers"));
    }
    for (name, value) in [("fx", camera.k[(0, 0)]), ("fy", camera.k[(1, 1)])] {
        if !(1.0..=1e6).contains(&value) {
            return Err(format!("{name} = {value} px, expected 1 to 1e6"));
        }
    }
    if camera.k[(1, 0)] != 0.0 || camera.k[(2, 0)] != 0.0 || camera.k[(2, 1)] != 0.0 {
        return Err(format!("k = {:?} has values under its diagonal, expected row-major upper triangular", camera.k));
    }
    let rotation = camera.cam_from_world.rotation;
    let error = (rotation * rotation.transpose() - Matrix3::identity()).abs().max();
    if error > 1e-3 || rotation.determinant() < 0.0 {
        return Err(format!(
            "the rotation is not one: off orthonormal by {error:.2e}, determinant {:.3}",
            rotation.determinant()
        ));
    }
    let distance_m = camera.cam_from_world.translation_m.norm();
    if distance_m > 100.0 {
        return Err(format!(
            "{distance_m:.1} m from the world's origin, expected under 100 m: check the unit of length"
        ));
    }
    Ok(())
}
