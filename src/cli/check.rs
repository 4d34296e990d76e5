//! `mimicd check`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::config::Config;
use crate::pipeline::RigHost;

/// Checks the file, then everything it names that can be loaded without devices.
pub(super) fn run(path: &Path) -> Result<ExitCode> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Err(error) = RigHost::new(config.clone()) {
        eprintln!("{}: 1 error\n  - {error}", path.display());
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "{}: rig \"{}\", {} cameras, {} arrays, {} rules: all there and consistent",
        path.display(),
        config.rig.name,
        config.cameras.len(),
        config.arrays.len(),
        config.rules.len()
    );
    Ok(ExitCode::SUCCESS)
}
