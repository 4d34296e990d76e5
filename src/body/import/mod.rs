//! Recordings of keypoints made elsewhere.
//!
//! [`Recording::open`] tells the format by the file's extension and content: DANNCE predictions (`.mat`, level 5) and
//! tables of numbers (`.csv`: anipose's `name_x, name_y, name_z, name_score`, or the three-row header of DeepLabCut).

mod csv;
mod matlab;

use std::path::{Path, PathBuf};

use super::BodyError;
use crate::pose::Keypoint;

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
            "mat" => matlab::read(path),
            "csv" => csv::read(path),
            _ => Err(unusable(path, "not a known recording of keypoints: expected .mat (DANNCE, level 5) or .csv")),
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
