//! `mimicd board`: the sync board by itself, for who wires it up.

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use mimicd_device::{BoardCommand, BoardEvent, BoardTime, DeviceError, Span, SyncBoard as _, TriggerPlan};
use mimicd_hw::serial::find::{self, Device, UsbId};
use mimicd_hw::serial::{SerialBoard, SerialOptions};

use crate::clock::{PingFit, PingSample, host_now};

/// Options of `mimicd board`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the serial ports of USB devices.
    List,
    /// Follow a board for a while: handshake, clock map, trigger train, losses, unplugging. Exits 1 when a trigger was
    /// misidentified or went missing without being declared.
    Watch(WatchOptions),
}

#[derive(Debug, Args)]
struct WatchOptions {
    /// As `board.device` in a config: USB serial number, port, `tcp:host:port`, `unix:path`; empty = the only one.
    #[arg(long, default_value = "")]
    device: String,
    /// USB id of the board.
    #[arg(long, default_value_t = UsbId::SYNC_BOARD.to_string())]
    usb_id: String,
    /// How long to watch.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Run the camera trigger train at this rate meanwhile; 0 = leave it alone.
    #[arg(long, default_value_t = 0.0)]
    trigger_hz: f64,
    /// Print every event.
    #[arg(long)]
    events: bool,
}

/// Lists or watches.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::List => list(),
        What::Watch(options) => watch(options),
    }
}

fn list() -> Result<ExitCode> {
    let ports = find::usb_ports()?;
    if ports.is_empty() {
        println!("no serial port of a USB device");
    }
    for port in ports {
        let board = if port.id == UsbId::SYNC_BOARD { "  <- sync board" } else { "" };
        println!("{}  {}  {:?}  {}{board}", port.path.display(), port.id, port.serial_number, port.product);
    }
    Ok(ExitCode::SUCCESS)
}

fn watch(options: &WatchOptions) -> Result<ExitCode> {
    let usb_id =
        UsbId::parse(&options.usb_id).ok_or_else(|| anyhow!("--usb-id {}: expected vvvv:pppp", options.usb_id))?;
    let device = Device::parse(&options.device);
    let board = SerialBoard::open(SerialOptions { device, usb_id, ..SerialOptions::default() })?;
    let plan = (options.trigger_hz > 0.0).then(|| plan(options.trigger_hz));
    let mut watch = Watch::new(board, plan, options.events);
    watch.run(Duration::from_secs(options.seconds));
    Ok(watch.verdict())
}

fn plan(rate_hz: f64) -> TriggerPlan {
    TriggerPlan {
        period: Span::from_secs_f64(1.0 / rate_hz),
        width: Span::from_millis(1),
        stretch: Span::from_millis(2),
        stretch_every: 50,
        code_seed: 1,
    }
}

/// The train as it is heard.
#[derive(Debug, Default)]
struct Train {
    zero: Option<BoardTime>,
    next: u64,
    heard: u64,
    missing: u64,
    misplaced: u64,
}

struct Watch {
    board: SerialBoard,
    plan: Option<TriggerPlan>,
    events: bool,
    fit: PingFit,
    residuals_ns: Vec<i64>,
    train: Train,
    lost_messages: u64,
    unplugged: Option<Instant>,
}

impl Watch {
    fn new(board: SerialBoard, plan: Option<TriggerPlan>, events: bool) -> Self {
        println!("{}", board.identity());
        Self {
            board,
            plan,
            events,
            fit: PingFit::new(),
            residuals_ns: Vec::new(),
            train: Train::default(),
            lost_messages: 0,
            unplugged: None,
        }
    }

    fn run(&mut self, span: Duration) {
        let begun = Instant::now();
        let mut beat = begun;
        if let Some(plan) = self.plan {
            self.send(BoardCommand::StartTriggers(plan));
        }
        while begun.elapsed() < span {
            if self.unplugged.is_some() {
                self.look_for_it(begun);
                continue;
            }
            if beat <= Instant::now() {
                beat = Instant::now() + Duration::from_millis(50);
                self.send(BoardCommand::Ping);
            }
            match self.board.poll(host_now()) {
                Ok(Some((arrival, event))) => self.take(begun, arrival, event),
                Ok(None) => self.board.wait(host_now() + Span::from_millis(20)),
                Err(error) => self.lose(begun, &error),
            }
        }
        if self.plan.is_some() {
            self.send(BoardCommand::StopTriggers);
            // The acknowledgement closes the train; without a line there is nothing to close.
            self.board.poll(host_now()).ok();
        }
    }

    fn send(&mut self, command: BoardCommand) {
        // A full queue or a lost line shows at the next poll.
        self.board.send(host_now(), command).ok();
    }

    fn lose(&mut self, begun: Instant, error: &DeviceError) {
        println!("{:8.3} s  lost: {error}", begun.elapsed().as_secs_f64());
        self.report_clock();
        self.unplugged = Some(Instant::now());
        self.fit.reset();
        self.residuals_ns.clear();
    }

    fn look_for_it(&mut self, begun: Instant) {
        std::thread::sleep(Duration::from_millis(200));
        if self.board.reopen().is_ok() {
            let gone = self.unplugged.take().map_or(0.0, |since| since.elapsed().as_secs_f64());
            println!("{:8.3} s  back after {gone:.2} s: {}", begun.elapsed().as_secs_f64(), self.board.identity());
        }
    }

    fn take(&mut self, begun: Instant, arrival: mimicd_device::HostTime, event: BoardEvent) {
        if self.events {
            println!("{:8.3} s  {event:?}", begun.elapsed().as_secs_f64());
        }
        match event {
            BoardEvent::Pong { sent, at, .. } => self.take_pong(PingSample { sent, board: at, received: arrival }),
            BoardEvent::Trigger { index, at } => self.take_trigger(index, at),
            BoardEvent::Lost { messages } => {
                self.lost_messages += u64::from(messages);
                println!("{:8.3} s  {messages} messages are missing", begun.elapsed().as_secs_f64());
            }
            BoardEvent::Started { epoch, .. } => {
                println!("{:8.3} s  the board restarted (epoch {epoch:08x})", begun.elapsed().as_secs_f64());
                self.fit.reset();
                self.train = Train { heard: self.train.heard, missing: self.train.missing, ..Train::default() };
                if let Some(plan) = self.plan {
                    self.send(BoardCommand::StartTriggers(plan));
                }
            }
            _ => {}
        }
    }

    fn take_pong(&mut self, sample: PingSample) {
        self.fit.push(sample);
        let Some(map) = self.fit.map() else { return };
        self.residuals_ns.push((sample.board - map.map(sample.middle()).at).nanos());
    }

    /// Where it stands in board time says which trigger it is, whatever was lost.
    fn take_trigger(&mut self, index: u64, at: BoardTime) {
        let Some(plan) = self.plan else { return };
        let zero = *self.train.zero.get_or_insert(at - plan.offset(index));
        let train = &mut self.train;
        train.heard += 1;
        train.misplaced += u64::from(at - zero != plan.offset(index) || index < train.next);
        train.missing += index.saturating_sub(train.next);
        train.next = index + 1;
    }

    fn report_clock(&self) {
        let Some(map) = self.fit.map() else { return println!("no clock map") };
        let mut sorted: Vec<i64> = self.residuals_ns.iter().map(|residual| residual.abs()).collect();
        sorted.sort_unstable();
        let at = |share: f64| {
            sorted.get(((sorted.len() - 1) as f64 * share) as usize).map_or(f64::NAN, |ns| *ns as f64 * 1e-3)
        };
        println!(
            "clock map: drift {:+.1} ppm, uncertainty {:.1} µs, residual of single pings p50 {:.1} µs, p99 {:.1} µs ({} pings, {} refits)",
            map.drift_ppm(),
            map.uncertainty().nanos() as f64 * 1e-3,
            at(0.5),
            at(0.99),
            sorted.len(),
            self.fit.steps(),
        );
    }

    fn verdict(&self) -> ExitCode {
        self.report_clock();
        let train = &self.train;
        if self.plan.is_some() {
            println!(
                "triggers: {} heard, {} missing, {} not where the train's code puts them; {} messages declared lost",
                train.heard, train.missing, train.misplaced, self.lost_messages
            );
        }
        println!("{}", self.board.stats().line());
        let undeclared = train.missing > self.lost_messages;
        let good = train.misplaced == 0 && !undeclared && self.board.stats().opened.load(Ordering::Relaxed) > 0;
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
