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
    /// A recording stops, sealed, when less than this is free.
    pub disk_margin_bytes: u64,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("recordings"),
            flush_millis: 100,
            video: VideoCodec::X264,
            disk_margin_bytes: 2_000_000_000,
        }
    }
}

impl RecordConfig {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        resolve(folder, &mut self.folder);
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::within("record.flush_millis", f64::from(self.flush_millis), 10.0..=5_000.0, errors);
    }
}
