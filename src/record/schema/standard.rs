//! The tables that the recorder itself writes or checks.

use super::{Column, ScalarKind, TableSchema};

/// Name of the frames table.
pub const FRAMES: &str = "frames";
/// Name of the gaps table.
pub const GAPS: &str = "gaps";
/// An array's table is this and the array's name.
pub const EPHYS_PREFIX: &str = "ephys_";

use ScalarKind::{Bool, F32, F64, I16, I32, I64, Text, U16, U32};

/// One row a camera frame; written by [`RecordLane::frame`](crate::record::RecordLane::frame).
pub fn frames() -> TableSchema {
    let columns = vec![
        Column::scalar("camera", I16, "", "Index of the camera in the config."),
        Column::scalar("trigger_index", I64, "", "Trigger that took the frame; null when the match is unknown.")
            .or_absent(),
        Column::scalar("counter", I64, "", "The device's own frame counter."),
        Column::scalar("device_time_ns", I64, "ns", "The device's own time stamp, on its own clock.").or_absent(),
        Column::scalar("arrival_ns", I64, "ns", "When the host first held the frame (CLOCK_MONOTONIC)."),
        Column::scalar("uncertainty_ns", F32, "ns", "Uncertainty of t_ns."),
        Column::scalar("integrity", U32, "flags", "What is known to be wrong with the frame; 0 = nothing."),
        Column::scalar("video_part", I32, "", "Which file of the camera's video holds the frame; -1 = none."),
        Column::scalar("video_frame", I64, "", "Position of the frame in that file, from 0; -1 = none."),
    ];
    TableSchema::new(FRAMES, "One row per camera frame; t_ns is mid-exposure.", columns)
}

/// One row a camera trigger, as the board stamped it.
pub fn triggers() -> TableSchema {
    let columns = vec![
        Column::scalar("trigger_index", I64, "", "Index in the train."),
        Column::scalar("board_ns", I64, "ns", "Rising edge on the board's clock."),
    ];
    TableSchema::new("triggers", "One row per camera trigger pulse, as the sync board stamped it.", columns)
}

/// Everything that happened at an instant: edges, buttons, marks, outputs, state changes, audit of commands.
pub fn events() -> TableSchema {
    let columns = vec![
        Column::scalar("kind", Text, "", "input, output, button, mark, state, command, rule, safety, link, ..."),
        Column::scalar("index", I32, "", "Line, output or other number; -1 = none."),
        Column::scalar("level", I16, "", "New level, 0 or 1; -1 = not an edge."),
        Column::scalar("board_ns", I64, "ns", "The instant on the board's clock.").or_absent(),
        Column::scalar("arrival_ns", I64, "ns", "When the host first knew (CLOCK_MONOTONIC).").or_absent(),
        Column::scalar("text", Text, "", "Free text."),
    ];
    TableSchema::new("events", "Edges, buttons, marks, outputs, state changes and commands.", columns)
}

/// One row for each run of items known missing; written by [`RecordLane::gap`](crate::record::RecordLane::gap).
pub fn gaps() -> TableSchema {
    let columns = vec![
        Column::scalar("stream", Text, "", "frames/<camera>, ephys_<array>, video/<camera>, or a table's name."),
        Column::scalar("unit", Text, "", "What is counted: triggers, samples, rows or video frames."),
        Column::scalar("first", I64, "", "First missing index.").or_absent(),
        Column::scalar("end", I64, "", "Index after the last missing one.").or_absent(),
        Column::scalar("count", I64, "", "How many are missing.").or_absent(),
        Column::scalar("end_ns", I64, "ns", "Rig time at which the stream goes on.").or_absent(),
        Column::scalar("cause", Text, "", "Why, from a closed list."),
    ];
    TableSchema::new(GAPS, "Every run of frames, samples or rows known missing; t_ns is where the gap begins.", columns)
}

/// State of every clock map over time.
pub fn clock() -> TableSchema {
    let columns = vec![
        Column::scalar("clock", Text, "", "host, camera/<name>, ephys_<array>: the clock mapped to the board's."),
        Column::scalar(
            "offset_ns",
            F64,
            "ns",
            "Board time at t_ns by the map, less the clock's; cameras and arrays: counted from trigger 0.",
        ),
        Column::scalar("rate_ppm", F64, "ppm", "Rate of the clock against the board's, minus one."),
        Column::scalar("residual_ns", F64, "ns", "Newest observation minus the map."),
        Column::scalar("uncertainty_ns", F64, "ns", "Uncertainty of the map at t_ns."),
        Column::scalar("accepted", Bool, "", "Whether the newest observation was used."),
    ];
    TableSchema::new("clock", "Clock maps: fit, residual and uncertainty of each clock over time.", columns)
}

/// One row a loop tick: when each of `stages` ended, counted from mid-exposure. Columns are `<stage>_us`.
pub fn latency(stages: &[&str]) -> TableSchema {
    let mut columns = vec![Column::scalar("trigger_index", I64, "", "Trigger of the frame set.").or_absent()];
    columns.extend(stages.iter().map(|stage| {
        let doc = format!("Mid-exposure to the end of {stage}; NaN when it did not run.");
        Column::scalar(&format!("{stage}_us"), F32, "us", &doc)
    }));
    TableSchema::new("latency", "The latency ladder: one row per loop tick.", columns)
}

/// Where `keypoints` points of the body truly were: a simulated rig's truth, for checking only.
pub fn truth_pose(keypoints: usize) -> TableSchema {
    let columns = vec![
        Column::scalar("trigger_index", I64, "", "Trigger of the frame set."),
        Column::list("keypoints_m", F32, 3 * keypoints, "m", "True positions, x y z of each keypoint."),
    ];
    TableSchema::new("truth_pose", "True keypoints at mid-exposure; written by the simulated rig only.", columns)
}

/// When frames were truly taken: a simulated rig's truth, for checking only.
pub fn truth_frames() -> TableSchema {
    let columns = vec![
        Column::scalar("camera", I16, "", "Index of the camera in the config."),
        Column::scalar("trigger_index", I64, "", "Trigger that took the frame."),
    ];
    TableSchema::new("truth_frames", "True mid-exposure (t_ns) of frames; written by the simulated rig only.", columns)
}

/// Samples of one array; columns are made by the recorder.
pub fn ephys(array: &str, channels: usize, gain_uv_per_bit: f64) -> TableSchema {
    let mut columns = vec![Column::scalar("sample_index", I64, "", "The array's own sample counter.")];
    columns.extend((0..channels).map(|channel| {
        let doc = format!("Channel {channel}; microvolts = value × {gain_uv_per_bit}.");
        Column::scalar(&ephys_channel(channel), I16, &format!("{gain_uv_per_bit} uV"), &doc)
    }));
    columns.push(Column::scalar("digital", U16, "bits", "Digital inputs."));
    columns.push(Column::scalar("integrity", U32, "flags", "What is known to be wrong with the block; 0 = nothing."));
    TableSchema::new(&format!("{EPHYS_PREFIX}{array}"), "Electrode samples, one column per channel.", columns)
}

/// Column name of an electrode channel.
pub fn ephys_channel(channel: usize) -> String {
    format!("ch{channel:03}")
}

/// The tables of every recording, with the latency ladder's `stages`.
pub fn standard_tables(stages: &[&str]) -> Vec<TableSchema> {
    vec![frames(), triggers(), events(), gaps(), clock(), latency(stages)]
}
