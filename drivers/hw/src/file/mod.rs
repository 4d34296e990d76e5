//! Recordings of other programs, replayed through the same trait as a live array.
//!
//! | path | form |
//! |---|---|
//! | `x.rhd`, or a folder of such files | Intan, traditional |
//! | a folder with `info.rhd`, `time.dat`, `amplifier.dat` (and `digitalin.dat`), or its `info.rhd` | Intan, one file per signal type |
//! | a folder with `structure.oebin`, that file, or one of its `continuous/<stream>` folders | Open Ephys binary |
//! | `x.bin` or `x.meta` | SpikeGLX |
//! | `x.toml` | raw int16, described by the TOML ([`raw`]) |
//!
//! Gaps in a recording's own sample numbers stay gaps. A reader thread keeps a second of samples ahead, so the poller never
//! waits for a disk. In [`Pace::RealTime`] a block is handed out when its last sample would have been taken; in
//! [`Pace::Fast`] at once. After the last sample the source says `Disconnected`, "has ended".

mod bytes;
mod flat;
pub mod npy;
mod open_ephys;
pub mod raw;
mod recording;
mod rhd;
mod rhd_header;
mod signal_files;
mod source;
mod spike_glx;

use std::path::{Path, PathBuf};

use mimicd_device::{ArrayIndex, DeviceError, DeviceErrorKind};

pub use recording::{Piece, Recording, Window};
pub use source::FileSource;

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As it was taken.
    #[default]
    RealTime,
    /// As fast as the poller takes blocks.
    Fast,
}

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Which array the blocks are of.
    pub array: ArrayIndex,
    /// The recording.
    pub path: PathBuf,
    /// First channel of the recording to use.
    pub channel_first: usize,
    /// Channels to use; `None` = all that follow.
    pub channels: Option<usize>,
    /// Samples of a block.
    pub block_samples: usize,
    /// How fast.
    pub pace: Pace,
}

impl FileOptions {
    /// All of the recording at `path`, in blocks of 1 ms at 30 kHz, in real time.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            array: ArrayIndex(0),
            path: path.into(),
            channel_first: 0,
            channels: None,
            block_samples: 30,
            pace: Pace::RealTime,
        }
    }
}

/// Opens the recording at `path`, whatever its form (see the table of this module).
///
/// # Errors
/// `NotFound`; `Unsupported` naming what is not understood; `Protocol` for a file that contradicts itself.
pub fn open(path: &Path) -> Result<Recording, DeviceError> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if path.is_dir() {
        return open_folder(path);
    }
    if !path.is_file() {
        return Err(DeviceError::new(DeviceErrorKind::NotFound, format!("{}: no such file or folder", path.display())));
    }
    match (name.as_str(), extension.as_str()) {
        ("structure.oebin", _) => open_ephys::open(path.parent().unwrap_or(Path::new(".")), None),
        ("info.rhd", _) if path.with_file_name("amplifier.dat").is_file() => {
            signal_files::open(path.parent().unwrap_or(Path::new(".")))
        }
        (_, "rhd") => rhd::open(&[path.to_owned()]),
        (_, "bin" | "meta") => spike_glx::open(path),
        (_, "toml") => raw::open(path),
        _ => Err(unknown(path)),
    }
}

fn open_folder(path: &Path) -> Result<Recording, DeviceError> {
    if path.join("structure.oebin").is_file() {
        return open_ephys::open(path, None);
    }
    let above = path.parent().and_then(Path::parent);
    if let Some(root) = above.filter(|root| root.join("structure.oebin").is_file()) {
        let stream = path.file_name().map(|name| name.to_string_lossy().into_owned());
        return open_ephys::open(root, stream.as_deref());
    }
    if path.join("info.rhd").is_file() {
        return signal_files::open(path);
    }
    let entries = std::fs::read_dir(path).map_err(|error| bytes::io(path, "reading the folder", &error))?;
    let is_rhd = |p: &PathBuf| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("rhd"));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_rhd).collect();
    files.sort();
    if files.is_empty() { Err(unknown(path)) } else { rhd::open(&files) }
}

fn unknown(path: &Path) -> DeviceError {
    let context = format!(
        "{}: no recording that is known; expected .rhd, a folder with info.rhd or structure.oebin, SpikeGLX .bin/.meta, or a .toml that describes raw int16",
        path.display()
    );
    DeviceError::new(DeviceErrorKind::Unsupported, context)
}
