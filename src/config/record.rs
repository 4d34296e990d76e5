//! Recorder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, check, resolve};

/// How frames become video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264, x264 ultrafast.
    #[default]
    X264,
    /// Lossless FFV1.
    Ffv1,
    /// H.264 on an NVIDIA encoder.
    Nvenc,
    /// Frames as they are, one file.
    Raw,
    /// No video.
    None,
}

/// Where and how recordings are written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// Folder of all recordings.
    pub folder: PathBuf,
    /// Longest time that data may wait before it is on the disk.
    pub flush_millis: u32,
    /// How frames become video.
    pub video: VideoCodec,
    /// Constant-quality setting of the H.264 encoders: lower is better and larger.
    pub video_crf: u32,
    /// Threads of one camera's encoder.
    pub video_threads: u32,
    /// Frames that may wait for one camera's encoder.
    pub video_queue_frames: usize,
    /// The encoder program.
    pub ffmpeg: String,
    /// The program that counts the frames of a finished video.
    pub ffprobe: String,
    /// Length of one Parquet part; its journal is kept until the part is sealed.
    pub part_seconds: u32,
    /// A journal segment is closed, and sealing of it begins, when it has lasted this long.
    pub segment_millis: u32,
    /// Memory for the rows of one producing thread.
    pub lane_kib: usize,
    /// Memory for data that the disk has not taken yet.
    pub journal_buffer_mib: usize,
    /// A recording stops, sealed, when less than this is free.
    pub disk_margin_bytes: u64,
    /// A recording does not start when the disk is forecast to last less than this; 0 = it always starts.
    pub refuse_below_minutes: u32,
    /// Arming warns when the disk is forecast to last less than this; 0 = never.
    pub warn_below_minutes: u32,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("recordings"),
            flush_millis: 100,
            video: VideoCodec::X264,
            video_crf: 23,
            video_threads: 1,
            video_queue_frames: 32,
            ffmpeg: "ffmpeg".to_owned(),
            ffprobe: "ffprobe".to_owned(),
            part_seconds: 60,
            segment_millis: 2_000,
            lane_kib: 2_048,
            journal_buffer_mib: 64,
            disk_margin_bytes: 2_000_000_000,
            refuse_below_minutes: 5,
            warn_below_minutes: 120,
        }
    }
}

impl RecordConfig {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        resolve(folder, &mut self.folder);
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::within("record.flush_millis", f64::from(self.flush_millis), 10.0..=5_000.0, errors);
        check::within("record.video_crf", f64::from(self.video_crf), 0.0..=51.0, errors);
        check::within("record.video_threads", f64::from(self.video_threads), 1.0..=64.0, errors);
        check::within("record.video_queue_frames", self.video_queue_frames as f64, 2.0..=1_000.0, errors);
        check::within("record.part_seconds", f64::from(self.part_seconds), 1.0..=3_600.0, errors);
        check::within("record.segment_millis", f64::from(self.segment_millis), 100.0..=60_000.0, errors);
        check::within("record.lane_kib", self.lane_kib as f64, 64.0..=1_048_576.0, errors);
        check::within("record.journal_buffer_mib", self.journal_buffer_mib as f64, 4.0..=65_536.0, errors);
        for (key, program) in [("record.ffmpeg", &self.ffmpeg), ("record.ffprobe", &self.ffprobe)] {
            if program.is_empty() {
                errors.push(ConfigError::value(key, "\"\"", "a program's name or path"));
            }
        }
    }
}
