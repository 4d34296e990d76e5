//! Electrodes and their samples.

use super::file::{Data, Node};
use super::session::{self, clocked, measured, seconds};
use super::table::{self, Column, Values};
use crate::export::ExportReport;
use crate::export::dataset::{Dataset, Progress};
use crate::export::error::ExportError;
use crate::export::samples::each_run;
use crate::record::tables;

/// Channels of a tetrode.
const TETRODE: usize = 4;

/// Where the electrodes are in the file.
pub(super) struct Electrodes {
    /// Path of the electrodes table; empty when there is none.
    table: String,
    /// First row of each array.
    first: Vec<usize>,
    /// Group of each tetrode, by array.
    pub(super) groups: Vec<Vec<String>>,
}

/// Amplifiers, tetrodes and the electrodes table.
pub(super) fn electrodes(general: &Node<'_>, dataset: &Dataset) -> Result<Electrodes, ExportError> {
    let mut found = Electrodes { table: String::new(), first: Vec::new(), groups: Vec::new() };
    let devices = general.group("devices")?;
    if dataset.arrays().is_empty() {
        return Ok(found);
    }
    let node = general.group("extracellular_ephys")?;
    let (mut groups, mut names, mut channels, mut arrays) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for array in dataset.arrays() {
        let device = devices.object(&format!("array_{}", array.name), "core", "Device")?;
        let text = format!("{} channels at {} Hz, {} uV a bit", array.channels, array.rate_hz, array.gain_uv_per_bit);
        device.attribute("description", &text)?;
        found.first.push(groups.len());
        let mut tetrodes = Vec::new();
        for tetrode in 0..array.channels.div_ceil(TETRODE) {
            let name = format!("{}_tetrode{tetrode:02}", array.name);
            let group = node.object(&name, "core", "ElectrodeGroup")?;
            group.attribute("description", &format!("tetrode {tetrode} of array {}", array.name))?;
            group.attribute("location", "unknown")?;
            group.link("device", device.path())?;
            let members = TETRODE.min(array.channels - tetrode * TETRODE);
            groups.extend(std::iter::repeat_n(group.path().to_owned(), members));
            names.extend(std::iter::repeat_n(name, members));
            tetrodes.push(group.path().to_owned());
        }
        channels.extend(0..array.channels as i64);
        arrays.extend(std::iter::repeat_n(array.name.clone(), array.channels));
        found.groups.push(tetrodes);
    }
    let unknown = vec!["unknown".to_owned(); groups.len()];
    let columns = [
        Column::new("location", "Where in the brain; not known to the recording.", Values::Texts(unknown)),
        Column::new("group", "The tetrode.", Values::Objects(groups)),
        Column::new("group_name", "Name of the tetrode.", Values::Texts(names)),
        Column::new("array", "The array.", Values::Texts(arrays)),
        Column::new("channel", "Channel of the array.", Values::Integers(channels)),
    ];
    let table = table::write(&node, "electrodes", "ElectrodesTable", "Every electrode of every array.", &columns)?;
    table.path().clone_into(&mut found.table);
    Ok(found)
}

/// The growing series of one array: data and timestamps.
fn series_of<'a>(
    parent: &Node<'a>,
    array: &crate::record::ArrayInfo,
    electrodes: &Electrodes,
    place: usize,
) -> Result<(Node<'a>, Data<'a>), ExportError> {
    let text =
        format!("Array {}: raw samples; a jump of the timestamps is a gap, also listed in intervals/gaps.", array.name);
    let node = session::series(parent, &array.table(), ("core", "ElectricalSeries"), &text)?;
    let data = node.growing::<i16>("data", array.channels)?;
    let data = measured(data, "volts", array.gain_uv_per_bit * 1e-6)?;
    let first = electrodes.first[place] as i64;
    let rows: Vec<i64> = (first..first + array.channels as i64).collect();
    let region = node.array("electrodes", &[rows.len()], &rows)?;
    let region = region.object("hdmf-common", "DynamicTableRegion", "The array's electrodes.")?;
    region.reference("table", &electrodes.table)?;
    Ok((node, data))
}

/// First instant and step of an array's samples when they are regular to the nanosecond, which few are.
fn steps(dataset: &Dataset, array: &crate::record::ArrayInfo) -> Result<Option<(i64, i64)>, ExportError> {
    let mut nothing = |_, _| {};
    let (mut first, mut last, mut step, mut is_regular) = (None, None, None, true);
    dataset.scan(&array.table(), &["t_ns"], &mut Progress::new(&mut nothing), |batch| {
        for time in tables::integers(batch, "t_ns").into_iter().flatten() {
            if let Some(last) = last {
                is_regular &= time - last == *step.get_or_insert(time - last);
            }
            first.get_or_insert(time);
            last = Some(time);
        }
        Ok(())
    })?;
    Ok(first.zip(step).filter(|(_, step)| is_regular && *step > 0))
}

/// Samples of all arrays.
pub(super) fn series(
    parent: &Node<'_>,
    dataset: &Dataset,
    electrodes: &Electrodes,
    progress: &mut Progress<'_>,
    report: &mut ExportReport,
) -> Result<(), ExportError> {
    for (place, array) in dataset.arrays().iter().enumerate() {
        if dataset.parts(&array.table()).is_empty() {
            continue;
        }
        let (node, data) = series_of(parent, array, electrodes, place)?;
        let times = match steps(dataset, array)? {
            Some((first, step)) => session::rate(&node, first, step).map(|()| None)?,
            None => Some(clocked(node.growing::<f64>("timestamps", 0)?)?),
        };
        let mut end = i64::MIN;
        let mut repeated = 0;
        each_run(dataset, array, progress, |samples| {
            // Timestamps may not go back: of samples that came twice the first counts.
            let known = end.saturating_sub(samples.first).clamp(0, samples.t_ns.len() as i64) as usize;
            repeated += known;
            end = end.max(samples.first + samples.t_ns.len() as i64);
            data.append(&samples.values[known * array.channels..])?;
            let seconds: Vec<f64> = samples.t_ns[known..].iter().map(|t_ns| seconds(*t_ns)).collect();
            times.as_ref().map_or(Ok(()), |times| times.append(&seconds))
        })?;
        if repeated > 0 {
            report.remarks.push(format!("{}: {repeated} samples came twice and are there once", array.name));
        }
    }
    Ok(())
}
