//! A manifest from what the other files say: journal segments and Parquet parts describe their recording.

use std::collections::BTreeMap;
use std::path::Path;

use crate::record::catalog::Catalog;
use crate::record::disk::Disk;
use crate::record::hash;
use crate::record::journal::{Segment, SegmentHeader, journal_folder, segment_numbers};
use crate::record::manifest::{ArrayEntry, GapEntry, Manifest, PartEntry, RecordingInfo, TableEntry};
use crate::record::schema::{CATALOG_KEY, GAPS, INFO_KEY};
use crate::record::tables;

/// The manifest of `folder`, made again; `None` when nothing there describes a recording.
pub(super) fn manifest(disk: &dyn Disk, folder: &Path) -> Option<Manifest> {
    let headers = segment_headers(disk, folder);
    let parts = parts(disk, folder);
    let (info, catalog) = headers
        .iter()
        .map(|header| (header.info.clone(), header.catalog.clone()))
        .next()
        .or_else(|| parts.values().flatten().find_map(|part| described(folder, part)))?;
    let mut manifest = Manifest::new(info, catalog);
    // An epoch whose first segment is still there was not committed, or was and can be sealed again to the same end.
    let open = headers.iter().filter(|header| header.in_epoch == 0).map(|header| header.epoch).min();
    let after_parts = parts.values().flatten().map(|part| part.epoch + 1).max().unwrap_or(0);
    manifest.sealed_epochs = open.unwrap_or(after_parts);
    manifest.next_sequence = headers.iter().map(|header| header.first_sequence).min().unwrap_or(0);
    for (table, mut parts) in parts {
        parts.retain(|part| part.epoch < manifest.sealed_epochs);
        let rows = parts.iter().map(|part| part.rows).sum();
        manifest.tables.insert(table, TableEntry { rows, parts });
    }
    add_arrays(folder, &mut manifest);
    add_gaps(folder, &mut manifest);
    Some(manifest)
}

fn segment_headers(disk: &dyn Disk, folder: &Path) -> Vec<SegmentHeader> {
    let segments = disk.list(&journal_folder(folder)).unwrap_or_default();
    let ours = segments.iter().filter(|path| segment_numbers(path).is_some());
    ours.filter_map(|path| Segment::header(&disk.read(path).ok()?)).collect()
}

/// Parts that can be read, by table.
fn parts(disk: &dyn Disk, folder: &Path) -> BTreeMap<String, Vec<PartEntry>> {
    let mut found = BTreeMap::new();
    for table in disk.list_folders(&folder.join("tables")).unwrap_or_default() {
        let name = table.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files = disk.list(&table).unwrap_or_default();
        let parts: Vec<_> = files.iter().filter_map(|file| part(folder, file)).collect();
        if !parts.is_empty() {
            found.insert(name, parts);
        }
    }
    found
}

fn part(folder: &Path, file: &Path) -> Option<PartEntry> {
    let epoch = file.file_name()?.to_str()?.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok()?;
    let (mut rows, mut first, mut last) = (0, i64::MAX, i64::MIN);
    for batch in tables::open(file, &["t_ns"]).ok()? {
        for time in tables::integers(&batch.ok()?, "t_ns").into_iter().flatten() {
            (rows, first, last) = (rows + 1, time.min(first), time.max(last));
        }
    }
    let (sha256, bytes) = hash::file(file).ok()?;
    let below = file.strip_prefix(folder).ok()?.to_string_lossy().into_owned();
    Some(PartEntry { file: below, epoch, rows, t_ns: (first, last), bytes, sha256 })
}

/// What a part says of its recording.
fn described(folder: &Path, part: &PartEntry) -> Option<(RecordingInfo, Catalog)> {
    let schema = tables::schema(&folder.join(&part.file)).ok()?;
    let info = serde_json::from_str(schema.metadata().get(INFO_KEY)?).ok()?;
    let catalog = serde_json::from_str(schema.metadata().get(CATALOG_KEY)?).ok()?;
    Some((info, catalog))
}

/// Sample counts of the sealed parts.
fn add_arrays(folder: &Path, manifest: &mut Manifest) {
    let arrays = manifest.catalog.arrays.clone();
    for array in arrays {
        let (table, period_ns) = (array.table(), (1e9 / array.rate_hz).round() as i64);
        let mut entry = ArrayEntry { first: u64::MAX, ..ArrayEntry::default() };
        let counted = tables::scan(folder, manifest, &table, &["t_ns", "sample_index"], |batch| {
            let times = tables::integers(batch, "t_ns");
            for (index, time) in tables::integers(batch, "sample_index").into_iter().zip(times) {
                let (Some(index), Some(time)) = (index, time) else { continue };
                entry.samples += 1;
                entry.first = entry.first.min(index as u64);
                if (index as u64) < entry.end {
                    entry.repeated += 1;
                } else {
                    (entry.end, entry.end_ns) = (index as u64 + 1, time + period_ns);
                }
            }
        });
        if counted.is_ok() && entry.samples > 0 {
            manifest.arrays.insert(table, entry);
        }
    }
}

/// Gaps that the sealed parts declare.
fn add_gaps(folder: &Path, manifest: &mut Manifest) {
    let columns = ["t_ns", "stream", "unit", "first", "end", "count", "end_ns", "cause"];
    let mut gaps = Vec::new();
    let read = tables::scan(folder, manifest, GAPS, &columns, |batch| {
        let number = |column| tables::integers(batch, column);
        let text = |column| tables::texts(batch, column);
        let (times, first, end) = (number("t_ns"), number("first"), number("end"));
        let (count, end_ns) = (number("count"), number("end_ns"));
        let (streams, units, causes) = (text("stream"), text("unit"), text("cause"));
        for row in 0..batch.num_rows() {
            gaps.push(GapEntry {
                t_ns: times[row].unwrap_or_default(),
                stream: streams[row].clone(),
                unit: units[row].clone(),
                first: first[row],
                end: end[row],
                count: count[row],
                end_ns: end_ns[row],
                cause: causes[row].clone(),
            });
        }
    });
    if read.is_ok() {
        manifest.gaps = gaps;
    }
}
