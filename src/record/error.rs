//! What can stop the recorder from working at all. Lost data is never an error: see [`super::Gap`].

use std::io;
use std::path::{Path, PathBuf};

use crate::config::VideoCodec;

/// A failure of the recorder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A file could not be made, written, read or renamed. Check the disk and the permissions.
    #[error("{}: cannot {action}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was asked.
        action: &'static str,
        /// What the system said.
        reason: io::Error,
    },
    /// Two tables share a name, or a table that must be there is not.
    #[error("tables: {reason}")]
    Tables {
        /// Which, and what was expected.
        reason: String,
    },
    /// The disk has less room than the margin asks for.
    #[error("{}: {free_bytes} bytes free, expected more than the margin of {margin_bytes} (record.disk_margin_bytes)", path.display())]
    DiskFull {
        /// Where.
        path: PathBuf,
        /// Bytes free.
        free_bytes: u64,
        /// Bytes that must stay free.
        margin_bytes: u64,
    },
    /// The disk would not hold the recording for long. Free some room, record elsewhere, or lower
    /// `record.refuse_below_minutes`.
    #[error("{}: {forecast}, expected at least {minutes} minutes (record.refuse_below_minutes)", path.display())]
    DiskBudget {
        /// Where.
        path: PathBuf,
        /// What was forecast.
        forecast: String,
        /// Minutes asked for.
        minutes: u32,
    },
    /// A Parquet file could not be written or read.
    #[error("{}: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
    /// A manifest or journal segment is not what it should be.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, what was expected.
        reason: String,
    },
    /// The encoder program could not be started. Install ffmpeg or set `record.video = "none"`.
    #[error(
        "encoder {program:?}: {reason}; install ffmpeg (ffprobe comes with it) or set record.video = \"raw\" or \"none\""
    )]
    Encoder {
        /// The program.
        program: String,
        /// What the system said.
        reason: io::Error,
    },
    /// The encoder program does not encode as asked. Install an ffmpeg that has the encoder, or choose another `record.video`.
    #[error("{program:?} cannot encode {width_px}x{height_px} for record.video = \"{}\" ({said}); expected an ffmpeg with that encoder{}", word(*video), hardware(*video))]
    EncoderRefuses {
        /// The program.
        program: String,
        /// What was asked for.
        video: VideoCodec,
        /// Width of the camera's frames.
        width_px: u32,
        /// Height of the camera's frames.
        height_px: u32,
        /// What it said.
        said: String,
    },
    /// A recorder thread ended before its time; what it said is in the log.
    #[error("recorder thread {thread} ended unexpectedly")]
    ThreadEnded {
        /// Which.
        thread: &'static str,
    },
}

/// The codec as the config spells it.
const fn word(video: VideoCodec) -> &'static str {
    match video {
        VideoCodec::X264 => "x264",
        VideoCodec::Ffv1 => "ffv1",
        VideoCodec::Nvenc => "nvenc",
        VideoCodec::Raw => "raw",
        VideoCodec::None => "none",
    }
}

const fn hardware(video: VideoCodec) -> &'static str {
    if matches!(video, VideoCodec::Nvenc) {
        " and an NVIDIA GPU with its driver; x264 and ffv1 need none"
    } else {
        ", or record.video = \"raw\" or \"none\""
    }
}

impl RecordError {
    pub(crate) fn file(path: &Path, action: &'static str, reason: io::Error) -> Self {
        Self::File { path: path.to_owned(), action, reason }
    }

    pub(crate) fn format(path: &Path, reason: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn parquet(path: &Path, reason: impl ToString) -> Self {
        Self::Parquet { path: path.to_owned(), reason: reason.to_string() }
    }
}
