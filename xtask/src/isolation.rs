//! `cargo xtask isolation`: does a crowd at the panel change the loop's latency? Pairs with and without, in one recording.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{setup, shell, soak};

/// Options of the measurement.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Pairs of phases.
    #[arg(long, default_value_t = 6)]
    pairs: u32,
    /// Length of a phase.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Clients that read, besides one that is frozen and one that floods.
    #[arg(long, default_value_t = 100)]
    clients: u32,
}

/// Builds release and lets the harness measure.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(true)?;
    let python = ".deps/peers-venv/bin/python";
    if !shell::exists(python) {
        bail!("no {python}: `cargo xtask setup --peers` makes it");
    }
    shell::run("cargo", &["build", "--release", "--package", "mimicd", "--bin", "mimicd"])?;
    let home = PathBuf::from("target/isolation");
    fs::remove_dir_all(&home).ok(); // Absent the first time.
    fs::create_dir_all(home.join("recordings"))?;
    let config = home.join("rig.toml");
    fs::write(&config, soak::rig(&home, true, &[])?)?;
    let (pairs, seconds, clients) =
        (options.pairs.to_string(), options.seconds.to_string(), options.clients.to_string());
    let config = config.display().to_string();
    let line = [
        "tests/peers/panel_isolation.py",
        "target/release/mimicd",
        &config,
        "--pairs",
        &pairs,
        "--seconds",
        &seconds,
        "--clients",
        &clients,
    ];
    shell::run(python, &line)
}
