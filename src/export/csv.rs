//! One CSV file for each table: `t_ns` first, lists spread over columns `<name>_<i>`, absent values empty.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, UInt16Type, UInt32Type};

use super::ExportReport;
use super::dataset::{Dataset, Progress};
use super::error::ExportError;
use crate::record::TableSchema;

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
        let path = out.join(format!("{}.csv", table.name));
        let failed = |error| ExportError::file(&path, "write", error);
        let file = File::create(&path).map_err(|error| ExportError::file(&path, "create", error))?;
        let mut file = BufWriter::new(file);
        writeln!(file, "{}", head(table)).map_err(failed)?;
        dataset.scan(&table.name, &[], progress, |batch| write_rows(&mut file, batch).map_err(failed))?;
        file.flush().map_err(failed)?;
        report.files += 1;
    }
    Ok(())
}

fn head(table: &TableSchema) -> String {
    let mut names = vec!["t_ns".to_owned()];
    for column in &table.columns {
        if column.len == 1 {
            names.push(column.name.clone());
        } else {
            names.extend((0..column.len).map(|index| format!("{}_{index}", column.name)));
        }
    }
    names.join(",")
}

fn write_rows(out: &mut impl Write, batch: &RecordBatch) -> std::io::Result<()> {
    for row in 0..batch.num_rows() {
        for (place, column) in batch.columns().iter().enumerate() {
            if place > 0 {
                out.write_all(b",")?;
            }
            write_value(out, column, row)?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn write_value(out: &mut impl Write, array: &dyn Array, row: usize) -> std::io::Result<()> {
    if array.is_null(row) {
        return Ok(());
    }
    match array.data_type() {
        DataType::Int64 => write!(out, "{}", array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => write!(out, "{}", array.as_primitive::<Int32Type>().value(row)),
        DataType::Int16 => write!(out, "{}", array.as_primitive::<Int16Type>().value(row)),
        DataType::UInt16 => write!(out, "{}", array.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => write!(out, "{}", array.as_primitive::<UInt32Type>().value(row)),
        DataType::Float32 => write_float(out, array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => write_float(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => write!(out, "{}", u8::from(array.as_boolean().value(row))),
        DataType::Utf8 => write_text(out, array.as_string::<i32>().value(row)),
        DataType::FixedSizeList(..) => {
            let values = array.as_fixed_size_list().value(row);
            for index in 0..values.len() {
                if index > 0 {
                    out.write_all(b",")?;
                }
                write_value(out, &values, index)?;
            }
            Ok(())
        }
        // No column of a dataset is of another kind: see record::schema::ScalarKind.
        other => Err(std::io::Error::other(format!("a column of kind {other}"))),
    }
}

/// The shortest text that reads back as the same value; "no value" is empty.
fn write_float<T: std::fmt::Display + Into<f64> + Copy>(out: &mut impl Write, value: T) -> std::io::Result<()> {
    if value.into().is_nan() { Ok(()) } else { write!(out, "{value}") }
}

fn write_text(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    if text.contains([',', '"', '\n', '\r']) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        write!(out, "{text}")
    }
}
