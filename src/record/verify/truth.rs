//! Recorded values against a simulated rig's truth, where the dataset has it.

use std::collections::HashMap;
use std::path::Path;

use super::stats::{ColumnStats, Percentiles};
use crate::record::error::RecordError;
use crate::record::manifest::Manifest;
use crate::record::schema::FRAMES;
use crate::record::tables;

/// Distances of recorded keypoints, and of frame times, from the truth.
pub(super) fn compare(folder: &Path, manifest: &Manifest) -> Result<Vec<ColumnStats>, RecordError> {
    let mut found = Vec::new();
    found.extend(pose(folder, manifest)?);
    found.extend(joints(folder, manifest)?);
    found.extend(frames(folder, manifest)?);
    found.extend(host_clock(folder, manifest)?);
    Ok(found)
}

fn pose(folder: &Path, manifest: &Manifest) -> Result<Option<ColumnStats>, RecordError> {
    let mut distances = Vec::new();
    beside_truth(folder, manifest, ("pose", "keypoints_m"), |found, truth| {
        let pairs = found.as_chunks::<3>().0.iter().zip(truth.as_chunks::<3>().0);
        distances.extend(pairs.map(|(a, b)| (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()));
    })?;
    Ok(stats("pose keypoints against truth", "m", distances))
}

/// Registered joint angles (without the root's seven coordinates).
fn joints(folder: &Path, manifest: &Manifest) -> Result<Option<ColumnStats>, RecordError> {
    let mut differences = Vec::new();
    beside_truth(folder, manifest, ("body", "qpos"), |found, truth| {
        differences.extend(found.iter().zip(truth).skip(7).map(|(a, b)| (a - b).abs().to_degrees()));
    })?;
    Ok(stats("registered joints against truth", "deg", differences))
}

/// A list column of a table beside the same column of `truth_pose`, row by row, joined on the trigger.
fn beside_truth(
    folder: &Path,
    manifest: &Manifest,
    (table, column): (&str, &str),
    mut each: impl FnMut(&[f64], &[f64]),
) -> Result<(), RecordError> {
    let mut truth: HashMap<i64, Vec<f64>> = HashMap::new();
    each_row(folder, manifest, ("truth_pose", column), |index, values| _ = truth.insert(index, values.to_vec()))?;
    each_row(folder, manifest, (table, column), |index, values| {
        if let Some(truth) = truth.get(&index).filter(|truth| truth.len() == values.len()) {
            each(values, truth);
        }
    })
}

fn each_row(
    folder: &Path,
    manifest: &Manifest,
    (table, column): (&str, &str),
    mut each: impl FnMut(i64, &[f64]),
) -> Result<(), RecordError> {
    tables::scan(folder, manifest, table, &["trigger_index", column], |batch| {
        let points = tables::floats(batch, column);
        let len = points.len().checked_div(batch.num_rows()).unwrap_or(0);
        if len == 0 {
            return;
        }
        for (index, points) in tables::integers(batch, "trigger_index").into_iter().zip(points.chunks(len)) {
            if let Some(index) = index {
                each(index, points);
            }
        }
    })
}

fn frames(folder: &Path, manifest: &Manifest) -> Result<Option<ColumnStats>, RecordError> {
    let columns = ["t_ns", "camera", "trigger_index"];
    let mut truth: HashMap<(i64, i64), i64> = HashMap::new();
    let key = |camera: Option<i64>, index: Option<i64>| camera.zip(index);
    tables::scan(folder, manifest, "truth_frames", &columns, |batch| {
        let (cameras, indices) = (tables::integers(batch, "camera"), tables::integers(batch, "trigger_index"));
        for ((time, camera), index) in tables::integers(batch, "t_ns").into_iter().zip(cameras).zip(indices) {
            if let (Some(key), Some(time)) = (key(camera, index), time) {
                truth.insert(key, time);
            }
        }
    })?;
    let mut differences = Vec::new();
    tables::scan(folder, manifest, FRAMES, &columns, |batch| {
        let (cameras, indices) = (tables::integers(batch, "camera"), tables::integers(batch, "trigger_index"));
        for ((time, camera), index) in tables::integers(batch, "t_ns").into_iter().zip(cameras).zip(indices) {
            let known = key(camera, index).and_then(|key| truth.get(&key));
            differences.extend(time.zip(known).map(|(time, truth)| (time - truth).abs() as f64));
        }
    })?;
    Ok(stats("frame times against truth", "ns", differences))
}

/// Offsets further apart than this, or of a clock that changed by more between them, tell nothing of what lies between.
const NEIGHBOURS_NS: (i64, f64) = (200_000_000, 100_000.0);

/// The map from host to board time as it stood after each ping, against the true offset between two triggers about it.
fn host_clock(folder: &Path, manifest: &Manifest) -> Result<Option<ColumnStats>, RecordError> {
    let mut truth = offsets(folder, manifest, "truth_clock")?;
    truth.sort_by_key(|(time, _)| *time);
    let error = |(time, offset): (i64, f64)| {
        let after = truth.partition_point(|(known, _)| *known <= time);
        let ((t0, y0), (t1, y1)) = (*truth.get(after.checked_sub(1)?)?, *truth.get(after)?);
        let is_near = t1 - t0 <= NEIGHBOURS_NS.0 && (y1 - y0).abs() <= NEIGHBOURS_NS.1;
        let between = y0 + (y1 - y0) * (time - t0) as f64 / (t1 - t0).max(1) as f64;
        is_near.then(|| (offset - between).abs())
    };
    let errors = offsets(folder, manifest, "clock")?.into_iter().filter_map(error).collect();
    Ok(stats("host clock map against truth", "ns", errors))
}

/// Rig times and offsets of the host's clock in `table`.
fn offsets(folder: &Path, manifest: &Manifest, table: &str) -> Result<Vec<(i64, f64)>, RecordError> {
    let mut found = Vec::new();
    tables::scan(folder, manifest, table, &["t_ns", "clock", "offset_ns"], |batch| {
        let (times, offsets) = (tables::integers(batch, "t_ns"), tables::floats(batch, "offset_ns"));
        for ((time, clock), offset) in times.into_iter().zip(tables::texts(batch, "clock")).zip(offsets) {
            found.extend(time.filter(|_| clock == "host").map(|time| (time, offset)));
        }
    })?;
    Ok(found)
}

fn stats(name: &str, unit: &str, values: Vec<f64>) -> Option<ColumnStats> {
    let is_there = !values.is_empty();
    is_there.then(|| ColumnStats { name: name.to_owned(), unit: unit.to_owned(), values: Percentiles::of(values) })
}
