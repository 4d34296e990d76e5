//! Spikes by unit.

use std::collections::BTreeMap;

use super::ephys::Electrodes;
use super::file::Node;
use super::session::seconds;
use super::table::{self, Column, Values};
use crate::export::dataset::{Dataset, Progress};
use crate::export::error::ExportError;
use crate::record::tables;

/// Writes the units table; spikes that no unit claims make one unsorted unit for each tetrode.
pub(super) fn write(
    root: &Node<'_>,
    dataset: &Dataset,
    electrodes: &Electrodes,
    progress: &mut Progress<'_>,
) -> Result<(), ExportError> {
    let columns = ["t_ns", "array", "tetrode", "unit"];
    let mut units: BTreeMap<(i64, i64, i64), Vec<f64>> = BTreeMap::new();
    dataset.scan("spikes", &columns, progress, |batch| {
        let [times, arrays, tetrodes, names] = columns.map(|name| tables::integers(batch, name));
        for row in 0..batch.num_rows() {
            if let (Some(t_ns), Some(array)) = (times[row], arrays[row])
                && let (Some(tetrode), Some(unit)) = (tetrodes[row], names[row])
            {
                units.entry((array, tetrode, unit)).or_default().push(seconds(t_ns));
            }
        }
        Ok(())
    })?;
    if units.is_empty() {
        return Ok(());
    }
    for spikes in units.values_mut() {
        spikes.sort_by(f64::total_cmp);
    }
    let group = |array: i64, tetrode: i64| electrodes.groups.get(array as usize)?.get(tetrode as usize).cloned();
    units.retain(|(array, tetrode, _), _| group(*array, *tetrode).is_some());
    let keys: Vec<_> = units.keys().copied().collect();
    let name_of = |array: i64| dataset.arrays().get(array as usize).map_or(String::new(), |array| array.name.clone());
    let quality = |unit: i64| if unit == 0 { "unsorted" } else { "sorted live" }.to_owned();
    let rate_hz = dataset.arrays().iter().map(|array| array.rate_hz).fold(f64::INFINITY, f64::min);
    let columns = [
        Column::new("spike_times", "Rig time of each spike's peak.", Values::Ragged(units.into_values().collect()))
            .resolved(1.0 / rate_hz),
        Column::new(
            "electrode_group",
            "The tetrode.",
            Values::Objects(keys.iter().filter_map(|key| group(key.0, key.1)).collect()),
        ),
        Column::new("array", "The array.", Values::Texts(keys.iter().map(|key| name_of(key.0)).collect())),
        Column::new("tetrode", "Tetrode of the array.", Values::Integers(keys.iter().map(|key| key.1).collect())),
        Column::new(
            "unit",
            "Unit of the tetrode, as the recording numbers it; 0 = unsorted.",
            Values::Integers(keys.iter().map(|key| key.2).collect()),
        ),
        Column::new(
            "quality",
            "How the unit was made.",
            Values::Texts(keys.iter().map(|key| quality(key.2)).collect()),
        ),
    ];
    table::write(root, "units", "Units", "Units found while recording.", &columns).map(|_| ())
}
