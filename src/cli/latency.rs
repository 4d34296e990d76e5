//! `mimicd latency`: the board echo and the loop echo, with the load that they were measured under.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use mimicd_device::Span;

use super::latency_plot;
use crate::clock::host_now;
use crate::config::{BoardBackend, Config};
use crate::geometry::Calibration;
use crate::panel::{Client, Desk, Library, Panel};
use crate::pipeline::{self, Echoes, Rig as _, RigHost, StartRequest};

/// Options of `mimicd latency`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Board, link, driver and back; needs no wire and no armed outputs.
    Board(BoardOptions),
    /// A light in a camera's view, pose, rule, output; recording and panel on.
    Loop(LoopOptions),
}

#[derive(Debug, Args)]
struct BoardOptions {
    /// The config; only its board is used.
    #[arg(long, default_value = "configs/twin.toml")]
    config: PathBuf,
    /// Number of echoes.
    #[arg(long, default_value_t = 10_000)]
    events: usize,
    /// Draw the distribution into this SVG file.
    #[arg(long)]
    plot: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct LoopOptions {
    /// The config; needs a light, and a rule that answers it.
    #[arg(long, default_value = "configs/twin-echo.toml")]
    config: PathBuf,
    /// Number of flashes.
    #[arg(long, default_value_t = 10_000)]
    events: usize,
    /// Rule that answers.
    #[arg(long, default_value = "echo")]
    rule: String,
    /// How long the light is on: longer than a frame period, so that an exposure lies wholly inside.
    #[arg(long, default_value_t = 22_000)]
    flash_micros: u32,
    /// Draw the distributions into this SVG file.
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// Measures and prints.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::Board(options) => board(options),
        What::Loop(options) => full_loop(options),
    }
}

fn board(options: &BoardOptions) -> Result<ExitCode> {
    let config = Config::load(&options.config).map_err(|errors| anyhow!("{errors}"))?;
    let mut board = pipeline::open_any_board(&config, &Calibration::load(&config.rig.calibration)?, host_now())?;
    println!("board: {}", board.identity());
    if config.board.backend == BoardBackend::Twin {
        println!("board: simulated, with a link that takes 200 to {} µs each way", config.twin.link_latency_micros_max);
    }
    let bar = ProgressBar::new(options.events as u64);
    let echoes = pipeline::board_echo(board.as_mut(), options.events, || bar.inc(1))?;
    bar.finish_and_clear();
    println!("board echo (board stamp → host → board stamp): {}", echoes.line());
    println!("load: nothing else of this program; {}", machine());
    draw(options.plot.as_deref(), &[("board echo", &echoes)])
}

fn full_loop(options: &LoopOptions) -> Result<ExitCode> {
    let mut config = Config::load(&options.config).map_err(|errors| anyhow!("{errors}"))?;
    let rule = config.rules.iter().find(|rule| rule.name == options.rule);
    let answer =
        rule.and_then(|rule| rule.output).with_context(|| format!("no rule {:?} with an output", options.rule))?;
    let light = config.lights.first().and_then(|light| light.twin_output).context("no [[light]] with twin_output")?;
    config.panel.ip_port.set_port(0);
    config.panel.state_folder = PathBuf::new();
    std::fs::create_dir_all(&config.record.folder)?;
    let about = format!("{} cameras, {} arrays, recording", config.cameras.len(), config.arrays.len());
    let recordings = config.record.folder.clone();
    let panel_config = config.panel.clone();
    let mut rig = RigHost::new(config)?;
    let (desk, _orders) = Desk::new();
    let library = Library::new(recordings.clone());
    let panel = Panel::open(&panel_config, rig.view(), Arc::clone(&desk), library)?;
    let viewer = Viewer::start(Client::new(panel.address(), None))?;
    let report = rig.arm()?;
    if !report.passed() {
        bail!("the pre-flight failed: {:?}", report.checks);
    }
    rig.set_outputs(true)?;
    let started = rig.start(&StartRequest { subject: "echo".to_owned(), ..StartRequest::default() })?;
    println!("recording {}; panel at {}", started.name, panel.url());
    flash(&mut rig, options, light)?;
    let sealed = rig.stop()?;
    rig.disarm();
    let looks = viewer.stop();
    let folder = recordings.join(&started.name);
    let found = pipeline::loop_echoes(&folder, light, answer, &options.rule)?;
    println!("light on → answering edge (waiting for the next exposure included): {}", found.light_to_edge.line());
    println!("mid-exposure → answering edge: {}", found.exposure_to_edge.line());
    println!(
        "load: {about} ({:.0} s, {} rows), panel with a client ({looks} looks); {}",
        sealed.seconds,
        sealed.rows,
        machine()
    );
    println!("dataset: {} ({})", folder.display(), if sealed.reconciled { "adds up" } else { "does not add up" });
    sealed.problems.iter().for_each(|problem| println!("  {problem}"));
    let curves = [("light on to edge", &found.light_to_edge), ("mid-exposure to edge", &found.exposure_to_edge)];
    draw(options.plot.as_deref(), &curves)
}

/// Lights the lamp again and again, out of step with the frames.
fn flash(rig: &mut RigHost, options: &LoopOptions, light: u8) -> Result<()> {
    let bar = ProgressBar::new(options.events as u64);
    let width = Span::from_micros(i64::from(options.flash_micros));
    let (mut commands, mut notices) = (Vec::new(), Vec::new());
    let mut looked = Instant::now();
    let mut phase = 0_u64;
    for _ in 0..options.events {
        rig.pulse(light, width)?;
        bar.inc(1);
        // On for a flash, off for one and a random part of a frame: each is seen once, at every phase of the exposures.
        phase = (phase + 12_360_680) % 20_000_000;
        let rest = Duration::from_nanos(2 * width.nanos().max(0) as u64 + 6_000_000 + phase);
        std::thread::sleep(rest);
        if looked.elapsed() > Duration::from_millis(500) {
            looked = Instant::now();
            rig.buttons(&mut commands);
            rig.notices(&mut notices);
            for notice in notices.drain(..) {
                bar.suspend(|| println!("{}: {}", notice.source, notice.text));
            }
        }
    }
    bar.finish_and_clear();
    // The last answer, and what the recorder has on its way.
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// A client of the panel that looks ten times a second, as a page does.
struct Viewer {
    quit: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Viewer {
    fn start(client: Client) -> Result<Self> {
        let (quit, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends, counts) = (Arc::clone(&quit), Arc::clone(&looks));
        let thread = std::thread::Builder::new().name("viewer".to_owned()).spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                counts.fetch_add(u64::from(client.state().is_ok()), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(100));
            }
        })?;
        Ok(Self { quit, looks, thread })
    }

    fn stop(self) -> u64 {
        self.quit.store(true, Ordering::Relaxed);
        // A client that panicked has nothing more to say.
        self.thread.join().ok();
        self.looks.load(Ordering::Relaxed)
    }
}

fn draw(plot: Option<&Path>, curves: &[(&str, &Echoes)]) -> Result<ExitCode> {
    if let Some(path) = plot {
        latency_plot::draw(path, curves)?;
        println!("plot: {}", path.display());
    }
    Ok(if curves.iter().all(|curve| !curve.1.latencies.is_empty()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The machine and how busy it is.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    format!("{cores} cores, load average {}", load.join(" "))
}
