//! Samples to spikes: filter, reference, detect, sort, bin.
//!
//! [`SpikeStage::process`] takes one `SampleBlock` of an array and gives the spikes, digital edges and field potential
//! that became complete with it. Contract in numbers:
//!
//! - Order: µV → causal band-pass (FAST's, 400 to 7,500 Hz) → median of the chip's channels subtracted → detection per
//!   tetrode → snippet of 64 samples (31 before the peak) → unit.
//! - A spike is given out with the block that holds the 32nd sample after its peak (1.07 ms at 30 kHz).
//! - After a gap everything that depends on history starts anew and nothing is detected for 10 ms; noise and units stay.
//! - Nothing is allocated in `process`. Work is done on rows of all channels so that it vectorises.
//! - Tier: runs on a loop or service thread; never blocks; reads no clock.

mod detect;
mod edges;
mod error;
mod filter;
mod health;
mod layout;
mod lfp;
mod noise;
mod output;
mod probe;
mod reference;
mod sort;
mod stage;
mod templates;

pub use edges::{DigitalEdge, EdgeFinder};
pub use error::SpikesError;
pub use filter::{FilterBank, Section, band_pass};
pub use health::{ChannelHealth, ElectrodeFlags, HealthMonitor};
pub use layout::ChannelLayout;
pub use lfp::LfpDecimator;
pub use noise::NoiseTracker;
pub use output::{Snippet, SpikeEvent, SpikeOutput, UnitId};
pub use probe::{ProbeError, ProbeMap, TetrodeMap};
pub use reference::MedianReference;
pub use sort::{SortState, Sorter, UnitQuality};
pub use stage::{SpikeCounters, SpikeStage};
pub use templates::{KnownUnit, Template, TemplateError, Templates};

/// Wires of a tetrode.
pub const TETRODE_CHANNELS: usize = 4;
/// Samples of a snippet.
pub const SNIPPET_SAMPLES: usize = 64;
/// Samples of a snippet before its peak.
pub const SNIPPET_BEFORE: usize = 31;

#[cfg(test)]
mod tests;
