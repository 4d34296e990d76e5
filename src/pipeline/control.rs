//! What the rig can be told and what it answers: one vocabulary for page, API, command line, buttons and supervisor.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EncodingLive, Preview, RigInfo, Snapshot};

/// Where the rig stands. `Degraded` is no state of its own: a rig may be degraded while armed or recording
/// (see [`Degradation`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RigState {
    /// Nothing is triggered; devices may be closed.
    #[default]
    Idle,
    /// Pre-flight checks are running.
    Arming,
    /// Streams run and are shown; nothing is written.
    Armed,
    /// Streams run and are written.
    Recording,
    /// The recording is being made valid: drained, reconciled, sealed.
    Sealing,
    /// Something failed that the rig cannot repair itself; disarm to begin again.
    Faulted,
}

impl RigState {
    /// The word used in the API and in messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Arming => "arming",
            Self::Armed => "armed",
            Self::Recording => "recording",
            Self::Sealing => "sealing",
            Self::Faulted => "faulted",
        }
    }
}

/// Metadata of a recording, as an operator gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StartRequest {
    /// Subject; becomes part of the folder's name: 1 to 64 letters, digits, `-` or `_`.
    pub subject: String,
    /// Experiment or protocol, free text, at most 200 characters.
    pub experiment: String,
    /// Who runs it, free text, at most 200 characters.
    pub operator: String,
    /// Anything else, at most 4,000 characters.
    pub notes: String,
    /// Name of the interrupted recording that this one continues; set by the supervisor after a crash only.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
}

impl StartRequest {
    /// What is wrong with it: the field, what was given and what is expected.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let fits = (1..=64).contains(&self.subject.len()) && self.subject.chars().all(is_slug);
        if !fits {
            problems.push(format!(
                "subject = {:?}: expected 1 to 64 letters, digits, '-' or '_'",
                self.subject.chars().take(80).collect::<String>()
            ));
        }
        for (name, text, max) in
            [("experiment", &self.experiment, 200), ("operator", &self.operator, 200), ("notes", &self.notes, 4_000)]
        {
            let count = text.chars().count();
            if count > max {
                problems.push(format!("{name} has {count} characters: expected at most {max}"));
            }
            if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
                problems.push(format!("{name} holds control characters: expected plain text"));
            }
        }
        problems
    }
}

/// Whether `c` may stand in a name that becomes a file name.
pub fn is_slug(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// What the rig is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Run the pre-flight checks and start all streams.
    Arm,
    /// Start writing. Armed first if the rig is idle.
    Start(StartRequest),
    /// Put a mark into the event table.
    Mark {
        /// What happened, 1 to 500 characters.
        text: String,
    },
    /// Stop writing and seal; the rig stays armed.
    Stop,
    /// Stop all streams; refused while recording.
    Disarm,
    /// Let rules and operators drive the board's outputs. `confirm` must be the rig's name.
    ArmOutputs {
        /// The rig's name, typed by the operator.
        confirm: String,
    },
    /// All outputs to the safe state; always allowed.
    SafeOutputs,
}

impl Command {
    /// The word used in the API, the audit log and messages.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Arm => "arm",
            Self::Start(_) => "start",
            Self::Mark { .. } => "mark",
            Self::Stop => "stop",
            Self::Disarm => "disarm",
            Self::ArmOutputs { .. } => "arm_outputs",
            Self::SafeOutputs => "safe_outputs",
        }
    }
}

/// One pre-flight check.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PreflightCheck {
    /// What was checked, e.g. `camera.Camera3`.
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was found, with the numbers.
    pub detail: String,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Usable; the operator should know.
    Warn,
    /// The rig is not armed.
    Fail,
}

/// What arming found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct PreflightReport {
    /// All checks, in the order they were made.
    pub checks: Vec<PreflightCheck>,
}

impl PreflightReport {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Fail)
    }
}

/// A recording that has begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordingStarted {
    /// Folder name under the recordings folder: `<utc>_<subject>`.
    pub name: String,
}

/// What sealing found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct SealSummary {
    /// Folder name under the recordings folder.
    pub name: String,
    /// Length in seconds.
    pub seconds: f64,
    /// Rows in all tables.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Whether triggers, frames, samples and declared gaps add up.
    pub reconciled: bool,
    /// What does not add up, one line each; empty if `reconciled`.
    pub problems: Vec<String>,
}

/// A recording in progress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct RecordingProgress {
    /// Folder name under the recordings folder.
    pub name: String,
    /// Seconds since its start.
    pub elapsed_secs: f64,
    /// Rows so far, all tables.
    pub rows: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Rows lost because a recorder queue was full (declared in the dataset).
    pub dropped_rows: u64,
}

/// A named condition under which the rig still works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Degradation {
    /// Closed word for machines, e.g. `camera_lost`, `realtime_refused`, `disk_low`.
    pub code: String,
    /// What is wrong and what the operator can do.
    pub message: String,
}

/// A counter with its cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counter {
    /// What is counted, e.g. `frames_dropped` (a Prometheus name without prefix and `_total`).
    pub name: String,
    /// Where, e.g. the camera or queue.
    pub place: String,
    /// Why, e.g. `pool_empty`; empty where there is only one cause.
    pub cause: String,
    /// How many.
    pub value: u64,
    /// Whether anything above zero means loss or damage.
    pub harm: bool,
}

/// A stream that has to keep moving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamProgress {
    /// Camera, array, board, loop or recorder.
    pub name: String,
    /// Grows with every item.
    pub count: u64,
    /// Whether it should move at present: `false` while idle and while a device is declared lost.
    pub expected: bool,
}

/// Health of the rig, gathered on a service thread.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct RigStatus {
    /// Counters by cause.
    pub counters: Vec<Counter>,
    /// Why the rig is degraded; empty if it is not.
    pub degraded: Vec<Degradation>,
    /// The recording in progress.
    pub recording: Option<RecordingProgress>,
    /// Free space where recordings go, in bytes.
    pub disk_free_bytes: u64,
    /// Time until the disk margin is reached at the present (or configured) rate, in seconds; `None` if unknown.
    pub disk_left_secs: Option<f64>,
    /// Streams for the watchdog.
    #[serde(skip)]
    pub streams: Vec<StreamProgress>,
    /// Set when the rig stopped by itself and cannot go on, with the cause.
    pub fault: Option<String>,
    /// Set when the recording has to end now (disk margin reached), with the cause; the supervisor then seals it.
    pub must_stop: Option<String>,
}

/// Why the rig did not do what it was told; the message names what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RigError(pub String);

impl RigError {
    /// What another layer said, as it said it.
    pub(super) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The rig as the supervisor drives it. Calls may block (seconds); they come from one thread.
pub trait Rig: Send {
    /// Opens devices, runs the pre-flight burst, starts the streams. With a failed check nothing runs.
    ///
    /// # Errors
    /// What could not even be tried.
    fn arm(&mut self) -> Result<PreflightReport, RigError>;

    /// Stops the streams.
    fn disarm(&mut self);

    /// Starts writing.
    ///
    /// # Errors
    /// Why nothing is written (folder, disk, recorder).
    fn start(&mut self, request: &StartRequest) -> Result<RecordingStarted, RigError>;

    /// Stops writing and makes the recording valid.
    ///
    /// # Errors
    /// Why the recording is not sealed; `mimicd recover` can still make it valid.
    fn stop(&mut self) -> Result<SealSummary, RigError>;

    /// Puts a mark with `text` into the event table, at the board time of the call.
    ///
    /// # Errors
    /// Why it was not written.
    fn mark(&mut self, text: &str) -> Result<(), RigError>;

    /// Appends one line to the recording's audit log; ignored when nothing is recorded. `line` is JSON without newlines.
    fn audit(&mut self, line: &str);

    /// Lets outputs be driven, or puts them into the safe state.
    ///
    /// # Errors
    /// Why the board refused.
    fn set_outputs(&mut self, armed: bool) -> Result<(), RigError>;

    /// Commands that came from the board's buttons since the last call.
    fn buttons(&mut self, commands: &mut Vec<Command>);

    /// Notices of the rig's own service threads since the last call (device lost and back, disk, reset storm).
    fn notices(&mut self, notices: &mut Vec<Notice>);

    /// How long sealing may take at most; the service manager is told.
    fn seal_time_max(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// The rig as readers see it: shared by all panel tasks, never in the way of the loop.
pub trait RigView: Send + Sync {
    /// What never changes.
    fn info(&self) -> &RigInfo;

    /// Copies the latest snapshot into `into`.
    fn snapshot(&self, into: &mut Snapshot);

    /// The live encoding models; nothing is fitted by default.
    fn encoding(&self) -> EncodingLive {
        EncodingLive::default()
    }

    /// Gathers counters and health; may take locks and allocate.
    fn status(&self) -> RigStatus;

    /// Copies the latest preview of `camera` into `into` if it is newer than `into.sequence`; says whether it was.
    fn preview(&self, camera: usize, into: &mut Preview) -> bool;

    /// Tells the preview maker whether anyone is looking, so that it rests when nobody is.
    fn want_previews(&self, wanted: bool);
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Ordinary course of things.
    Info,
    /// Degraded, or soon.
    Warning,
    /// Data lost or a command failed.
    Error,
}

/// One line for the event log: what an experimenter can act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// Where it came from, e.g. `camera.Camera3`, `recorder`, `operator`.
    pub source: String,
    /// The line.
    pub text: String,
}

impl Notice {
    /// A notice of `level` from `source`.
    pub fn new(level: Level, source: impl Into<String>, text: impl Into<String>) -> Self {
        Self { level, source: source.into(), text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_names_and_text_is_bounded() {
        let good = StartRequest { subject: "rat-07_b".into(), notes: "a\nb".into(), ..Default::default() };
        assert!(good.problems().is_empty());
        for subject in ["", "../x", "a b", "é", &"x".repeat(65)] {
            let bad = StartRequest { subject: subject.into(), ..Default::default() };
            assert_eq!(bad.problems().len(), 1, "{subject}");
        }
        let bad = StartRequest { subject: "a".into(), operator: "x".repeat(201), notes: "\u{7}".into(), ..good };
        assert_eq!(bad.problems().len(), 2);
    }

    #[test]
    fn commands_have_one_wire_form() {
        let start = r#"{"command":"start","subject":"r1","experiment":"open field"}"#;
        let Command::Start(request) = serde_json::from_str(start).expect("parses") else { panic!("not a start") };
        assert_eq!(request.subject, "r1");
        assert_eq!(serde_json::to_string(&Command::Arm).expect("serialises"), r#"{"command":"arm"}"#);
        assert!(serde_json::from_str::<Command>(r#"{"command":"erase"}"#).is_err());
    }
}
