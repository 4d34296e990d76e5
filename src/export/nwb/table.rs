//! `DynamicTable` and its kin: named columns of one length.

use super::file::{Data, Node};
use crate::export::error::ExportError;

/// Values of a column.
pub(super) enum Values {
    Seconds(Vec<f64>),
    Integers(Vec<i64>),
    Texts(Vec<String>),
    /// Absolute paths of objects.
    Objects(Vec<String>),
    /// A list of seconds for each row.
    Ragged(Vec<Vec<f64>>),
}

impl Values {
    fn rows(&self) -> usize {
        match self {
            Self::Seconds(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Texts(values) | Self::Objects(values) => values.len(),
            Self::Ragged(values) => values.len(),
        }
    }
}

/// One column.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) description: &'static str,
    pub(super) values: Values,
    /// Smallest step of the values, seconds.
    resolution: Option<f64>,
}

impl Column {
    pub(super) const fn new(name: &'static str, description: &'static str, values: Values) -> Self {
        Self { name, kind: "VectorData", description, values, resolution: None }
    }

    /// The same column, of values that are `step` apart at least.
    pub(super) fn resolved(self, step: f64) -> Self {
        Self { resolution: Some(step), ..self }
    }

    /// The same column, of another type of the specification.
    pub(super) fn of_kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }
}

/// Writes a table of `kind` (in the core namespace) under `parent`.
pub(super) fn write<'a>(
    parent: &Node<'a>,
    name: &str,
    kind: &str,
    description: &str,
    columns: &[Column],
) -> Result<Node<'a>, ExportError> {
    let table = parent.object(name, "core", kind)?;
    table.attribute("description", description)?;
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    table.attribute_list("colnames", &names)?;
    let rows = columns.first().map_or(0, |column| column.values.rows());
    let ids: Vec<i64> = (0..rows as i64).collect();
    table.array("id", &[rows], &ids)?.object("hdmf-common", "ElementIdentifiers", "")?;
    for column in columns {
        let data = put(&table, column)?;
        let namespace = if column.kind == "VectorData" { "hdmf-common" } else { "core" };
        let data = data.object(namespace, column.kind, column.description)?;
        let data = match column.resolution {
            Some(step) => data.number("resolution", step)?,
            None => data,
        };
        if column.kind == "TimestampVectorData" {
            data.attribute("unit", "seconds")?;
        }
    }
    Ok(table)
}

fn put<'a>(table: &Node<'a>, column: &Column) -> Result<Data<'a>, ExportError> {
    let refer = |values: &[String], write: &dyn Fn(&[&str]) -> Result<Data<'a>, ExportError>| {
        write(&values.iter().map(String::as_str).collect::<Vec<_>>())
    };
    match &column.values {
        Values::Seconds(values) => table.array(column.name, &[values.len()], values),
        Values::Integers(values) => table.array(column.name, &[values.len()], values),
        Values::Texts(values) => refer(values, &|texts| table.texts(column.name, texts)),
        Values::Objects(values) => refer(values, &|paths| table.references(column.name, paths)),
        Values::Ragged(lists) => {
            let flat: Vec<f64> = lists.iter().flatten().copied().collect();
            let ends: Vec<u64> = lists
                .iter()
                .scan(0, |end, list| {
                    *end += list.len() as u64;
                    Some(*end)
                })
                .collect();
            let data = table.array(column.name, &[flat.len()], &flat)?;
            let target = format!("{}/{}", table.path(), column.name);
            let index = table.array(&format!("{}_index", column.name), &[ends.len()], &ends)?;
            let index = index.object("hdmf-common", "VectorIndex", "Where each row's values end.")?;
            index.reference("target", &target)?;
            Ok(data)
        }
    }
}
