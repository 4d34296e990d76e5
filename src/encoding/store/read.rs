//! A recording's tables as a store, spike counts and what else the analyses want.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::RecordBatch;
use mimicd_device::Integrity;
use mimicd_rat::{ACTUATORS, QPOS_LEN, QVEL_LEN, RAT23};

use super::super::units::{SpikeCounts, UnitKey};
use super::{BODY_WIDTH, BodyInput, Grid, Store, body_row, virtual_row};
use crate::body::BodyFlags;
use crate::record::{Manifest, RecordError, tables};

/// Columns of the `virtual` table that every policy has; the others are signals of its network.
const OWN_COLUMNS: [&str; 16] = [
    "t_ns",
    "trigger_index",
    "reference_t_ns",
    "lag_ns",
    "qpos",
    "qvel",
    "action",
    "qfrc",
    "error_root_m",
    "error_orientation_rad",
    "error_joints_rad",
    "trusted",
    "reset",
    "integrity",
    ACTION_SD,
    "latent_sd",
];
/// Standard deviation of the action over resampled latents.
const ACTION_SD: &str = "action_sd";

/// Names and lengths of a policy's signals.
pub type Signals = Vec<(String, usize)>;

/// A recording, ready for analysis.
pub struct Recorded {
    /// Features.
    pub store: Store,
    /// Names and lengths of the policy's signals.
    pub signals: Signals,
    /// Spikes in bins.
    pub spikes: SpikeCounts,
    /// Standard deviation of the action over resampled latents, on the grid; empty when it was not recorded.
    pub action_sd: super::Slots,
    /// Mean lag of the virtual rat behind the newest frame, nanoseconds.
    pub lag_ns_mean: f64,
    /// Whether spikes are sorted units; otherwise each tetrode is one.
    pub sorted: bool,
}

/// Reads everything that the analyses want from a sealed recording.
///
/// # Errors
/// A file that cannot be read.
pub fn read_recording(folder: &Path, manifest: &Manifest, grid: Grid) -> Result<Recorded, RecordError> {
    let signals = signals_of(folder, manifest)?;
    let width = QVEL_LEN + ACTUATORS + signals.iter().map(|(_, len)| len).sum::<usize>();
    let mut store = Store::new(grid, width);
    read_body(folder, manifest, &mut store)?;
    let mut action_sd = super::Slots::new(ACTUATORS);
    let lag_ns_mean = read_virtual(folder, manifest, &signals, &mut store, &mut action_sd)?;
    let (spikes, sorted) = read_spikes(folder, manifest, grid, store.bins())?;
    Ok(Recorded { store, signals, spikes, action_sd, lag_ns_mean, sorted })
}

fn signals_of(folder: &Path, manifest: &Manifest) -> Result<Signals, RecordError> {
    use arrow::datatypes::DataType;
    let parts = tables::parts(folder, manifest, "virtual");
    let Some(part) = parts.first() else { return Ok(Vec::new()) };
    let schema = tables::schema(part)?;
    let others = schema.fields().iter().filter(|field| !OWN_COLUMNS.contains(&field.name().as_str()));
    let signal = |field: &std::sync::Arc<arrow::datatypes::Field>| match field.data_type() {
        DataType::FixedSizeList(_, len) => Some((field.name().clone(), *len as usize)),
        DataType::Float32 => Some((field.name().clone(), 1)),
        _ => None,
    };
    Ok(others.filter_map(signal).collect())
}

/// A row of a flattened list column.
fn row_of<T>(values: &[T], row: usize, width: usize) -> Option<&[T]> {
    values.get(row * width..(row + 1) * width)
}

fn read_body(folder: &Path, manifest: &Manifest, store: &mut Store) -> Result<(), RecordError> {
    let width = 3 * RAT23.len();
    let mut keypoints: BTreeMap<i64, Vec<f32>> = BTreeMap::new();
    tables::scan(folder, manifest, "pose", &["t_ns", "keypoints_m"], |batch| {
        let (times, points) = (tables::integers(batch, "t_ns"), tables::floats(batch, "keypoints_m"));
        if points.len() == times.len() * width {
            for (row, t_ns) in times.iter().enumerate().filter_map(|(row, t)| t.map(|t| (row, t))) {
                let points = row_of(&points, row, width).unwrap_or_default();
                keypoints.insert(t_ns, points.iter().map(|value| *value as f32).collect());
            }
        }
    })?;
    let missing = vec![f32::NAN; width];
    let mut out = vec![0.0; BODY_WIDTH];
    let useless = i64::from((BodyFlags::NO_DATA | BodyFlags::TOO_FEW).bits());
    tables::scan(folder, manifest, "body", &["t_ns", "qpos", "qvel", "flags"], |batch| {
        let (times, flags) = (tables::integers(batch, "t_ns"), tables::integers(batch, "flags"));
        let (qpos, qvel) = (tables::floats(batch, "qpos"), tables::floats(batch, "qvel"));
        for (row, t_ns) in times.iter().enumerate().filter_map(|(row, t)| t.map(|t| (row, t))) {
            let flagged = flags.get(row).copied().flatten().is_some_and(|flags| flags & useless != 0);
            let (Some(qpos), Some(qvel)) = (row_of(&qpos, row, QPOS_LEN), row_of(&qvel, row, QVEL_LEN)) else {
                continue;
            };
            if !flagged {
                let keypoints_m = keypoints.get(&t_ns).unwrap_or(&missing);
                body_row(BodyInput { qpos, qvel, keypoints_m }, &mut out);
                store.body.offer(store.grid, t_ns, &out);
            }
        }
    })
}

fn read_virtual(
    folder: &Path,
    manifest: &Manifest,
    signals: &Signals,
    store: &mut Store,
    action_sd: &mut super::Slots,
) -> Result<f64, RecordError> {
    let mut columns = vec!["reference_t_ns", "lag_ns", "qfrc", "action", "integrity", ACTION_SD];
    columns.extend(signals.iter().map(|(name, _)| name.as_str()));
    let mut out = vec![0.0; store.imitation.width()];
    let useless = i64::from((Integrity::STALE | Integrity::CORRUPT | Integrity::NOT_FINITE).bits());
    let (mut lag, mut rows) = (0.0, 0.0);
    tables::scan(folder, manifest, "virtual", &columns, |batch| {
        let (times, lags) = (tables::integers(batch, "reference_t_ns"), tables::integers(batch, "lag_ns"));
        let integrity = tables::integers(batch, "integrity");
        let (qfrc, action, spread) = (tables::floats(batch, "qfrc"), narrow(batch, "action"), narrow(batch, ACTION_SD));
        let values: Vec<Vec<f32>> = signals.iter().map(|(name, _)| narrow(batch, name)).collect();
        let mut inner = Vec::new();
        for (row, t_ns) in times.iter().enumerate().filter_map(|(row, t)| t.map(|t| (row, t))) {
            if integrity.get(row).copied().flatten().is_some_and(|flags| flags & useless != 0) {
                continue;
            }
            let (Some(qfrc), Some(action)) = (row_of(&qfrc, row, QVEL_LEN), row_of(&action, row, ACTUATORS)) else {
                continue;
            };
            inner.clear();
            for (values, (_, len)) in values.iter().zip(signals) {
                inner.extend_from_slice(row_of(values, row, *len).unwrap_or_default());
            }
            virtual_row(qfrc, action, &inner, &mut out);
            store.imitation.offer(store.grid, t_ns, &out);
            if let Some(spread) = row_of(&spread, row, ACTUATORS) {
                action_sd.offer(store.grid, t_ns, spread);
            }
            lag += lags.get(row).copied().flatten().unwrap_or(0) as f64;
            rows += 1.0;
        }
    })?;
    Ok(lag / f64::max(rows, 1.0))
}

fn narrow(batch: &RecordBatch, column: &str) -> Vec<f32> {
    tables::floats(batch, column).into_iter().map(|value| value as f32).collect()
}

fn read_spikes(
    folder: &Path,
    manifest: &Manifest,
    grid: Grid,
    bins: usize,
) -> Result<(SpikeCounts, bool), RecordError> {
    let mut spikes: Vec<(i64, UnitKey)> = Vec::new();
    tables::scan(folder, manifest, "spikes", &["t_ns", "array", "tetrode", "unit"], |batch| {
        let column = |name| tables::integers(batch, name);
        let (times, arrays, tetrodes, units) = (column("t_ns"), column("array"), column("tetrode"), column("unit"));
        for (((t, array), tetrode), unit) in times.iter().zip(&arrays).zip(&tetrodes).zip(&units) {
            if let (Some(t), Some(array), Some(tetrode), Some(unit)) = (t, array, tetrode, unit) {
                spikes.push((*t, UnitKey { array: *array as u16, tetrode: *tetrode as u16, unit: *unit as u16 }));
            }
        }
    })?;
    let sorted = spikes.iter().any(|(_, key)| key.unit > 0);
    let mut counts = SpikeCounts::new(grid);
    counts.reach(bins);
    for (t_ns, key) in spikes.into_iter().filter(|(_, key)| !sorted || key.unit > 0) {
        counts.add(t_ns, key);
    }
    Ok((counts, sorted))
}
