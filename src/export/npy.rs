//! NumPy's `.npy` format, version 1.0, written as values come.

use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::error::ExportError;

/// Bytes of magic, version, length and header text; the text is padded so that the shape can be filled in at the end.
const HEADER_BYTES: usize = 128;

/// A one-dimensional array that grows.
pub(super) struct NpyWriter {
    path: PathBuf,
    file: BufWriter<File>,
    kind: &'static str,
    count: u64,
}

impl NpyWriter {
    /// Begins the array at `path`; `kind` is NumPy's name of the little-endian type (`<i8`, `<f8`, …).
    pub(super) fn create(path: &Path, kind: &'static str) -> Result<Self, ExportError> {
        let file = File::create(path).map_err(|error| ExportError::file(path, "create", error))?;
        let mut writer = Self { path: path.to_owned(), file: BufWriter::new(file), kind, count: 0 };
        writer.put(&header(kind, "0,"))?;
        Ok(writer)
    }

    pub(super) fn i64(&mut self, value: i64) -> Result<(), ExportError> {
        self.count += 1;
        self.put(&value.to_le_bytes())
    }

    pub(super) fn f64(&mut self, value: f64) -> Result<(), ExportError> {
        self.count += 1;
        self.put(&value.to_le_bytes())
    }

    pub(super) fn i16(&mut self, value: i16) -> Result<(), ExportError> {
        self.count += 1;
        self.put(&value.to_le_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.file.write_all(bytes).map_err(|error| ExportError::file(&self.path, "write", error))
    }

    /// Fills in the shape.
    pub(super) fn finish(mut self) -> Result<(), ExportError> {
        let head = header(self.kind, &format!("{},", self.count));
        let file = &mut self.file;
        let done = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&head)).and_then(|()| file.flush());
        done.map_err(|error| ExportError::file(&self.path, "write", error))
    }
}

/// Writes a whole two-dimensional array of floats, row-major.
pub(super) fn write_rows(path: &Path, rows: &[Vec<f64>]) -> Result<(), ExportError> {
    let columns = rows.first().map_or(0, Vec::len);
    let mut bytes = header("<f8", &format!("{}, {columns}", rows.len()));
    bytes.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    std::fs::write(path, bytes).map_err(|error| ExportError::file(path, "write", error))
}

fn header(kind: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let room = HEADER_BYTES - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(room as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(HEADER_BYTES - 1, b' ');
    bytes.push(b'\n');
    bytes
}
