//! Reading a dataset's tables back, a column or a few at a time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, SchemaRef, UInt16Type, UInt32Type,
};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::error::RecordError;
use super::manifest::Manifest;

/// Rows of one batch.
const BATCH_ROWS: usize = 16_384;

/// The files of a table, in order.
pub fn parts(folder: &Path, manifest: &Manifest, table: &str) -> Vec<PathBuf> {
    let entry = manifest.tables.get(table);
    entry.map(|entry| entry.parts.iter().map(|part| folder.join(&part.file)).collect()).unwrap_or_default()
}

/// The schema of one file, its metadata included.
///
/// # Errors
/// When the file cannot be read or is no Parquet file.
pub fn schema(path: &Path) -> Result<SchemaRef, RecordError> {
    let file = File::open(path).map_err(|error| RecordError::file(path, "open", error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file);
    Ok(Arc::clone(builder.map_err(|error| RecordError::parquet(path, error))?.schema()))
}

/// Reads the named columns of one file; names that it does not have are left out.
///
/// # Errors
/// When the file cannot be read or is no Parquet file.
pub fn open(path: &Path, columns: &[&str]) -> Result<ParquetRecordBatchReader, RecordError> {
    let file = File::open(path).map_err(|error| RecordError::file(path, "open", error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| RecordError::parquet(path, error))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
    reader.map_err(|error| RecordError::parquet(path, error))
}

/// Calls `each` with every batch of the named columns of a table, in order.
///
/// # Errors
/// When a file cannot be read.
pub fn scan(
    folder: &Path,
    manifest: &Manifest,
    table: &str,
    columns: &[&str],
    mut each: impl FnMut(&RecordBatch),
) -> Result<(), RecordError> {
    for path in parts(folder, manifest, table) {
        for batch in open(&path, columns)? {
            each(&batch.map_err(|error| RecordError::parquet(&path, error))?);
        }
    }
    Ok(())
}

/// The error of a Parquet file that the library cannot read or write.
pub fn unreadable(path: &Path, reason: impl ToString) -> RecordError {
    RecordError::parquet(path, reason)
}

/// Whole numbers of a column, whatever their width; `None` where null. Nothing when the column is not there or no number.
pub fn integers(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    let Some(array) = batch.column_by_name(column) else { return Vec::new() };
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().iter().collect(),
        DataType::Int32 => array.as_primitive::<Int32Type>().iter().map(|v| v.map(i64::from)).collect(),
        DataType::Int16 => array.as_primitive::<Int16Type>().iter().map(|v| v.map(i64::from)).collect(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().iter().map(|v| v.map(i64::from)).collect(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().iter().map(|v| v.map(i64::from)).collect(),
        _ => Vec::new(),
    }
}

/// Floats of a column, lists flattened. Nothing when the column is not there or holds no floats.
pub fn floats(batch: &RecordBatch, column: &str) -> Vec<f64> {
    batch.column_by_name(column).map(|array| array_floats(array)).unwrap_or_default()
}

fn array_floats(array: &dyn Array) -> Vec<f64> {
    match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().values().to_vec(),
        DataType::Float32 => array.as_primitive::<Float32Type>().values().iter().map(|v| f64::from(*v)).collect(),
        DataType::FixedSizeList(..) => array_floats(array.as_fixed_size_list().values()),
        _ => Vec::new(),
    }
}

/// Whole numbers of a column of lists, flattened. Nothing when the column is not there or holds no 16-bit numbers.
pub fn list_integers(batch: &RecordBatch, column: &str) -> Vec<i64> {
    let list = batch.column_by_name(column).and_then(|array| array.as_fixed_size_list_opt());
    let values = list.and_then(|list| list.values().as_primitive_opt::<Int16Type>());
    values.map(|values| values.values().iter().map(|value| i64::from(*value)).collect()).unwrap_or_default()
}

/// Truths of a column; nothing when the column is not there or holds none.
pub fn booleans(batch: &RecordBatch, column: &str) -> Vec<bool> {
    let flags = batch.column_by_name(column).and_then(|array| array.as_boolean_opt());
    flags.map(|array| array.iter().map(|flag| flag.unwrap_or(false)).collect()).unwrap_or_default()
}

/// Text of a column; nothing when the column is not there or is no text.
pub fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let strings = batch.column_by_name(column).and_then(|array| array.as_string_opt::<i32>());
    strings.map(|array| array.iter().map(|text| text.unwrap_or_default().to_owned()).collect()).unwrap_or_default()
}
