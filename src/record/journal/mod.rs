//! The journal: what happened, in order, on the disk within the flush interval.
//!
//! # Constraints
//! Power may fail at any instant: bytes that were not synced may be missing, zero, or there without those before them.
//! The process may be killed at any instant: what `write` took is kept by the system. Bits may rot.
//!
//! # Layout
//! Segments `journal/e<epoch>-s<segment>.mjl`; a segment is a run of records; the first describes everything
//! ([`SegmentHeader`] as JSON), so that any one segment can be read alone.
//!
//! ```text
//!  0      4      8        12     13     14       16          24
//!  | MJR1 | crc  | length | kind | zero | stream | sequence  | payload (length bytes)
//! ```
//! Little-endian. `crc` is CRC-32 (IEEE) of everything after it. `sequence` counts records over the whole recording, so
//! a hole shows even where the bytes around it are fine. `stream` is a table (kind row) or an array (kind block).
//!
//! # Epochs
//! All tables close their Parquet part together when an epoch ends (`record.part_seconds`). Order of a commit: parts
//! written under temporary names, synced, renamed, folders synced; then the manifest, which names the epoch as sealed,
//! replaced and synced; then the epoch's segments removed.
//!
//! # Recovery
//! An epoch that the manifest calls sealed is complete: left-over segments of it are removed. Any other epoch still has all
//! its segments: its parts are made again from them, under the same names. So recovery may itself be killed at any instant
//! and run again. What the journal lost is at its end (never synced) or shows as a hole in `sequence`.

mod read;
mod record;
mod write;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use read::{Block, Content, Segment};
pub(super) use record::{BLOCK_HEAD_BYTES, RECORD_HEAD_BYTES, RecordEncoder};
pub(super) use write::{JournalFiles, JournalReady, JournalStep, Unsynced};

use super::catalog::Catalog;
use super::manifest::RecordingInfo;

/// First record of every segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SegmentHeader {
    /// Dataset layout version.
    pub(super) schema_version: u32,
    /// Identity of the recording; segments of another one are not touched.
    pub(super) recording: String,
    /// Which epoch.
    pub(super) epoch: u32,
    /// Which segment of the recording.
    pub(super) segment: u32,
    /// Which segment of the epoch.
    pub(super) in_epoch: u32,
    /// Sequence of this very record.
    pub(super) first_sequence: u64,
    /// Tables, cameras, arrays.
    pub(super) catalog: Catalog,
    /// What the manifest would say.
    pub(super) info: RecordingInfo,
}

/// File of a segment under the recording's folder.
pub(super) fn segment_path(folder: &Path, epoch: u32, segment: u32) -> PathBuf {
    journal_folder(folder).join(format!("e{epoch:05}-s{segment:06}.mjl"))
}

/// Folder of the segments.
pub(super) fn journal_folder(folder: &Path) -> PathBuf {
    folder.join("journal")
}

/// Removes the journal's folder if it is empty; segments that are not sealed keep it.
pub(super) fn remove_journal_folder(folder: &Path) {
    std::fs::remove_dir(journal_folder(folder)).ok(); // Not empty, or gone already: both are fine.
}

/// Epoch and segment number of a segment's file name.
pub(super) fn segment_numbers(path: &Path) -> Option<(u32, u32)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".mjl")?;
    let (epoch, segment) = name.strip_prefix('e')?.split_once("-s")?;
    Some((epoch.parse().ok()?, segment.parse().ok()?))
}
