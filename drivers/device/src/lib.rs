//! The vocabulary every driver and every stage speaks: clocks, frames, sample blocks, board events, errors, traits.
//!
//! No I/O and no clock is read here. Contract in short:
//!
//! - Each clock is a type ([`time`]). Instants of different clocks cannot be subtracted or compared.
//! - Damage travels with the data it damaged ([`Integrity`]); a glitch is never an error.
//! - Errors are closed kinds whose docs say what to do ([`DeviceErrorKind`]).
//! - Sources fill memory that the caller owns ([`CameraSource`], [`EphysSource`]), so that a steady state allocates nothing.

#![warn(clippy::unwrap_used)]

mod board;
mod error;
mod frame;
mod integrity;
mod samples;
pub mod time;
mod traits;
pub mod wire;

pub use board::{BoardCommand, BoardEvent, ButtonKind, CommandId, OutputIndex, SafetyCause, TriggerPlan};
pub use error::{DeviceAlarm, DeviceError, DeviceErrorKind};
pub use frame::{CameraIndex, Frame, FrameGeometry, PixelFormat};
pub use integrity::Integrity;
pub use mimicd_wire::Refusal;
pub use samples::{ArrayIndex, SampleBlock};
pub use time::{
    Board, BoardTime, Camera, CameraTime, ClockDomain, ClockReading, Host, HostTime, Moment, Rig, RigTime, SampleIndex,
    Span, Stamped, Time,
};
pub use traits::{CameraSource, EphysSource, Polled, SyncBoard, Wake};
