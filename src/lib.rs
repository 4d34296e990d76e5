//! mimicd: real-time closed-loop acquisition for a behaving rat and its virtual twin.
//!
//! Modules are layers, listed from the ground up; a module names only modules above it in this list (`tests/tidy.rs`).

#![warn(clippy::unwrap_used)]

pub mod body;
pub mod calibrate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod encoding;
pub mod export;
pub mod geometry;
pub mod imitation;
pub mod panel;
pub mod pipeline;
pub mod pose;
pub mod record;
pub mod rules;
pub mod spikes;
pub mod stream;
pub mod supervisor;
pub mod telemetry;
