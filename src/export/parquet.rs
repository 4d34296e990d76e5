//! A Hive-style data set: `<table>/recording=<name>/part-<epoch>.parquet`, `manifests/<name>.json`, `SCHEMA.md`.
//!
//! Parts that lie wholly within the range are copied byte for byte; the others are cut and written again with the
//! recorder's own encodings left to the library's defaults.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::dataset::{Dataset, Progress};
use super::error::ExportError;
use super::{ExportReport, make_folder, write_file};
use crate::record::{MANIFEST, PartEntry, schema, tables};

pub(super) fn write(
    dataset: &Dataset,
    out: &Path,
    progress: &mut Progress<'_>,
    report: &mut ExportReport,
) -> Result<(), ExportError> {
    let schemas = dataset.schemas();
    for table in &schemas {
        progress.expect(dataset.bytes(&table.name));
    }
    for table in &schemas {
        let folder = out.join(&table.name).join(format!("recording={}", dataset.name()));
        make_folder(&folder)?;
        for part in dataset.parts(&table.name) {
            let target = folder.join(format!("part-{:05}.parquet", part.epoch));
            if dataset.holds(part) {
                let from = dataset.folder.join(&part.file);
                std::fs::copy(&from, &target).map_err(|error| ExportError::file(&target, "write", error))?;
                progress.add(part.bytes);
            } else {
                cut(dataset, part, &target, progress)?;
            }
            report.files += 1;
        }
    }
    let manifests = out.join("manifests");
    make_folder(&manifests)?;
    let manifest = dataset.folder.join(MANIFEST);
    let bytes = std::fs::read(&manifest).map_err(|error| ExportError::file(&manifest, "read", error))?;
    write_file(&manifests.join(format!("{}.json", dataset.name())), bytes, report)?;
    write_file(&out.join("SCHEMA.md"), schema::markdown(&schemas), report)
}

/// Writes the rows of one part that lie in the range.
fn cut(dataset: &Dataset, part: &PartEntry, target: &Path, progress: &mut Progress<'_>) -> Result<(), ExportError> {
    let arrow = tables::schema(&dataset.folder.join(&part.file))?;
    let level = ZstdLevel::try_new(1).expect("1 is a zstd level");
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let file = File::create(target).map_err(|error| ExportError::file(target, "create", error))?;
    let failed = |error| ExportError::Dataset(tables::unreadable(target, error));
    let mut writer = ArrowWriter::try_new(file, arrow, Some(properties)).map_err(failed)?;
    dataset.scan_part(part, &[], progress, |batch: &RecordBatch| writer.write(batch).map_err(failed))?;
    writer.close().map_err(failed).map(|_| ())
}
