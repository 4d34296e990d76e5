//! `manifest.json`: what the recording is, what it holds, what is missing.
//!
//! Replaced as a whole (never half-written) at start, at each sealed epoch, at stop, and by recovery.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalog::Catalog;
use super::disk::{self, Disk, OsDisk};
use super::error::RecordError;
use super::hash;
use super::schema::SCHEMA_VERSION;

/// Name of the manifest in a recording's folder.
pub const MANIFEST: &str = "manifest.json";

/// One device as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// `camera`, `array` or `board`.
    pub role: String,
    /// Name in the config.
    pub name: String,
    /// Model, serial number, address: what the device says it is.
    pub identity: String,
}

/// A file that the recording depended on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// `calibration`, `pose_model`, `policy`, `body`, ...
    pub role: String,
    /// Where it was.
    pub path: PathBuf,
    /// SHA-256 of its bytes, hexadecimal; empty when it could not be read.
    pub sha256: String,
}

impl SourceFile {
    /// Hashes the file at `path`.
    pub fn hashed(role: &str, path: &Path) -> Self {
        let sha256 = hash::file(path).map(|(sha256, _)| sha256).unwrap_or_default();
        Self { role: role.to_owned(), path: path.to_owned(), sha256 }
    }
}

/// What the caller knows about a recording before it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordingInfo {
    /// Unique name: `<utc>_<subject>`; also the folder's name.
    pub recording: String,
    /// The animal.
    pub subject: String,
    /// The rig's name.
    pub rig: String,
    /// Wall-clock time at which `t_ns` is zero, RFC 3339; the only wall-clock time in the dataset.
    pub started_utc: String,
    /// The same, in nanoseconds since 1970.
    pub started_unix_ns: i64,
    /// Version of the software.
    pub software: String,
    /// The checked config.
    pub config: Value,
    /// Devices as found.
    pub devices: Vec<DeviceInfo>,
    /// Models, calibration and other files used.
    pub files: Vec<SourceFile>,
}

impl RecordingInfo {
    /// Describes a recording of `subject` on `rig` that starts at `started`.
    pub fn new(subject: &str, rig: &str, started: SystemTime, config: Value) -> Self {
        let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (date, clock) = utc(since.as_secs());
        Self {
            recording: format!("{}T{}Z_{subject}", date.replace('-', ""), clock.replace(':', "")),
            subject: subject.to_owned(),
            rig: rig.to_owned(),
            started_utc: format!("{date}T{clock}.{:09}Z", since.subsec_nanos()),
            started_unix_ns: since.as_nanos() as i64,
            software: format!("mimicd {}", env!("CARGO_PKG_VERSION")),
            config,
            devices: Vec::new(),
            files: Vec::new(),
        }
    }
}

/// Date and time of day of `secs` seconds since 1970 (proleptic Gregorian, UTC).
fn utc(secs: u64) -> (String, String) {
    let (mut days, second) = (secs / 86_400, secs % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let date = format!("{year:04}-{:02}-{:02}", month + 1, days + 1);
    (date, format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60))
}

/// How far a recording has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Being written, or its writer died: `mimicd recover` tells.
    Recording,
    /// Stopped and sealed in the ordinary way.
    Sealed,
    /// Made whole after its writer died.
    Recovered,
}

/// One Parquet file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    /// Path under the recording's folder.
    pub file: String,
    /// Epoch it belongs to.
    pub epoch: u32,
    /// Rows in it.
    pub rows: u64,
    /// Smallest and largest `t_ns`.
    pub t_ns: (i64, i64),
    /// Size.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// Rows in all parts.
    pub rows: u64,
    /// Files, in order.
    pub parts: Vec<PartEntry>,
}

/// One array's samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayEntry {
    /// Sample index of the first sample.
    pub first: u64,
    /// Sample index after the last.
    pub end: u64,
    /// Rig time of that index.
    pub end_ns: i64,
    /// Samples recorded.
    pub samples: u64,
    /// Samples whose index had been recorded before.
    pub repeated: u64,
}

/// One video file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoEntry {
    /// The camera.
    pub camera: String,
    /// Part number, as in the frames table.
    pub part: i32,
    /// Path under the recording's folder.
    pub file: String,
    /// Frames given to the encoder.
    pub offered: u64,
    /// Frames counted in the finished file.
    pub counted: u64,
    /// Size.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// One gap, as in the gaps table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapEntry {
    /// Where it begins.
    pub t_ns: i64,
    /// Which stream.
    pub stream: String,
    /// What is counted.
    pub unit: String,
    /// First missing index.
    pub first: Option<i64>,
    /// Index after the last missing one.
    pub end: Option<i64>,
    /// How many.
    pub count: Option<i64>,
    /// Where the stream goes on.
    pub end_ns: Option<i64>,
    /// Why.
    pub cause: String,
}

/// One life of the process that wrote: a crash-restart goes on in the same recording as another run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// First epoch of the run.
    pub first_epoch: u32,
    /// `stopped`, `killed` or, while it lasts, `running`.
    pub ended: String,
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Dataset layout version.
    pub schema_version: u32,
    /// How far it has come.
    pub stage: Stage,
    /// What it is.
    pub info: RecordingInfo,
    /// Its tables, cameras and arrays.
    pub catalog: Catalog,
    /// Epochs below this number are sealed and complete.
    pub sealed_epochs: u32,
    /// Runs of the writing process.
    pub runs: Vec<RunEntry>,
    /// Tables by name.
    pub tables: BTreeMap<String, TableEntry>,
    /// Arrays by table name.
    pub arrays: BTreeMap<String, ArrayEntry>,
    /// Video files.
    pub videos: Vec<VideoEntry>,
    /// Every gap.
    pub gaps: Vec<GapEntry>,
    /// Bytes of journal that recovery could not read.
    pub journal_bytes_lost: u64,
    /// Largest journal sequence sealed so far, plus one.
    pub next_sequence: u64,
    /// Facts that other layers add: clock maps, real-time state, counters.
    pub notes: BTreeMap<String, Value>,
}

impl Manifest {
    /// The manifest of a recording that starts now.
    pub fn new(info: RecordingInfo, catalog: Catalog) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            stage: Stage::Recording,
            info,
            catalog,
            sealed_epochs: 0,
            runs: vec![RunEntry { first_epoch: 0, ended: "running".to_owned() }],
            tables: BTreeMap::new(),
            arrays: BTreeMap::new(),
            videos: Vec::new(),
            gaps: Vec::new(),
            journal_bytes_lost: 0,
            next_sequence: 0,
            notes: BTreeMap::new(),
        }
    }

    /// Seconds from the first to the last sealed row; `None` while there is none.
    pub fn seconds(&self) -> Option<f64> {
        let parts = || self.tables.values().flat_map(|table| &table.parts);
        let (first, last) = (parts().map(|part| part.t_ns.0).min()?, parts().map(|part| part.t_ns.1).max()?);
        Some((last - first) as f64 * 1e-9)
    }

    /// Reads the manifest of the recording in `folder`.
    ///
    /// # Errors
    /// When it is not there, is not a manifest, or is of a version that this software does not know.
    pub fn open(folder: &Path) -> Result<Self, RecordError> {
        Self::load(&OsDisk, folder)
    }

    /// As [`open`](Self::open), from any disk.
    pub(super) fn load(disk: &dyn Disk, folder: &Path) -> Result<Self, RecordError> {
        let path = folder.join(MANIFEST);
        let bytes = disk.read(&path).map_err(|error| RecordError::file(&path, "read", error))?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|error| RecordError::format(&path, error.to_string()))?;
        let version = value.get("schema_version").and_then(Value::as_u64).unwrap_or(0);
        if version == 0 || version > u64::from(SCHEMA_VERSION) {
            let reason = format!("schema_version = {version}: expected 1 to {SCHEMA_VERSION}");
            return Err(RecordError::format(&path, reason));
        }
        serde_json::from_value(value).map_err(|error| RecordError::format(&path, error.to_string()))
    }

    /// Replaces the manifest in `folder`, durably.
    ///
    /// # Errors
    /// When the disk refuses; the old manifest is then still there.
    pub(super) fn store(&self, disk: &dyn Disk, folder: &Path) -> Result<(), RecordError> {
        let path = folder.join(MANIFEST);
        let mut bytes = serde_json::to_vec_pretty(self).expect("plain data with string keys");
        bytes.push(b'\n');
        disk::replace(disk, &path, &bytes).map_err(|error| RecordError::file(&path, "replace", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_dates_are_right() {
        for (secs, date, clock) in [
            (0, "1970-01-01", "00:00:00"),
            (951_782_399, "2000-02-28", "23:59:59"),
            (951_782_400, "2000-02-29", "00:00:00"),
            (1_800_000_000, "2027-01-15", "08:00:00"),
            (4_107_542_400, "2100-03-01", "00:00:00"),
        ] {
            assert_eq!(utc(secs), (date.to_owned(), clock.to_owned()));
        }
    }
}
