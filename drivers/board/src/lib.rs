//! What the sync board does, as pure logic over board time; `no_std`, no allocation, shared by firmware and twin.
//!
//! Duties: run the camera trigger train, drive outputs at scheduled times within limits that no host can exceed, hold
//! outputs low when the host falls silent, the interlock opens or the emergency stop is hit, answer pings, take each
//! command once.
//!
//! [`Board`] never reads a clock or a pin: its owner calls [`Board::advance`] at or after [`Board::next_at_ns`], reports
//! inputs as they change, and does what the [`Sink`] is told. [`Endpoint`] puts it at its end of a byte stream. Everything is bounded: [`SCHEDULE`] pulses wait at most,
//! [`OUTPUTS`] outputs exist, the last [`RECENT`] commands are remembered.

#![warn(clippy::unwrap_used)]
#![cfg_attr(not(test), no_std)]

mod barcode;
mod board;
mod endpoint;
mod hardware;
mod limits;
mod outputs;
mod recent;
mod timebase;
mod train;

pub use barcode::{BARCODE_BITS, Barcode};
pub use board::{Board, BoardConfig, INDICATOR_OUTPUT, PROTOCOL_VERSION, Pin, START_LEAD_NS, Sink};
pub use endpoint::{Endpoint, LineCounts, Pins, TRANSMIT_BYTES};
pub use hardware::{Capture, Change, Debounce, Feed, Feeder, Hardware, NEAR_NS, pass};
pub use limits::{Limits, Meter};
pub use outputs::{OUTPUTS, SCHEDULE};
pub use recent::RECENT;
pub use timebase::Timebase;
pub use train::Train;
