//! Journal rows of one table into one Parquet part.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    RecordBatch, StringBuilder, UInt16Array, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::part::PartFile;
use crate::record::disk::Disk;
use crate::record::error::RecordError;
use crate::record::manifest::PartEntry;
use crate::record::schema::{ABSENT_I64, RowReader, ScalarKind, TableSchema};

/// Row bytes gathered before they are encoded.
const BATCH_BYTES: usize = 4 << 20;
/// Row bytes of a row group.
const GROUP_BYTES: usize = 32 << 20;

/// Values of one column since the last batch.
enum Values {
    Bool(Vec<bool>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Text(StringBuilder),
}

impl Values {
    fn new(kind: ScalarKind) -> Self {
        match kind {
            ScalarKind::Bool => Self::Bool(Vec::new()),
            ScalarKind::I16 => Self::I16(Vec::new()),
            ScalarKind::I32 => Self::I32(Vec::new()),
            ScalarKind::I64 => Self::I64(Vec::new()),
            ScalarKind::U16 => Self::U16(Vec::new()),
            ScalarKind::U32 => Self::U32(Vec::new()),
            ScalarKind::F32 => Self::F32(Vec::new()),
            ScalarKind::F64 => Self::F64(Vec::new()),
            ScalarKind::Text => Self::Text(StringBuilder::new()),
        }
    }

    /// Takes `len` values from the row; `None` when the row ends too soon.
    fn read(&mut self, row: &mut RowReader<'_>, len: usize) -> Option<()> {
        fn numbers<const N: usize, T>(
            row: &mut RowReader<'_>,
            len: usize,
            out: &mut Vec<T>,
            value: fn([u8; N]) -> T,
        ) -> Option<()> {
            let bytes = row.take(N * len)?;
            out.extend(bytes.as_chunks::<N>().0.iter().map(|chunk| value(*chunk)));
            Some(())
        }
        match self {
            Self::Bool(out) => numbers(row, len, out, |[byte]: [u8; 1]| byte != 0),
            Self::I16(out) => numbers(row, len, out, i16::from_le_bytes),
            Self::I32(out) => numbers(row, len, out, i32::from_le_bytes),
            Self::I64(out) => numbers(row, len, out, i64::from_le_bytes),
            Self::U16(out) => numbers(row, len, out, u16::from_le_bytes),
            Self::U32(out) => numbers(row, len, out, u32::from_le_bytes),
            Self::F32(out) => numbers(row, len, out, f32::from_le_bytes),
            Self::F64(out) => numbers(row, len, out, f64::from_le_bytes),
            Self::Text(out) => row.text().map(|text| out.append_value(text)),
        }
    }

    /// Hands the values out as an Arrow array of `field`'s type and begins anew.
    fn take(&mut self, field: &Field) -> ArrayRef {
        use std::mem::take;
        let flat: ArrayRef = match self {
            Self::Bool(values) => Arc::new(BooleanArray::from(take(values))),
            Self::I16(values) => Arc::new(Int16Array::from(take(values))),
            Self::I32(values) => Arc::new(Int32Array::from(take(values))),
            Self::I64(values) if field.is_nullable() => {
                Arc::new(take(values).into_iter().map(|v| (v != ABSENT_I64).then_some(v)).collect::<Int64Array>())
            }
            Self::I64(values) => Arc::new(Int64Array::from(take(values))),
            Self::U16(values) => Arc::new(UInt16Array::from(take(values))),
            Self::U32(values) => Arc::new(UInt32Array::from(take(values))),
            Self::F32(values) => Arc::new(Float32Array::from(take(values))),
            Self::F64(values) => Arc::new(Float64Array::from(take(values))),
            Self::Text(values) => Arc::new(values.finish()),
        };
        match field.data_type() {
            DataType::FixedSizeList(item, len) => Arc::new(FixedSizeListArray::new(Arc::clone(item), *len, flat, None)),
            _ => flat,
        }
    }
}

/// A table's part being written.
pub(in crate::record) struct TablePart {
    file: PartFile,
    schema: TableSchema,
    arrow: Arc<Schema>,
    times: Vec<i64>,
    values: Vec<Values>,
    bytes: usize,
}

impl TablePart {
    pub(in crate::record) fn create(
        disk: &dyn Disk,
        path: &Path,
        schema: &TableSchema,
        arrow: Arc<Schema>,
    ) -> Result<Self, RecordError> {
        let file = PartFile::create(disk, path, Arc::clone(&arrow), properties(schema))?;
        let values = schema.columns.iter().map(|c| Values::new(c.kind)).collect();
        Ok(Self { file, schema: schema.clone(), arrow, times: Vec::new(), values, bytes: 0 })
    }

    /// Adds a row. `false`: the bytes are not a row of this table.
    pub(in crate::record) fn row(&mut self, bytes: &[u8]) -> Result<bool, RecordError> {
        if !RowReader::new(bytes).fits(&self.schema) {
            return Ok(false);
        }
        let mut row = RowReader::new(bytes);
        self.times.extend(row.i64());
        for (values, column) in self.values.iter_mut().zip(&self.schema.columns) {
            values.read(&mut row, column.len).expect("the row fits its schema");
        }
        self.bytes += bytes.len();
        if self.bytes >= BATCH_BYTES {
            self.write_batch()?;
        }
        Ok(true)
    }

    /// Closes the part.
    pub(in crate::record) fn finish(
        mut self,
        disk: &dyn Disk,
        root: &Path,
        epoch: u32,
    ) -> Result<PartEntry, RecordError> {
        self.write_batch()?;
        self.file.finish(disk, root, epoch)
    }

    fn write_batch(&mut self) -> Result<(), RecordError> {
        let (Some(&first), Some(&last)) = (self.times.iter().min(), self.times.iter().max()) else { return Ok(()) };
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(std::mem::take(&mut self.times)))];
        let fields = self.arrow.fields().iter().skip(1);
        columns.extend(self.values.iter_mut().zip(fields).map(|(values, field)| values.take(field)));
        let batch = RecordBatch::try_new(Arc::clone(&self.arrow), columns).expect("arrays made from the schema");
        self.bytes = 0;
        self.file.write(&batch, (first, last))
    }
}

/// zstd, times delta-packed, groups of a size that one reader holds easily.
fn properties(schema: &TableSchema) -> WriterProperties {
    let time = ColumnPath::from("t_ns");
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level")))
        .set_column_dictionary_enabled(time.clone(), false)
        .set_column_encoding(time, Encoding::DELTA_BINARY_PACKED)
        .set_max_row_group_row_count(Some((GROUP_BYTES / schema.row_bytes_max()).max(1_024)))
        .build()
}
