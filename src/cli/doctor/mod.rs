//! `mimicd doctor`: what on this machine will cost frames or samples, each with the command that mends it.

mod checks;
mod disk;
mod machine;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::config::Config;
use machine::Machine;

/// Options of `mimicd doctor`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Judge the machine for this rig; else for the reference rig (six cameras, 256 channels).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where recordings will lie, for the speed of the disk; else as in the config, else here.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Looks, prints, and exits 1 when something will cost data.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let config = options.config.as_deref().map(Config::load).transpose()?;
    let folder = options.folder.clone().or_else(|| config.as_ref().map(|config| config.record.folder.clone()));
    let folder = folder.unwrap_or_else(|| ".".into());
    let machine = Machine::real();
    let mut findings = checks::all(&machine, config.as_ref());
    findings.push(disk::check(&folder, config.as_ref()));
    for finding in &findings {
        println!("{finding}");
    }
    let bad = findings.iter().filter(|finding| finding.is_bad()).count();
    let notes = findings.iter().filter(|finding| finding.is_note()).count();
    println!("{} looked at: {bad} to mend, {notes} to know", findings.len());
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
