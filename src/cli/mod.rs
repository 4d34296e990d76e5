//! Subcommands: parsing, exit codes, and one line for a human when something fails.
//!
//! Exit code 0: done. 1: a check or a verification found problems. 2: it could not be done.

mod board;
mod body;
mod calibrate;
mod camera;
mod check;
mod ctl;
mod daemon;
mod demo;
mod devices;
mod doctor;
mod encode;
mod export;
mod imitate;
mod latency;
mod latency_plot;
mod model;
mod probe;
mod published;
mod replay;
mod replay_ephys;
mod rules;
mod units;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::prelude::*;

use crate::telemetry::memory;

/// Real-time closed-loop acquisition for a behaving rat and its virtual twin.
#[derive(Debug, Parser)]
#[command(name = "mimicd", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: panel, supervisor, rig. Without a config, the simulated rig.
    Run(daemon::Options),
    /// Check a config: every error at once, with the values; loads models and calibration.
    Check {
        /// The config file.
        config: PathBuf,
    },
    /// Tell a running daemon something.
    Ctl(ctl::Options),
    /// Run the simulated rig, record, reconcile, print a verdict.
    Demo(demo::Options),
    /// Feed recorded data through the live stages.
    Replay(replay::Options),
    /// The animal's body: fit a subject, register recordings.
    #[command(subcommand)]
    Body(body::BodyCommand),
    /// Write a recording in another format: Parquet data set, NWB, Open Ephys, SpikeGLX, campy, CSV.
    Export(export::Options),
    /// Which features predict the spikes of a recording: models, similarity, variability, one page.
    Encode(crate::encoding::EncodeOptions),
    /// Recordings in the published layout (one HDF5 file): analyse them, write them.
    Published(published::Options),
    /// Probe maps: which channels make a tetrode.
    Probe(probe::Options),
    /// Units of a recording: quality, and a file to sort the next one with.
    Units(units::Options),
    /// List what is plugged in, with formats, controls and the part of a config that names it.
    Devices,
    /// Look for what on this machine will cost data: permissions, limits, power saving, buffers, disk, GPU; each with the
    /// command that mends it. Exits 1 when something is to mend.
    Doctor(doctor::Options),
    /// Calibrate the cameras from videos of a board: lenses, poses, reprojection report.
    #[command(subcommand)]
    Calibrate(calibrate::CalibrateCommand),
    /// Look at cameras by themselves.
    Camera(camera::Options),
    /// Look at the sync board by itself.
    Board(board::Options),
    /// Look at rules and try them on a recording.
    Rules(rules::Options),
    /// Measure latency by echo.
    Latency(latency::Options),
    /// Recordings that are there.
    #[command(flatten)]
    Record(crate::record::RecordCommand),
    /// Keypoint networks: what a file offers.
    #[command(subcommand)]
    Model(model::Model),
    /// Policies, measured.
    #[command(subcommand)]
    Imitate(crate::imitation::eval::ImitateCommand),
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    memory::settle();
    let arguments = Arguments::parse();
    start_log();
    let done = match arguments.command {
        Command::Run(options) => daemon::run(&options),
        Command::Check { config } => check::run(&config),
        Command::Ctl(options) => ctl::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Body(command) => body::run(&command),
        Command::Replay(options) => replay::run(&options),
        Command::Export(options) => export::run(&options),
        Command::Encode(options) => encode::run(&options),
        Command::Published(options) => published::run(&options),
        Command::Probe(options) => probe::run(&options),
        Command::Units(options) => units::run(&options),
        Command::Devices => devices::run(),
        Command::Doctor(options) => doctor::run(&options),
        Command::Calibrate(command) => calibrate::run(&command),
        Command::Camera(options) => camera::run(&options),
        Command::Board(options) => board::run(&options),
        Command::Rules(options) => rules::run(&options),
        Command::Latency(options) => latency::run(&options),
        Command::Record(command) => well(command.run(&mut std::io::stdout())),
        Command::Model(command) => model::run(&command),
        Command::Imitate(command) => imitate::run(&command),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mimicd: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Exit code 1 where the answer is "no, this is not well".
fn well(answer: Result<bool, crate::record::CommandError>) -> anyhow::Result<ExitCode> {
    Ok(if answer? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Under the service manager the journal gets each line with its priority and its fields (`journalctl -u mimicd
/// MIMICD_SOURCE=camera.cam3 -p warning`); anywhere else lines go to the standard error.
fn start_log() {
    // A frame without the board is no warning.
    let filter = "info,ort=warn,calib_targets_chessboard=error,calib_targets_charuco=error";
    let filter = tracing_subscriber::EnvFilter::try_from_env("MIMICD_LOG").unwrap_or_else(|_| filter.into());
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let plain = journal.is_none().then(|| {
        let colour = std::io::stderr().is_terminal();
        tracing_subscriber::fmt::layer().with_target(false).with_ansi(colour).with_writer(std::io::stderr)
    });
    let journal = journal
        .map(|layer| layer.with_syslog_identifier("mimicd".to_owned()).with_field_prefix(Some("MIMICD".to_owned())));
    tracing_subscriber::registry().with(filter).with(journal).with(plain).init();
}
