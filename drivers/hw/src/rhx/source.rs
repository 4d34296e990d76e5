//! The array source: connects, sets up, starts the reader, reconnects.

use std::io::Read as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mimicd_device::{DeviceAlarm, DeviceError, DeviceErrorKind, EphysSource, HostTime, Polled, SampleBlock, Span};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::RhxOptions;
use super::command::{CommandLink, io};
use super::frames::BLOCK_FRAMES;
use super::keeper::Keeper;
use super::monitor::{LinkFailure, RhxMonitor};
use super::reader::{Left, Reader};
use super::setup::{self, Plan};
use super::timeline::Timeline;
use crate::handoff::{Inlet, Outlet, handoff};

/// Asked of the kernel for the waveform socket: half a second of 256 channels, should the reader be off its core.
const RECEIVE_BYTES: usize = 8 << 20;

/// What is known of the channels that RHX sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Those that we chose.
    Kept,
    /// Perhaps others: it may be another RHX.
    Unsure,
    /// None yet, or others.
    Anew,
}

/// An array behind RHX.
pub struct RhxSource {
    options: RhxOptions,
    identity: String,
    plan: Plan,
    command: Option<CommandLink>,
    keeper: Keeper,
    /// Whether the controller runs because we started it.
    started: bool,
    inlet: Inlet,
    /// The reader's end, until the first reader takes it.
    outlet: Option<Outlet>,
    monitor: Arc<RhxMonitor>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<Left>>,
    /// What the last reader left, while none runs.
    left: Option<Left>,
}

impl RhxSource {
    /// Connects the command socket and asks what there is.
    ///
    /// # Errors
    /// `NotFound` when RHX does not listen; `Unsupported` when it has fewer channels than asked; `TimedOut`, `Protocol`.
    pub fn open(options: RhxOptions) -> Result<Self, DeviceError> {
        let mut command = connect_command(&options)?;
        let plan = setup::inquire(&mut command, &options)?;
        let monitor = Arc::default();
        let keeper = Keeper::start(&options, &command, &monitor)?;
        let (outlet, inlet) = queue(&options, &plan);
        Ok(Self {
            identity: format!(
                "Intan {} RHX {} at {}:{}",
                plan.controller, plan.version, options.host, options.command_port
            ),
            keeper,
            started: false,
            inlet,
            outlet: Some(outlet),
            monitor,
            stop: Arc::default(),
            reader: None,
            left: None,
            command: Some(command),
            plan,
            options,
        })
    }

    /// Live counts and the command-socket alarm.
    pub fn monitor(&self) -> Arc<RhxMonitor> {
        Arc::clone(&self.monitor)
    }

    /// Native names of the channels, in sample order.
    pub fn channel_names(&self) -> &[String] {
        &self.plan.channels
    }

    fn peer(&self) -> String {
        format!("{}:{}", self.options.host, self.options.waveform_port)
    }

    /// Connects the waveform socket.
    fn connect(&mut self, choice: Choice) -> Result<(), DeviceError> {
        if let Some(command) = &mut self.command {
            setup::listen(command, &self.plan)?;
        }
        let data = connect(&self.options, self.options.waveform_port)?;
        // Refused or cut short by the system's limit: reading in time still suffices.
        set_socket_recv_buffer_size(&data, RECEIVE_BYTES).ok();
        data.set_nonblocking(true).map_err(|error| io(&self.peer(), "setting the socket non-blocking", &error))?;
        if let Some(command) = &mut self.command {
            let chosen = match choice {
                Choice::Kept => true,
                Choice::Unsure => setup::is_enabled(command, &self.plan)?,
                Choice::Anew => false,
            };
            if !chosen {
                setup::enable(command, &self.plan)?;
                // A controller that runs has sent blocks of other layouts meanwhile.
                drain(&data);
            }
        }
        self.monitor.set_failure(None);
        self.spawn(data)?;
        if let Some(command) = &mut self.command {
            self.started |= setup::start(command, self.options.run_mode)?;
        }
        Ok(())
    }

    fn spawn(&mut self, data: TcpStream) -> Result<(), DeviceError> {
        let resumed = self.left.is_some();
        let Left { timeline, last_block, outlet } = self.left.take().unwrap_or_else(|| self.begin());
        self.stop = Arc::default();
        let reader = Reader {
            data,
            layout: self.plan.layout,
            timeline,
            outlet,
            monitor: Arc::clone(&self.monitor),
            stop: Arc::clone(&self.stop),
            stall: Span::from_millis(self.options.stall_millis as i64),
            last_block,
            gap_pending: resumed,
        };
        let thread = std::thread::Builder::new().name("rhx-reader".to_owned()).spawn(move || reader.run());
        self.reader = Some(thread.map_err(|error| io(&self.peer(), "starting the reader thread", &error))?);
        Ok(())
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(left) = self.reader.take().and_then(|reader| reader.join().ok()) {
            self.left = Some(left);
        }
    }

    /// What the first reader starts from, or one that follows a reader that panicked.
    fn begin(&mut self) -> Left {
        let outlet = self.outlet.take().unwrap_or_else(|| {
            let (outlet, inlet) = queue(&self.options, &self.plan);
            self.inlet = inlet;
            outlet
        });
        Left { timeline: Timeline::new(self.plan.rate_hz), last_block: Instant::now(), outlet }
    }

    /// Takes over a new command socket, lets a lost one go; says whether it is a new one.
    fn renew_command(&mut self) -> bool {
        let found = self.keeper.take();
        let renewed = found.is_some();
        let mut command = found.or_else(|| self.command.take());
        if command.as_mut().is_some_and(CommandLink::is_lost) {
            command = None;
        }
        self.command = command;
        renewed && self.command.is_some()
    }

    fn failure(&self, failure: LinkFailure) -> DeviceError {
        let peer = self.peer();
        match failure {
            LinkFailure::Closed => {
                let context = format!("RHX at {peer} closed the waveform socket");
                DeviceError::new(DeviceErrorKind::Disconnected, context)
            }
            LinkFailure::Stalled => {
                let context = format!("RHX at {peer} has sent nothing for {} ms", self.options.stall_millis);
                DeviceError::new(DeviceErrorKind::TimedOut, context)
            }
            LinkFailure::ChannelsChanged { words } => {
                let agreed = self.plan.layout.words();
                let context = format!(
                    "RHX at {peer} now sends {words} words a frame, {agreed} were agreed: channels were switched in RHX"
                );
                DeviceError::new(DeviceErrorKind::Protocol, context)
            }
        }
    }
}

impl EphysSource for RhxSource {
    fn channels(&self) -> usize {
        self.plan.layout.channels
    }

    fn rate_hz(&self) -> f64 {
        self.plan.rate_hz
    }

    fn block_samples_max(&self) -> usize {
        BLOCK_FRAMES
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn start(&mut self) -> Result<(), DeviceError> {
        // After a reopening the stream runs already.
        if self.reader.is_some() { Ok(()) } else { self.connect(Choice::Anew) }
    }

    fn stop(&mut self) {
        self.renew_command();
        if let Some(command) = self.command.as_mut().filter(|_| std::mem::take(&mut self.started)) {
            // RHX may be gone already; then there is nothing to stop.
            command.send("set RunMode Stop").ok();
        }
        self.join();
    }

    fn poll(&mut self, _now: HostTime, block: &mut SampleBlock) -> Result<Polled, DeviceError> {
        if self.inlet.take(block) {
            return Ok(Polled::Ready);
        }
        match self.monitor.failure() {
            Some(failure) => Err(self.failure(failure)),
            None => Ok(Polled::Nothing),
        }
    }

    fn wait(&mut self, until: HostTime) {
        self.inlet.wait(until);
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        let changed = matches!(self.monitor.failure(), Some(LinkFailure::ChannelsChanged { .. }));
        self.join();
        let renewed = self.renew_command();
        self.connect(match (changed, renewed) {
            (true, _) => Choice::Anew,
            (false, true) => Choice::Unsure,
            (false, false) => Choice::Kept,
        })
    }

    fn alarm(&self) -> Option<DeviceAlarm> {
        self.monitor.command_lost.load(Ordering::Acquire).then_some(DeviceAlarm::CommandLost)
    }
}

impl Drop for RhxSource {
    fn drop(&mut self) {
        self.join();
    }
}

pub(super) fn connect_command(options: &RhxOptions) -> Result<CommandLink, DeviceError> {
    let stream = connect(options, options.command_port)?;
    let peer = format!("{}:{}", options.host, options.command_port);
    CommandLink::new(stream, peer, Duration::from_millis(options.answer_millis))
}

fn queue(options: &RhxOptions, plan: &Plan) -> (Outlet, Inlet) {
    let blocks = (options.queue_secs * plan.rate_hz / BLOCK_FRAMES as f64).ceil().max(4.0) as usize;
    handoff(options.array, plan.layout.channels, BLOCK_FRAMES, blocks)
}

/// Forgets what has arrived on a non-blocking socket.
fn drain(mut data: &TcpStream) {
    let mut bytes = [0_u8; 65_536];
    while data.read(&mut bytes).is_ok_and(|length| length > 0) {}
}

fn connect(options: &RhxOptions, port: u16) -> Result<TcpStream, DeviceError> {
    let peer = format!("{}:{port}", options.host);
    let addresses = (options.host.as_str(), port).to_socket_addrs();
    let mut last = None;
    for address in addresses.map_err(|error| io(&peer, "looking up the address", &error))? {
        match TcpStream::connect_timeout(&address, Duration::from_millis(options.answer_millis)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(
        || DeviceError::new(DeviceErrorKind::NotFound, format!("{peer} has no address")),
        |error| io(&peer, "connecting (RHX: Remote TCP Control, Connect)", &error),
    ))
}
