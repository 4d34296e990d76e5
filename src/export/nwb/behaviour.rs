//! Keypoints, the registered body and the virtual rat.

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Float32Type;

use super::file::{Data, Node};
use super::session::{self, measured};
use crate::export::dataset::{Dataset, Progress};
use crate::export::error::ExportError;
use crate::record::tables;

/// Name of the keypoints' skeleton.
const SKELETON: &str = "rat";

/// Writes the pose estimates with their skeleton.
pub(super) fn pose(processing: &Node<'_>, dataset: &Dataset, progress: &mut Progress<'_>) -> Result<(), ExportError> {
    let table = dataset.manifest.catalog.tables.iter().find(|table| table.name == "pose");
    let find = |name: &str| table.and_then(|table| table.columns.iter().find(|column| column.name == name));
    let (column, has_confidence) = (find("keypoints_m"), find("confidence").is_some());
    let Some(count) = column.map(|column| column.len / 3).filter(|_| !dataset.parts("pose").is_empty()) else {
        return Ok(());
    };
    let module = processing.object("behavior", "core", "ProcessingModule")?;
    module.attribute("description", "Where the keypoints of the rat were.")?;
    let names = keypoint_names(dataset, count);
    let skeleton = skeleton(&module, dataset, &names)?;
    let node = module.object("pose", "ndx-pose", "MultiCameraPoseEstimation")?;
    node.text("description", "Keypoints triangulated from all views, in the world frame of the calibration.")?;
    node.text("scorer", &network(dataset))?;
    let (software, version) = dataset.manifest.info.software.split_once(' ').unwrap_or(("mimicd", ""));
    node.text("source_software", software)?.attribute("version", version)?;
    node.link(SKELETON, &skeleton)?;
    let mut series = Vec::with_capacity(count);
    for name in &names {
        series.push(KeypointSeries::begin(&node, name, has_confidence)?);
    }
    let mut rows = Rows::default();
    dataset.scan("pose", &["t_ns", "keypoints_m", "confidence"], progress, |batch| {
        let (points, confidence) = (list(batch, "keypoints_m"), list(batch, "confidence"));
        let kept = rows.keep(&tables::integers(batch, "t_ns"));
        for (keypoint, series) in series.iter().enumerate() {
            let place = |row: usize| row * count + keypoint;
            let xyz: Vec<f32> = kept.iter().flat_map(|row| &points[3 * place(*row)..][..3]).copied().collect();
            let sure: Vec<f32> = kept.iter().filter_map(|row| confidence.get(place(*row)).copied()).collect();
            series.data.append(&xyz)?;
            series.confidence.as_ref().map_or(Ok(()), |data| data.append(&sure))?;
        }
        Ok(())
    })?;
    rows.write(series.iter().map(|series| &series.node))
}

struct KeypointSeries<'a> {
    node: Node<'a>,
    data: Data<'a>,
    confidence: Option<Data<'a>>,
}

impl<'a> KeypointSeries<'a> {
    fn begin(parent: &Node<'a>, name: &str, has_confidence: bool) -> Result<Self, ExportError> {
        let text = format!("{name}; NaN where it was not seen.");
        let node = session::series(parent, name, ("ndx-pose", "PoseEstimationSeries"), &text)?;
        node.text("reference_frame", "World frame of the cameras' calibration, z up.")?;
        let confidence = if has_confidence {
            let definition = "Of the network and the agreement of the views; 0 = missing.";
            Some(node.growing::<f32>("confidence", 0)?.attribute("definition", definition)?)
        } else {
            None
        };
        let data = measured(node.growing::<f32>("data", 3)?, "meters", 1.0)?;
        Ok(Self { node, data, confidence })
    }
}

/// Rows in the order of time: what goes back is left out, because NWB's timestamps may not.
#[derive(Default)]
struct Rows {
    times: Vec<i64>,
}

impl Rows {
    /// Places of the batch's rows that are later than all before.
    fn keep(&mut self, times: &[Option<i64>]) -> Vec<usize> {
        let mut kept = Vec::with_capacity(times.len());
        for (row, time) in times.iter().enumerate() {
            let Some(time) = time.filter(|time| self.times.last().is_none_or(|last| time > last)) else { continue };
            self.times.push(time);
            kept.push(row);
        }
        kept
    }

    /// Gives all series their common times: the first has them, the others refer to it.
    fn write<'a, 'b: 'a>(&self, series: impl IntoIterator<Item = &'a Node<'b>>) -> Result<(), ExportError> {
        let regular = session::regular(self.times.iter().copied());
        let mut first: Option<&Node<'_>> = None;
        for node in series {
            match first {
                Some(first) if regular.is_none() => node.link("timestamps", &format!("{}/timestamps", first.path()))?,
                _ => session::times(node, &self.times)?,
            }
            first = first.or(Some(node));
        }
        Ok(())
    }
}

fn list<'a>(batch: &'a RecordBatch, name: &str) -> &'a [f32] {
    let values = batch.column_by_name(name).map(|array| array.as_fixed_size_list().values());
    values.map_or(&[], |values| values.as_primitive::<Float32Type>().values())
}

fn keypoint_names(dataset: &Dataset, count: usize) -> Vec<String> {
    let noted = dataset.note("rig/keypoints").and_then(|value| value.as_array());
    let noted: Vec<String> = noted.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    if noted.len() == count { noted } else { (0..count).map(|index| format!("keypoint{index:02}")).collect() }
}

/// Writes the skeleton and returns its path.
fn skeleton(module: &Node<'_>, dataset: &Dataset, names: &[String]) -> Result<String, ExportError> {
    let group = module.object("Skeletons", "ndx-pose", "Skeletons")?;
    let node = group.object(SKELETON, "ndx-pose", "Skeleton")?;
    let nodes: Vec<&str> = names.iter().map(String::as_str).collect();
    node.texts("nodes", &nodes)?;
    let bones: Option<Vec<[u8; 2]>> =
        dataset.note("rig/bones").and_then(|value| serde_json::from_value(value.clone()).ok());
    let edges: Vec<u8> = bones.unwrap_or_default().into_iter().flatten().collect();
    if !edges.is_empty() {
        node.array("edges", &[edges.len() / 2, 2], &edges)?;
    }
    node.link("subject", "/general/subject")?;
    Ok(node.path().to_owned())
}

fn network(dataset: &Dataset) -> String {
    let file = dataset.manifest.info.files.iter().find(|file| file.role == "pose_model");
    let name = file.and_then(|file| file.path.file_stem()).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "unknown".to_owned())
}

/// Writes the registered body and the virtual rat.
pub(super) fn bodies(processing: &Node<'_>, dataset: &Dataset, progress: &mut Progress<'_>) -> Result<(), ExportError> {
    let body = ["qpos", "qvel", "residual_mean_m"];
    let text = "The 74 coordinates of the body model, registered to the keypoints.";
    columns(processing, dataset, progress, ("body", "body", text), &body)?;
    let rat = ["qpos", "qvel", "action", "qfrc", "error_root_m", "error_orientation_rad", "error_joints_rad", "lag_ns"];
    let text = "The rat that imitates the real one in physics.";
    columns(processing, dataset, progress, ("virtual", "virtual_rat", text), &rat)
}

/// One series for each of a table's named columns.
fn columns(
    processing: &Node<'_>,
    dataset: &Dataset,
    progress: &mut Progress<'_>,
    (table, module, description): (&str, &str, &str),
    wanted: &[&str],
) -> Result<(), ExportError> {
    let schema = dataset.manifest.catalog.tables.iter().find(|schema| schema.name == table);
    let Some(schema) = schema.filter(|_| !dataset.parts(table).is_empty()) else { return Ok(()) };
    let node = processing.object(module, "core", "ProcessingModule")?;
    node.attribute("description", description)?;
    let columns: Vec<_> = schema.columns.iter().filter(|column| wanted.contains(&column.name.as_str())).collect();
    let mut open = Vec::with_capacity(columns.len());
    for column in &columns {
        let series = session::series(&node, &column.name, ("core", "TimeSeries"), &column.doc)?;
        let width = if column.len == 1 { 0 } else { column.len };
        let unit = if column.unit.is_empty() { "1" } else { &column.unit };
        let data = measured(series.growing::<f64>("data", width)?, unit, 1.0)?;
        open.push((data, series));
    }
    let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.push("t_ns");
    let mut rows = Rows::default();
    dataset.scan(table, &names, progress, |batch| {
        let kept = rows.keep(&tables::integers(batch, "t_ns"));
        for (column, (data, _)) in columns.iter().zip(&open) {
            let values = numbers(batch, &column.name);
            let chosen: Vec<f64> =
                kept.iter().flat_map(|row| &values[row * column.len..][..column.len]).copied().collect();
            data.append(&chosen)?;
        }
        Ok(())
    })?;
    rows.write(open.iter().map(|(_, node)| node))
}

/// Values of a column, whatever their kind.
fn numbers(batch: &RecordBatch, name: &str) -> Vec<f64> {
    let floats = tables::floats(batch, name);
    if !floats.is_empty() {
        return floats;
    }
    tables::integers(batch, name).into_iter().map(|value| value.map_or(f64::NAN, |value| value as f64)).collect()
}
