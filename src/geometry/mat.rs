//! MATLAB level 5 `.mat` files (saved with `-v6` or `-v7`): numbers, text, cells and structs, compressed or not.
//!
//! Numbers of every width are given as `f64` (exact up to 2^53), in MATLAB's own column-major order. Sparse matrices,
//! objects and function handles are kept as [`MatValue::Other`]. Level 7.3 files are HDF5 and are refused.

use std::path::{Path, PathBuf};

use super::mat_read;
pub use super::mat_value::{MatArray, MatValue};

/// A file that cannot be read, or that lacks what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// Not a level 5 file, or damaged.
    #[error("{}: byte {at}: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where, within the file or within the decompressed element.
        at: usize,
        /// What is there and what was expected.
        reason: String,
    },
    /// No such variable, field or cell.
    #[error("no {wanted:?}; the file offers {}", offered.join(", "))]
    Missing {
        /// What was asked for.
        wanted: String,
        /// What there is.
        offered: Vec<String>,
    },
    /// A value of another kind or size.
    #[error("{what}: found {found}, expected {expected}")]
    Kind {
        /// Which value.
        what: String,
        /// Its kind and size.
        found: String,
        /// What was expected.
        expected: String,
    },
}

/// All variables of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct MatFile {
    path: PathBuf,
    variables: Vec<(String, MatValue)>,
}

impl MatFile {
    /// Reads the whole file.
    ///
    /// # Errors
    /// [`MatError::Unreadable`], [`MatError::Damaged`].
    pub fn open(path: &Path) -> Result<Self, MatError> {
        let bytes = std::fs::read(path)
            .map_err(|error| MatError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
        let variables = mat_read::read(&bytes).map_err(|damage| MatError::Damaged {
            path: path.to_owned(),
            at: damage.at,
            reason: damage.reason,
        })?;
        Ok(Self { path: path.to_owned(), variables })
    }

    /// The file it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Variables in file order.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &MatValue)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A variable by name.
    ///
    /// # Errors
    /// [`MatError::Missing`] names what the file offers.
    pub fn get(&self, name: &str) -> Result<&MatValue, MatError> {
        self.variables.iter().find(|(n, _)| n == name).map(|(_, value)| value).ok_or_else(|| MatError::Missing {
            wanted: name.to_owned(),
            offered: self.variables.iter().map(|(n, _)| n.clone()).collect(),
        })
    }

    /// A variable that is an array of numbers.
    ///
    /// # Errors
    /// [`MatError::Missing`], [`MatError::Kind`].
    pub fn numbers(&self, name: &str) -> Result<&MatArray, MatError> {
        let value = self.get(name)?;
        value.numbers().ok_or_else(|| MatError::Kind {
            what: name.to_owned(),
            found: value.describe(),
            expected: "an array of numbers".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(file: &str) -> Option<MatFile> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(file);
        if !path.is_file() {
            println!("skipped: {} is not here", path.display());
            return None;
        }
        Some(MatFile::open(&path).unwrap())
    }

    #[test]
    fn keypoints_of_a_real_rat_are_read() {
        let Some(file) = shared("rat_keypoints/rat23_grooming_1000_frames.mat") else { return };
        let pred = file.numbers("pred").unwrap();
        assert_eq!(pred.dims, [1000, 3, 23]);
        assert_eq!(pred.at(&[999, 2, 22]), pred.data.last().copied());
        assert_eq!(pred.at(&[1000, 0, 0]), None);
        assert!(pred.data.iter().all(|v| v.abs() < 500.0), "millimetres within an arena");
    }

    #[test]
    fn cells_of_text_are_read() {
        let Some(file) = shared("rat_keypoints/rat23.mat") else { return };
        let names: Vec<_> =
            file.get("joint_names").unwrap().cells().unwrap().iter().map(|c| c.text().unwrap()).collect();
        assert_eq!((names.len(), names[0], names[1]), (23, "Snout", "EarL"));
        let message = file.get("joints").unwrap_err().to_string();
        assert!(message.contains("joints_idx"), "{message}");
    }

    #[test]
    fn cells_of_structs_are_read() {
        let Some(file) = shared("rat_rig_calibration/rat_rig_6cam_label3d.mat") else { return };
        let cells = file.get("labelData").unwrap().cells().unwrap();
        let labels = cells[5].field("data_2d", 0).unwrap().numbers().unwrap();
        assert_eq!(labels.dims, [8, 46]);
    }
}
