//! Recordings of keypoints made elsewhere.
//!
//! [`Recording::open`] tells the format by the file's extension and content: DANNCE predictions (`.mat`, level 5 or 7.3),
//! HDF5 (`.h5`: SLEAP, sleap-anipose, stac-mjx), tables of numbers (`.csv`: anipose's `name_x, name_y, name_z, name_score`,
//! or the three-row header of DeepLabCut).

mod csv;
mod hdf5;
mod matlab;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::BodyError;
use crate::pose::Keypoint;

/// DANNCE's `p_max` is the height of a probability map: from here on the position is certain.
const CERTAIN: f64 = 0.2;

/// Keypoints of a whole recording, in the file's own unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// The file.
    pub path: PathBuf,
    /// Names of the keypoints; empty where the file does not say.
    pub names: Vec<String>,
    /// Keypoints of each frame. A missing one has confidence 0. Positions are in the file's unit until
    /// [`Recording::scale`] is applied.
    pub frames: Vec<Vec<Keypoint>>,
}

impl Recording {
    /// Reads a recording.
    ///
    /// # Errors
    /// A file of no known format, or a damaged one.
    pub fn open(path: &Path) -> Result<Self, BodyError> {
        let extension = path.extension().and_then(|text| text.to_str()).unwrap_or_default().to_ascii_lowercase();
        match extension.as_str() {
            "mat" if hdf5::is_hdf5(&head(path)?) => hdf5::read(path),
            "mat" => matlab::read(path),
            "h5" | "hdf5" => hdf5::read(path),
            "csv" => csv::read(path),
            _ => Err(unusable(path, "not a known recording of keypoints: expected .mat (DANNCE), .h5 or .csv")),
        }
    }

    /// Number of keypoints in each frame.
    pub fn keypoints(&self) -> usize {
        self.frames.first().map_or(self.names.len(), Vec::len)
    }

    /// Names the keypoints of a file that does not.
    ///
    /// # Errors
    /// Another number of names than of keypoints.
    pub fn name(&mut self, names: &[String]) -> Result<(), BodyError> {
        if names.len() != self.keypoints() {
            let reason = format!("{} keypoints: expected {}, one for each name given", self.keypoints(), names.len());
            return Err(unusable(&self.path, reason));
        }
        self.names = names.to_vec();
        Ok(())
    }

    /// Multiplies all positions: 0.001 brings millimetres to metres.
    pub fn scale(&mut self, factor: f64) {
        for keypoint in self.frames.iter_mut().flatten() {
            keypoint.xyz_m = keypoint.xyz_m.map(|value| value * factor);
        }
    }
}

/// The first bytes of a file.
fn head(path: &Path) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(1_024).read_to_end(&mut bytes))
        .map_err(|error| unusable(path, format!("cannot be read: {error}")))?;
    Ok(bytes)
}

fn unusable(path: &Path, reason: impl Into<String>) -> BodyError {
    BodyError::Recording { path: path.to_owned(), reason: reason.into() }
}

/// A keypoint of a file: missing where a coordinate is not finite.
fn keypoint(xyz: [f64; 3], confidence: f64) -> Keypoint {
    if xyz.iter().all(|value| value.is_finite()) && confidence.is_finite() {
        Keypoint::recorded(xyz, confidence.clamp(0.0, 1.0) as f32)
    } else {
        Keypoint::MISSING
    }
}
