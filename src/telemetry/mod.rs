//! What the daemon knows about itself and settles for itself: counters by cause, latency histograms, the allocator.
//!
//! Edge and loop threads only add to atomics and histograms they own; service threads read.

mod counters;
mod latency;
pub mod memory;

pub use counters::{Cause, Counters};
pub use latency::{LatencyHistogram, LatencySummary, RECENT_TICKS, RecentLatency, Stage};
