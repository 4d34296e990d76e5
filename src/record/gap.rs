//! What is known to be missing, and why.

use mimicd_device::RigTime;
use serde::{Deserialize, Serialize};

use super::schema::RowWriter;

/// Why data is missing: a closed list; the text is written into tables and never changes meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// The device itself lost it, or the link to it did.
    Device,
    /// The device was away and has been opened again.
    Reopened,
    /// Every slot of the edge thread's pool was held.
    PoolExhausted,
    /// A lane to the recorder was full.
    LaneFull,
    /// The recorder's memory for data that the disk would not take was full.
    DiskFailing,
    /// The encoder did not keep up and its queue was full.
    VideoQueueFull,
    /// The encoder process ended before its time.
    EncoderDied,
    /// The daemon was killed or the power failed.
    Killed,
    /// A part of a file was damaged.
    Damaged,
}

impl GapCause {
    /// The text written into tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Reopened => "reopened",
            Self::PoolExhausted => "pool_exhausted",
            Self::LaneFull => "lane_full",
            Self::DiskFailing => "disk_failing",
            Self::VideoQueueFull => "video_queue_full",
            Self::EncoderDied => "encoder_died",
            Self::Killed => "killed",
            Self::Damaged => "damaged",
        }
    }
}

/// What a gap counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapUnit {
    /// Triggers that have no frame.
    Triggers,
    /// Samples of an array.
    Samples,
    /// Rows of a table.
    Rows,
    /// Frames that have a row but are not in the video.
    VideoFrames,
}

impl GapUnit {
    /// The text written into tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Triggers => "triggers",
            Self::Samples => "samples",
            Self::Rows => "rows",
            Self::VideoFrames => "video_frames",
        }
    }
}

/// One run of missing items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// `frames/<camera>`, `ephys_<array>`, `video/<camera>` or a table's name.
    pub stream: &'a str,
    /// What is counted.
    pub unit: GapUnit,
    /// First missing index, if items have one.
    pub first: Option<i64>,
    /// Index after the last missing one.
    pub end: Option<i64>,
    /// How many, if known.
    pub count: Option<i64>,
    /// Where the gap begins.
    pub at: RigTime,
    /// Where the stream goes on, if it does.
    pub until: Option<RigTime>,
    /// Why.
    pub cause: GapCause,
}

impl<'a> Gap<'a> {
    /// A gap of the items `first..end`.
    pub const fn range(stream: &'a str, unit: GapUnit, first: i64, end: i64, at: RigTime, cause: GapCause) -> Self {
        Self { stream, unit, first: Some(first), end: Some(end), count: Some(end - first), at, until: None, cause }
    }

    /// The same gap, ending at `until`.
    #[must_use]
    pub const fn until(self, until: RigTime) -> Self {
        Self { until: Some(until), ..self }
    }

    /// Writes the columns of the gaps table.
    pub(super) fn write(&self, row: &mut RowWriter<'_>) {
        row.text(self.stream);
        row.text(self.unit.as_str());
        row.i64_or_absent(self.first);
        row.i64_or_absent(self.end);
        row.i64_or_absent(self.count);
        row.i64_or_absent(self.until.map(RigTime::nanos));
        row.text(self.cause.as_str());
    }
}
