//! `cargo xtask <command>`: everything a newcomer, a developer or CI runs.
//!
//! Needs only cargo and (for `setup`) a network with the usual package registries. Every command may be repeated.

#![warn(clippy::unwrap_used)]

mod bench;
mod demo;
mod dist;
mod firmware;
mod isolation;
mod setup;
mod shell;
mod soak;
mod soak_judge;
mod soak_plot;
mod test;
mod uf2;
mod vm_test;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demo, tests and benches of mimicd")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what mimicd needs: system packages, ONNX Runtime, MuJoCo, the body model. Safe to repeat.
    Setup {
        /// Also the pinned Python environment of the reader and peer tests.
        #[arg(long)]
        peers: bool,
    },
    /// Set up, build, run the simulated rig through the whole loop, record, reconcile, print a verdict.
    Demo(demo::Options),
    /// Set up and run every test.
    Test(test::Options),
    /// Build the sync board's firmware: ELF and UF2 under target/firmware.
    Firmware(firmware::Options),
    /// Real drivers against devices of a virtual machine: six V4L2 cameras, a USB board, a power cut, the service (root, Debian 12).
    VmTest(vm_test::Options),
    /// Measure the stages and the whole loop on this machine.
    Bench(bench::Options),
    /// Make the Debian package: `target/dist/mimicd_<version>_<architecture>.deb`.
    Dist(dist::Options),
    /// Measure the loop's latency with and without a crowd at the panel.
    Isolation(isolation::Options),
    /// Run the daemon on the twin for hours with faults from a seed; plot memory, handles, threads and latency.
    Soak(soak::Options),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    shell::enter_workspace()?;
    match arguments.command {
        Command::Setup { peers } => setup::run(peers),
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Firmware(options) => firmware::run(&options),
        Command::VmTest(options) => vm_test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Dist(options) => dist::run(&options),
        Command::Isolation(options) => isolation::run(&options),
        Command::Soak(options) => soak::run(&options),
    }
}
