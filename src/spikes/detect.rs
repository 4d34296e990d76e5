//! FAST's detection, causal: threshold, return, peak; per tetrode, so that one cell seen on four wires is one event.
//!
//! ```text
//!            any channel over its threshold (rising)
//!   Idle ────────────────────────────────────────────► Active (keeps the largest |x| seen)
//!     ▲  all channels under the return level for 8 samples │
//!     └────────────────────────────────────────────────────┘  or 30 samples after the peak: candidate
//! ```
//!
//! The second way out is ours: in live noise four channels seldom stay under the return level together, and an event
//! that will not end would swallow the next spike. After it a new event needs a new rising crossing.

use super::TETRODE_CHANNELS;

/// An event that has not returned ends this many samples (1 ms) after its peak.
const AFTER_PEAK_MAX: u64 = 30;

/// The peak changes to a phase of the other sign only where that is larger by this factor: a causal filter makes the
/// after-wave of a broad spike nearly as large as its trough, and noise would choose between the two from spike to spike.
const OPPOSITE_RATIO: f32 = 1.5;

/// A tetrode's event, before its snippet is complete.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// Tetrode index.
    pub(super) tetrode: u16,
    /// Channel within the tetrode that holds the peak.
    pub(super) channel: u8,
    /// Stream position of the peak.
    pub(super) at: u64,
    /// Signed value there.
    pub(super) peak_uv: f32,
}

#[derive(Clone, Copy, Debug, Default)]
struct TetrodeState {
    active: bool,
    /// Whether the last row was over the threshold.
    over: bool,
    under_count: u32,
    peak_uv: f32,
    peak_at: u64,
    peak_channel: u8,
    /// Peak of the last candidate, for coincidence counts.
    last_peak_at: u64,
}

/// Detector over all tetrodes of an array.
pub(super) struct Detector {
    states: Vec<TetrodeState>,
    /// Threshold and return level of each channel; infinite for dead ones.
    threshold_uv: Vec<f32>,
    return_uv: Vec<f32>,
    largest: Vec<f32>,
    return_samples: u32,
}

impl Detector {
    pub(super) fn new(channels: usize, return_samples: u32) -> Self {
        Self {
            states: vec![TetrodeState::default(); channels / TETRODE_CHANNELS],
            threshold_uv: vec![f32::INFINITY; channels],
            return_uv: vec![f32::INFINITY; channels],
            largest: vec![0.0; channels],
            return_samples,
        }
    }

    pub(super) fn set_level(&mut self, channel: usize, threshold_uv: f32, return_uv: f32) {
        self.threshold_uv[channel] = threshold_uv;
        self.return_uv[channel] = return_uv;
    }

    pub(super) fn threshold_uv(&self, channel: usize) -> f32 {
        self.threshold_uv[channel]
    }

    /// Drops events in progress.
    pub(super) fn reset(&mut self) {
        self.states.fill(TetrodeState::default());
    }

    /// Whether a tetrode has had no event since stream position `since`.
    pub(super) fn is_quiet(&self, tetrode: usize, since: u64) -> bool {
        let state = &self.states[tetrode];
        !state.active && !state.over && state.last_peak_at < since
    }

    /// How many tetrodes have an event whose peak lies within `window` samples of `at`.
    pub(super) fn coincident(&self, at: u64, window: u64) -> usize {
        let near = |peak: u64| peak != 0 && peak.abs_diff(at) <= window;
        self.states.iter().filter(|s| near(s.last_peak_at) || (s.active && near(s.peak_at))).count()
    }

    /// Looks at filtered `rows`, the first of which has stream position `first`. Candidates go to `found`.
    pub(super) fn look(&mut self, rows: &[f32], first: u64, mut found: impl FnMut(Candidate)) {
        let channels = self.threshold_uv.len();
        self.largest.fill(0.0);
        for row in rows.chunks_exact(channels) {
            for (largest, x) in self.largest.iter_mut().zip(row) {
                let x = x.abs();
                *largest = if *largest < x { x } else { *largest };
            }
        }
        for tetrode in 0..self.states.len() {
            let base = tetrode * TETRODE_CHANNELS;
            let state = &mut self.states[tetrode];
            let quiet = (base..base + TETRODE_CHANNELS).all(|c| self.largest[c] < self.threshold_uv[c]);
            if quiet && !state.active {
                state.over = false;
                continue;
            }
            let levels: [(f32, f32); TETRODE_CHANNELS] =
                std::array::from_fn(|i| (self.threshold_uv[base + i], self.return_uv[base + i]));
            for (offset, row) in rows.chunks_exact(channels).enumerate() {
                let values = &row[base..base + TETRODE_CHANNELS];
                let ended = state.step(values, &levels, first + offset as u64, self.return_samples);
                if ended {
                    found(state.candidate(tetrode));
                }
            }
        }
    }
}

/// Whether `uv` becomes the peak of an event that has `peak_uv` as its peak so far.
pub(super) fn outdoes(peak_uv: f32, uv: f32) -> bool {
    let least = if peak_uv * uv < 0.0 { OPPOSITE_RATIO } else { 1.0 };
    uv.abs() > least * peak_uv.abs()
}

impl TetrodeState {
    /// One sample of one tetrode; whether an event ended with it.
    fn step(&mut self, values: &[f32], levels: &[(f32, f32); TETRODE_CHANNELS], at: u64, return_samples: u32) -> bool {
        let (mut over, mut under, mut largest, mut channel) = (false, true, 0.0_f32, 0);
        for (i, (&x, &(threshold, back))) in values.iter().zip(levels).enumerate() {
            let magnitude = x.abs();
            over |= magnitude >= threshold;
            under &= magnitude < back;
            if magnitude > largest && threshold.is_finite() {
                (largest, channel) = (magnitude, i);
            }
        }
        if over && !self.over && !self.active {
            *self = Self { active: true, last_peak_at: self.last_peak_at, ..Self::default() };
        }
        self.over = over;
        if !self.active {
            return false;
        }
        if outdoes(self.peak_uv, values[channel]) {
            self.peak_uv = values[channel];
            self.peak_at = at;
            self.peak_channel = channel as u8;
        }
        self.under_count = if under { self.under_count + 1 } else { 0 };
        if self.under_count < return_samples && at - self.peak_at < AFTER_PEAK_MAX {
            return false;
        }
        self.active = false;
        self.last_peak_at = self.peak_at;
        true
    }

    fn candidate(&self, tetrode: usize) -> Candidate {
        Candidate { tetrode: tetrode as u16, channel: self.peak_channel, at: self.peak_at, peak_uv: self.peak_uv }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(signal: &[[f32; 4]]) -> Vec<Candidate> {
        let mut detector = Detector::new(4, 8);
        for channel in 0..4 {
            detector.set_level(channel, 48.75, 19.5);
        }
        let mut found = Vec::new();
        for (index, part) in signal.chunks(7).enumerate() {
            let rows: Vec<f32> = part.iter().flatten().copied().collect();
            detector.look(&rows, index as u64 * 7, |candidate| found.push(candidate));
        }
        found
    }

    #[test]
    fn one_cell_on_four_wires_is_one_event_at_the_largest_peak() {
        let mut signal = vec![[0.0_f32; 4]; 100];
        signal[40] = [-50.0, -60.0, 0.0, 0.0];
        signal[41] = [-70.0, -90.0, -49.0, 0.0];
        signal[43] = [0.0, 60.0, 30.0, 0.0];
        let expected = Candidate { tetrode: 0, channel: 1, at: 41, peak_uv: -90.0 };
        assert_eq!(run(&signal), [expected]);
    }

    #[test]
    fn a_slightly_larger_after_wave_does_not_move_the_peak_and_a_small_first_bump_does_not_hold_it() {
        let mut signal = vec![[0.0_f32; 4]; 200];
        signal[40][0] = -70.0;
        signal[44][0] = -40.0;
        signal[48][0] = 40.0;
        signal[53][0] = 80.0;
        signal[130][3] = 50.0;
        signal[134][3] = -120.0;
        assert_eq!(run(&signal).iter().map(|c| c.at).collect::<Vec<_>>(), [40, 134]);
    }

    #[test]
    fn the_return_level_divides_events_and_small_ones_are_not_events() {
        let mut signal = vec![[0.0_f32; 4]; 200];
        signal[20][2] = -48.0;
        signal[60][2] = -80.0;
        signal[66][2] = -70.0;
        signal[90][1] = 55.0;
        let found = run(&signal);
        assert_eq!(found.iter().map(|c| (c.at, c.channel)).collect::<Vec<_>>(), [(60, 2), (90, 1)]);
    }

    #[test]
    fn an_event_that_does_not_return_ends_and_the_next_spike_counts() {
        let mut signal = vec![[25.0_f32; 4]; 200];
        signal[20][0] = -80.0;
        signal[80][0] = -85.0;
        assert_eq!(run(&signal).iter().map(|c| c.at).collect::<Vec<_>>(), [20, 80]);
    }
}
