//! A dataset as exporters read it: batches of one table, cut to a range of rig time, in order, with progress.

use std::path::{Path, PathBuf};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::error::ExportError;
use crate::record::{ArrayInfo, CameraInfo, Manifest, PartEntry, Stage, TableSchema, tables};

/// Which part of the rig's time is wanted: `from_ns..to_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
}

impl Range {
    const ALL: Self = Self { from_ns: i64::MIN, to_ns: i64::MAX };

    pub(super) fn holds(self, t_ns: i64) -> bool {
        (self.from_ns..self.to_ns).contains(&t_ns)
    }

    /// From seconds on the command line.
    ///
    /// # Errors
    /// When nothing lies between the two.
    pub(super) fn from_seconds(from_s: Option<f64>, to_s: Option<f64>) -> Result<Self, ExportError> {
        let nanos = |s: f64| (s * 1e9).round() as i64;
        let range =
            Self { from_ns: from_s.map_or(Self::ALL.from_ns, nanos), to_ns: to_s.map_or(Self::ALL.to_ns, nanos) };
        if range.from_ns < range.to_ns {
            return Ok(range);
        }
        let (from, to) = (from_s.unwrap_or(f64::NEG_INFINITY), to_s.unwrap_or(f64::INFINITY));
        Err(ExportError::Request(format!("--from {from} --to {to}: expected a range of seconds that is not empty")))
    }
}

/// Tells somebody how far the export is.
pub struct Progress<'a> {
    done: u64,
    total: u64,
    tell: &'a mut dyn FnMut(u64, u64),
}

impl<'a> Progress<'a> {
    /// Calls `tell` with (bytes of dataset read, bytes to read).
    pub fn new(tell: &'a mut dyn FnMut(u64, u64)) -> Self {
        Self { done: 0, total: 0, tell }
    }

    pub(super) fn expect(&mut self, bytes: u64) {
        self.total += bytes;
        (self.tell)(self.done, self.total);
    }

    pub(super) fn add(&mut self, bytes: u64) {
        self.done += bytes;
        (self.tell)(self.done, self.total);
    }
}

/// An open dataset and what of it is wanted.
pub(super) struct Dataset {
    pub(super) folder: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) range: Range,
}

impl Dataset {
    /// Opens the sealed dataset in `folder`.
    ///
    /// # Errors
    /// When there is none, or it is unfinished.
    pub(super) fn open(folder: &Path, range: Range) -> Result<Self, ExportError> {
        let manifest = Manifest::open(folder)?;
        if manifest.stage == Stage::Recording {
            let name = folder.display();
            let text =
                format!("{name}: the recording is unfinished, expected a sealed one: run `mimicd recover {name}`");
            return Err(ExportError::Request(text));
        }
        Ok(Self { folder: folder.to_owned(), manifest, range })
    }

    pub(super) fn name(&self) -> &str {
        &self.manifest.info.recording
    }

    pub(super) fn arrays(&self) -> &[ArrayInfo] {
        &self.manifest.catalog.arrays
    }

    pub(super) fn cameras(&self) -> &[CameraInfo] {
        &self.manifest.catalog.cameras
    }

    /// Schemas of all tables that have rows, arrays included.
    pub(super) fn schemas(&self) -> Vec<TableSchema> {
        let catalog = &self.manifest.catalog;
        let arrays = catalog.arrays.iter().map(ArrayInfo::schema);
        let mut all: Vec<_> = catalog.tables.iter().cloned().chain(arrays).collect();
        all.retain(|schema| self.manifest.tables.contains_key(&schema.name));
        all
    }

    /// Parts of a table that may have rows in the range.
    pub(super) fn parts(&self, table: &str) -> Vec<&PartEntry> {
        let parts = self.manifest.tables.get(table).map(|entry| entry.parts.as_slice()).unwrap_or_default();
        let is_wanted = |part: &&PartEntry| part.t_ns.1 >= self.range.from_ns && part.t_ns.0 < self.range.to_ns;
        parts.iter().filter(is_wanted).collect()
    }

    pub(super) fn bytes(&self, table: &str) -> u64 {
        self.parts(table).iter().map(|part| part.bytes).sum()
    }

    /// Calls `each` with every batch of the named columns (all when none is named) whose rows lie in the range.
    /// `t_ns` is always among the columns.
    ///
    /// # Errors
    /// A part that cannot be read, or what `each` says.
    pub(super) fn scan(
        &self,
        table: &str,
        columns: &[&str],
        progress: &mut Progress<'_>,
        mut each: impl FnMut(&RecordBatch) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        for part in self.parts(table) {
            self.scan_part(part, columns, progress, &mut each)?;
        }
        Ok(())
    }

    /// As [`scan`](Self::scan), of one part.
    ///
    /// # Errors
    /// As for `scan`.
    pub(super) fn scan_part(
        &self,
        part: &PartEntry,
        columns: &[&str],
        progress: &mut Progress<'_>,
        mut each: impl FnMut(&RecordBatch) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let path = self.folder.join(&part.file);
        let schema = tables::schema(&path)?;
        let all: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut wanted: Vec<&str> = if columns.is_empty() { all } else { columns.to_vec() };
        if !wanted.contains(&"t_ns") {
            wanted.push("t_ns");
        }
        let is_inside = self.holds(part);
        let per_row = part.bytes.checked_div(part.rows).unwrap_or(0);
        for batch in tables::open(&path, &wanted)? {
            let batch = batch.map_err(|error| tables::unreadable(&path, error))?;
            progress.add(per_row * batch.num_rows() as u64);
            let batch = if is_inside { batch } else { self.cut(&batch) };
            if batch.num_rows() > 0 {
                each(&batch)?;
            }
        }
        Ok(())
    }

    /// Whether all rows of the part lie in the range.
    pub(super) fn holds(&self, part: &PartEntry) -> bool {
        self.range.holds(part.t_ns.0) && self.range.holds(part.t_ns.1)
    }

    /// The same dataset, all of its time.
    pub(super) fn whole(&self) -> Self {
        Self { folder: self.folder.clone(), manifest: self.manifest.clone(), range: Range::ALL }
    }

    fn cut(&self, batch: &RecordBatch) -> RecordBatch {
        let times = tables::integers(batch, "t_ns");
        let keep: BooleanArray = times.iter().map(|time| time.map(|time| self.range.holds(time))).collect();
        filter_record_batch(batch, &keep).expect("one truth value for each row")
    }

    /// A fact that a layer noted in the manifest.
    pub(super) fn note(&self, pointer: &str) -> Option<&serde_json::Value> {
        let (key, rest) = pointer.split_once('/').unwrap_or((pointer, ""));
        let note = self.manifest.notes.get(key)?;
        if rest.is_empty() { Some(note) } else { note.pointer(&format!("/{rest}")) }
    }
}
