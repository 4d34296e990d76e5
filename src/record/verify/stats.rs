//! Percentiles of columns.

use std::path::Path;

use serde::Serialize;

use crate::record::error::RecordError;
use crate::record::manifest::Manifest;
use crate::record::schema::{ScalarKind, TableSchema};
use crate::record::tables;

/// The usual percentiles of finite values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many values.
    pub count: usize,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99 of 100 are not above it.
    pub p99: f64,
    /// 999 of 1,000 are not above it.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

impl Percentiles {
    /// Of `values`; values that are not finite are left out.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let Some(&max) = values.last() else { return Self::default() };
        let count = values.len();
        // Nearest rank: the smallest value that at least the given share does not exceed.
        let rank = |share: f64| values[((share * count as f64).ceil() as usize).clamp(1, count) - 1];
        let mean = values.iter().sum::<f64>() / count as f64;
        Self { count, mean, p50: rank(0.5), p99: rank(0.99), p999: rank(0.999), max }
    }
}

/// One column's percentiles.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnStats {
    /// `table.column`.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The percentiles.
    pub values: Percentiles,
}

/// Every `_us` column of a table, in order: the latency ladder, or the time spent in each stage.
pub(super) fn durations(folder: &Path, manifest: &Manifest, table: &str) -> Result<Vec<ColumnStats>, RecordError> {
    let table = manifest.catalog.tables.iter().find(|known| known.name == table);
    columns(folder, manifest, table, |name| name.ends_with("_us"))
}

/// Residual and error columns of the tables that stages write.
pub(super) fn errors(folder: &Path, manifest: &Manifest) -> Result<Vec<ColumnStats>, RecordError> {
    let mut found = Vec::new();
    for table in manifest.catalog.tables.iter().filter(|table| table.name != "clock") {
        let is_error = |name: &str| name.starts_with("residual") || name.starts_with("error");
        found.extend(columns(folder, manifest, Some(table), is_error)?);
    }
    Ok(found)
}

fn columns(
    folder: &Path,
    manifest: &Manifest,
    table: Option<&TableSchema>,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<ColumnStats>, RecordError> {
    let Some(table) = table else { return Ok(Vec::new()) };
    let is_float = |kind| matches!(kind, ScalarKind::F32 | ScalarKind::F64);
    let wanted: Vec<_> = table.columns.iter().filter(|c| is_float(c.kind) && is_wanted(&c.name)).collect();
    let names: Vec<&str> = wanted.iter().map(|column| column.name.as_str()).collect();
    let mut values = vec![Vec::new(); wanted.len()];
    if !names.is_empty() {
        tables::scan(folder, manifest, &table.name, &names, |batch| {
            for (name, values) in names.iter().zip(&mut values) {
                values.extend(tables::floats(batch, name));
            }
        })?;
    }
    let stats = wanted.iter().zip(values).map(|(column, values)| ColumnStats {
        name: format!("{}.{}", table.name, column.name),
        unit: column.unit.clone(),
        values: Percentiles::of(values),
    });
    Ok(stats.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks_of_finite_values() {
        let mut values: Vec<f64> = (1..=1_000).map(f64::from).collect();
        values.push(f64::NAN);
        let found = Percentiles::of(values);
        assert_eq!((found.count, found.p50, found.p99, found.p999, found.max), (1_000, 500.0, 990.0, 999.0, 1_000.0));
        assert_eq!(Percentiles::of(vec![]), Percentiles::default());
    }
}
