//! What the daemon knows about itself and settles for itself: counters by cause, latency histograms, the allocator, who
//! had the processors.
//!
//! Edge and loop threads only add to atomics and histograms they own; service threads read.

mod counters;
mod latency;
pub mod memory;
mod processor;

pub use counters::{Cause, Counters};
pub use latency::{LatencyHistogram, LatencySummary, RECENT_TICKS, RecentLatency, Stage};
pub use processor::ProcessorTime;
