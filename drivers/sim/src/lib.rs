//! The twin: a simulated rat in its arena, its cameras, arrays and sync board, all from one seed.
//!
//! - *Universe time* is host time since the twin's start. Every device sees it through its own drifting clock.
//! - Everything is a pure function of seed, options and the commands the board received: with a hand-advanced `now` the
//!   same seed gives the same bytes, and in real time the devices only add the waiting.
//! - Truth is available through a handle of its own and never reaches the pipeline.

#![warn(clippy::unwrap_used)]

mod board;
mod camera;
mod clock;
mod ephys;
mod error;
mod fault;
mod options;
mod pace;
mod pattern;
mod random;
pub mod rat;
pub mod render;
mod scene;
mod truth;
mod twin;
mod wiring;

pub use board::SimBoard;
pub use camera::SimCamera;
pub use ephys::{SimArray, SpikeTruth, Tuning, Unit};
pub use error::SimError;
pub use fault::{Device, Fault, HostFaults};
pub use options::{SceneOptions, ScriptedButton, TwinArray, TwinLight, TwinOptions};
pub use pattern::{Pattern, read_pattern};
pub use render::TwinCamera;
pub use scene::MovementFeatures;
pub use truth::{TriggerTruth, TruthLog};
pub use twin::Twin;
