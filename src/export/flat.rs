//! A flat table as one Parquet file: for results that are no part of a recording.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::record::RecordError;

/// A column's values.
pub enum FlatColumn {
    /// Words; an empty one is written as missing.
    Text(Vec<String>),
    /// Numbers.
    Number(Vec<f64>),
}

/// Writes the columns, named with their units, to `path`.
///
/// # Errors
/// A file that cannot be written, or columns of unequal length.
pub fn write_flat(path: &Path, columns: Vec<(String, FlatColumn)>) -> Result<(), RecordError> {
    let file = File::create(path).map_err(|error| RecordError::file(path, "create", error))?;
    write(file, columns).map_err(|error| RecordError::parquet(path, error))
}

fn write(file: File, columns: Vec<(String, FlatColumn)>) -> Result<(), ParquetError> {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().map(|(name, column)| array(name, column)).unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close().map(|_| ())
}

fn array(name: String, column: FlatColumn) -> (Field, ArrayRef) {
    match column {
        FlatColumn::Text(values) => {
            let known = values.into_iter().map(|value| (!value.is_empty()).then_some(value));
            (Field::new(name, DataType::Utf8, true), Arc::new(known.collect::<StringArray>()))
        }
        FlatColumn::Number(values) => {
            (Field::new(name, DataType::Float64, false), Arc::new(Float64Array::from(values)))
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};
    use arrow::datatypes::Float64Type;

    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let columns = || {
            vec![
                ("motion".to_owned(), FlatColumn::Text(vec!["a".into(), String::new()])),
                ("root_m".to_owned(), FlatColumn::Number(vec![0.25, -1.0])),
            ]
        };
        write_flat(&path, columns()).unwrap();
        let batch = crate::record::tables::open(&path, &["motion", "root_m"]).unwrap().next().unwrap().unwrap();
        assert_eq!(batch.column(1).as_primitive::<Float64Type>().values(), &[0.25, -1.0]);
        assert!(batch.column(0).as_string::<i32>().is_valid(0) && batch.column(0).is_null(1));
        let mut ragged = columns();
        ragged[1].1 = FlatColumn::Number(vec![1.0]);
        assert!(write_flat(&path, ragged).is_err());
    }
}
