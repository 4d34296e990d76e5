//! The published data layout: one HDF5 file per recording, everything on one grid of 20-ms frames.
//!
//! ```text
//! /pose/keypoints          (T, 3, 23)  mm, the rat23 order
//! /pose/qpos               (T, 74)     m, rad; optional when read
//! /ephys/spike_counts      (T, U)      spikes a frame
//! /behavior/motion_mapper  (T,)        behaviour, counted from 1; 0 = none; optional when read
//! ```
//!
//! Read so that a lab can run the paper's recordings through registration, imitation and encoding; written so that a
//! recording of ours can be analysed with the paper's own programs.

use std::path::{Path, PathBuf};

use mimicd_rat::{QPOS_LEN, RAT23};
use rust_hdf5::{H5Dataset, H5File};

const KEYPOINTS: &str = "pose/keypoints";
const QPOS: &str = "pose/qpos";
const COUNTS: &str = "ephys/spike_counts";
const BEHAVIOUR: &str = "behavior/motion_mapper";

/// Frames of one chunk of a written file.
const CHUNK_FRAMES: usize = 1_024;

/// A recording in the published layout. Frames come first in every field; values that are not known are NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    /// Frames.
    pub frames: usize,
    /// Frames × xyz × keypoints, mm.
    pub keypoints_mm: Vec<f64>,
    /// Frames × 74, m and rad; empty when there is none.
    pub qpos: Vec<f64>,
    /// Units.
    pub units: usize,
    /// Frames × units.
    pub spike_counts: Vec<u8>,
    /// Behaviour of each frame, from 1; 0 = none. Empty when there is none.
    pub motion_mapper: Vec<i64>,
}

/// Why a file in the published layout cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct PublishedError {
    path: PathBuf,
    reason: String,
}

impl PublishedError {
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
    }
}

impl Published {
    /// A keypoint of a frame, mm.
    pub fn keypoint_mm(&self, frame: usize, keypoint: usize) -> [f64; 3] {
        let first = frame * 3 * RAT23.len();
        std::array::from_fn(|axis| self.keypoints_mm[first + axis * RAT23.len() + keypoint])
    }

    /// A unit's count in every frame.
    pub fn counts(&self, unit: usize) -> Vec<u16> {
        self.spike_counts.iter().skip(unit).step_by(self.units.max(1)).map(|count| u16::from(*count)).collect()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// No HDF5 file, a data set that is missing or of another shape: which, what it has, what was expected.
    pub fn read(path: &Path) -> Result<Self, PublishedError> {
        let opened = H5File::options().no_locking().open(path);
        let file = opened.map_err(|error| PublishedError::new(path, format!("cannot be read as HDF5: {error}")))?;
        let keypoints = numbers(&file, path, KEYPOINTS)?;
        let frames = keypoints.shape.first().copied().unwrap_or(0);
        keypoints.expect(path, KEYPOINTS, &[frames, 3, RAT23.len()])?;
        let counts = numbers(&file, path, COUNTS)?;
        let units = counts.shape.get(1).copied().unwrap_or(0);
        counts.expect(path, COUNTS, &[frames, units])?;
        let has = |name: &str| file.dataset_names().iter().any(|known| known.trim_start_matches('/') == name);
        let qpos = if has(QPOS) {
            let qpos = numbers(&file, path, QPOS)?;
            qpos.expect(path, QPOS, &[frames, QPOS_LEN])?;
            qpos.values
        } else {
            Vec::new()
        };
        let motion_mapper = if has(BEHAVIOUR) { Self::behaviour(&file, path, frames)? } else { Vec::new() };
        let whole = |value: &f64| if value.is_finite() { value.clamp(0.0, 255.0) as u8 } else { 0 };
        let spike_counts = counts.values.iter().map(whole).collect();
        Ok(Self { frames, keypoints_mm: keypoints.values, qpos, units, spike_counts, motion_mapper })
    }

    fn behaviour(file: &H5File, path: &Path, frames: usize) -> Result<Vec<i64>, PublishedError> {
        let found = numbers(file, path, BEHAVIOUR)?;
        // MATLAB writes a vector as a matrix of one column or row.
        let shape: Vec<usize> = found.shape.iter().copied().filter(|length| *length != 1).collect();
        if shape != [frames] && found.values.len() != frames {
            found.expect(path, BEHAVIOUR, &[frames])?;
        }
        Ok(found.values.iter().map(|value| if value.is_finite() { *value as i64 } else { 0 }).collect())
    }

    /// Writes a file, beside its place first and moved there when whole.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PublishedError> {
        let beside = path.with_extension("h5.part");
        self.write_whole(&beside)
            .map_err(|reason| PublishedError::new(path, format!("cannot be written: {reason}")))?;
        std::fs::rename(&beside, path)
            .map_err(|error| PublishedError::new(path, format!("cannot be moved into place: {error}")))
    }

    fn write_whole(&self, path: &Path) -> Result<(), rust_hdf5::Hdf5Error> {
        let file = H5File::create(path)?;
        let (pose, ephys, behaviour) =
            (file.create_group("pose")?, file.create_group("ephys")?, file.create_group("behavior")?);
        let rows = self.frames.clamp(1, CHUNK_FRAMES);
        let floats: Vec<f32> = self.keypoints_mm.iter().map(|value| *value as f32).collect();
        let shape = [self.frames, 3, RAT23.len()];
        let keypoints =
            pose.new_dataset::<f32>().shape(shape).chunk(&[rows, 3, RAT23.len()]).deflate(4).create("keypoints")?;
        keypoints.write_raw(&floats)?;
        let qpos = pose
            .new_dataset::<f64>()
            .shape([self.frames, QPOS_LEN])
            .chunk(&[rows, QPOS_LEN])
            .deflate(4)
            .create("qpos")?;
        qpos.write_raw(&self.qpos)?;
        let units = self.units.max(1);
        let counts = ephys.new_dataset::<u8>().shape([self.frames, self.units]);
        let counts = if self.units > 0 { counts.chunk(&[rows, units]).deflate(4) } else { counts };
        counts.create("spike_counts")?.write_raw(&self.spike_counts)?;
        let labels =
            behaviour.new_dataset::<i64>().shape([self.frames]).chunk(&[rows]).deflate(4).create("motion_mapper")?;
        labels.write_raw(&self.motion_mapper)?;
        file.close()
    }
}

struct Numbers {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Numbers {
    fn expect(&self, path: &Path, name: &str, shape: &[usize]) -> Result<(), PublishedError> {
        if self.shape == shape && !self.values.is_empty() {
            return Ok(());
        }
        Err(PublishedError::new(path, format!("/{name} has the shape {:?}; expected {shape:?}, not empty", self.shape)))
    }
}

fn numbers(file: &H5File, path: &Path, name: &str) -> Result<Numbers, PublishedError> {
    let set: H5Dataset = file.dataset(name).map_err(|error| {
        let all = file.dataset_names().join(", ");
        PublishedError::new(path, format!("/{name}: {error}; the file has {all}"))
    })?;
    // Counts and labels may be floats in one file and integers of any width in another.
    let whole = || set.read_numeric_as::<i64>().map(|values| values.into_iter().map(|value| value as f64).collect());
    let values = set.read_numeric_as::<f64>().or_else(|_| whole());
    let values = values.map_err(|error| PublishedError::new(path, format!("/{name}: {error}")))?;
    Ok(Numbers { shape: set.shape(), values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(frames: usize) -> Published {
        Published {
            frames,
            keypoints_mm: (0..frames * 69).map(|i| (i % 1_000) as f64 * 0.5).collect(),
            qpos: (0..frames * 74).map(|i| i as f64 * 0.001).collect(),
            units: 5,
            spike_counts: (0..frames * 5).map(|i| (i % 7) as u8).collect(),
            motion_mapper: (0..frames).map(|i| (i / 10 % 4) as i64).collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let path = std::env::temp_dir().join(format!("mimicd-published-{}.h5", std::process::id()));
        let written = some(2_500);
        written.write(&path).expect("the folder takes files");
        assert_eq!(Published::read(&path).expect("well formed"), written);
        assert_eq!(written.keypoint_mm(1, 2), [35.5, 47.0, 58.5]);
        assert_eq!(written.counts(3)[..3], [3, 1, 6]);
        std::fs::remove_file(path).ok();
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let path = std::env::temp_dir().join(format!("mimicd-published-bad-{}.h5", std::process::id()));
        std::fs::write(&path, b"no hdf5").expect("the folder takes files");
        let refused = Published::read(&path).expect_err("not HDF5").to_string();
        assert!(refused.contains("cannot be read as HDF5"), "{refused}");
        let short = Published { spike_counts: vec![0; 10 * 5], frames: 10, ..some(10) };
        short.write(&path).expect("the folder takes files");
        let file = H5File::create(&path).expect("a file");
        file.create_group("pose").expect("a group");
        file.close().expect("closes");
        let refused = Published::read(&path).expect_err("no data set").to_string();
        assert!(refused.contains("/pose/keypoints"), "{refused}");
        std::fs::remove_file(path).ok();
    }
}
