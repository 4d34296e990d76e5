//! The twin: a simulated rat in its arena, its cameras, arrays and sync board, all from one seed.
//!
//! - *Universe time* is host time since the twin's start. Every device sees it through its own drifting clock.
//! - Everything is a pure function of seed, options and the commands the board received: with a hand-advanced `now` the
//!   same seed gives the same bytes, and in real time the devices only add the waiting.
//! - Truth is available through a handle of its own and never reaches the pipeline.

mod error;
pub mod rat;
pub mod render;

pub use error::SimError;
