//! `cargo xtask test`: everything that must hold before a change lands.

use std::time::Instant;

use anyhow::Result;

use crate::{firmware, setup, shell};

/// Options of the test run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Skip set-up (for a machine that is already set up and has no network).
    #[arg(long)]
    no_setup: bool,
}

/// Formatting, lints, documentation, tests.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.no_setup {
        setup::run(true)?;
    }
    step("formatting", || shell::run("cargo", &["fmt", "--all", "--check"]))?;
    step("lints", || {
        shell::run("cargo", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])
    })?;
    step("documentation", || {
        let mut cargo = shell::command("cargo");
        cargo.env("RUSTDOCFLAGS", "--deny warnings");
        shell::run_in(&mut cargo, &["doc", "--quiet", "--workspace", "--no-deps"])
    })?;
    if shell::exists("cargo-deny") {
        step("dependencies", || shell::run("cargo", &["deny", "--log-level", "error", "check"]))?;
    } else {
        println!("test: dependencies: cargo-deny is not installed, so deny.toml was not checked");
    }
    if !options.no_setup {
        step("firmware for the emulator", || firmware::try_emulation().map(|_| ()))?;
    }
    step("tests", || shell::run("cargo", &["test", "--workspace"]))
}

fn step(name: &str, action: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    println!("test: {name}");
    action()?;
    println!("test: {name} held ({:.0} s)", start.elapsed().as_secs_f64());
    Ok(())
}
