//! What an analysis leaves behind: Parquet tables with units, JSON, pages.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray, UInt16Array};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::analysis::{Analysis, Encoding};
use super::behaviour::Labels;
use super::score::Score;
use super::store::{Grid, SetSpec, Store};

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}; is the folder writable and the disk not full?")]
pub struct OutputError {
    path: PathBuf,
    reason: String,
}

impl OutputError {
    fn new(path: &Path, reason: &dyn std::fmt::Display) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Makes the folder and those above it.
pub(super) fn make_folder(path: &Path) -> Result<(), OutputError> {
    std::fs::create_dir_all(path).map_err(|error| OutputError::new(path, &error))
}

/// Writes a text file.
pub(super) fn text(path: &Path, text: &str) -> Result<(), OutputError> {
    std::fs::write(path, text).map_err(|error| OutputError::new(path, &error))
}

/// The analysis as JSON; numbers that are not finite become null.
pub(super) fn json(analysis: &Analysis) -> String {
    serde_json::to_string_pretty(analysis).unwrap_or_default()
}

struct Table {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl Table {
    fn add(&mut self, name: &str, unit: &str, doc: &str, column: ArrayRef) {
        let mut metadata = HashMap::from([("doc".to_owned(), doc.to_owned())]);
        if !unit.is_empty() {
            metadata.insert("unit".to_owned(), unit.to_owned());
        }
        self.fields.push(
            Field::new(
                name,
                column.data_type().clone(),
                column.null_count() > 0 || column.data_type() == &DataType::Utf8,
            )
            .with_metadata(metadata),
        );
        self.columns.push(column);
    }

    fn write(self, path: &Path, doc: &str) -> Result<(), OutputError> {
        let fail = |error: &dyn std::fmt::Display| OutputError::new(path, error);
        let metadata = HashMap::from([("mimicd.doc".to_owned(), doc.to_owned())]);
        let schema = Arc::new(Schema::new_with_metadata(self.fields, metadata));
        let batch = RecordBatch::try_new(Arc::clone(&schema), self.columns).map_err(|e| fail(&e))?;
        let file = File::create(path).map_err(|e| fail(&e))?;
        let zstd = ZstdLevel::try_new(1).map_err(|e| fail(&e))?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(zstd)).build();
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|e| fail(&e))?;
        writer.write(&batch).map_err(|e| fail(&e))?;
        writer.close().map_err(|e| fail(&e))?;
        Ok(())
    }
}

/// One row for each unit and set.
pub(super) fn scores(path: &Path, encoding: &Encoding) -> Result<(), OutputError> {
    let pairs: Vec<(usize, usize)> =
        (0..encoding.units.len()).flat_map(|unit| (0..encoding.sets.len()).map(move |set| (unit, set))).collect();
    let key = |of: fn(&super::units::UnitKey) -> u16| -> ArrayRef {
        Arc::new(pairs.iter().map(|(unit, _)| of(&encoding.units[*unit])).collect::<UInt16Array>())
    };
    let name = |of: fn(&super::analysis::SetInfo) -> &str| -> ArrayRef {
        Arc::new(pairs.iter().map(|(_, set)| Some(of(&encoding.sets[*set]))).collect::<StringArray>())
    };
    let number = |of: fn(&Score) -> f64| -> ArrayRef {
        Arc::new(pairs.iter().map(|(unit, set)| of(&encoding.scores[*set][*unit])).collect::<Float64Array>())
    };
    let mut table = Table { fields: Vec::new(), columns: Vec::new() };
    table.add("array", "", "Index of the array.", key(|key| key.array));
    table.add("tetrode", "", "Tetrode of the array.", key(|key| key.tetrode));
    table.add("unit", "", "Unit on its tetrode; 0 = all spikes.", key(|key| key.unit));
    table.add("set", "", "Feature set.", name(|set| &set.name));
    table.add("family", "", "kinematic, dynamic or network.", name(|set| &set.family));
    table.add(
        "cv_llr",
        "bit/spike",
        "Cross-validated log-likelihood ratio against the training mean; NaN = no spikes.",
        number(|s| s.bits_per_spike.value),
    );
    table.add("cv_llr_error", "bit/spike", "Its standard error over blocks.", number(|s| s.bits_per_spike.error));
    table.add("cv_llr_low", "bit/spike", "Lower end of the 95 % interval.", number(|s| s.bits_per_spike.low));
    table.add("cv_llr_high", "bit/spike", "Upper end of the 95 % interval.", number(|s| s.bits_per_spike.high));
    table.add("pseudo_r2", "", "1 - deviance / deviance of the training mean.", number(|s| s.pseudo_r2));
    table.add("spikes", "", "Spikes in held-out bins.", number(|s| s.spikes));
    table.add("bins", "", "Held-out bins.", number(|s| s.bins));
    table.write(path, "Encoding models: one row per unit and feature set.")
}

/// One row for each bin.
pub(super) fn behaviours(path: &Path, grid: Grid, labels: &Labels) -> Result<(), OutputError> {
    let mut table = Table { fields: Vec::new(), columns: Vec::new() };
    let times: Int64Array = (0..labels.bins.len()).map(|bin| grid.middle_ns(bin)).collect::<Vec<i64>>().into();
    table.add("t_ns", "ns", "Middle of the bin, rig time.", Arc::new(times));
    let names = labels.bins.iter().map(|label| label.map(|label| labels.names[label].as_str()));
    table.add("behaviour", "", "Label; null = none.", Arc::new(names.collect::<StringArray>()));
    table.write(path, &format!("Behaviour of each bin. Labels: {}.", labels.source))
}

/// One row for each bin, one column for each feature; the models see each at the lags that the table's description names.
pub(super) fn features(path: &Path, store: &Store, sets: &[SetSpec], window_bins: usize) -> Result<(), OutputError> {
    let bins = store.bins();
    let mut table = Table { fields: Vec::new(), columns: Vec::new() };
    let times: Int64Array = (0..bins).map(|bin| store.grid.middle_ns(bin)).collect::<Vec<i64>>().into();
    table.add("t_ns", "ns", "Middle of the bin, rig time.", Arc::new(times));
    for set in sets {
        let values = store.values(set, bins);
        for (column, values) in set.columns.iter().zip(values.columns()) {
            let doc = format!("Feature of the set {} ({}); NaN = unknown.", set.name, set.family);
            let values: Float32Array = values.iter().copied().collect::<Vec<f32>>().into();
            table.add(&format!("{}/{}", set.name, column.name), &column.unit, &doc, Arc::new(values));
        }
    }
    let lags = format!("lags 0 to {} bins of {} ms", window_bins - 1, store.grid.bin_ns / 1_000_000);
    table.write(path, &format!("Feature store on the bin grid. Models use every feature at {lags}."))
}
