//! `mimicd verify`, `mimicd recover`, `mimicd report`.

use std::io::{self, Write};
use std::path::PathBuf;

use super::{RecordError, is_recording, recover, report, unfinished, verify};

/// Subcommands about recordings that are there.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum RecordCommand {
    /// Check a dataset: counts, gaps, hashes, clocks, latency. Exits 1 when anything does not add up.
    Verify {
        /// The recording's folder.
        dataset: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make an unfinished recording (or every one under a folder) whole; says what was lost.
    Recover {
        /// The recording's folder, or a folder of recordings.
        dataset: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write one HTML page about a dataset: verdict, plots over time, distributions, gaps. Exits 1 when it does not add up.
    Report {
        /// The recording's folder.
        dataset: PathBuf,
        /// The page; `<dataset>/report.html` by default.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

impl RecordCommand {
    /// Does it; `false` when the answer is "no, this is not well".
    ///
    /// # Errors
    /// When the dataset cannot be read at all or `out` takes no more.
    pub fn run(&self, out: &mut dyn Write) -> Result<bool, CommandError> {
        match self {
            Self::Verify { dataset, json } => {
                let report = verify(dataset)?;
                print(out, &report, *json)?;
                Ok(report.ok())
            }
            Self::Recover { dataset, json } => {
                let folders = if is_recording(dataset) { vec![dataset.clone()] } else { unfinished(dataset) };
                if folders.is_empty() {
                    writeln!(out, "{}: no unfinished recording", dataset.display())?;
                }
                for folder in folders {
                    print(out, &recover(&folder)?, *json)?;
                }
                Ok(true)
            }
            Self::Report { dataset, out: page } => {
                let (path, is_ok) = report(dataset, page.as_deref())?;
                writeln!(out, "{}", path.display())?;
                Ok(is_ok)
            }
        }
    }
}

/// Why a subcommand gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The dataset.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The terminal or pipe.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

fn print<T: serde::Serialize + std::fmt::Display>(out: &mut dyn Write, report: &T, json: bool) -> io::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, report)?;
        return writeln!(out);
    }
    write!(out, "{report}")
}
