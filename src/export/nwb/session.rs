//! What the session was: identity, animal, triggers, events, gaps.

use super::SubjectFacts;
use super::file::Node;
use super::table::{self, Column, Values};
use crate::export::dataset::{Dataset, Progress};
use crate::export::error::ExportError;
use crate::record::tables;

/// Seconds of rig time.
pub(super) fn seconds(t_ns: i64) -> f64 {
    t_ns as f64 * 1e-9
}

/// Writes the root's texts and empty groups and `general`, which it returns.
pub(super) fn write<'a>(root: &Node<'a>, dataset: &Dataset, subject: &SubjectFacts) -> Result<Node<'a>, ExportError> {
    let info = &dataset.manifest.info;
    let started = info.started_utc.replace('Z', "+00:00");
    let request = |key: &str| {
        let text = dataset.note(&format!("request/{key}")).and_then(|value| value.as_str()).unwrap_or_default();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let experiment = request("experiment");
    let description = experiment.clone().unwrap_or_else(|| "closed-loop recording of a behaving rat".to_owned());
    root.text("identifier", &info.recording)?;
    root.text("session_description", &description)?;
    root.text("session_start_time", &started)?;
    root.text("timestamps_reference_time", &started)?;
    root.texts("file_create_date", &[&started])?;
    root.group("analysis")?;
    let stimulus = root.group("stimulus")?;
    stimulus.group("presentation")?;
    stimulus.group("templates")?;

    let general = root.group("general")?;
    general.text("session_id", &info.recording)?;
    general.text(
        "notes",
        &format!("{}; rig {}; config, clocks and hashes are in the dataset's manifest", info.software, info.rig),
    )?;
    if let Some(text) = &experiment {
        general.text("experiment_description", text)?;
    }
    if let Some(text) = request("operator") {
        general.texts("experimenter", &[&text])?;
    }
    let node = general.object("subject", "core", "Subject")?;
    node.text("subject_id", &info.subject)?;
    node.text("species", &subject.species)?;
    node.text("sex", &subject.sex)?;
    node.text("age", &subject.age)?.attribute("reference", "birth")?;
    Ok(general)
}

/// A time series' group: `data` and `timestamps` are the caller's.
pub(super) fn series<'a>(
    parent: &Node<'a>,
    name: &str,
    (namespace, kind): (&str, &str),
    description: &str,
) -> Result<Node<'a>, ExportError> {
    let node = parent.object(name, namespace, kind)?;
    node.attribute("description", description)?;
    node.attribute("comments", "times are rig time: the sync board's clock")?;
    Ok(node)
}

/// Attributes that every `data` has.
pub(super) fn measured<'a>(
    data: super::file::Data<'a>,
    unit: &str,
    conversion: f64,
) -> Result<super::file::Data<'a>, ExportError> {
    data.attribute("unit", unit)?
        .number("conversion", conversion)?
        .number("offset", 0.0_f64)?
        .number("resolution", -1.0_f64)
}

/// Attributes that every `timestamps` has.
pub(super) fn clocked(data: super::file::Data<'_>) -> Result<super::file::Data<'_>, ExportError> {
    data.attribute("unit", "seconds")?.number("interval", 1_i32)
}

/// Nanoseconds between consecutive instants, when there are several and they are all the same distance apart.
pub(super) fn regular(times: impl IntoIterator<Item = i64>) -> Option<i64> {
    let mut times = times.into_iter();
    let (first, second) = (times.next()?, times.next()?);
    let step = second - first;
    let mut last = second;
    let all = times.all(|time| {
        let is_next = time - last == step;
        last = time;
        is_next
    });
    (all && step > 0).then_some(step)
}

/// The times of a series: NWB wants a rate where they are regular to the nanosecond, else each of them.
pub(super) fn times(node: &Node<'_>, t_ns: &[i64]) -> Result<(), ExportError> {
    match regular(t_ns.iter().copied()) {
        Some(step) => rate(node, t_ns[0], step),
        None => {
            let seconds: Vec<f64> = t_ns.iter().map(|t_ns| seconds(*t_ns)).collect();
            clocked(node.array("timestamps", &[seconds.len()], &seconds)?).map(|_| ())
        }
    }
}

/// Regular times.
pub(super) fn rate(node: &Node<'_>, first_ns: i64, step_ns: i64) -> Result<(), ExportError> {
    let start = node.number("starting_time", seconds(first_ns))?;
    start.attribute("unit", "seconds")?.number("rate", (1e9 / step_ns as f64) as f32).map(|_| ())
}

/// The board's triggers.
pub(super) fn triggers(parent: &Node<'_>, dataset: &Dataset, progress: &mut Progress<'_>) -> Result<(), ExportError> {
    let mut rows = Vec::new();
    dataset.scan("triggers", &["t_ns", "trigger_index"], progress, |batch| {
        let [times, indices] = ["t_ns", "trigger_index"].map(|name| tables::integers(batch, name));
        rows.extend(times.into_iter().zip(indices).filter_map(|(time, index)| Some((time?, index?))));
        Ok(())
    })?;
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable();
    let (t_ns, indices): (Vec<i64>, Vec<i64>) = rows.into_iter().unzip();
    let node =
        series(parent, "triggers", ("core", "TimeSeries"), "Camera triggers of the sync board; data is the index.")?;
    measured(node.array("data", &[indices.len()], &indices)?, "index", 1.0)?;
    times(&node, &t_ns)
}

/// The events table, as NWB's own.
pub(super) fn events(root: &Node<'_>, dataset: &Dataset, progress: &mut Progress<'_>) -> Result<(), ExportError> {
    let mut rows: Vec<(i64, String, i64, i64, String)> = Vec::new();
    dataset.scan("events", &["t_ns", "kind", "index", "level", "text"], progress, |batch| {
        let [times, indices, levels] = ["t_ns", "index", "level"].map(|name| tables::integers(batch, name));
        let [kinds, texts] = ["kind", "text"].map(|name| tables::texts(batch, name));
        for (row, (kind, text)) in kinds.into_iter().zip(texts).enumerate() {
            let number = |values: &[Option<i64>]| values[row].unwrap_or(-1);
            rows.push((times[row].unwrap_or_default(), kind, number(&indices), number(&levels), text));
        }
        Ok(())
    })?;
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort();
    let texts = |of: fn(&(i64, String, i64, i64, String)) -> &String| rows.iter().map(|row| of(row).clone()).collect();
    let columns = [
        Column::new("timestamp", "Rig time.", Values::Seconds(rows.iter().map(|row| seconds(row.0)).collect()))
            .of_kind("TimestampVectorData"),
        Column::new(
            "kind",
            "input, output, button, mark, state, command, rule, safety, link, ...",
            Values::Texts(texts(|row| &row.1)),
        ),
        Column::new(
            "line",
            "Line, output or other number; -1 = none.",
            Values::Integers(rows.iter().map(|row| row.2).collect()),
        ),
        Column::new(
            "level",
            "New level, 0 or 1; -1 = not an edge.",
            Values::Integers(rows.iter().map(|row| row.3).collect()),
        ),
        Column::new("annotation", "Free text.", Values::Texts(texts(|row| &row.4))),
    ];
    let group = root.group("events")?;
    let description = "Edges, buttons, marks, outputs, state changes and commands, stamped by the sync board.";
    table::write(&group, "events", "EventsTable", description, &columns).map(|_| ())
}

/// Every declared gap that touches the range.
pub(super) fn gaps(root: &Node<'_>, dataset: &Dataset) -> Result<(), ExportError> {
    let range = dataset.range;
    let end = |gap: &crate::record::GapEntry| gap.end_ns.unwrap_or(gap.t_ns).max(gap.t_ns);
    let mut gaps: Vec<_> = dataset.manifest.gaps.iter().collect();
    gaps.retain(|gap| end(gap) >= range.from_ns && gap.t_ns < range.to_ns);
    if gaps.is_empty() {
        return Ok(());
    }
    gaps.sort_by_key(|gap| (gap.t_ns, end(gap)));
    let integers = |of: &dyn Fn(&crate::record::GapEntry) -> Option<i64>| {
        Values::Integers(gaps.iter().map(|gap| of(gap).unwrap_or(-1)).collect())
    };
    let texts = |of: &dyn Fn(&crate::record::GapEntry) -> &String| {
        Values::Texts(gaps.iter().map(|gap| of(gap).clone()).collect())
    };
    let columns = [
        Column::new(
            "start_time",
            "Where the gap begins.",
            Values::Seconds(gaps.iter().map(|gap| seconds(gap.t_ns)).collect()),
        ),
        Column::new(
            "stop_time",
            "Where the stream goes on; the beginning where that is unknown.",
            Values::Seconds(gaps.iter().map(|gap| seconds(end(gap))).collect()),
        ),
        Column::new(
            "stream",
            "frames/<camera>, ephys_<array>, video/<camera>, or a table's name.",
            texts(&|gap| &gap.stream),
        ),
        Column::new("counted", "What is counted: triggers, samples, rows or video frames.", texts(&|gap| &gap.unit)),
        Column::new("first", "First missing index; -1 = unknown.", integers(&|gap| gap.first)),
        Column::new("count", "How many are missing; -1 = unknown.", integers(&|gap| gap.count)),
        Column::new("cause", "Why, from a closed list.", texts(&|gap| &gap.cause)),
    ];
    let group = root.group("intervals")?;
    let description = "Every run of frames, samples or rows known missing.";
    table::write(&group, "gaps", "TimeIntervals", description, &columns).map(|_| ())
}
