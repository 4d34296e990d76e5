//! Journal segments to Parquet parts, epoch by epoch. The same code seals while recording and after a crash.

mod array;
mod part;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use array::ArrayPart;
use arrow::datatypes::Schema;
pub(super) use table::TablePart;

use super::catalog::Catalog;
use super::disk::Disk;
use super::error::RecordError;
use super::gap::{Gap, GapCause, GapUnit};
use super::journal::{Block, Content, Segment, journal_folder, segment_numbers};
use super::manifest::{GapEntry, Manifest, PartEntry};
use super::schema::{ABSENT_I64, CATALOG_KEY, INFO_KEY, RowReader, RowWriter};
use mimicd_device::RigTime;

/// Makes parts of segments and commits epochs.
pub(super) struct Sealer {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    catalog: Arc<Catalog>,
    manifest: Arc<Mutex<Manifest>>,
    open: OpenEpoch,
    /// Number that the next record must have: where it is larger, records are lost, the very first ones included.
    next_sequence: u64,
}

/// What the epoch has so far. Everything here is made anew when the epoch is sealed again after a crash.
struct OpenEpoch {
    tables: Vec<Option<TablePart>>,
    arrays: Vec<Option<ArrayPart>>,
    spans: Vec<SampleRuns>,
    gaps: Vec<GapEntry>,
    segments: Vec<PathBuf>,
    bytes_lost: u64,
    records_lost: u64,
    /// Number of the epoch; until a segment says it, the one after the last sealed.
    epoch: u32,
    /// Whether some part already describes the recording.
    is_described: bool,
    newest_ns: i64,
}

impl OpenEpoch {
    fn new(catalog: &Catalog, epoch: u32) -> Self {
        Self {
            epoch,
            is_described: false,
            tables: catalog.tables.iter().map(|_| None).collect(),
            arrays: catalog.arrays.iter().map(|_| None).collect(),
            spans: vec![SampleRuns::default(); catalog.arrays.len()],
            gaps: Vec::new(),
            segments: Vec::new(),
            bytes_lost: 0,
            records_lost: 0,
            newest_ns: i64::MIN,
        }
    }
}

/// Runs of consecutive samples within an epoch, as far as they matter: where they begin and end, and the breaks.
#[derive(Clone, Default)]
struct SampleRuns {
    first: Option<u64>,
    first_ns: i64,
    end: u64,
    end_ns: i64,
    samples: u64,
    repeated: u64,
    breaks: Vec<Break>,
}

#[derive(Clone, Copy)]
struct Break {
    first: u64,
    end: u64,
    at_ns: i64,
    until_ns: i64,
}

impl SampleRuns {
    fn block(&mut self, block: &Block<'_>) {
        let end = block.first + block.len as u64;
        match self.first {
            None => (self.first, self.first_ns) = (Some(block.first), block.at_ns),
            Some(_) if block.first > self.end => {
                self.breaks.push(Break { first: self.end, end: block.first, at_ns: self.end_ns, until_ns: block.at_ns })
            }
            Some(_) => self.repeated += self.end.min(end) - block.first.min(self.end),
        }
        self.samples += block.len as u64;
        if end > self.end {
            self.end = end;
            self.end_ns = block.at_ns + (block.len as f64 * block.nanos_per_sample).round() as i64;
        }
    }
}

impl Sealer {
    /// A sealer that goes on where `manifest` ends.
    pub(super) fn new(disk: Arc<dyn Disk>, folder: &Path, manifest: Arc<Mutex<Manifest>>) -> Self {
        let (catalog, epoch, sequence) = {
            let manifest = lock(&manifest);
            (Arc::new(manifest.catalog.clone()), manifest.sealed_epochs, manifest.next_sequence)
        };
        let open = OpenEpoch::new(&catalog, epoch);
        Self { disk, folder: folder.to_owned(), catalog, manifest, open, next_sequence: sequence }
    }

    /// Takes a complete segment in.
    ///
    /// # Errors
    /// When the segment cannot be read or a part cannot be written. Damage inside the segment is no error.
    pub(super) fn segment(&mut self, path: &Path) -> Result<(), RecordError> {
        if let Some((epoch, _)) = segment_numbers(path) {
            self.open.epoch = epoch;
        }
        let bytes = self.disk.read(path).map_err(|error| RecordError::file(path, "read", error))?;
        let mut segment = Segment::new(&bytes);
        while let Some(record) = segment.next() {
            self.open.records_lost += record.sequence.saturating_sub(self.next_sequence);
            self.next_sequence = record.sequence + 1;
            match record.content {
                Content::Header(_) => {}
                Content::Row(table, row) => self.row(table, row)?,
                Content::Block(array, block) => self.block(array, &block)?,
            }
        }
        self.open.bytes_lost += segment.holes().iter().map(|hole| hole.bytes as u64).sum::<u64>();
        self.open.segments.push(path.to_owned());
        Ok(())
    }

    /// Commits the epoch: parts, manifest, then the segments go.
    ///
    /// # Errors
    /// When the disk refuses; the manifest is then as it was, the segments are still there, and the epoch can be sealed again.
    pub(super) fn end_epoch(&mut self, epoch: u32) -> Result<(), RecordError> {
        self.declare_breaks(epoch)?;
        self.declare_damage()?;
        let open = std::mem::replace(&mut self.open, OpenEpoch::new(&self.catalog, epoch + 1));
        let mut entries: Vec<(String, PartEntry)> = Vec::new();
        for (schema, part) in self.catalog.tables.iter().zip(open.tables) {
            if let Some(part) = part {
                entries.push((schema.name.clone(), part.finish(&*self.disk, &self.folder, epoch)?));
            }
        }
        for (array, part) in self.catalog.arrays.iter().zip(open.arrays) {
            if let Some(part) = part {
                entries.push((array.table(), part.finish(&*self.disk, &self.folder, epoch)?));
            }
        }
        self.sync_folders(&entries)?;
        {
            let mut held = lock(&self.manifest);
            // A copy, which counts once it is on the disk: what is sealed again must not be counted twice.
            let mut manifest = held.clone();
            for (table, entry) in entries {
                let known = manifest.tables.entry(table).or_default();
                known.parts.retain(|part| part.epoch != epoch);
                known.parts.push(entry);
                known.rows = known.parts.iter().map(|part| part.rows).sum();
            }
            for (array, runs) in self.catalog.arrays.iter().zip(&open.spans) {
                add_runs(&mut manifest, &array.table(), runs);
            }
            manifest.gaps.extend(open.gaps);
            manifest.journal_bytes_lost += open.bytes_lost;
            manifest.next_sequence = manifest.next_sequence.max(self.next_sequence);
            manifest.sealed_epochs = epoch + 1;
            manifest.store(&*self.disk, &self.folder)?;
            *held = manifest;
        }
        // The epoch is sealed. A segment that the disk keeps is passed over by recovery and goes with the folder at the end.
        for segment in &open.segments {
            self.disk.remove(segment).ok();
        }
        if !open.segments.is_empty() {
            self.disk.sync_folder(&journal_folder(&self.folder)).ok();
        }
        Ok(())
    }

    fn row(&mut self, table: u16, row: &[u8]) -> Result<(), RecordError> {
        let Some(schema) = self.catalog.tables.get(usize::from(table)) else {
            self.open.bytes_lost += row.len() as u64;
            return Ok(());
        };
        let slot = &mut self.open.tables[usize::from(table)];
        let part = match slot {
            Some(part) => part,
            None => {
                let path = part_path(&self.folder, &schema.name, self.open.epoch);
                let arrow = describe(schema.arrow(), &mut self.open.is_described, &self.manifest);
                slot.insert(TablePart::create(&*self.disk, &path, schema, arrow)?)
            }
        };
        if !part.row(row)? {
            self.open.bytes_lost += row.len() as u64;
            return Ok(());
        }
        self.open.newest_ns = self.open.newest_ns.max(RowReader::new(row).i64().unwrap_or(i64::MIN));
        if table == self.catalog.gaps_table().0 {
            self.open.gaps.extend(gap_entry(row));
        }
        Ok(())
    }

    fn block(&mut self, array: u16, block: &Block<'_>) -> Result<(), RecordError> {
        let place = usize::from(array);
        let Some(info) = self.catalog.arrays.get(place) else {
            self.open.bytes_lost += block.samples.len() as u64;
            return Ok(());
        };
        let slot = &mut self.open.arrays[place];
        let part = match slot {
            Some(part) => part,
            None => {
                let path = part_path(&self.folder, &info.table(), self.open.epoch);
                let arrow = describe(info.schema().arrow(), &mut self.open.is_described, &self.manifest);
                slot.insert(ArrayPart::create(&*self.disk, &path, info, arrow)?)
            }
        };
        if part.block(block)? {
            self.open.spans[place].block(block);
            self.open.newest_ns = self.open.newest_ns.max(block.at_ns);
        } else {
            self.open.bytes_lost += block.samples.len() as u64;
        }
        Ok(())
    }

    /// Breaks in the sample index that nobody declared become gap rows.
    fn declare_breaks(&mut self, epoch: u32) -> Result<(), RecordError> {
        let damaged = self.open.bytes_lost > 0 || self.open.records_lost > 0;
        let within = if damaged { GapCause::Damaged } else { GapCause::Device };
        let is_new_run = lock(&self.manifest).runs.last().is_some_and(|run| run.first_epoch == epoch && epoch > 0);
        for place in 0..self.catalog.arrays.len() {
            let stream = self.catalog.arrays[place].table();
            for found in self.breaks(place, &stream) {
                let (first, end) = (found.first as i64, found.end as i64);
                let starts_run = is_new_run && Some(found.end) == self.open.spans[place].first;
                let cause = if starts_run { GapCause::Killed } else { within };
                for (first, end) in self.undeclared(&stream, first, end) {
                    let at = RigTime::from_nanos(found.at_ns);
                    let gap = Gap::range(&stream, GapUnit::Samples, first, end, at, cause);
                    self.gap_row(&gap.until(RigTime::from_nanos(found.until_ns)))?;
                }
            }
        }
        Ok(())
    }

    /// Breaks within this epoch and between the last one and this.
    fn breaks(&self, place: usize, stream: &str) -> Vec<Break> {
        let runs = &self.open.spans[place];
        let mut breaks = runs.breaks.clone();
        let before = lock(&self.manifest).arrays.get(stream).copied();
        if let (Some(before), Some(first)) = (before, runs.first)
            && before.samples > 0
            && first > before.end
        {
            breaks.push(Break { first: before.end, end: first, at_ns: before.end_ns, until_ns: runs.first_ns });
        }
        breaks
    }

    /// The parts of `first..end` that no gap row of the stream covers.
    fn undeclared(&self, stream: &str, first: i64, end: i64) -> Vec<(i64, i64)> {
        let manifest = lock(&self.manifest);
        let declared: BTreeSet<(i64, i64)> = manifest
            .gaps
            .iter()
            .chain(&self.open.gaps)
            .filter(|gap| gap.stream == stream && gap.unit == GapUnit::Samples.as_str())
            .filter_map(|gap| Some((gap.first?, gap.end?)))
            .collect();
        let mut rest = Vec::new();
        let mut from = first;
        for (declared_first, declared_end) in declared {
            if declared_first > from && declared_first < end {
                rest.push((from, declared_first));
            }
            if declared_first < end {
                from = from.max(declared_end);
            }
        }
        if from < end {
            rest.push((from, end));
        }
        rest
    }

    /// Records that the journal lost and whose stream is not known.
    fn declare_damage(&mut self) -> Result<(), RecordError> {
        if self.open.records_lost == 0 {
            return Ok(());
        }
        let gap = Gap {
            stream: "journal",
            unit: GapUnit::Rows,
            first: None,
            end: None,
            count: Some(self.open.records_lost as i64),
            at: RigTime::from_nanos(self.open.newest_ns.max(0)),
            until: None,
            cause: GapCause::Damaged,
        };
        self.gap_row(&gap)
    }

    /// Adds a row to this epoch's gaps.
    pub(super) fn gap_row(&mut self, gap: &Gap<'_>) -> Result<(), RecordError> {
        let table = self.catalog.gaps_table();
        let catalog = Arc::clone(&self.catalog);
        let mut bytes = Vec::new();
        let mut row = RowWriter::begin(&mut bytes, &catalog.tables[table.as_usize()], gap.at.nanos());
        gap.write(&mut row);
        row.end();
        self.row(table.0, &bytes)
    }

    fn sync_folders(&self, entries: &[(String, PartEntry)]) -> Result<(), RecordError> {
        let tables = self.folder.join("tables");
        let mut folders: Vec<PathBuf> = entries.iter().map(|(table, _)| tables.join(table)).collect();
        folders.extend([tables, self.folder.clone()]);
        for folder in folders {
            self.disk.create_folder(&folder).map_err(|error| RecordError::file(&folder, "create", error))?;
            self.disk.sync_folder(&folder).map_err(|error| RecordError::file(&folder, "sync", error))?;
        }
        Ok(())
    }
}

/// Puts the description of the whole recording into the first part of an epoch.
fn describe(mut schema: Schema, is_described: &mut bool, manifest: &Mutex<Manifest>) -> Arc<Schema> {
    if !std::mem::replace(is_described, true) {
        let manifest = lock(manifest);
        let json = |value: serde_json::Result<String>| value.expect("plain data with string keys");
        schema.metadata.insert(INFO_KEY.to_owned(), json(serde_json::to_string(&manifest.info)));
        schema.metadata.insert(CATALOG_KEY.to_owned(), json(serde_json::to_string(&manifest.catalog)));
    }
    Arc::new(schema)
}

fn add_runs(manifest: &mut Manifest, stream: &str, runs: &SampleRuns) {
    let Some(first) = runs.first else { return };
    let known = manifest.arrays.entry(stream.to_owned()).or_default();
    if known.samples == 0 {
        known.first = first;
    }
    known.repeated += runs.repeated + if known.samples > 0 { known.end.saturating_sub(first) } else { 0 };
    if runs.end > known.end {
        (known.end, known.end_ns) = (runs.end, runs.end_ns);
    }
    known.samples += runs.samples;
}

/// File of a table's part.
pub(super) fn part_path(folder: &Path, table: &str, epoch: u32) -> PathBuf {
    folder.join("tables").join(table).join(format!("part-{epoch:05}.parquet"))
}

/// A row of the gaps table as a manifest entry.
fn gap_entry(row: &[u8]) -> Option<GapEntry> {
    let mut row = RowReader::new(row);
    let known = |row: &mut RowReader<'_>| row.i64().map(|v| (v != ABSENT_I64).then_some(v));
    Some(GapEntry {
        t_ns: row.i64()?,
        stream: row.text()?.to_owned(),
        unit: row.text()?.to_owned(),
        first: known(&mut row)?,
        end: known(&mut row)?,
        count: known(&mut row)?,
        end_ns: known(&mut row)?,
        cause: row.text()?.to_owned(),
    })
}

/// The manifest; a thread that panicked while holding it leaves it as it was, because it is only ever extended.
pub(super) fn lock(manifest: &Mutex<Manifest>) -> MutexGuard<'_, Manifest> {
    manifest.lock().unwrap_or_else(PoisonError::into_inner)
}
