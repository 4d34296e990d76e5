//! Messages between the sync board and the host; `no_std`, no allocation, shared by host and firmware.
//!
//! - [`message`]: what is said, as types. [`plan`]: the camera trigger train and the code in its gaps.
//! - All times are nanoseconds of the board's clock since its last start.

#![cfg_attr(not(test), no_std)]

pub mod message;
pub mod plan;

pub use message::{Button, Cause, Command, CommandBody, Event, Refusal};
pub use plan::Plan;
