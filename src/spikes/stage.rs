//! The stage: one per array.

use mimicd_device::{Integrity, SampleBlock, SampleIndex};

use super::detect::{Candidate, Detector};
use super::{
    ChannelLayout, EdgeFinder, FilterBank, HealthMonitor, LfpDecimator, MedianReference, NoiseTracker, ProbeMap,
    SNIPPET_BEFORE, SNIPPET_SAMPLES, Snippet, Sorter, SpikeEvent, SpikeOutput, SpikesError, TETRODE_CHANNELS,
    Templates, UnitQuality, band_pass,
};
use crate::config::{ArrayConfig, SpikesConfig};

/// Rows of filtered signal that are kept (8.5 ms at 30 kHz): the longest event, a snippet and a chunk fit many times.
const HISTORY_ROWS: usize = 256;
/// Rows that are worked on at a time: small enough for the first-level cache, large enough to amortise.
const CHUNK_ROWS: usize = 32;
/// Samples after the peak that a snippet holds.
const SNIPPET_AFTER: usize = SNIPPET_SAMPLES - SNIPPET_BEFORE - 1;
/// After a start or gap the filter rings; detection waits this long.
const SETTLE_SECS: f64 = 0.010;
/// Events whose peaks lie this close on many tetrodes are one artefact.
const COINCIDENCE_SAMPLES: u64 = 6;
/// Below this many tetrodes coincidence says nothing.
const COINCIDENCE_TETRODES_MIN: usize = 8;
/// Candidates that may wait for their snippet, per tetrode: an event takes at least 8 samples and waits 32.
const PENDING_PER_TETRODE: usize = 8;
/// Spikes per tetrode and block that an output has room for.
const EVENTS_PER_TETRODE: usize = 8;
/// Digital edges per block that an output has room for.
const EDGES_MAX: usize = 4_096;
/// Samples of the longest block of any source.
const BLOCK_SAMPLES_MAX: usize = 4_096;
const _: () = assert!(HISTORY_ROWS.is_multiple_of(CHUNK_ROWS) && HISTORY_ROWS >= 2 * (CHUNK_ROWS + SNIPPET_SAMPLES));

/// What the stage has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpikeCounters {
    /// Samples per channel taken in.
    pub samples: u64,
    /// Spikes given out.
    pub spikes: u64,
    /// Events rejected as artefacts (too large, or on too many tetrodes at once).
    pub artefacts: u64,
    /// Events cut by a gap before their snippet was complete.
    pub cut: u64,
    /// Times that history was dropped for a gap or restart.
    pub resets: u64,
    /// Events or edges that did not fit into an output.
    pub overflow: u64,
}

/// Filter, reference, detection and sorting of one array.
pub struct SpikeStage {
    layout: ChannelLayout,
    permuted: bool,
    device_channels: usize,
    gain_uv_per_bit: f32,
    filter: FilterBank,
    reference: MedianReference,
    noise: NoiseTracker,
    health: HealthMonitor,
    lfp: Option<LfpDecimator>,
    detector: Detector,
    sorter: Option<Sorter>,
    edges: EdgeFinder,
    /// Ring of filtered rows; stream position `p` is row `p % HISTORY_ROWS`.
    history: Vec<f32>,
    row_uv: Vec<f32>,
    pending: Vec<Candidate>,
    /// Stream position of the next row: counts rows since the stage was made, whatever gaps there were.
    position: u64,
    /// Sample index minus stream position.
    sample_offset: u64,
    expected: Option<SampleIndex>,
    settle_rows: u64,
    detect_from: u64,
    thresholds: Thresholds,
    counters: SpikeCounters,
}

#[derive(Clone, Copy)]
struct Thresholds {
    fixed_uv: f32,
    noise_factor: f32,
    return_ratio: f32,
    artefact_uv: f32,
    artefact_tetrodes: usize,
}

impl SpikeStage {
    /// A stage for `array`, four channels in a row to a tetrode.
    pub fn new(config: &SpikesConfig, array: &ArrayConfig) -> Self {
        Self::with_layout(config, array, ChannelLayout::in_rows(array.channels, &config.dead_channels))
    }

    /// A stage for `array` with the tetrode map and the templates that `config` names, where it names any.
    ///
    /// # Errors
    /// A probe map or a template folder that cannot be used; the message names file and place.
    pub fn for_array(config: &SpikesConfig, array: &ArrayConfig) -> Result<Self, SpikesError> {
        let layout = if config.probe.as_os_str().is_empty() {
            ChannelLayout::in_rows(array.channels, &config.dead_channels)
        } else {
            ProbeMap::load(&config.probe)?.layout(array.channels, &config.dead_channels, &config.probe)?
        };
        let mut stage = Self::with_layout(config, array, layout);
        if let Some(sorter) = &mut stage.sorter
            && !config.templates.as_os_str().is_empty()
        {
            let templates = Templates::load(&config.templates, array.gain_uv_per_bit)?;
            sorter.import(&templates.on_tetrodes(&stage.layout, config, array)?);
        }
        Ok(stage)
    }

    /// A stage for `array` with its own tetrode map.
    ///
    /// # Panics
    /// When the layout names channels that the array does not have, or not four to a tetrode.
    pub fn with_layout(config: &SpikesConfig, array: &ArrayConfig, layout: ChannelLayout) -> Self {
        let channels = layout.channels();
        assert!(channels > 0 && channels.is_multiple_of(TETRODE_CHANNELS), "{channels} channels are no whole tetrodes");
        assert!(layout.device_channel.iter().all(|&c| usize::from(c) < array.channels), "a channel beyond the array");
        let tetrodes = channels / TETRODE_CHANNELS;
        let high_hz = config.band_high_hz.min(array.rate_hz * 0.45);
        let sections = band_pass(array.rate_hz, config.band_low_hz, high_hz);
        let lfp = (config.lfp_rate_hz > 0.0).then(|| LfpDecimator::new(array.rate_hz, config.lfp_rate_hz, channels));
        let lfp_rate_hz = lfp.as_ref().map_or(0.0, |lfp| array.rate_hz / lfp.factor() as f64);
        let full_scale_uv = (array.gain_uv_per_bit * 32_768.0) as f32;
        let coincident = ((tetrodes as f64 * config.artefact_fraction).ceil() as usize).max(2);
        let mut stage = Self {
            permuted: !layout.is_identity() || channels != array.channels,
            device_channels: array.channels,
            gain_uv_per_bit: array.gain_uv_per_bit as f32,
            filter: FilterBank::new(sections, channels),
            reference: MedianReference::new(layout.chips(config.reference_group_channels)),
            noise: NoiseTracker::new(channels),
            health: HealthMonitor::new(array.rate_hz, lfp_rate_hz, full_scale_uv, &layout.dead),
            lfp,
            detector: Detector::new(channels, config.return_samples),
            sorter: config.sort.then(|| Sorter::new(config, tetrodes, array.rate_hz)),
            edges: EdgeFinder::default(),
            history: vec![0.0; HISTORY_ROWS * channels],
            row_uv: vec![0.0; channels],
            pending: Vec::with_capacity(PENDING_PER_TETRODE * tetrodes),
            position: 0,
            sample_offset: 0,
            expected: None,
            settle_rows: (SETTLE_SECS * array.rate_hz) as u64,
            detect_from: 0,
            thresholds: Thresholds {
                fixed_uv: config.threshold_uv as f32,
                noise_factor: config.threshold_noise_factor as f32,
                return_ratio: (config.return_uv / config.threshold_uv) as f32,
                artefact_uv: config.artefact_uv as f32,
                artefact_tetrodes: if tetrodes < COINCIDENCE_TETRODES_MIN { usize::MAX } else { coincident },
            },
            counters: SpikeCounters::default(),
            layout,
        };
        stage.update_levels();
        stage
    }

    /// An output with room for what one block can hold.
    pub fn output(&self) -> SpikeOutput {
        let lfp_rows = self.lfp.as_ref().map_or(0, |lfp| BLOCK_SAMPLES_MAX / lfp.factor() + 2);
        SpikeOutput {
            events: Vec::with_capacity(EVENTS_PER_TETRODE * self.tetrodes()),
            edges: Vec::with_capacity(EDGES_MAX),
            lfp_uv: Vec::with_capacity(lfp_rows * self.layout.channels()),
            lfp_first: SampleIndex(0),
            overflow: 0,
        }
    }

    /// Tetrodes of the array.
    pub fn tetrodes(&self) -> usize {
        self.layout.channels() / TETRODE_CHANNELS
    }

    /// Samples per row of the field potential; 0 when there is none.
    pub fn lfp_factor(&self) -> usize {
        self.lfp.as_ref().map_or(0, LfpDecimator::factor)
    }

    /// Robust noise sigma of each channel, in layout order.
    pub fn noise_uv(&self) -> impl ExactSizeIterator<Item = f32> + '_ {
        (0..self.layout.channels()).map(|c| self.noise.sigma_uv(c))
    }

    /// Detection threshold of each channel, in layout order; infinite for dead channels.
    pub fn threshold_uv(&self) -> impl ExactSizeIterator<Item = f32> + '_ {
        (0..self.layout.channels()).map(|c| self.detector.threshold_uv(c))
    }

    /// The electrodes' last second.
    pub fn health(&self) -> &HealthMonitor {
        &self.health
    }

    /// The sorter, when sorting is on.
    pub fn sorter(&self) -> Option<&Sorter> {
        self.sorter.as_ref()
    }

    /// All units with their quality; empty while nothing has been learned. For the panel: allocates.
    pub fn units(&self) -> Vec<UnitQuality> {
        self.sorter.as_ref().map(Sorter::units).unwrap_or_default()
    }

    /// Channel order inside the stage.
    pub fn layout(&self) -> &ChannelLayout {
        &self.layout
    }

    /// Counts since the stage was made.
    pub fn counters(&self) -> SpikeCounters {
        self.counters
    }

    /// Takes one block; `out` is emptied first and holds everything that became complete.
    ///
    /// # Panics
    /// When the block's channel count is not the array's.
    pub fn process(&mut self, block: &SampleBlock, out: &mut SpikeOutput) {
        assert_eq!(block.channels, self.device_channels, "channels of the block against those of the array's config");
        out.clear();
        if block.is_empty() {
            return;
        }
        let gap = block.integrity.intersects(Integrity::GAP_BEFORE | Integrity::CLOCK_STEP)
            || self.expected != Some(block.first);
        out.overflow += self.edges.find(block, gap, &mut out.edges);
        if gap {
            self.restart(block);
        }
        self.expected = Some(block.end());
        let samples = block.len();
        let mut done = 0;
        while done < samples {
            let room = HISTORY_ROWS - (self.position as usize % HISTORY_ROWS);
            let rows = CHUNK_ROWS.min(room).min(samples - done);
            self.chunk(block, done, rows, out);
            done += rows;
        }
        self.counters.samples += samples as u64;
        self.counters.overflow += out.overflow;
    }

    /// Forgets everything that lies before `block`.
    fn restart(&mut self, block: &SampleBlock) {
        if self.expected.is_some() {
            self.counters.resets += 1;
        }
        self.counters.cut += self.pending.len() as u64;
        self.pending.clear();
        self.detector.reset();
        // A snippet may not reach back over the gap, so positions jump by a whole history.
        self.position += HISTORY_ROWS as u64;
        self.sample_offset = block.first.0.wrapping_sub(self.position);
        self.detect_from = self.position + self.settle_rows;
        if let Some(lfp) = &mut self.lfp {
            lfp.reset();
        }
        self.health.clear();
        self.convert(block, 0);
        self.filter.settle(&self.row_uv);
    }

    /// Microvolts of one sample, in layout order.
    fn convert(&mut self, block: &SampleBlock, sample: usize) {
        let raw = &block.samples[sample * self.device_channels..][..self.device_channels];
        if self.permuted {
            for (uv, &device) in self.row_uv.iter_mut().zip(&self.layout.device_channel) {
                *uv = f32::from(raw[usize::from(device)]) * self.gain_uv_per_bit;
            }
        } else {
            for (uv, &value) in self.row_uv.iter_mut().zip(raw) {
                *uv = f32::from(value) * self.gain_uv_per_bit;
            }
        }
    }

    fn chunk(&mut self, block: &SampleBlock, from: usize, rows: usize, out: &mut SpikeOutput) {
        let channels = self.layout.channels();
        let begin = (self.position as usize % HISTORY_ROWS) * channels;
        let range = begin..begin + rows * channels;
        for (offset, at) in range.clone().step_by(channels).enumerate() {
            self.convert(block, from + offset);
            if HealthMonitor::wants(offset) {
                self.health.look_raw(&self.row_uv);
            }
            if let Some(row) = self.lfp.as_mut().and_then(|lfp| lfp.push(&self.row_uv)) {
                self.health.look_slow(row);
                push_lfp(out, row, SampleIndex(block.first.0 + (from + offset) as u64));
            }
            let target = &mut self.history[at..at + channels];
            target.copy_from_slice(&self.row_uv);
            self.filter.row(target);
        }
        let filtered = &mut self.history[range];
        self.health.look_band(filtered);
        self.reference.subtract(filtered, channels);
        self.health.look_referenced(filtered, |channel| self.noise.sigma_uv(channel));
        self.health.advance(rows);
        if self.position >= self.detect_from {
            self.noise.look(filtered);
            let (pending, counters) = (&mut self.pending, &mut self.counters);
            self.detector.look(filtered, self.position, |candidate| {
                if pending.len() < pending.capacity() {
                    pending.push(candidate);
                } else {
                    counters.overflow += 1;
                }
            });
        }
        self.position += rows as u64;
        self.give_out(out);
        self.learn();
        if self.position.is_multiple_of(CHUNK_ROWS as u64) || rows < CHUNK_ROWS {
            self.update_levels();
        }
    }

    /// Gives out the candidates whose snippet is complete.
    fn give_out(&mut self, out: &mut SpikeOutput) {
        let mut index = 0;
        while index < self.pending.len() {
            let candidate = self.pending[index];
            if candidate.at + SNIPPET_AFTER as u64 >= self.position {
                index += 1;
                continue;
            }
            self.pending.remove(index);
            if self.is_artefact(&candidate) {
                self.counters.artefacts += 1;
            } else if out.events.len() == out.events.capacity() {
                out.overflow += 1;
            } else {
                self.counters.spikes += 1;
                let mut event = self.event(&candidate);
                let noise_uv = self.tetrode_noise_uv(usize::from(candidate.tetrode));
                if let Some(sorter) = &mut self.sorter {
                    sorter.take(&mut event, noise_uv);
                }
                out.events.push(event);
            }
        }
    }

    /// Lets the sorter see a piece of noise and do a piece of its learning.
    fn learn(&mut self) {
        let Some(sorter) = &mut self.sorter else { return };
        let snippet_from = self.position.saturating_sub(SNIPPET_SAMPLES as u64);
        if let Some(tetrode) = sorter.noise_wanted()
            && snippet_from > self.detect_from
            && self.detector.is_quiet(tetrode, snippet_from)
        {
            let snippet = self.snippet(tetrode as u16, snippet_from + SNIPPET_BEFORE as u64);
            if let Some(sorter) = &mut self.sorter {
                sorter.take_noise(tetrode, &snippet);
            }
        }
        if let Some(sorter) = &mut self.sorter {
            sorter.work(self.counters.samples);
        }
    }

    fn tetrode_noise_uv(&self, tetrode: usize) -> Option<[f32; TETRODE_CHANNELS]> {
        let sigma = |channel| self.noise.sigma_uv(tetrode * TETRODE_CHANNELS + channel);
        self.noise.settled().then(|| std::array::from_fn(sigma))
    }

    fn is_artefact(&self, candidate: &Candidate) -> bool {
        candidate.peak_uv.abs() > self.thresholds.artefact_uv
            || self.detector.coincident(candidate.at, COINCIDENCE_SAMPLES) >= self.thresholds.artefact_tetrodes
    }

    fn event(&self, candidate: &Candidate) -> SpikeEvent {
        let inner = usize::from(candidate.tetrode) * TETRODE_CHANNELS + usize::from(candidate.channel);
        SpikeEvent {
            sample: SampleIndex(candidate.at.wrapping_add(self.sample_offset)),
            tetrode: candidate.tetrode,
            channel: self.layout.device_channel[inner],
            unit: 0,
            confidence: 0.0,
            peak_uv: candidate.peak_uv,
            snippet: self.snippet(candidate.tetrode, candidate.at),
        }
    }

    fn snippet(&self, tetrode: u16, peak_at: u64) -> Snippet {
        let channels = self.layout.channels();
        let base = usize::from(tetrode) * TETRODE_CHANNELS;
        let mut snippet = [[0.0; SNIPPET_SAMPLES]; TETRODE_CHANNELS];
        let first = peak_at - SNIPPET_BEFORE as u64;
        for sample in 0..SNIPPET_SAMPLES {
            let row = ((first + sample as u64) as usize % HISTORY_ROWS) * channels + base;
            for (channel, wave) in snippet.iter_mut().enumerate() {
                wave[sample] = self.history[row + channel];
            }
        }
        snippet
    }

    /// Threshold of each channel from the fixed level and its noise.
    fn update_levels(&mut self) {
        let t = self.thresholds;
        let factor = if self.noise.settled() { t.noise_factor } else { 0.0 };
        for channel in 0..self.layout.channels() {
            if self.layout.dead[channel] {
                // Infinite threshold: never over. Infinite return level: always under.
                self.detector.set_level(channel, f32::INFINITY, f32::INFINITY);
                continue;
            }
            let threshold = t.fixed_uv.max(factor * self.noise.sigma_uv(channel));
            self.detector.set_level(channel, threshold, threshold * t.return_ratio);
        }
    }
}

fn push_lfp(out: &mut SpikeOutput, row: &[f32], at: SampleIndex) {
    if out.lfp_uv.len() + row.len() > out.lfp_uv.capacity() {
        out.overflow += 1;
        return;
    }
    if out.lfp_uv.is_empty() {
        out.lfp_first = at;
    }
    out.lfp_uv.extend_from_slice(row);
}
