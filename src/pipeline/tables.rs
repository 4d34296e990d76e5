//! The loop's tables and how rows of them are written.
//!
//! One schema function and one writer for each table stand side by side, in the same column order. Writers allocate
//! nothing and return whether the lane took the row.

use mimicd_device::{ArrayIndex, BoardEvent, BoardTime, HostTime, Integrity, RigTime, Span};

use super::shared::RigClock;
use super::spike_tables;
use crate::body::BodyState;
use crate::imitation::{ImitationStep, ResetReason};
use crate::pose::{Keypoint, PoseEstimate};
use crate::record::schema::standard_tables;
use crate::record::{Column, RecordError, RecordLane, Recorder, RowWriter, ScalarKind, TableId, TableSchema};
use crate::rules::{Decision, INPUTS_MAX, InputSeen};
use crate::spikes::SpikeEvent;
use crate::telemetry::Stage;

/// Steps of the latency ladder, counted from mid-exposure.
pub const LADDER: [&str; 6] = ["arrival", "gather", "pose", "body", "imitation", "action"];

/// Tables of a running recording.
#[derive(Clone, Copy, Debug)]
pub struct TableIds {
    triggers: TableId,
    events: TableId,
    clock: TableId,
    latency: TableId,
    stages: TableId,
    pose: TableId,
    body: TableId,
    imitation: TableId,
    spikes: TableId,
    units: TableId,
    rules: TableId,
    encoding: Option<TableId>,
}

impl TableIds {
    /// The units table.
    pub(super) const fn units(&self) -> TableId {
        self.units
    }

    /// Finds the tables of a recording.
    ///
    /// # Errors
    /// When one is not there.
    pub fn of(recorder: &Recorder) -> Result<Self, RecordError> {
        Ok(Self {
            triggers: recorder.table("triggers")?,
            events: recorder.table("events")?,
            clock: recorder.table("clock")?,
            latency: recorder.table("latency")?,
            stages: recorder.table("stages")?,
            pose: recorder.table("pose")?,
            body: recorder.table("body")?,
            imitation: recorder.table("virtual")?,
            spikes: recorder.table("spikes")?,
            units: recorder.table("units")?,
            rules: recorder.table("rules")?,
            encoding: recorder.table("encoding").ok(),
        })
    }

    /// The table of the live encoding models, where they are fitted.
    pub(super) fn encoding(&self) -> Option<TableId> {
        self.encoding
    }
}

/// Sizes that the tables depend on.
#[derive(Clone, Debug, Default)]
pub struct TableShapes {
    /// Keypoints of the pose.
    pub keypoints: usize,
    /// Cameras.
    pub cameras: usize,
    /// Names and lengths of the policy's signals, in the order they lie in [`ImitationStep::signals`].
    pub signals: Vec<(String, usize)>,
    /// Whether the policy draws many latents a frame, so that the spread of its action is known.
    pub action_sd: bool,
    /// Whether encoding models are fitted live.
    pub encoding: bool,
}

/// Every table of a recording.
pub fn schemas(shapes: &TableShapes) -> Vec<TableSchema> {
    let mut tables = standard_tables(&LADDER);
    tables.extend([
        stages(),
        pose(shapes),
        body(shapes.keypoints),
        imitation(shapes),
        spike_tables::spikes(),
        spike_tables::units(),
        rules(),
    ]);
    tables.extend(shapes.encoding.then(super::encode_table::encoding));
    tables
}

fn stages() -> TableSchema {
    let mut columns = vec![Column::scalar("trigger_index", ScalarKind::I64, "", "Trigger of the frame set.")];
    columns.extend(Stage::ALL.iter().map(|stage| {
        let doc = format!("Time spent in {}; NaN when it did not run.", stage.name());
        Column::scalar(&format!("{}_us", stage.name()), ScalarKind::F32, "us", &doc)
    }));
    TableSchema::new("stages", "How long each stage of the loop took; one row per loop tick.", columns)
}

fn pose(shapes: &TableShapes) -> TableSchema {
    let count = shapes.keypoints;
    let columns = vec![
        Column::scalar("trigger_index", ScalarKind::I64, "", "Trigger of the frame set."),
        Column::list(
            "keypoints_m",
            ScalarKind::F32,
            3 * count,
            "m",
            "Keypoints in the world frame, x y z each, with `correction_m` in them; NaN = none.",
        ),
        Column::list("confidence", ScalarKind::F32, count, "", "Confidence of each keypoint, 0..1; 0 = missing."),
        Column::list("views", ScalarKind::U32, count, "bits", "Cameras used for each keypoint, bit = camera."),
        Column::list(
            "correction_m",
            ScalarKind::F32,
            3 * count,
            "m",
            "What the model's refiner added to the triangulated place, x y z each; 0 = not refined.",
        ),
        Column::list(
            "residual_px",
            ScalarKind::F32,
            count,
            "px",
            "Reprojection residual of each keypoint's triangulated place.",
        ),
        Column::list(
            "covariance_m2",
            ScalarKind::F32,
            6 * count,
            "m2",
            "Covariance of the triangulated place, xx xy xz yy yz zz each.",
        ),
        Column::list(
            "camera_residual_px",
            ScalarKind::F32,
            shapes.cameras,
            "px",
            "Mean reprojection residual of each camera; NaN = no view.",
        ),
        Column::scalar("state", ScalarKind::Text, "", "Tracking state."),
        Column::scalar("integrity", ScalarKind::U32, "flags", "What is known to be wrong; 0 = nothing."),
    ];
    TableSchema::new("pose", "3D keypoints, one row per frame set; t_ns is mid-exposure.", columns)
}

/// The body table of `keypoints` keypoints.
pub fn body(keypoints: usize) -> TableSchema {
    let columns = vec![
        Column::scalar("trigger_index", ScalarKind::I64, "", "Trigger of the frame set."),
        Column::list(
            "qpos",
            ScalarKind::F64,
            74,
            "m, rad",
            "Root position, root quaternion (w first), 67 joint angles.",
        ),
        Column::list(
            "qvel",
            ScalarKind::F64,
            73,
            "m/s, rad/s",
            "Root velocity, root angular velocity, joint velocities.",
        ),
        Column::list(
            "residual_m",
            ScalarKind::F32,
            keypoints,
            "m",
            "Keypoint to its place on the body; NaN = missing keypoint.",
        ),
        Column::scalar("residual_mean_m", ScalarKind::F32, "m", "Mean over the keypoints that were there."),
        Column::list(
            "keypoint_flags",
            ScalarKind::U16,
            keypoints,
            "flags",
            "Each keypoint: 1 missing, 2 not finite, 4 out of the world, 8 outlier, 16 returning after a gap.",
        ),
        Column::list(
            "hinge_flags",
            ScalarKind::U16,
            67,
            "flags",
            "Each joint: 1 at its limit, 2 extrapolated (no keypoint beyond it was seen).",
        ),
        Column::scalar("floor_depth_m", ScalarKind::F32, "m", "Deepest point below the floor; 0 = none."),
        Column::scalar(
            "flags",
            ScalarKind::U16,
            "flags",
            "The fit: 1 no data, 2 cold start, 4 extrapolated, 8 at limit, 16 floor contact, 32 jump, 64 poor fit, 128 not \
             finite, 256 too few keypoints.",
        ),
        Column::scalar("iterations", ScalarKind::U16, "", "Solver iterations."),
        Column::scalar("integrity", ScalarKind::U32, "flags", "What is known to be wrong; 0 = nothing."),
    ];
    TableSchema::new("body", "The registered body, one row per frame set; t_ns is mid-exposure.", columns)
}

fn imitation(shapes: &TableShapes) -> TableSchema {
    let mut columns = vec![
        Column::scalar("trigger_index", ScalarKind::I64, "", "Newest frame set at this step."),
        Column::scalar("reference_t_ns", ScalarKind::I64, "ns", "Rig time of the instant that is imitated."),
        Column::scalar(
            "lag_ns",
            ScalarKind::I64,
            "ns",
            "How far that instant lies behind the newest frame set; negative = predicted ahead.",
        ),
        Column::list("qpos", ScalarKind::F64, 74, "m, rad", "Coordinates of the virtual rat."),
        Column::list("qvel", ScalarKind::F64, 73, "m/s, rad/s", "Velocities of the virtual rat."),
        Column::list("action", ScalarKind::F32, 38, "", "Controls, -1..1, in actuator order."),
        Column::list("qfrc", ScalarKind::F64, 73, "N, N m", "Generalised actuator forces."),
        Column::scalar("error_root_m", ScalarKind::F32, "m", "Root of the virtual rat to the reference."),
        Column::scalar("error_orientation_rad", ScalarKind::F32, "rad", "Angle between the two roots."),
        Column::scalar("error_joints_rad", ScalarKind::F32, "rad", "Mean absolute joint difference."),
        Column::scalar(
            "trusted",
            ScalarKind::Bool,
            "",
            "Whether it has tracked long enough for outputs to depend on it.",
        ),
        Column::scalar("reset", ScalarKind::Text, "", "Why it was reset at this row; empty = it was not."),
        Column::scalar("integrity", ScalarKind::U32, "flags", "What is known to be wrong; 0 = nothing."),
    ];
    if shapes.action_sd {
        let doc = "Standard deviation of each control over latents drawn anew at this step.";
        columns.push(Column::list("action_sd", ScalarKind::F32, 38, "", doc));
    }
    for (name, len) in &shapes.signals {
        // A network may name an output as one of our own columns is named.
        let is_taken = columns.iter().any(|column| column.name == *name);
        let name = if is_taken { format!("policy_{name}") } else { name.clone() };
        let doc = "Signal of the policy network, as its manifest names it.";
        columns.push(Column::list(&name, ScalarKind::F32, *len, "", doc));
    }
    TableSchema::new(
        "virtual",
        "The imitating rat, one row per frame set; t_ns is the newest frame's mid-exposure.",
        columns,
    )
}

fn rules() -> TableSchema {
    let columns = vec![
        Column::scalar("rule", ScalarKind::Text, "", "Name of the rule."),
        Column::scalar("decision", ScalarKind::Text, "", "fire, sham, or why it was refused."),
        Column::scalar("output", ScalarKind::I16, "", "Output that was pulsed; -1 = none."),
        Column::scalar("command", ScalarKind::I64, "", "Identity of the command to the board.").or_absent(),
        Column::scalar("age_ns", ScalarKind::I64, "ns", "Age of the oldest input, mid-exposure to decision."),
        Column::scalar("decided_ns", ScalarKind::I64, "ns", "Rig time of the decision."),
        Column::list(
            "input_values",
            ScalarKind::F64,
            INPUTS_MAX,
            "",
            "What the rule looked at, in the order of its text; NaN = none.",
        ),
        Column::list(
            "input_ages_us",
            ScalarKind::F32,
            INPUTS_MAX,
            "us",
            "Age of each input at the decision; NaN = none.",
        ),
        Column::scalar("mark", ScalarKind::Text, "", "Text of the mark that was put; empty = none."),
    ];
    TableSchema::new("rules", "Every decision of the closed-loop rules.", columns)
}

/// One state of a clock map.
#[derive(Clone, Copy, Debug)]
pub struct ClockRow<'a> {
    /// Which clock.
    pub clock: &'a str,
    /// The map's value.
    pub offset_ns: f64,
    /// Rate against the board's.
    pub rate_ppm: f64,
    /// Observation minus map.
    pub residual_ns: f64,
    /// Uncertainty of the map.
    pub uncertainty_ns: f64,
    /// Whether the observation was used.
    pub accepted: bool,
}

/// A row of the clock table.
pub fn write_clock(lane: &mut RecordLane, tables: &TableIds, at: RigTime, clock: &ClockRow<'_>) -> bool {
    lane.row(tables.clock, at, |row| {
        row.text(clock.clock);
        row.f64(clock.offset_ns);
        row.f64(clock.rate_ppm);
        row.f64(clock.residual_ns);
        row.f64(clock.uncertainty_ns);
        row.bool(clock.accepted);
    })
}

/// A row of the event table that is only text.
pub fn write_text_event(
    lane: &mut RecordLane,
    tables: &TableIds,
    at: RigTime,
    kind: &str,
    board: BoardTime,
    arrival: HostTime,
    text: &str,
) -> bool {
    let event = EventRow { kind, index: -1, level: -1, board, arrival, text };
    write_event(lane, tables, at, &event)
}

struct EventRow<'a> {
    kind: &'a str,
    index: i32,
    level: i16,
    board: BoardTime,
    arrival: HostTime,
    text: &'a str,
}

fn write_event(lane: &mut RecordLane, tables: &TableIds, at: RigTime, event: &EventRow<'_>) -> bool {
    lane.row(tables.events, at, |row| {
        row.text(event.kind);
        row.i32(event.index);
        row.i16(event.level);
        row.i64_or_absent(Some(event.board.nanos()));
        row.i64_or_absent(Some(event.arrival.nanos()));
        row.text(event.text);
    })
}

/// The row of a board event, in the triggers or the events table; events that are no data (pongs, acks) write nothing.
/// `reset`: its rig time where the board has started anew and no trigger has yet said what its time is.
pub fn write_board_event(
    lane: &mut RecordLane,
    tables: &TableIds,
    clock: &RigClock,
    index_base: u64,
    reset: Option<RigTime>,
    arrival: HostTime,
    event: BoardEvent,
) -> bool {
    let (kind, index, level, board, text) = match event {
        BoardEvent::Trigger { index, at } => return write_trigger(lane, tables, clock, index_base + index, at),
        BoardEvent::Exposure { camera, active, at } => ("exposure", i32::from(camera.0), i16::from(active), at, ""),
        BoardEvent::Input { line, level, at } => ("input", i32::from(line), i16::from(level), at, ""),
        BoardEvent::Output { output, level, at, .. } => ("output", i32::from(output.0), i16::from(level), at, ""),
        BoardEvent::Button { button, at } => ("button", button as i32, -1, at, button_name(button)),
        BoardEvent::Safety { cause, at } => ("safety", cause as i32, -1, at, safety_name(cause)),
        BoardEvent::Started { epoch, at } => ("board_started", epoch as i32, -1, at, ""),
        _ => return true,
    };
    let at = reset.or_else(|| clock.rig_of_board(board));
    let Some(at) = at.filter(|at| at.nanos() >= 0) else { return true };
    write_event(lane, tables, at, &EventRow { kind, index, level, board, arrival, text })
}

fn write_trigger(lane: &mut RecordLane, tables: &TableIds, clock: &RigClock, index: u64, board: BoardTime) -> bool {
    // By index, not by time: the first trigger is at zero give or take the nanosecond that clocks round to.
    let wanted = clock.recording_from().is_some_and(|from| index >= from);
    let Some(at) = clock.rig_of_board(board).filter(|_| wanted) else { return true };
    lane.row(tables.triggers, at, |row| {
        row.i64(index as i64);
        row.i64(board.nanos());
    })
}

const fn button_name(button: mimicd_device::ButtonKind) -> &'static str {
    use mimicd_device::ButtonKind as B;
    match button {
        B::Arm => "arm",
        B::Record => "record",
        B::Stop => "stop",
        B::Mark => "mark",
        B::EmergencyStop => "emergency_stop",
    }
}

const fn safety_name(cause: mimicd_device::SafetyCause) -> &'static str {
    use mimicd_device::SafetyCause as C;
    match cause {
        C::HostSilent => "host_silent",
        C::EmergencyStop => "emergency_stop",
        C::Interlock => "interlock",
        C::LimitExceeded => "limit_exceeded",
        C::Commanded => "commanded",
    }
}

/// The latency ladder of one tick; `None` = the step did not run.
pub fn write_latency(
    lane: &mut RecordLane,
    tables: &TableIds,
    at: RigTime,
    trigger: u64,
    ladder: &[Option<Span>; LADDER.len()],
) -> bool {
    lane.row(tables.latency, at, |row| {
        row.i64_or_absent(Some(trigger as i64));
        ladder.iter().for_each(|step| row.f32(micros(*step)));
    })
}

/// Durations of the stages of one tick.
pub fn write_stages(
    lane: &mut RecordLane,
    tables: &TableIds,
    at: RigTime,
    trigger: u64,
    stages: &[Option<Span>; Stage::ALL.len()],
) -> bool {
    lane.row(tables.stages, at, |row| {
        row.i64(trigger as i64);
        stages.iter().for_each(|stage| row.f32(micros(*stage)));
    })
}

fn micros(span: Option<Span>) -> f32 {
    span.map_or(f32::NAN, |span| span.nanos() as f32 * 1e-3)
}

/// A row of the pose table.
pub fn write_pose(
    lane: &mut RecordLane,
    tables: &TableIds,
    at: RigTime,
    trigger: u64,
    pose: &PoseEstimate,
    camera_residuals_px: &[f32],
) -> bool {
    write_keypoints(lane, tables, at, trigger, &pose.keypoints, camera_residuals_px, pose.state.name(), pose.integrity)
}

/// A row of the pose table for keypoints that come from elsewhere.
#[expect(clippy::too_many_arguments, reason = "one argument for each column group")]
pub fn write_keypoints(
    lane: &mut RecordLane,
    tables: &TableIds,
    at: RigTime,
    trigger: u64,
    keypoints: &[Keypoint],
    camera_residuals_px: &[f32],
    state: &str,
    integrity: Integrity,
) -> bool {
    let place = |k: &Keypoint| if k.confidence > 0.0 { k.xyz_m.map(|value| value as f32) } else { [f32::NAN; 3] };
    lane.row(tables.pose, at, |row| {
        row.i64(trigger as i64);
        row.f32s(keypoints.iter().flat_map(place));
        row.f32s(keypoints.iter().map(|k| k.confidence));
        row.u32s(keypoints.iter().map(|k| k.views));
        row.f32s(keypoints.iter().flat_map(|k| k.correction_m));
        row.f32s(keypoints.iter().map(|k| k.residual_px));
        row.f32s(keypoints.iter().flat_map(|k| k.covariance_m2));
        row.f32s(camera_residuals_px.iter().copied());
        row.text(state);
        row.u32(integrity.bits());
    })
}

/// A row of the body table.
pub fn write_body(lane: &mut RecordLane, tables: &TableIds, at: RigTime, trigger: u64, body: &BodyState) -> bool {
    lane.row(tables.body, at, |row| fill_body(row, trigger, body))
}

/// The columns of a row of the body table.
pub fn fill_body(row: &mut RowWriter<'_>, trigger: u64, body: &BodyState) {
    row.i64(trigger as i64);
    row.f64s(body.qpos);
    row.f64s(body.qvel);
    row.f32s(body.residual_m.iter().copied());
    row.f32(body.residual_mean_m);
    row.u16s(body.keypoint_flags.iter().map(|flags| u16::from(flags.bits())));
    row.u16s((0..body.qpos.len() - 7).map(|hinge| body.hinge_flags(hinge).bits()));
    row.f32(body.floor_depth_m);
    row.u16(body.flags.bits());
    row.u16(u16::from(body.iterations));
    row.u32(body.integrity.bits());
}

/// A row of the virtual table.
pub fn write_imitation(
    lane: &mut RecordLane,
    tables: &TableIds,
    shapes: &TableShapes,
    at: RigTime,
    reference: RigTime,
    trigger: u64,
    step: &ImitationStep,
) -> bool {
    lane.row(tables.imitation, at, |row| {
        row.i64(trigger as i64);
        row.i64(reference.nanos());
        row.i64(step.lag.nanos());
        row.f64s(step.qpos);
        row.f64s(step.qvel);
        row.f32s(step.action);
        row.f64s(step.qfrc);
        row.f32(step.error.root_m as f32);
        row.f32(step.error.orientation_rad as f32);
        row.f32(step.error.joints_rad as f32);
        row.bool(step.trusted);
        row.text(step.reset.map_or("", ResetReason::as_str));
        row.u32(step.integrity.bits());
        if shapes.action_sd {
            row.f32s(step.action_variability.iter().copied());
        }
        let mut rest = step.signals.as_slice();
        for (_, len) in &shapes.signals {
            let (values, tail) = rest.split_at((*len).min(rest.len()));
            if *len == 1 {
                row.f32(values.first().copied().unwrap_or(f32::NAN));
            } else {
                row.f32s(values.iter().copied());
            }
            rest = tail;
        }
    })
}

/// A row of the spikes table.
pub fn write_spike(
    lane: &mut RecordLane,
    tables: &TableIds,
    at: RigTime,
    array: ArrayIndex,
    spike: &SpikeEvent,
) -> bool {
    spike_tables::write_spike(lane, tables.spikes, at, array, spike)
}

/// One decision of a rule.
#[derive(Clone, Copy, Debug)]
pub struct RuleRow<'a> {
    /// Name of the rule.
    pub rule: &'a str,
    /// What was decided.
    pub decision: &'a str,
    /// Output, if one was driven.
    pub output: Option<u8>,
    /// When.
    pub decided: BoardTime,
    /// Age of the oldest input.
    pub age: Span,
    /// What the rule looked at.
    pub inputs: &'a Decision,
    /// Text of a mark.
    pub mark: Option<&'a str>,
}

/// A row of the rules table.
pub fn write_rule(
    lane: &mut RecordLane,
    tables: &TableIds,
    clock: &RigClock,
    at: RigTime,
    decision: &RuleRow<'_>,
) -> bool {
    let decided = clock.rig_of_board(decision.decided).unwrap_or(at);
    let inputs = || decision.inputs.inputs().map(Some).chain(std::iter::repeat(None)).take(INPUTS_MAX);
    let age_us = |input: Option<&InputSeen>| micros(input.and_then(|input| input.age));
    lane.row(tables.rules, at, |row| {
        row.text(decision.rule);
        row.text(decision.decision);
        row.i16(decision.output.map_or(-1, i16::from));
        row.i64_or_absent(None);
        row.i64(decision.age.nanos());
        row.i64(decided.nanos());
        row.f64s(inputs().map(|input| input.map_or(f64::NAN, |input| input.value)));
        row.f32s(inputs().map(age_us));
        row.text(decision.mark.unwrap_or(""));
    })
}
