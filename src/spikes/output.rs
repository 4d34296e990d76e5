//! What the spike stage gives out for each block.

use mimicd_device::SampleIndex;

use super::{DigitalEdge, SNIPPET_SAMPLES, TETRODE_CHANNELS};

/// A unit of one array. 0 = unsorted; ids count from 1 over the array's tetrodes and are never used twice in a run.
pub type UnitId = u16;

/// Filtered waveform around a peak in microvolts, channel by channel; the peak is sample
/// [`super::SNIPPET_BEFORE`] of its channel.
pub type Snippet = [[f32; SNIPPET_SAMPLES]; TETRODE_CHANNELS];

/// One spike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpikeEvent {
    /// The peak's sample: largest magnitude of the event, of the filtered signal (the causal filter delays the middle of
    /// the band by about 0.7 samples).
    pub sample: SampleIndex,
    /// Tetrode within the array.
    pub tetrode: u16,
    /// Channel of the array that holds the peak.
    pub channel: u16,
    /// Unit, 0 = unsorted.
    pub unit: UnitId,
    /// How certain the unit is, 0..1: posterior probability among the tetrode's units; 0 for unsorted.
    pub confidence: f32,
    /// Signed peak in microvolts.
    pub peak_uv: f32,
    /// Waveform on the tetrode's four channels.
    pub snippet: Snippet,
}

/// Everything found in one block. Capacities are fixed by [`super::SpikeStage::output`]; nothing grows.
#[derive(Clone, Debug, Default)]
pub struct SpikeOutput {
    /// Spikes whose snippet became complete with this block, oldest peak first within a tetrode.
    pub events: Vec<SpikeEvent>,
    /// Changes of the digital inputs within this block.
    pub edges: Vec<DigitalEdge>,
    /// Rows of the local field potential that became complete, in microvolts, one value per channel each.
    pub lfp_uv: Vec<f32>,
    /// Sample at which the first of those rows was complete; rows are [`super::SpikeStage::lfp_factor`] apart.
    pub lfp_first: SampleIndex,
    /// Events and edges that did not fit (the block was longer than announced or the signal absurd).
    pub overflow: u64,
}

impl SpikeOutput {
    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.edges.clear();
        self.lfp_uv.clear();
        self.overflow = 0;
    }
}
