//! `cargo xtask test`: everything that must hold before a change lands.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Result;

use crate::{firmware, setup, shell};

/// Where the webcam driver must go on compiling, beside Linux.
const ELSEWHERE: [&str; 2] = ["x86_64-pc-windows-gnu", "x86_64-apple-darwin"];

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
    for target in ELSEWHERE {
        if !can_compile_for(target, !options.no_setup) {
            println!("test: webcams on {target}: not checked, for want of `rustup target add {target}`");
            continue;
        }
        step(&format!("webcams on {target}"), || {
            let mut cargo = shell::command("cargo");
            // Nothing is linked: what a C compiler for that system would make of objc_exception is not missed.
            cargo.envs(["CC", "AR"].map(|tool| (format!("{tool}_{}", target.replace('-', "_")), "true")));
            let what = ["check", "--quiet", "--package", "mimicd-hw", "--no-default-features", "--features", "webcam"];
            shell::run_in(&mut cargo, &[&what[..], &["--target", target]].concat())
        })?;
    }
    if !options.no_setup {
        step("firmware for the emulator", || firmware::try_emulation().map(|_| ()))?;
    }
    step("tests", || shell::run("cargo", &["test", "--workspace"]))
}

/// Whether this toolchain can compile for `target`, with what rustup fetches for it if it `may_fetch`.
fn can_compile_for(target: &str, may_fetch: bool) -> bool {
    let is_there = || {
        let asked = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
        asked.is_ok_and(|answer| Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_dir())
    };
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target]).stdout(Stdio::null()).stderr(Stdio::null());
    is_there() || (may_fetch && rustup.status().is_ok_and(|status| status.success()) && is_there())
}

fn step(name: &str, action: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    println!("test: {name}");
    action()?;
    println!("test: {name} held ({:.0} s)", start.elapsed().as_secs_f64());
    Ok(())
}
