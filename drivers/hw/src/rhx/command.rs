//! RHX's command socket: text, half of a conversation.
//!
//! Commands end with `;`. A `set` or `execute` that RHX likes answers nothing; one that it does not like may answer an
//! error, or nothing either. A `get` answers `Return: Name Value` without a terminator, and answers may arrive together.
//! Hence: one `get` at a time, its answer is the one that carries its name, and every `set` is read back.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mimicd_device::{DeviceError, DeviceErrorKind};

/// An answer without a terminator is taken as complete after this much silence, unless it is the one that was expected...
const QUIET: Duration = Duration::from_millis(15);
/// ...and believed when two in a row agree, which is tried this often: silence in mid-answer makes `3000` of `30000`.
const GET_TRIES: u32 = 6;
/// How long a read of the socket waits.
const READ_MAX: Duration = Duration::from_millis(4);
/// A `set` that does not read back is repeated this often.
const SET_TRIES: u32 = 3;

/// How RHX names its data sockets' state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Up to 3.4.
    Upto34,
    /// From 3.5.
    From35,
}

impl Dialect {
    /// The dialect of a version such as `3.4.0`.
    pub fn of_version(version: &str) -> Option<Self> {
        let mut parts = version.trim().split('.');
        let major: u32 = parts.next()?.parse().ok()?;
        let minor: u32 = parts.next()?.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()?;
        Some(if (major, minor) >= (3, 5) { Self::From35 } else { Self::Upto34 })
    }

    /// Parameter that holds the waveform socket's state.
    pub const fn waveform_status(self) -> &'static str {
        match self {
            Self::Upto34 => "TCPWaveformDataOutputConnectionStatus",
            Self::From35 => "TCPWaveformDataSocket.Status",
        }
    }

    /// Command that makes RHX listen for the waveform client.
    pub const fn waveform_listen(self) -> &'static str {
        match self {
            Self::Upto34 => "execute ConnectTCPWaveformDataOutput",
            Self::From35 => "set TCPWaveformDataSocket.Status Pending",
        }
    }
}

/// The command socket.
pub struct CommandLink {
    stream: TcpStream,
    peer: String,
    timeout: Duration,
    text: String,
}

impl CommandLink {
    /// Takes over a connected socket. `timeout`: how long an answer may take.
    ///
    /// # Errors
    /// `Io` when the socket cannot be configured.
    pub fn new(stream: TcpStream, peer: String, timeout: Duration) -> Result<Self, DeviceError> {
        stream.set_nodelay(true).map_err(|error| io(&peer, "setting nodelay", &error))?;
        stream.set_read_timeout(Some(READ_MAX)).map_err(|error| io(&peer, "setting the read timeout", &error))?;
        Ok(Self { stream, peer, timeout, text: String::new() })
    }

    /// Sends `command` (without its `;`), expecting no answer.
    ///
    /// # Errors
    /// `Disconnected`.
    pub fn send(&mut self, command: &str) -> Result<(), DeviceError> {
        let line = format!("{command};");
        self.stream.write_all(line.as_bytes()).map_err(|error| io(&self.peer, command, &error))
    }

    /// Value of `name`.
    ///
    /// # Errors
    /// `Disconnected`; `TimedOut`; `Unsupported` when RHX answers with an error.
    pub fn get(&mut self, name: &str) -> Result<String, DeviceError> {
        let mut before = self.ask(name, None)?;
        for _ in 1..GET_TRIES {
            let now = self.ask(name, None)?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
        let context = format!("RHX at {} answers `get {name}` differently each time, last {before:?}", self.peer);
        Err(DeviceError::new(DeviceErrorKind::Protocol, context))
    }

    /// Value of `name`; known at once when it is `expected`.
    fn ask(&mut self, name: &str, expected: Option<&str>) -> Result<String, DeviceError> {
        self.text.clear();
        self.send(&format!("get {name}"))?;
        let deadline = Instant::now() + self.timeout;
        let mut buffer = [0_u8; 4096];
        let mut last_byte = Instant::now();
        loop {
            let quiet = last_byte.elapsed() >= QUIET;
            let complete =
                |value: &&str| quiet || expected.is_some_and(|expected| value.eq_ignore_ascii_case(expected));
            if let Some(value) = answer(&self.text, name).filter(|value| !value.is_empty()).filter(complete) {
                return Ok(value.to_owned());
            }
            if quiet && refused(&self.text) {
                let context = format!("RHX at {} refuses `get {name}`: {}", self.peer, self.text.trim());
                return Err(DeviceError::new(DeviceErrorKind::Unsupported, context));
            }
            if Instant::now() >= deadline {
                let context = format!("RHX at {} did not answer `get {name}` within {:?}", self.peer, self.timeout);
                return Err(DeviceError::new(DeviceErrorKind::TimedOut, context));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(lost(&self.peer, &format!("get {name}"))),
                Ok(length) => {
                    self.text.push_str(&String::from_utf8_lossy(&buffer[..length]));
                    last_byte = Instant::now();
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                }
                Err(error) => return Err(io(&self.peer, &format!("get {name}"), &error)),
            }
        }
    }

    /// Sets `name` to `value` and reads it back until it is so.
    ///
    /// # Errors
    /// As [`CommandLink::get`]; `Unsupported` when RHX keeps another value, which the message names.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), DeviceError> {
        self.send(&format!("set {name} {value}"))?;
        self.confirm(name, value)
    }

    /// Reads `name` back; repeats the `set` while it is not `value`.
    ///
    /// # Errors
    /// As [`CommandLink::set`].
    pub fn confirm(&mut self, name: &str, value: &str) -> Result<(), DeviceError> {
        let mut held = String::new();
        for _ in 0..SET_TRIES {
            held = self.ask(name, Some(value))?;
            if held.eq_ignore_ascii_case(value) {
                return Ok(());
            }
            self.send(&format!("set {name} {value}"))?;
        }
        let context = format!("RHX at {} keeps {name} at {held:?}; {value:?} was asked {SET_TRIES} times", self.peer);
        Err(DeviceError::new(DeviceErrorKind::Unsupported, context))
    }

    /// Whether `name` is `value` at present.
    ///
    /// # Errors
    /// As [`CommandLink::get`].
    pub fn is(&mut self, name: &str, value: &str) -> Result<bool, DeviceError> {
        self.ask(name, Some(value)).map(|held| held.eq_ignore_ascii_case(value))
    }

    /// Whether RHX has closed its end. Reads what has arrived unasked and forgets it; waits at most a few milliseconds.
    pub fn is_lost(&mut self) -> bool {
        let mut buffer = [0_u8; 512];
        match self.stream.read(&mut buffer) {
            Ok(length) => length == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
        }
    }

    /// A second handle of the socket, to watch it without using it.
    ///
    /// # Errors
    /// `Io`.
    pub fn watch(&self) -> Result<TcpStream, DeviceError> {
        self.stream.try_clone().map_err(|error| io(&self.peer, "duplicating the command socket", &error))
    }
}

/// The value that `text` returns for `name`: the last answer that carries the name.
fn answer<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let named = |part: &&str| {
        part.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
            && part[name.len()..].starts_with(char::is_whitespace)
    };
    let part = text.split("Return:").skip(1).map(str::trim).filter(named).last()?;
    Some(part[name.len()..].trim().trim_end_matches(';'))
}

fn refused(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.contains("unrecognized") || lower.contains("error")
}

pub(super) fn io(peer: &str, what: &str, error: &std::io::Error) -> DeviceError {
    let kind = match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound | ErrorKind::HostUnreachable => DeviceErrorKind::NotFound,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted | ErrorKind::NotConnected => {
            DeviceErrorKind::Disconnected
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => DeviceErrorKind::TimedOut,
        ErrorKind::PermissionDenied => DeviceErrorKind::PermissionDenied,
        _ => DeviceErrorKind::Io,
    };
    DeviceError::new(kind, format!("RHX at {peer}, {what}: {error}"))
}

fn lost(peer: &str, what: &str) -> DeviceError {
    let context =
        format!("RHX at {peer} closed its command socket during `{what}`; click Connect in RHX's Remote TCP Control");
    DeviceError::new(DeviceErrorKind::Disconnected, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_name() {
        let both = "Return: RunMode StopReturn: SampleRateHertz 30000";
        assert_eq!(answer(both, "sampleratehertz"), Some("30000"));
        assert_eq!(answer(both, "RunMode"), Some("Stop"));
        assert_eq!(answer(both, "Run"), None);
        assert_eq!(answer("Return: A-000.TCPDataOutputEnabled Tr", "a-000.tcpdataoutputenabled"), Some("Tr"));
        assert_eq!(answer("", "x"), None);
    }

    #[test]
    fn dialects_by_version() {
        assert_eq!(Dialect::of_version("3.4.0"), Some(Dialect::Upto34));
        assert_eq!(Dialect::of_version("3.5.0"), Some(Dialect::From35));
        assert_eq!(Dialect::of_version("4.0"), Some(Dialect::From35));
        assert_eq!(Dialect::of_version("3.0.6"), Some(Dialect::Upto34));
        assert_eq!(Dialect::of_version("next"), None);
    }
}
