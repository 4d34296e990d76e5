//! Blocks of consecutive electrode samples.

use crate::{HostTime, Integrity, SampleIndex};

/// Index of an electrode array in the checked config (0-based).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArrayIndex(pub u8);

impl ArrayIndex {
    /// The index as an array subscript.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// Consecutive samples of one array. Lives in a pool; a source fills it in place.
///
/// `samples` is sample-major: the value of channel `c` at the block's sample `s` is `samples[s * channels + c]`.
/// A gap never lies inside a block: a source ends a block early and flags the next with [`Integrity::GAP_BEFORE`].
#[derive(Clone, Debug)]
pub struct SampleBlock {
    /// Which array.
    pub array: ArrayIndex,
    /// Index of the first sample, extended to 64 bit by the driver.
    pub first: SampleIndex,
    /// Channels per sample.
    pub channels: usize,
    /// Signed 16-bit samples; microvolts = `sample * gain_uv_per_bit` of the array's config (0.195 for Intan).
    pub samples: Vec<i16>,
    /// One word of digital inputs per sample; bit meanings are in the array's config.
    pub digital: Vec<u16>,
    /// When the host first held the block's last sample.
    pub arrival: HostTime,
    /// What is known to be wrong with it.
    pub integrity: Integrity,
}

impl SampleBlock {
    /// An empty block with room for `capacity` samples of `channels` channels.
    pub fn with_capacity(array: ArrayIndex, channels: usize, capacity: usize) -> Self {
        Self {
            array,
            first: SampleIndex(0),
            channels,
            samples: Vec::with_capacity(capacity * channels),
            digital: Vec::with_capacity(capacity),
            arrival: HostTime::ZERO,
            integrity: Integrity::empty(),
        }
    }

    /// Empties the block, keeping its memory.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.digital.clear();
        self.integrity = Integrity::empty();
    }

    /// Samples per channel in the block.
    pub fn len(&self) -> usize {
        self.digital.len()
    }

    /// Whether the block holds no sample.
    pub fn is_empty(&self) -> bool {
        self.digital.is_empty()
    }

    /// Index of the first sample after the block.
    pub fn end(&self) -> SampleIndex {
        SampleIndex(self.first.0 + self.len() as u64)
    }
}
