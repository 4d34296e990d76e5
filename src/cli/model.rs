//! `mimicd model`: look into networks.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// Keypoint networks.
#[derive(Debug, Subcommand)]
pub(super) enum Model {
    /// Print a graph's inputs and outputs and a manifest to start from.
    Inspect {
        /// The ONNX file.
        file: PathBuf,
    },
}

/// Runs the subcommand.
pub(super) fn run(command: &Model) -> Result<ExitCode> {
    let Model::Inspect { file } = command;
    print!("{}", crate::pose::inspect(file)?);
    Ok(ExitCode::SUCCESS)
}
