//! `mimicd check`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::config::Config;
use crate::pipeline::{RigHost, recorded_streams};
use crate::record::try_encoder;

/// Checks the file, then everything it names that can be loaded without devices, and the video encoder by one frame.
pub(super) fn run(path: &Path) -> Result<ExitCode> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let host = RigHost::new(config.clone()).map(drop).map_err(|error| error.to_string());
    let encoder = try_encoder(&config.record, &recorded_streams(&config).0).map_err(|error| error.to_string());
    let problems: Vec<String> = [host, encoder].into_iter().filter_map(Result::err).collect();
    if !problems.is_empty() {
        let word = if problems.len() == 1 { "error" } else { "errors" };
        eprintln!("{}: {} {word}", path.display(), problems.len());
        problems.iter().for_each(|problem| eprintln!("  - {problem}"));
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
