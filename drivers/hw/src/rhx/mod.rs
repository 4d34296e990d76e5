//! Intan RHX over TCP: RHX acquires, we read.
//!
//! RHX is the server: commands on one port (text), waveforms on the next (binary). Contract in numbers:
//!
//! - A dedicated thread reads the waveform socket and never waits for anybody; up to [`RhxOptions::queue_secs`] of
//!   samples wait for the poller, then samples are dropped, counted and declared as a gap.
//! - Blocks hold up to 128 samples, as RHX sends them. RHX's own bursts make sample ages 4 to 38 ms at one block per
//!   write, which is asked for; below 10 ms another path is needed.
//! - Every timestamp is checked: a jump is a gap of exactly that many samples, a counter that restarts is flagged
//!   [`mimicd_device::Integrity::CLOCK_STEP`] and goes on where the host's clock says it should be.
//! - The channel map is computed from what RHX reads back and proved by magic and timestamps of each block.
//! - The command socket's loss is an alarm ([`RhxMonitor::command_lost`]); data flows on, and the socket is asked for every
//!   second until somebody has clicked Connect in RHX.
//! - A run that was going when we came is left going when we leave.

mod command;
pub mod frames;
mod keeper;
mod monitor;
mod reader;
mod setup;
mod source;
mod timeline;

use mimicd_device::{ArrayIndex, DeviceError, DeviceErrorKind};

pub use command::{CommandLink, Dialect};
pub use monitor::{LinkFailure, RhxMonitor};
pub use source::RhxSource;
pub use timeline::{Step, Timeline};

/// What RHX does when we start it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunMode {
    /// Acquires.
    #[default]
    Run,
    /// Acquires and writes its own files (their place is set in RHX).
    Record,
}

impl RunMode {
    const fn word(self) -> &'static str {
        match self {
            Self::Run => "Run",
            Self::Record => "Record",
        }
    }
}

/// How to reach RHX and what to read.
#[derive(Clone, Debug)]
pub struct RhxOptions {
    /// Which array the blocks are of.
    pub array: ArrayIndex,
    /// Host name or address.
    pub host: String,
    /// Command port; RHX's default is 5000.
    pub command_port: u16,
    /// Waveform port; RHX's default is 5001.
    pub waveform_port: u16,
    /// Ports of the controller to read, as letters; empty = all, in order.
    pub ports: String,
    /// Amplifier channels to read: the first so many of the ports.
    pub channels: usize,
    /// Whether to read the digital inputs.
    pub digital: bool,
    /// Run or record.
    pub run_mode: RunMode,
    /// Samples that may wait for the poller, in seconds.
    pub queue_secs: f64,
    /// Silence that counts as a fault, in milliseconds.
    pub stall_millis: u64,
    /// How long connecting and each answer may take, in milliseconds.
    pub answer_millis: u64,
}

impl RhxOptions {
    /// Options from a config's `device`: `host`, `host:command_port` or `host:command_port/PORTS`, for example
    /// `10.0.0.7:5000/AB`. The waveform port is the one after the command port.
    ///
    /// # Errors
    /// `Unsupported`, naming the text and the expected form.
    pub fn parse(device: &str, array: ArrayIndex, channels: usize) -> Result<Self, DeviceError> {
        let wrong = || {
            let context =
                format!("RHX device {device:?}: expected host, host:port or host:port/PORTS (letters A to H)");
            DeviceError::new(DeviceErrorKind::Unsupported, context)
        };
        let (address, ports) = device.split_once('/').unwrap_or((device, ""));
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "5000"));
        let command_port: u16 = port.parse().map_err(|_| wrong())?;
        let waveform_port = command_port.checked_add(1).ok_or_else(wrong)?;
        if host.is_empty() || !ports.chars().all(|port| ('A'..='H').contains(&port.to_ascii_uppercase())) {
            return Err(wrong());
        }
        Ok(Self {
            array,
            host: host.to_owned(),
            command_port,
            waveform_port,
            ports: ports.to_ascii_uppercase(),
            channels,
            digital: true,
            run_mode: RunMode::Run,
            queue_secs: 1.0,
            stall_millis: 3_000,
            answer_millis: 2_000,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_texts() {
        let parse = |text| RhxOptions::parse(text, ArrayIndex(0), 128);
        let options = parse("10.0.0.7:5010/ab").unwrap();
        assert_eq!((options.host.as_str(), options.command_port, options.waveform_port), ("10.0.0.7", 5010, 5011));
        assert_eq!(options.ports, "AB");
        assert_eq!(parse("rig").unwrap().command_port, 5000);
        for bad in ["", ":5000", "rig:x", "rig:65535", "rig:5000/AZ"] {
            assert_eq!(parse(bad).unwrap_err().kind, DeviceErrorKind::Unsupported, "{bad}");
        }
    }
}
