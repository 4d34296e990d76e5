//! Electrode samples straight from a front end of our own, in blocks of a millisecond: the path for closed loops below 5 ms.
//!
//! The front end sends sample frames (`mimicd_wire::samples`) over a USB serial line or a TCP connection for as long as the
//! line is open. Contract in numbers:
//!
//! - A block is one frame; the front end decides its length (30 samples at 30 kHz are 1 ms).
//! - A dedicated thread reads and checks; it never waits for the poller. [`DirectOptions::queue_secs`] of samples may wait,
//!   then samples are dropped, counted and declared as a gap.
//! - Every frame is checksummed; damaged bytes are skipped to the next whole frame and show as a gap of exactly the rows
//!   that were in them. A sample index that falls back is a restart: [`mimicd_device::Integrity::CLOCK_STEP`].

mod parse;
mod reader;
mod source;

use mimicd_device::{ArrayIndex, DeviceError, DeviceErrorKind};

pub use parse::{FrameSearch, seal_frame, search};
pub use reader::DirectMonitor;
pub use source::DirectSource;

/// Where the front end is and what it sends.
#[derive(Clone, Debug)]
pub struct DirectOptions {
    /// Which array the blocks are of.
    pub array: ArrayIndex,
    /// How it is reached.
    pub link: DirectLink,
    /// Channels of a row; frames with others are refused.
    pub channels: usize,
    /// Nominal sample rate.
    pub rate_hz: f64,
    /// Most rows of one frame.
    pub block_samples_max: usize,
    /// Samples that may wait for the poller, in seconds.
    pub queue_secs: f64,
    /// Silence that counts as a fault, in milliseconds.
    pub stall_millis: u64,
}

/// How a front end is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectLink {
    /// A serial device such as `/dev/ttyACM1`.
    Serial(String),
    /// `host:port`, the front end listens.
    Tcp(String),
}

impl DirectOptions {
    /// Options from a config's `device`: `/dev/…` for a serial line or `tcp://host:port`.
    ///
    /// # Errors
    /// `Unsupported`, naming the text and the expected form.
    pub fn parse(device: &str, array: ArrayIndex, channels: usize, rate_hz: f64) -> Result<Self, DeviceError> {
        let link = match device.strip_prefix("tcp://") {
            Some(address)
                if address
                    .rsplit_once(':')
                    .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) =>
            {
                DirectLink::Tcp(address.to_owned())
            }
            None if device.starts_with('/') => DirectLink::Serial(device.to_owned()),
            _ => {
                let context = format!("direct device {device:?}: expected /dev/… or tcp://host:port");
                return Err(DeviceError::new(DeviceErrorKind::Unsupported, context));
            }
        };
        Ok(Self { array, link, channels, rate_hz, block_samples_max: 300, queue_secs: 1.0, stall_millis: 1_000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_texts() {
        let parse = |text| DirectOptions::parse(text, ArrayIndex(0), 128, 30_000.0).map(|options| options.link);
        assert_eq!(parse("/dev/ttyACM1").unwrap(), DirectLink::Serial("/dev/ttyACM1".into()));
        assert_eq!(parse("tcp://10.0.0.9:7000").unwrap(), DirectLink::Tcp("10.0.0.9:7000".into()));
        for bad in ["", "tty", "tcp://rig", "tcp://:7000", "tcp://rig:x"] {
            assert_eq!(parse(bad).unwrap_err().kind, DeviceErrorKind::Unsupported, "{bad}");
        }
    }
}
