//! Rig states from idle to sealing, commands, shutdown order, service notification and watchdog.
//!
//! One thread executes all commands in order ([`Supervisor::run`]); whoever gives them (page, API, command line, button,
//! signal), they are the same [`Command`](crate::pipeline::Command), go through the same [`state`] table and are
//! acknowledged with the state that they led to. A second thread ([`watchdog`]) tells the service manager that the daemon
//! lives, and only while every stream moves.

mod continuation;
mod executor;
mod signals;
pub mod state;
pub mod watchdog;

pub use continuation::Marker;
pub use executor::{Supervisor, SupervisorOptions};
pub use signals::{Shutdown, on_signals};
