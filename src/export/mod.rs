//! Recorded datasets in other people's formats.
//!
//! Every exporter reads the sealed Parquet parts in order and streams: memory does not grow with the recording. What is
//! missing in the dataset stays missing in the export, in the way the format has for it:
//!
//! | format | a gap of samples is | frames that are missing are |
//! |---|---|---|
//! | `parquet`, `csv` | a jump of `sample_index`, a row of `gaps` | rows of `gaps` |
//! | `nwb` | a jump of the series' timestamps, a row of `intervals/gaps` | a jump of the series' timestamps, a row of `intervals/gaps` |
//! | `openephys` | the end of one recording and the beginning of the next, a jump of `sample_numbers` | – |
//! | `spikeglx` | zeros with the MISS bit in the SY word, a line of `*.missed_samples.*.txt` | – |
//! | `campy` | – | empty cells of `frames.csv`; each camera's `frametimes.npy` names the frames that are there |

mod campy;
mod csv;
mod dataset;
mod error;
mod flat;
mod frames;
mod npy;
mod nwb;
mod open_ephys;
mod parquet;
mod published;
mod samples;
mod spikeglx;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use dataset::Progress;
use dataset::{Dataset, Range};
pub use error::ExportError;
pub use flat::{FlatColumn, write_flat};
pub use nwb::SubjectFacts;
pub use published::{Published, PublishedError};

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A Hive-style data set, `<table>/recording=<name>/*.parquet`: many recordings exported to one place are one data set.
    Parquet,
    /// Neurodata Without Borders 2: samples, units, pose (ndx-pose), body, virtual rat, external video, gaps.
    Nwb,
    /// Open Ephys binary format, one folder for each array.
    #[value(name = "openephys")]
    OpenEphys,
    /// SpikeGLX, one OneBox stream for each array, gaps as zeros with the MISS bit.
    #[value(name = "spikeglx")]
    SpikeGlx,
    /// The folder layout of campy and DANNCE: `videos/Camera1/0.mp4`, `frametimes.npy`, `metadata.csv`.
    Campy,
    /// One CSV file for each table.
    Csv,
}

impl Format {
    /// Name on the command line and of the default folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Nwb => "nwb",
            Self::OpenEphys => "openephys",
            Self::SpikeGlx => "spikeglx",
            Self::Campy => "campy",
            Self::Csv => "csv",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The format.
    pub format: Format,
    /// Where to; `<dataset>/export/<format>` when not given.
    pub out: Option<PathBuf>,
    /// Seconds of rig time from which on data is wanted.
    pub from_s: Option<f64>,
    /// Seconds of rig time before which data is wanted.
    pub to_s: Option<f64>,
    /// What NWB wants to know of the animal.
    pub subject: SubjectFacts,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// Where it lies.
    pub out: PathBuf,
    /// Files written.
    pub files: u64,
    /// What a reader should know: samples that came twice and were left out, videos that had to be encoded again, …
    pub remarks: Vec<String>,
}

/// Writes the dataset in `folder` in another format.
///
/// # Errors
/// When the dataset is unfinished or cannot be read, the request is empty, or the export cannot be written. What was
/// written until then stays.
pub fn export(folder: &Path, request: &Request, progress: &mut Progress<'_>) -> Result<ExportReport, ExportError> {
    let range = Range::from_seconds(request.from_s, request.to_s)?;
    let dataset = Dataset::open(folder, range)?;
    let out = request.out.clone().unwrap_or_else(|| folder.join("export").join(request.format.name()));
    make_folder(&out)?;
    let mut report = ExportReport { out: out.clone(), ..ExportReport::default() };
    match request.format {
        Format::Parquet => parquet::write(&dataset, &out, progress, &mut report)?,
        Format::Csv => csv::write(&dataset, &out, progress, &mut report)?,
        Format::OpenEphys => open_ephys::write(&dataset, &out, progress, &mut report)?,
        Format::SpikeGlx => spikeglx::write(&dataset, &out, progress, &mut report)?,
        Format::Campy => campy::write(&dataset, &out, progress, &mut report)?,
        Format::Nwb => nwb::write(&dataset, &out, &request.subject, progress, &mut report)?,
    }
    Ok(report)
}

fn make_folder(path: &Path) -> Result<(), ExportError> {
    std::fs::create_dir_all(path).map_err(|error| ExportError::file(path, "create", error))
}

fn write_file(path: &Path, bytes: impl AsRef<[u8]>, report: &mut ExportReport) -> Result<(), ExportError> {
    report.files += 1;
    std::fs::write(path, bytes).map_err(|error| ExportError::file(path, "write", error))
}
