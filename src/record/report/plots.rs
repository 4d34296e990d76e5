//! What is plotted, from the tables.

use std::collections::BTreeMap;
use std::path::Path;

use super::bins::{Bins, Counts, Span};
use super::charts::{Chart, Line, bars, over_time};
use crate::record::error::RecordError;
use crate::record::manifest::Manifest;
use crate::record::schema::FRAMES;
use crate::record::tables;

/// Units shown in the bar plot.
const UNITS_MAX: usize = 16;

/// All plots that the dataset has data for.
pub(super) fn all(folder: &Path, manifest: &Manifest) -> Result<Vec<Chart>, RecordError> {
    // Events go on for a moment after the last trigger; the plots end with the train where there is one.
    let train = manifest.tables.get("triggers").filter(|table| !table.parts.is_empty());
    let shown: Vec<_> = train.map_or_else(|| manifest.tables.values().collect(), |table| vec![table]);
    let parts = || shown.iter().flat_map(|table| &table.parts);
    let (Some(first), Some(last)) = (parts().map(|part| part.t_ns.0).min(), parts().map(|part| part.t_ns.1).max())
    else {
        return Ok(Vec::new());
    };
    let source = Source { folder, manifest, span: Span::new(first, last) };
    let mut charts = Vec::new();
    charts.extend(source.drops());
    charts.extend(source.frame_rates()?);
    charts.extend(source.sync()?);
    charts.extend(source.ladder()?);
    charts.extend(source.latency()?);
    charts.extend(source.confidence()?);
    charts.extend(source.table_means("Reprojection residual", "px", "pose", &[("residual_px", 1.0)])?);
    charts.extend(source.table_means("Registration residual", "mm", "body", &[("residual_mean_m", 1e3)])?);
    let errors = [("error_root_m", 1e3)];
    charts.extend(source.table_means("Virtual rat: root to reference", "mm", "virtual", &errors)?);
    let errors = [("error_orientation_rad", 1.0), ("error_joints_rad", 1.0)];
    charts.extend(source.table_means("Virtual rat: angles to reference", "rad", "virtual", &errors)?);
    charts.extend(source.firing()?);
    charts.extend(source.disk());
    Ok(charts)
}

struct Source<'a> {
    folder: &'a Path,
    manifest: &'a Manifest,
    span: Span,
}

impl Source<'_> {
    fn scan(
        &self,
        table: &str,
        columns: &[&str],
        each: impl FnMut(&arrow::array::RecordBatch),
    ) -> Result<(), RecordError> {
        tables::scan(self.folder, self.manifest, table, columns, each)
    }

    /// Items missing, by stream.
    fn drops(&self) -> Option<Chart> {
        let mut streams: BTreeMap<String, Counts> = BTreeMap::new();
        for gap in &self.manifest.gaps {
            let name = format!("{} ({})", gap.stream, gap.unit);
            let counts = streams.entry(name).or_insert_with(|| Counts::new(self.span));
            counts.add(gap.t_ns, gap.count.unwrap_or(1) as f64);
        }
        let mut streams: Vec<_> = streams.into_iter().collect();
        streams.sort_by(|a, b| b.1.total().total_cmp(&a.1.total()));
        let lines: Vec<_> = streams.iter().take(8).map(|(name, counts)| Line::new(name, counts.each())).collect();
        over_time("Drops: items missing, all declared", "items", &lines)
    }

    fn frame_rates(&self) -> Result<Option<Chart>, RecordError> {
        let cameras = &self.manifest.catalog.cameras;
        let mut counts: Vec<_> = cameras.iter().map(|_| Counts::new(self.span)).collect();
        self.scan(FRAMES, &["t_ns", "camera"], |batch| {
            let cameras = tables::integers(batch, "camera");
            for (time, camera) in tables::integers(batch, "t_ns").into_iter().zip(cameras) {
                if let (Some(time), Some(camera)) = (time, camera)
                    && let Some(counts) = counts.get_mut(camera as usize)
                {
                    counts.add(time, 1.0);
                }
            }
        })?;
        let lines: Vec<_> = cameras.iter().zip(&counts).map(|(c, counts)| Line::new(&c.name, counts.rates())).collect();
        Ok(over_time("Frame rates", "frames / s", &lines))
    }

    fn sync(&self) -> Result<Option<Chart>, RecordError> {
        let mut clocks: BTreeMap<String, Bins> = BTreeMap::new();
        self.scan("clock", &["t_ns", "clock", "residual_ns"], |batch| {
            let residuals = tables::floats(batch, "residual_ns");
            let times = tables::integers(batch, "t_ns");
            for ((clock, residual), time) in tables::texts(batch, "clock").into_iter().zip(residuals).zip(times) {
                let bins = clocks.entry(clock).or_insert_with(|| Bins::new(self.span));
                bins.add(time.unwrap_or_default(), residual.abs() * 1e-3);
            }
        })?;
        let lines: Vec<_> = clocks.iter().map(|(name, bins)| Line::new(name, bins.quantile(1.0))).collect();
        Ok(over_time("Sync: largest residual of each clock", "µs", &lines))
    }

    /// Names of the latency table's columns, in order.
    fn ladder_columns(&self) -> Vec<&str> {
        let table = self.manifest.catalog.tables.iter().find(|table| table.name == "latency");
        let columns = table.map(|table| table.columns.as_slice()).unwrap_or_default();
        columns.iter().map(|column| column.name.as_str()).filter(|name| name.ends_with("_us")).collect()
    }

    /// Median of each step of the latency ladder.
    fn ladder(&self) -> Result<Option<Chart>, RecordError> {
        let columns = self.ladder_columns();
        let mut values = vec![Vec::new(); columns.len()];
        self.scan("latency", &columns, |batch| {
            for (column, values) in columns.iter().zip(&mut values) {
                values.extend(tables::floats(batch, column).into_iter().filter(|value| value.is_finite()));
            }
        })?;
        let mut steps = Vec::new();
        for (column, mut values) in columns.iter().zip(values) {
            values.sort_by(f64::total_cmp);
            let name = column.trim_end_matches("_us").to_owned();
            steps.extend(values.get(values.len() / 2).map(|median| (name, median * 1e-3)));
        }
        Ok(bars("Latency ladder: median, mid-exposure to …", "ms", &steps))
    }

    /// The whole latency over time.
    fn latency(&self) -> Result<Option<Chart>, RecordError> {
        let columns = self.ladder_columns();
        let Some(last) = columns.last().copied() else { return Ok(None) };
        let mut bins = Bins::new(self.span);
        self.scan("latency", &["t_ns", last], |batch| {
            for (time, value) in tables::integers(batch, "t_ns").into_iter().zip(tables::floats(batch, last)) {
                bins.add(time.unwrap_or_default(), value * 1e-3);
            }
        })?;
        let quantiles = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];
        let lines: Vec<_> = quantiles.iter().map(|(name, share)| Line::new(*name, bins.quantile(*share))).collect();
        Ok(over_time("Latency: mid-exposure to action", "ms", &lines))
    }

    fn confidence(&self) -> Result<Option<Chart>, RecordError> {
        let mut bins = Bins::new(self.span);
        self.list_means("pose", "confidence", |time, mean| bins.add(time, mean))?;
        Ok(over_time("Pose confidence: mean of all keypoints", "", &[Line::new("mean", bins.mean())]))
    }

    /// Mean of each row's finite values.
    fn list_means(&self, table: &str, column: &str, mut each: impl FnMut(i64, f64)) -> Result<(), RecordError> {
        self.scan(table, &["t_ns", column], |batch| {
            let values = tables::floats(batch, column);
            let width = values.len().checked_div(batch.num_rows()).unwrap_or(0).max(1);
            for (time, row) in tables::integers(batch, "t_ns").into_iter().zip(values.chunks(width)) {
                let finite = row.iter().filter(|value| value.is_finite());
                let (sum, count) = finite.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
                if count > 0 {
                    each(time.unwrap_or_default(), sum / f64::from(count));
                }
            }
        })
    }

    fn table_means(
        &self,
        title: &str,
        unit: &str,
        table: &str,
        columns: &[(&str, f64)],
    ) -> Result<Option<Chart>, RecordError> {
        let mut lines = Vec::new();
        for (column, scale) in columns {
            let mut bins = Bins::new(self.span);
            self.list_means(table, column, |time, mean| bins.add(time, mean * scale))?;
            if !bins.is_empty() {
                let name = column.rsplit_once('_').map_or(*column, |(name, _)| name);
                lines.push(Line::new(format!("{name} mean"), bins.mean()));
                lines.push(Line::new(format!("{name} max"), bins.quantile(1.0)));
            }
        }
        Ok(over_time(title, unit, &lines))
    }

    /// Spikes over time by array, and the rates of the busiest units.
    fn firing(&self) -> Result<Vec<Chart>, RecordError> {
        let arrays = &self.manifest.catalog.arrays;
        let mut counts: Vec<_> = arrays.iter().map(|_| Counts::new(self.span)).collect();
        let mut units: BTreeMap<(i64, i64, i64), f64> = BTreeMap::new();
        let columns = ["t_ns", "array", "tetrode", "unit"];
        self.scan("spikes", &columns, |batch| {
            let [times, places, tetrodes, names] = columns.map(|column| tables::integers(batch, column));
            for row in 0..batch.num_rows() {
                let (Some(time), Some(array)) = (times[row], places[row]) else { continue };
                if let Some(counts) = counts.get_mut(array as usize) {
                    counts.add(time, 1.0);
                }
                let key = (array, tetrodes[row].unwrap_or(-1), names[row].unwrap_or(0));
                *units.entry(key).or_default() += 1.0;
            }
        })?;
        let seconds = self.span.bin_seconds() * self.span.count() as f64;
        let mut busiest: Vec<_> = units.into_iter().collect();
        busiest.sort_by(|a, b| b.1.total_cmp(&a.1));
        let name = |(array, tetrode, unit): (i64, i64, i64)| {
            let array = arrays.get(array as usize).map_or("?", |array| array.name.as_str());
            if unit == 0 { format!("{array}{tetrode}") } else { format!("{array}{tetrode}.{unit}") }
        };
        let rates: Vec<_> =
            busiest.into_iter().take(UNITS_MAX).map(|(key, count)| (name(key), count / seconds)).collect();
        if rates.is_empty() {
            return Ok(Vec::new());
        }
        let lines: Vec<_> = arrays.iter().zip(&counts).map(|(a, counts)| Line::new(&a.name, counts.rates())).collect();
        let over = over_time("Spikes of each array", "spikes / s", &lines);
        let title = "Busiest units: array, tetrode, unit (no unit = unsorted)";
        Ok(over.into_iter().chain(bars(title, "spikes / s", &rates)).collect())
    }

    /// Bytes of the tables as they grew.
    fn disk(&self) -> Option<Chart> {
        let mut kinds: BTreeMap<&str, Vec<(i64, u64)>> = BTreeMap::new();
        for (name, table) in &self.manifest.tables {
            let kind = if name.starts_with("ephys_") { "samples" } else { "other tables" };
            kinds.entry(kind).or_default().extend(table.parts.iter().map(|part| (part.t_ns.1, part.bytes)));
        }
        let lines: Vec<_> = kinds
            .into_iter()
            .map(|(kind, mut parts)| {
                parts.sort_unstable();
                let mut sum = 0;
                let grown = parts.into_iter().map(|(time, bytes)| {
                    sum += bytes;
                    (time as f64 * 1e-9, sum as f64 * 1e-6)
                });
                Line::new(kind, grown.collect())
            })
            .collect();
        over_time("Disk: sealed bytes", "MB", &lines)
    }
}
