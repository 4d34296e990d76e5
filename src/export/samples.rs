//! Electrode samples as exporters want them: interleaved, with the breaks of the sample index found.

use arrow::array::AsArray as _;
use arrow::array::RecordBatch;
use arrow::datatypes::{Int16Type, Int64Type, UInt16Type};

use super::dataset::{Dataset, Progress};
use super::error::ExportError;
use crate::record::ArrayInfo;
use crate::record::schema::ephys_channel;

/// Consecutive samples of one array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Samples<'a> {
    /// Sample index of the first.
    pub(super) first: i64,
    /// Samples missing just before (negative: the index went back, the samples came twice).
    pub(super) missing: i64,
    /// Rig time of each sample.
    pub(super) t_ns: &'a [i64],
    /// Sample-major values.
    pub(super) values: &'a [i16],
    /// Digital word of each sample.
    pub(super) digital: &'a [u16],
}

/// Calls `each` with every run of consecutive samples, cut at batches of the reader.
///
/// # Errors
/// A part that cannot be read, or what `each` says.
pub(super) fn each_run(
    dataset: &Dataset,
    array: &ArrayInfo,
    progress: &mut Progress<'_>,
    mut each: impl FnMut(&Samples<'_>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let names: Vec<String> = (0..array.channels).map(ephys_channel).collect();
    let mut columns = vec!["t_ns", "sample_index", "digital"];
    columns.extend(names.iter().map(String::as_str));
    let mut values = Vec::new();
    let mut expected = None;
    dataset.scan(&array.table(), &columns, progress, |batch| {
        interleave(batch, &names, &mut values);
        let t_ns = column::<Int64Type>(batch, "t_ns");
        let indices = column::<Int64Type>(batch, "sample_index");
        let digital = column::<UInt16Type>(batch, "digital");
        let mut start = 0;
        while start < indices.len() {
            let first = indices[start];
            let run = indices[start..].iter().zip(first..).take_while(|(index, wanted)| **index == *wanted).count();
            let end = start + run;
            each(&Samples {
                first,
                missing: expected.map_or(0, |expected: i64| first - expected),
                t_ns: &t_ns[start..end],
                values: &values[start * names.len()..end * names.len()],
                digital: &digital[start..end],
            })?;
            expected = Some(first + run as i64);
            start = end;
        }
        Ok(())
    })
}

fn column<'a, T: arrow::datatypes::ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> &'a [T::Native] {
    batch.column_by_name(name).map_or(&[], |array| array.as_primitive::<T>().values())
}

/// Columns to sample-major order.
fn interleave(batch: &RecordBatch, names: &[String], out: &mut Vec<i16>) {
    let channels = names.len();
    out.clear();
    out.resize(batch.num_rows() * channels, 0);
    for (channel, name) in names.iter().enumerate() {
        let values = column::<Int16Type>(batch, name);
        for (place, value) in out.iter_mut().skip(channel).step_by(channels.max(1)).zip(values) {
            *place = *value;
        }
    }
}

/// Little-endian bytes.
pub(super) fn bytes_of(values: &[i16], out: &mut Vec<u8>) {
    out.clear();
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}
