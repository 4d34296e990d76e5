//! The recorder: journal, tables, video, manifest, recovery, verification.
//!
//! Nothing is lost that is not declared. Data goes lane → journal (checksummed, on the disk within the flush interval) →
//! Parquet parts (while recording) → manifest. The design of the files and why a kill at any instant is harmless stand in
//! `journal`. Producing threads only ever touch a [`RecordLane`]; everything that waits for the disk is on threads of the
//! recorder's own.

mod catalog;
mod collect;
mod command;
mod disk;
mod error;
mod forecast;
mod gap;
mod hash;
mod health;
mod journal;
mod lane;
mod lock;
mod manifest;
#[cfg(test)]
mod model;
mod origin;
mod recorder;
mod recover;
mod report;
pub mod schema;
mod seal;
mod seal_loop;
mod table_file;
pub mod tables;
#[cfg(test)]
mod trouble;
mod verify;
mod video;
mod workers;

pub use catalog::{ArrayInfo, CameraInfo, Catalog, TableId};
pub use command::{CommandError, RecordCommand};
pub use disk::{DiskFault, DiskFaults, RecordDisk};
pub use error::RecordError;
pub use forecast::{Forecast, written_bytes_per_second};
pub use gap::{Gap, GapCause, GapUnit};
pub use health::{DiskState, LaneHealth, RecorderHealth, VideoHealth};
pub use lane::{BlockStamp, FrameStamp, LANE_BLOCKS, LANE_FRAMES, RecordLane};
pub use manifest::{
    ArrayEntry, DeviceInfo, GapEntry, MANIFEST, Manifest, PartEntry, RecordingInfo, RunEntry, SourceFile, Stage,
    TableEntry, VideoEntry,
};
pub use recorder::{Recorder, SealReport};
pub use recover::{RecoverReport, is_recording, recover, unfinished};
pub use report::report;
pub use schema::{Column, RowWriter, ScalarKind, TableSchema};
pub use table_file::{KeypointRows, TableFile, keypoint_rows};
pub use verify::{
    ArrayAccount, CameraAccount, ColumnStats, ExposureAccount, Percentiles, TriggerAccount, VerifyReport, VideoAccount,
    verify,
};
pub use video::{count_frames, raw_video_arguments, try_encoder};
