//! Messages between the sync board and the host; `no_std`, no allocation, shared by host and firmware.
//!
//! - [`message`]: what is said, as types. [`plan`]: the camera trigger train and the code in its gaps.
//! - [`frame`]: how it goes over the line: COBS, CRC-32, sequence numbers. `PROTOCOL.md` has the byte layout.
//! - [`samples`]: blocks of electrode samples from a front end of our own.
//! - All times are nanoseconds of the board's clock since its last start.
//!
//! Bounds: a frame is at most [`frame::ENCODED_MAX`] bytes; a receiver is in step again at the first zero byte after any
//! damage; a frame that was damaged is never taken for a message (but for one in 2³² by chance).

#![warn(clippy::unwrap_used)]
#![cfg_attr(not(test), no_std)]

mod bytes;
mod codec;
mod crc;
pub mod frame;
pub mod message;
pub mod plan;
pub mod samples;

pub use codec::Message;
pub use frame::{Arrival, Damage, Deframer, ENCODED_MAX, Packet, Sequence, encode};
pub use message::{Button, Cause, Command, CommandBody, Event, Refusal};
pub use plan::Plan;
