//! Tables as data: columns with kind, unit and meaning, their row bytes and their Arrow form.
//!
//! A [`TableSchema`] is written into every journal segment and every Parquet file, so that each file explains itself.
//! `t_ns` (rig time) is the first column of every table and is not listed in [`TableSchema::columns`].

mod row;
mod standard;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

pub use row::RowWriter;
pub(super) use row::{RowReader, TEXT_BYTES_MAX};
pub use standard::{
    EPHYS_PREFIX, FRAMES, GAPS, clock, ephys, ephys_channel, events, frames, gaps, latency, standard_tables, triggers,
    truth_frames, truth_pose,
};

/// Version of the dataset layout: files, tables, manifest. Every version that was ever written still opens.
pub const SCHEMA_VERSION: u32 = 1;

/// Key of the schema metadata under which one part of every epoch describes the whole recording.
pub(super) const INFO_KEY: &str = "mimicd.info";
/// Key of the schema metadata under which one part of every epoch lists the recording's tables, cameras and arrays.
pub(super) const CATALOG_KEY: &str = "mimicd.catalog";

/// The value that stands for "absent" in an optional `I64` column's row; a null in Parquet.
pub const ABSENT_I64: i64 = i64::MIN;

/// What one value of a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalarKind {
    /// True or false.
    Bool,
    /// Signed 16 bit.
    I16,
    /// Signed 32 bit.
    I32,
    /// Signed 64 bit; the only kind that may be optional.
    I64,
    /// Unsigned 16 bit.
    U16,
    /// Unsigned 32 bit; integrity flags.
    U32,
    /// 32-bit float; NaN stands for "no value".
    F32,
    /// 64-bit float; NaN stands for "no value".
    F64,
    /// Text, at most 1,000 bytes; never a list.
    Text,
}

impl ScalarKind {
    /// Bytes of one value in a journal row; for text, the most it can take.
    pub(super) const fn row_bytes_max(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
            Self::Text => 2 + TEXT_BYTES_MAX,
        }
    }

    fn arrow_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::I16 => DataType::Int16,
            Self::I32 => DataType::Int32,
            Self::I64 => DataType::Int64,
            Self::U16 => DataType::UInt16,
            Self::U32 => DataType::UInt32,
            Self::F32 => DataType::Float32,
            Self::F64 => DataType::Float64,
            Self::Text => DataType::Utf8,
        }
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name, with its unit where it has one (`residual_px`).
    pub name: String,
    /// What one value is.
    pub kind: ScalarKind,
    /// 1 for a scalar; `n` for a fixed-size list of `n` values (row-major when it stands for a matrix).
    pub len: usize,
    /// Unit (`ns`, `m`, `px`, `uV/bit 0.195`); empty when there is none.
    pub unit: String,
    /// Meaning, one sentence.
    pub doc: String,
    /// Whether [`ABSENT_I64`] stands for null.
    #[serde(default)]
    pub optional: bool,
}

impl Column {
    /// A column of single values.
    pub fn scalar(name: &str, kind: ScalarKind, unit: &str, doc: &str) -> Self {
        Self::list(name, kind, 1, unit, doc)
    }

    /// A column of `len` values a row; a scalar when `len` is 1.
    ///
    /// # Panics
    /// When `len` is 0, or text is asked for as a list.
    pub fn list(name: &str, kind: ScalarKind, len: usize, unit: &str, doc: &str) -> Self {
        assert!(len > 0 && (len == 1 || kind != ScalarKind::Text), "column {name}: {len} values of {kind:?}");
        Self { name: name.to_owned(), kind, len, unit: unit.to_owned(), doc: doc.to_owned(), optional: false }
    }

    /// The same column, with nulls.
    ///
    /// # Panics
    /// When it is not a single `I64`.
    #[must_use]
    pub fn or_absent(self) -> Self {
        assert!(self.kind == ScalarKind::I64 && self.len == 1, "column {}: only a single I64 may be absent", self.name);
        Self { optional: true, ..self }
    }

    fn field(&self) -> Field {
        let value = self.kind.arrow_type();
        let kind = if self.len == 1 {
            value
        } else {
            DataType::FixedSizeList(Arc::new(Field::new("item", value, false)), self.len as i32)
        };
        Field::new(&self.name, kind, self.optional).with_metadata(described(&self.unit, &self.doc))
    }
}

/// A table that some layer defines and the recorder writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// Name: its folder under `tables/`.
    pub name: String,
    /// Meaning, one or two sentences.
    pub doc: String,
    /// The columns after `t_ns`.
    pub columns: Vec<Column>,
}

impl TableSchema {
    /// A table with its columns after `t_ns`.
    pub fn new(name: &str, doc: &str, columns: Vec<Column>) -> Self {
        Self { name: name.to_owned(), doc: doc.to_owned(), columns }
    }

    /// The most bytes a row takes in the journal.
    pub(super) fn row_bytes_max(&self) -> usize {
        8 + self.columns.iter().map(|c| c.len * c.kind.row_bytes_max()).sum::<usize>()
    }

    /// The table as Arrow sees it, units and meanings in the field metadata.
    pub fn arrow(&self) -> Schema {
        let mut time = described("ns", "Rig time: the sync board's clock, counted from the start of the recording.");
        time.insert("clock".to_owned(), "rig".to_owned());
        let mut fields = vec![Field::new("t_ns", DataType::Int64, false).with_metadata(time)];
        fields.extend(self.columns.iter().map(Column::field));
        let metadata = HashMap::from([
            ("mimicd.table".to_owned(), self.name.clone()),
            ("mimicd.doc".to_owned(), self.doc.clone()),
            ("mimicd.schema_version".to_owned(), SCHEMA_VERSION.to_string()),
        ]);
        Schema::new_with_metadata(fields, metadata)
    }
}

fn described(unit: &str, doc: &str) -> HashMap<String, String> {
    let mut metadata = HashMap::from([("doc".to_owned(), doc.to_owned())]);
    if !unit.is_empty() {
        metadata.insert("unit".to_owned(), unit.to_owned());
    }
    metadata
}

/// The tables as a Markdown page: the dataset's reference.
pub fn markdown(tables: &[TableSchema]) -> String {
    use std::fmt::Write as _;
    let mut page = String::new();
    for table in tables {
        write!(page, "## {}\n\n{}\n\n| column | kind | unit | meaning |\n|---|---|---|---|\n", table.name, table.doc)
            .expect("writing to a string");
        page.push_str("| `t_ns` | i64 | ns | rig time |\n");
        for column in &table.columns {
            let kind = format!("{:?}", column.kind).to_lowercase();
            let kind = if column.len == 1 { kind } else { format!("{kind} × {}", column.len) };
            writeln!(page, "| `{}` | {kind} | {} | {} |", column.name, column.unit, column.doc)
                .expect("writing to a string");
        }
        page.push('\n');
    }
    page
}
