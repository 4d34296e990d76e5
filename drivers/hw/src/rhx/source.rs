//! The array source: connects, sets up, starts the reader, reconnects.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mimicd_device::{DeviceError, DeviceErrorKind, EphysSource, HostTime, Polled, SampleBlock, Span};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::RhxOptions;
use super::command::{CommandLink, io};
use super::frames::BLOCK_FRAMES;
use super::monitor::{LinkFailure, RhxMonitor};
use super::reader::Reader;
use super::setup::{self, Plan};
use super::timeline::Timeline;
use crate::handoff::Handoff;

/// Asked of the kernel for the waveform socket: half a second of 256 channels, should the reader be off its core.
const RECEIVE_BYTES: usize = 8 << 20;

/// An array behind RHX.
pub struct RhxSource {
    options: RhxOptions,
    identity: String,
    plan: Plan,
    command: Option<CommandLink>,
    handoff: Arc<Handoff>,
    monitor: Arc<RhxMonitor>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<(Timeline, Instant)>>,
    /// Timeline and time of the last block, while no reader runs.
    history: Option<(Timeline, Instant)>,
}

impl RhxSource {
    /// Connects the command socket and asks what there is.
    ///
    /// # Errors
    /// `NotFound` when RHX does not listen; `Unsupported` when it has fewer channels than asked; `TimedOut`, `Protocol`.
    pub fn open(options: RhxOptions) -> Result<Self, DeviceError> {
        let mut command = connect_command(&options)?;
        let plan = setup::inquire(&mut command, &options)?;
        let blocks = (options.queue_secs * plan.rate_hz / BLOCK_FRAMES as f64).ceil().max(4.0) as usize;
        Ok(Self {
            identity: format!(
                "Intan {} RHX {} at {}:{}",
                plan.controller, plan.version, options.host, options.command_port
            ),
            handoff: Arc::new(Handoff::new(options.array, plan.layout.channels, BLOCK_FRAMES, blocks)),
            monitor: Arc::default(),
            stop: Arc::default(),
            reader: None,
            history: None,
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

    /// Connects the waveform socket; `fresh`: choose channels anew.
    fn connect(&mut self, fresh: bool) -> Result<(), DeviceError> {
        if let Some(command) = &mut self.command {
            setup::listen(command, &self.plan)?;
        }
        let data = connect(&self.options, self.options.waveform_port)?;
        // Refused or cut short by the system's limit: reading in time still suffices.
        set_socket_recv_buffer_size(&data, RECEIVE_BYTES).ok();
        data.set_nonblocking(true).map_err(|error| io(&self.peer(), "setting the socket non-blocking", &error))?;
        if let Some(command) = self.command.as_mut().filter(|_| fresh) {
            setup::enable(command, &self.plan)?;
        }
        self.monitor.set_failure(None);
        self.spawn(data)?;
        match &mut self.command {
            Some(command) => setup::start(command, self.options.run_mode),
            None => Ok(()),
        }
    }

    fn spawn(&mut self, data: TcpStream) -> Result<(), DeviceError> {
        let resumed = self.history.is_some();
        let (timeline, last_block) =
            self.history.take().unwrap_or_else(|| (Timeline::new(self.plan.rate_hz), Instant::now()));
        self.stop = Arc::default();
        let reader = Reader {
            data,
            command: self.command.as_ref().and_then(|command| command.watch().ok()),
            layout: self.plan.layout,
            timeline,
            handoff: Arc::clone(&self.handoff),
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
        if let Some(history) = self.reader.take().and_then(|reader| reader.join().ok()) {
            self.history = Some(history);
        }
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
        if self.reader.is_some() { Ok(()) } else { self.connect(true) }
    }

    fn stop(&mut self) {
        if let Some(command) = &mut self.command {
            // RHX may be gone already; then there is nothing to stop.
            command.send("set RunMode Stop").ok();
        }
        self.join();
    }

    fn poll(&mut self, _now: HostTime, block: &mut SampleBlock) -> Result<Polled, DeviceError> {
        if self.handoff.take(block) {
            return Ok(Polled::Ready);
        }
        match self.monitor.failure() {
            Some(failure) => Err(self.failure(failure)),
            None => Ok(Polled::Nothing),
        }
    }

    fn wait(&mut self, until: HostTime) {
        self.handoff.wait(until);
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        let changed = matches!(self.monitor.failure(), Some(LinkFailure::ChannelsChanged { .. }));
        self.join();
        if self.command.as_mut().is_none_or(CommandLink::is_lost) {
            self.command = connect_command(&self.options).ok();
            self.monitor.command_lost.store(self.command.is_none(), Ordering::Release);
        }
        self.connect(changed)
    }
}

impl Drop for RhxSource {
    fn drop(&mut self) {
        self.join();
    }
}

fn connect_command(options: &RhxOptions) -> Result<CommandLink, DeviceError> {
    let stream = connect(options, options.command_port)?;
    let peer = format!("{}:{}", options.host, options.command_port);
    CommandLink::new(stream, peer, Duration::from_millis(options.answer_millis))
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
