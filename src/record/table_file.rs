//! One table as a Parquet file of its own, outside a recording, and keypoints read back from one or from a dataset.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mimicd_device::RigTime;

use super::disk::OsDisk;
use super::error::RecordError;
use super::manifest::{MANIFEST, Manifest};
use super::schema::{RowWriter, TableSchema};
use super::seal::TablePart;
use super::tables;

/// A table being written. The file appears under its name when it is finished.
pub struct TableFile {
    part: TablePart,
    schema: TableSchema,
    bytes: Vec<u8>,
    path: PathBuf,
}

impl std::fmt::Debug for TableFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TableFile {
    /// Begins the file.
    ///
    /// # Errors
    /// A folder or file that cannot be made.
    pub fn create(path: &Path, schema: TableSchema) -> Result<Self, RecordError> {
        // A name without a folder lies in the working folder.
        let path = if path.parent() == Some(Path::new("")) { Path::new(".").join(path) } else { path.to_owned() };
        let part = TablePart::create(&OsDisk, &path, &schema, Arc::new(schema.arrow()))?;
        Ok(Self { part, schema, bytes: Vec::new(), path })
    }

    /// Adds a row; `write` takes the columns in order.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn row(&mut self, at: RigTime, write: impl FnOnce(&mut RowWriter<'_>)) -> Result<(), RecordError> {
        let mut row = RowWriter::begin(&mut self.bytes, &self.schema, at.nanos());
        write(&mut row);
        row.end();
        self.part.row(&self.bytes).map(|_| ())
    }

    /// Finishes the file; gives the number of rows.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn finish(self) -> Result<u64, RecordError> {
        let folder = self.path.parent().unwrap_or(Path::new(".")).to_owned();
        self.part.finish(&OsDisk, &folder, 0).map(|part| part.rows)
    }
}

/// Keypoints of a `pose` table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeypointRows {
    /// Rig time of each row, nanoseconds.
    pub t_ns: Vec<i64>,
    /// Positions, metres: `rows x keypoints x 3`; NaN = none.
    pub keypoints_m: Vec<f64>,
    /// Confidences, 0 to 1: `rows x keypoints`.
    pub confidence: Vec<f64>,
}

/// Reads the keypoints of a dataset (its folder) or of one Parquet file with the columns of its `pose` table.
///
/// # Errors
/// When a file cannot be read, or lacks those columns.
pub fn keypoint_rows(path: &Path) -> Result<KeypointRows, RecordError> {
    let files = if path.join(MANIFEST).is_file() {
        tables::parts(path, &Manifest::open(path)?, "pose")
    } else {
        vec![path.to_owned()]
    };
    let mut rows = KeypointRows::default();
    for file in &files {
        for batch in tables::open(file, &["t_ns", "keypoints_m", "confidence"])? {
            let batch = batch.map_err(|error| RecordError::parquet(file, error))?;
            rows.t_ns.extend(tables::integers(&batch, "t_ns").into_iter().flatten());
            rows.keypoints_m.extend(tables::floats(&batch, "keypoints_m"));
            rows.confidence.extend(tables::floats(&batch, "confidence"));
        }
    }
    let fits = !rows.t_ns.is_empty()
        && !rows.confidence.is_empty()
        && rows.keypoints_m.len() == 3 * rows.confidence.len()
        && rows.confidence.len().is_multiple_of(rows.t_ns.len());
    if fits {
        Ok(rows)
    } else {
        let reason =
            "no rows with t_ns, keypoints_m (3 values each) and confidence: expected a pose table of a dataset";
        Err(RecordError::Format { path: path.to_owned(), reason: reason.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Column, ScalarKind};

    #[test]
    fn keypoints_are_read_back_and_other_tables_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pose.parquet");
        let columns = vec![
            Column::list("keypoints_m", ScalarKind::F32, 6, "m", ""),
            Column::list("confidence", ScalarKind::F32, 2, "", ""),
        ];
        let mut file = TableFile::create(&path, TableSchema::new("pose", "", columns)).unwrap();
        for t_ns in [0, 20] {
            file.row(RigTime::from_nanos(t_ns), |row| {
                row.f32s([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
                row.f32s([0.5, 0.0]);
            })
            .unwrap();
        }
        assert_eq!(file.finish().unwrap(), 2);
        let rows = keypoint_rows(&path).unwrap();
        assert_eq!((rows.t_ns, rows.keypoints_m.len()), (vec![0, 20], 12));
        assert_eq!(rows.confidence, [0.5, 0.0, 0.5, 0.0]);
        let other = folder.path().join("other.parquet");
        let schema = TableSchema::new("other", "", vec![Column::scalar("x", ScalarKind::F32, "", "")]);
        let mut file = TableFile::create(&other, schema).unwrap();
        file.row(RigTime::from_nanos(0), |row| row.f32(1.0)).unwrap();
        file.finish().unwrap();
        assert!(keypoint_rows(&other).unwrap_err().to_string().contains("expected a pose table"));
        assert!(keypoint_rows(folder.path()).is_err());
    }
}
