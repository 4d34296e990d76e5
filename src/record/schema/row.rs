//! Journal rows: `t_ns` and the columns in order, little-endian, packed; text with a 16-bit length.

use super::{ABSENT_I64, ScalarKind, TableSchema};
use crate::record::origin::Origin;

/// The longest text of a row; longer text is cut at a character boundary.
pub(crate) const TEXT_BYTES_MAX: usize = 1_000;

/// Writes one row, column by column, into memory that is already there.
///
/// Every method takes the next column's value(s).
///
/// # Panics
/// When the value's kind or count is not the column's: the code that writes a table disagrees with its schema.
#[derive(Debug)]
pub struct RowWriter<'a> {
    bytes: &'a mut Vec<u8>,
    schema: &'a TableSchema,
    column: usize,
    /// Where a recording that goes on stands; the row's counts are moved there.
    origin: Option<&'a Origin>,
    /// What the row's `array` column says, for its `sample_index`.
    array: Option<usize>,
}

macro_rules! values {
    ($(#[$one_doc:meta])* $vis:vis $one:ident, $(#[$many_doc:meta])* $many:ident, $value:ty, $kind:ident) => {
        $(#[$one_doc])*
        $vis fn $one(&mut self, value: $value) {
            self.next(ScalarKind::$kind, 1);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }

        $(#[$many_doc])*
        pub fn $many(&mut self, values: impl IntoIterator<Item = $value>) {
            let start = self.bytes.len();
            for value in values {
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
            self.next(ScalarKind::$kind, (self.bytes.len() - start) / size_of::<$value>());
        }
    };
}

impl<'a> RowWriter<'a> {
    /// Begins a row at `t_ns`; `bytes` is emptied first.
    pub(crate) fn begin(bytes: &'a mut Vec<u8>, schema: &'a TableSchema, t_ns: i64) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&t_ns.to_le_bytes());
        Self { bytes, schema, column: 0, origin: None, array: None }
    }

    /// The same row, of a producer that counts from `origin`.
    pub(in crate::record) fn counted_from(self, origin: &'a Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// Ends the row.
    pub(crate) fn end(self) {
        let (given, wanted) = (self.column, self.schema.columns.len());
        assert_eq!(given, wanted, "table {}: a row of {given} columns, expected {wanted}", self.schema.name);
    }

    fn next(&mut self, kind: ScalarKind, len: usize) {
        let place = self.column;
        let column = self.schema.columns.get(place);
        let fits = column.is_some_and(|c| c.kind == kind && c.len == len);
        assert!(fits, "table {}, column {place}: got {len} × {kind:?}, expected {column:?}", self.schema.name);
        self.column += 1;
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) {
        self.next(ScalarKind::Bool, 1);
        self.bytes.push(u8::from(value));
    }

    /// A list of truth values.
    pub fn bools(&mut self, values: impl IntoIterator<Item = bool>) {
        let start = self.bytes.len();
        self.bytes.extend(values.into_iter().map(u8::from));
        self.next(ScalarKind::Bool, self.bytes.len() - start);
    }

    values!(
        /// A signed 16-bit value.
        plain_i16,
        /// A list of signed 16-bit values.
        i16s, i16, I16);
    values!(
        /// A signed 32-bit value.
        pub i32,
        /// A list of signed 32-bit values.
        i32s, i32, I32);
    values!(
        /// A signed 64-bit value.
        plain_i64,
        /// A list of signed 64-bit values.
        i64s, i64, I64);
    values!(
        /// An unsigned 16-bit value.
        pub u16,
        /// A list of unsigned 16-bit values.
        u16s, u16, U16);
    values!(
        /// An unsigned 32-bit value.
        pub u32,
        /// A list of unsigned 32-bit values.
        u32s, u32, U32);
    values!(
        /// A 32-bit float.
        pub f32,
        /// A list of 32-bit floats.
        f32s, f32, F32);
    values!(
        /// A 64-bit float.
        pub f64,
        /// A list of 64-bit floats.
        f64s, f64, F64);

    /// A signed 16-bit value.
    pub fn i16(&mut self, value: i16) {
        if self.name() == Some("array") {
            self.array = usize::try_from(value).ok();
        }
        self.plain_i16(value);
    }

    /// A signed 64-bit value.
    pub fn i64(&mut self, value: i64) {
        let value = self.counted(value);
        self.plain_i64(value);
    }

    fn name(&self) -> Option<&str> {
        self.schema.columns.get(self.column).map(|column| column.name.as_str())
    }

    /// Indices and instants of a producer, as the recording counts them.
    fn counted(&self, value: i64) -> i64 {
        let Some(origin) = self.origin.filter(|_| value != ABSENT_I64) else { return value };
        match (self.name(), self.array) {
            (Some("trigger_index"), _) if value >= 0 => origin.trigger(value),
            (Some("reference_t_ns"), _) => value + origin.time.nanos(),
            (Some("sample_index"), Some(array)) => origin.sample(array, value),
            _ => value,
        }
    }

    /// A signed 64-bit value that may be absent.
    pub fn i64_or_absent(&mut self, value: Option<i64>) {
        self.i64(value.unwrap_or(ABSENT_I64));
    }

    /// Text.
    pub fn text(&mut self, text: &str) {
        self.next(ScalarKind::Text, 1);
        let end = text.floor_char_boundary(TEXT_BYTES_MAX);
        self.bytes.extend_from_slice(&(end as u16).to_le_bytes());
        self.bytes.extend_from_slice(&text.as_bytes()[..end]);
    }
}

/// Reads a row's bytes from the front; every method gives `None` when they end too soon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowReader<'a> {
    bytes: &'a [u8],
}

impl<'a> RowReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(count)?;
        self.bytes = tail;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let len = u16::from_le_bytes(self.array()?);
        std::str::from_utf8(self.take(usize::from(len))?).ok()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Passes over the value(s) of one column.
    pub(crate) fn skip(&mut self, kind: ScalarKind, len: usize) -> Option<()> {
        match kind {
            ScalarKind::Text => self.text().map(|_| ()),
            _ => self.take(kind.row_bytes_max() * len).map(|_| ()),
        }
    }

    /// Whether the bytes are exactly one row of `schema`.
    pub(crate) fn fits(mut self, schema: &TableSchema) -> bool {
        let read = self.i64().is_some() && schema.columns.iter().all(|c| self.skip(c.kind, c.len).is_some());
        read && self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::*;

    fn schema() -> TableSchema {
        let columns = vec![
            Column::scalar("count", ScalarKind::I64, "", "").or_absent(),
            Column::list("xyz_m", ScalarKind::F32, 3, "m", ""),
            Column::scalar("name", ScalarKind::Text, "", ""),
        ];
        TableSchema::new("t", "", columns)
    }

    #[test]
    fn a_row_reads_back_and_long_text_is_cut_between_characters() {
        let schema = schema();
        let mut bytes = Vec::new();
        let mut row = RowWriter::begin(&mut bytes, &schema, 7);
        row.i64_or_absent(None);
        row.f32s([1.0, 2.0, 3.0]);
        row.text(&"µ".repeat(800));
        row.end();
        assert!(RowReader::new(&bytes).fits(&schema));
        assert!(!RowReader::new(&bytes[..bytes.len() - 1]).fits(&schema));
        assert!(bytes.len() <= schema.row_bytes_max());
        let mut reader = RowReader::new(&bytes);
        assert_eq!((reader.i64(), reader.i64()), (Some(7), Some(ABSENT_I64)));
        reader.skip(ScalarKind::F32, 3).unwrap();
        assert_eq!(reader.text().unwrap().chars().count(), 500);
    }

    #[test]
    #[should_panic(expected = "table t, column 1: got 2 × F32")]
    fn a_row_that_disagrees_with_its_schema_is_refused() {
        let schema = schema();
        let mut bytes = Vec::new();
        let mut row = RowWriter::begin(&mut bytes, &schema, 0);
        row.i64(1);
        row.f32s([1.0, 2.0]);
    }
}
