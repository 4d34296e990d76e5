//! What the daemon knows about itself: counters by cause, latency histograms, a ring of recent events.
//!
//! Edge and loop threads only add to atomics and histograms they own; service threads read.

mod counters;
mod latency;

pub use counters::{Cause, Counters};
pub use latency::{LatencyHistogram, LatencySummary, Stage};
