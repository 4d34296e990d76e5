//! A recording in the published layout.

use std::path::Path;

use mimicd_rat::{QPOS_LEN, RAT23};

use super::command::{EncodeError, EncodeOptions, prepare};
use super::store::{Grid, Slots};
use crate::export::Published;
use crate::record::{Manifest, RecordError, tables};

/// A recording in the published layout: one frame a bin.
///
/// # Errors
/// As [`encode`](super::encode).
pub fn published(options: &EncodeOptions) -> Result<Published, EncodeError> {
    let prepared = prepare(options)?;
    let (grid, bins) = (prepared.settings.grid, prepared.recorded.store.bins());
    let manifest = Manifest::open(&options.dataset)?;
    let keypoints = column(&options.dataset, &manifest, "pose", "keypoints_m", 3 * RAT23.len(), grid)?;
    let qpos = column(&options.dataset, &manifest, "body", "qpos", QPOS_LEN, grid)?;
    let keys = prepared.recorded.spikes.keys(bins, 1);
    let mut out = Published { frames: bins, units: keys.len(), ..Published::default() };
    for bin in 0..bins {
        let points = keypoints.row(bin);
        for axis in 0..3 {
            let value = |keypoint: usize| points.map_or(f64::NAN, |row| row[3 * keypoint + axis] * 1e3);
            out.keypoints_mm.extend((0..RAT23.len()).map(value));
        }
        out.qpos.extend((0..QPOS_LEN).map(|at| qpos.row(bin).map_or(f64::NAN, |row| row[at])));
        out.spike_counts.extend(keys.iter().map(|key| prepared.recorded.spikes.count(*key, bin).min(255) as u8));
        out.motion_mapper.push(prepared.labels.bins.get(bin).copied().flatten().map_or(0, |label| label as i64 + 1));
    }
    Ok(out)
}

/// A list column whose rows are looked up by bin, in full precision.
struct Column {
    width: usize,
    values: Vec<f64>,
    /// Number of the row of each bin.
    rows: Slots,
}

impl Column {
    fn row(&self, bin: usize) -> Option<&[f64]> {
        let row = self.rows.row(bin)?[0] as usize;
        self.values.get(row * self.width..(row + 1) * self.width)
    }
}

fn column(
    folder: &Path,
    manifest: &Manifest,
    table: &str,
    name: &str,
    width: usize,
    grid: Grid,
) -> Result<Column, RecordError> {
    let mut out = Column { width, values: Vec::new(), rows: Slots::new(1) };
    tables::scan(folder, manifest, table, &["t_ns", name], |batch| {
        let (times, values) = (tables::integers(batch, "t_ns"), tables::floats(batch, name));
        if values.len() == times.len() * width {
            let first = out.values.len() / width;
            for (row, t_ns) in times.iter().enumerate().filter_map(|(row, t)| t.map(|t| (row, t))) {
                // Row numbers are exact in f32 up to 16 million: 93 hours of frames.
                out.rows.offer(grid, t_ns, &[(first + row) as f32]);
            }
            out.values.extend(values);
        }
    })?;
    Ok(out)
}
