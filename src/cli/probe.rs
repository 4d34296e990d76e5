//! `mimicd probe`: probe maps, written and looked at.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::spikes::ProbeMap;

/// Options of `mimicd probe`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a probeinterface JSON in which four channels in a row make a tetrode, to be edited.
    New {
        /// Channels of the array.
        #[arg(long, default_value_t = 128)]
        channels: usize,
        /// The file.
        #[arg(long, short, default_value = "probe.json")]
        out: PathBuf,
    },
    /// Show the tetrodes of a probeinterface JSON.
    Show {
        /// The file.
        file: PathBuf,
    },
}

/// Writes or shows.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::New { channels, out } => {
            anyhow::ensure!(
                *channels >= 4 && channels.is_multiple_of(4),
                "--channels {channels}: expected a multiple of 4"
            );
            std::fs::write(out, ProbeMap::in_rows(*channels).to_json() + "\n")?;
            println!("wrote {} tetrodes to {}; name it in spikes.probe of a config", channels / 4, out.display());
        }
        What::Show { file } => {
            for (index, tetrode) in ProbeMap::load(file)?.tetrodes.iter().enumerate() {
                println!("tetrode {:3}  channels {:?}", index + 1, tetrode.channels);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
