//! The array source: opens the line, starts the reader, opens it again.

use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mimicd_device::{DeviceError, DeviceErrorKind, EphysSource, HostTime, Polled, SampleBlock, Span};

use super::reader::{DirectMonitor, Place, Reader};
use super::{DirectLink, DirectOptions};
use crate::handoff::{Inlet, Outlet, handoff};

/// The reader looks at its stop flag at least this often.
const READ_MAX: Duration = Duration::from_millis(20);
/// How long a TCP connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Asked of a serial line; USB ignores it.
const BAUD: u32 = 12_000_000;

/// An array behind a front end of our own.
pub struct DirectSource {
    options: DirectOptions,
    identity: String,
    inlet: Inlet,
    /// The reader's end, while no reader runs.
    outlet: Option<Outlet>,
    monitor: Arc<DirectMonitor>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<(Place, Outlet)>>,
    place: Place,
}

impl DirectSource {
    /// A source for `options`; the line is opened by [`EphysSource::start`].
    pub fn new(options: DirectOptions) -> Self {
        let (outlet, inlet) = queue(&options);
        let identity = match &options.link {
            DirectLink::Serial(path) => format!("sample frames on {path}"),
            DirectLink::Tcp(address) => format!("sample frames from {address}"),
        };
        Self {
            inlet,
            outlet: Some(outlet),
            monitor: Arc::default(),
            stop: Arc::default(),
            reader: None,
            place: Place::default(),
            identity,
            options,
        }
    }

    /// Live counts.
    pub fn monitor(&self) -> Arc<DirectMonitor> {
        Arc::clone(&self.monitor)
    }

    fn connect(&mut self) -> Result<(), DeviceError> {
        let line = self.open()?;
        self.stop = Arc::default();
        self.monitor.closed.store(false, Ordering::Release);
        self.monitor.stalled.store(false, Ordering::Release);
        self.monitor.other_channels.store(0, Ordering::Release);
        let reader = Reader {
            line,
            channels: self.options.channels,
            rows_max: self.options.block_samples_max,
            outlet: self.outlet.take().unwrap_or_else(|| self.new_queue()),
            monitor: Arc::clone(&self.monitor),
            stop: Arc::clone(&self.stop),
            stall: Span::from_millis(self.options.stall_millis as i64),
            place: self.place,
        };
        let thread = std::thread::Builder::new().name("direct-reader".to_owned()).spawn(move || reader.run());
        self.reader = Some(thread.map_err(|error| self.io("starting the reader thread", &error))?);
        Ok(())
    }

    fn open(&self) -> Result<Box<dyn Read + Send>, DeviceError> {
        match &self.options.link {
            DirectLink::Serial(path) => {
                let port = serialport::new(path, BAUD).timeout(READ_MAX).open_native().map_err(|error| {
                    let kind = match error.kind() {
                        serialport::ErrorKind::NoDevice => DeviceErrorKind::NotFound,
                        serialport::ErrorKind::Io(kind) => kind_of(kind),
                        _ => DeviceErrorKind::Io,
                    };
                    DeviceError::new(kind, format!("{path}: {error}"))
                })?;
                Ok(Box::new(port))
            }
            DirectLink::Tcp(address) => {
                let wrong = |error| self.io("connecting", &error);
                let peer =
                    address.to_socket_addrs().map_err(wrong)?.next().ok_or_else(|| {
                        DeviceError::new(DeviceErrorKind::NotFound, format!("{address} has no address"))
                    })?;
                let stream = TcpStream::connect_timeout(&peer, CONNECT_MAX).map_err(wrong)?;
                stream.set_read_timeout(Some(READ_MAX)).map_err(wrong)?;
                Ok(Box::new(stream))
            }
        }
    }

    fn io(&self, what: &str, error: &std::io::Error) -> DeviceError {
        DeviceError::new(kind_of(error.kind()), format!("{}, {what}: {error}", self.identity))
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some((place, outlet)) = self.reader.take().and_then(|reader| reader.join().ok()) {
            self.place = place;
            self.outlet = Some(outlet);
        }
    }

    /// A queue in place of one whose reader panicked with it.
    fn new_queue(&mut self) -> Outlet {
        let (outlet, inlet) = queue(&self.options);
        self.inlet = inlet;
        outlet
    }

    fn failure(&self) -> Option<DeviceError> {
        let error = |kind, context: String| Some(DeviceError::new(kind, context));
        let other = self.monitor.other_channels.load(Ordering::Acquire);
        if other != 0 {
            let context = format!(
                "{}: frames of {other} channels, the config says {}; set the array's channels to what the front end sends",
                self.identity, self.options.channels
            );
            return error(DeviceErrorKind::Protocol, context);
        }
        if self.monitor.closed.load(Ordering::Acquire) {
            return error(DeviceErrorKind::Disconnected, format!("{}: the line has ended", self.identity));
        }
        if self.monitor.stalled.load(Ordering::Acquire) {
            let context = format!("{}: silent for {} ms", self.identity, self.options.stall_millis);
            return error(DeviceErrorKind::TimedOut, context);
        }
        None
    }
}

fn queue(options: &DirectOptions) -> (Outlet, Inlet) {
    let blocks = (options.queue_secs * options.rate_hz / 30.0).ceil().max(8.0) as usize;
    handoff(options.array, options.channels, options.block_samples_max, blocks)
}

fn kind_of(kind: std::io::ErrorKind) -> DeviceErrorKind {
    use std::io::ErrorKind as E;
    match kind {
        E::NotFound | E::ConnectionRefused | E::HostUnreachable => DeviceErrorKind::NotFound,
        E::PermissionDenied => DeviceErrorKind::PermissionDenied,
        E::TimedOut | E::WouldBlock => DeviceErrorKind::TimedOut,
        _ => DeviceErrorKind::Io,
    }
}

impl EphysSource for DirectSource {
    fn channels(&self) -> usize {
        self.options.channels
    }

    fn rate_hz(&self) -> f64 {
        self.options.rate_hz
    }

    fn block_samples_max(&self) -> usize {
        self.options.block_samples_max
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn start(&mut self) -> Result<(), DeviceError> {
        if self.reader.is_some() { Ok(()) } else { self.connect() }
    }

    fn stop(&mut self) {
        self.join();
    }

    fn poll(&mut self, _now: HostTime, block: &mut SampleBlock) -> Result<Polled, DeviceError> {
        if self.inlet.take(block) {
            return Ok(Polled::Ready);
        }
        self.failure().map_or(Ok(Polled::Nothing), Err)
    }

    fn wait(&mut self, until: HostTime) {
        self.inlet.wait(until);
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        self.join();
        self.connect()
    }
}

impl Drop for DirectSource {
    fn drop(&mut self) {
        self.join();
    }
}
