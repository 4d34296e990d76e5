//! One Parquet file being written: temporary name, hash on the way, sync, rename.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use sha2::{Digest as _, Sha256};

use crate::record::disk::{Disk, DiskFile, temporary_name};
use crate::record::error::RecordError;
use crate::record::hash::hex;
use crate::record::manifest::PartEntry;

/// Bytes gathered before they go to the file.
const BUFFER_BYTES: usize = 1 << 18;

/// A `Write` over a [`DiskFile`] that hashes what passes.
struct HashedFile {
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    written: u64,
    hash: Sha256,
}

impl HashedFile {
    fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(self.written, &self.buffer)?;
        self.hash.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// A part being written.
pub(super) struct PartFile {
    writer: ArrowWriter<HashedFile>,
    path: PathBuf,
    rows: u64,
    t_ns: (i64, i64),
}

impl PartFile {
    /// Opens `path` under its temporary name.
    pub(super) fn create(
        disk: &dyn Disk,
        path: &Path,
        schema: Arc<Schema>,
        properties: WriterProperties,
    ) -> Result<Self, RecordError> {
        let folder = path.parent().expect("a part lies in its table's folder");
        disk.create_folder(folder).map_err(|error| RecordError::file(folder, "create", error))?;
        let file = disk
            .create(&temporary_name(path), 0)
            .map_err(|error| RecordError::file(&temporary_name(path), "create", error))?;
        let hashed = HashedFile { file, buffer: Vec::with_capacity(2 * BUFFER_BYTES), written: 0, hash: Sha256::new() };
        let writer = ArrowWriter::try_new(hashed, schema, Some(properties))
            .map_err(|error| RecordError::parquet(path, error))?;
        Ok(Self { writer, path: path.to_owned(), rows: 0, t_ns: (i64::MAX, i64::MIN) })
    }

    /// Adds rows whose times lie within `t_ns`.
    pub(super) fn write(&mut self, batch: &RecordBatch, t_ns: (i64, i64)) -> Result<(), RecordError> {
        self.rows += batch.num_rows() as u64;
        self.t_ns = (self.t_ns.0.min(t_ns.0), self.t_ns.1.max(t_ns.1));
        self.writer.write(batch).map_err(|error| RecordError::parquet(&self.path, error))
    }

    /// Ends the row group.
    pub(super) fn end_group(&mut self) -> Result<(), RecordError> {
        self.writer.flush().map_err(|error| RecordError::parquet(&self.path, error))
    }

    /// Finishes, syncs and renames; the folder's own sync is the caller's.
    pub(super) fn finish(self, disk: &dyn Disk, root: &Path, epoch: u32) -> Result<PartEntry, RecordError> {
        let mut file = self.writer.into_inner().map_err(|error| RecordError::parquet(&self.path, error))?;
        let named = |error| RecordError::file(&self.path, "write", error);
        file.flush().map_err(named)?;
        file.file.sync().map_err(named)?;
        disk.rename(&temporary_name(&self.path), &self.path)
            .map_err(|error| RecordError::file(&self.path, "rename to", error))?;
        let below = self.path.strip_prefix(root).unwrap_or(&self.path);
        Ok(PartEntry {
            file: below.to_string_lossy().into_owned(),
            epoch,
            rows: self.rows,
            t_ns: self.t_ns,
            bytes: file.bytes(),
            sha256: hex(&file.hash.finalize()),
        })
    }
}
