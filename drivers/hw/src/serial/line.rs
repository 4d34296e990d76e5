//! The byte stream to the board: a terminal or a socket, opened for us alone, never blocking.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use mimicd_device::{DeviceError, DeviceErrorKind};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serialport::{SerialPort as _, TTYPort};

use super::descriptor;

/// How long a socket may take to connect.
const CONNECT: Duration = Duration::from_millis(500);

/// An open line.
pub(super) enum Line {
    Terminal(TTYPort),
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Line {
    /// Opens a terminal: raw, 8N1, exclusive.
    pub(super) fn terminal(path: &Path, baud: u32) -> Result<Self, DeviceError> {
        let name = path.to_string_lossy();
        let builder = serialport::new(name.as_ref(), baud).exclusive(true).timeout(Duration::ZERO);
        let mut port = TTYPort::open(&builder).map_err(|error| refused(&name, &error))?;
        // Modem lines tell a CDC-ACM board that somebody listens. Where there are none (a pseudo terminal answers ENOTTY)
        // nobody waits for them.
        for (line, set) in [("DTR", port.write_data_terminal_ready(true)), ("RTS", port.write_request_to_send(true))] {
            if let Err(error) = set {
                tracing::debug!("{name}: {line} cannot be set ({error}); going on without");
            }
        }
        // What an earlier program left in the buffers is not for us; a terminal that cannot forget it is still usable,
        // because the greeting tells old messages from new ones.
        port.clear(serialport::ClearBuffer::All).ok();
        Self::Terminal(port).unblocked(&name)
    }

    /// Connects to an emulated board.
    pub(super) fn tcp(address: &str) -> Result<Self, DeviceError> {
        let name = format!("tcp:{address}");
        let found = address.to_socket_addrs().ok().and_then(|mut all| all.next());
        let found = found.ok_or_else(|| {
            DeviceError::new(DeviceErrorKind::Unsupported, format!("{name}: no such address, expected host:port"))
        })?;
        let stream = TcpStream::connect_timeout(&found, CONNECT).map_err(|error| failed(&name, &error))?;
        // Without it each small frame waits for the acknowledgement of the one before: 40 ms.
        stream.set_nodelay(true).map_err(|error| failed(&name, &error))?;
        Self::Tcp(stream).unblocked(&name)
    }

    /// Connects to an emulated board.
    pub(super) fn unix(path: &Path) -> Result<Self, DeviceError> {
        let name = format!("unix:{}", path.display());
        let stream = UnixStream::connect(path).map_err(|error| failed(&name, &error))?;
        Self::Unix(stream).unblocked(&name)
    }

    fn unblocked(self, name: &str) -> Result<Self, DeviceError> {
        let set = fcntl_getfl(self.fd()).and_then(|flags| fcntl_setfl(self.fd(), flags | OFlags::NONBLOCK));
        set.map_err(|error| failed(name, &error.into()))?;
        Ok(self)
    }

    /// To wait on.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Terminal(port) => descriptor::of(port),
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    /// Bytes that are there, or 0. The end of the stream is an error.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match rustix::io::read(self.fd(), buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(count),
            Err(error) => none_if_busy(error),
        }
    }

    /// Writes what there is room for.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        rustix::io::write(self.fd(), bytes).or_else(none_if_busy)
    }
}

fn none_if_busy(error: rustix::io::Errno) -> io::Result<usize> {
    use rustix::io::Errno;
    if [Errno::AGAIN, Errno::INTR].contains(&error) { Ok(0) } else { Err(error.into()) }
}

/// Why a terminal was not opened, with what to do.
fn refused(name: &str, error: &serialport::Error) -> DeviceError {
    use serialport::ErrorKind as K;
    let text = error.to_string();
    let (kind, advice) = match error.kind() {
        K::Io(io::ErrorKind::PermissionDenied) => {
            (DeviceErrorKind::PermissionDenied, "add the user to the port's group (usually dialout)")
        }
        K::Io(io::ErrorKind::NotFound) => (DeviceErrorKind::NotFound, "is the board plugged in?"),
        K::Io(io::ErrorKind::WouldBlock) => (DeviceErrorKind::Busy, "another program holds it (`fuser` says which)"),
        K::NoDevice if Path::new(name).exists() => {
            (DeviceErrorKind::Busy, "another program holds it (`fuser` says which)")
        }
        K::NoDevice => (DeviceErrorKind::NotFound, "is the board plugged in?"),
        _ if text.contains("lock") => (DeviceErrorKind::Busy, "another program holds it (`fuser` says which)"),
        _ => (DeviceErrorKind::Io, "is it a serial port?"),
    };
    DeviceError::new(kind, format!("{name}: {text}; {advice}"))
}

fn failed(name: &str, error: &io::Error) -> DeviceError {
    use io::ErrorKind as K;
    let kind = match error.kind() {
        K::PermissionDenied => DeviceErrorKind::PermissionDenied,
        K::NotFound | K::ConnectionRefused | K::TimedOut => DeviceErrorKind::NotFound,
        _ => DeviceErrorKind::Io,
    };
    DeviceError::new(kind, format!("{name}: {error}"))
}
