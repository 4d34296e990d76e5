//! Electrode health, one verdict a second for each channel.
//!
//! | flag | measured on | rule |
//! |---|---|---|
//! | dead | spike band before the reference | noise under [`DEAD_UV`]: quieter than any amplifier input |
//! | noisy | the same | noise over [`NOISY_UV`] and over [`NOISY_RATIO`] times the array's median: an open electrode |
//! | shorted | spike band after the reference, spikes left out | correlation over [`SHORT_CORRELATION`] with another wire of the tetrode |
//! | saturated | raw signal | more than [`SATURATED_PART`] of the samples at the converter's ends |
//! | line | field potential | amplitude at 50 or 60 Hz over [`LINE_UV`] |
//!
//! The correlation leaves spikes out because one cell near all four wires would look like a short. Cost: one row in
//! [`EVERY`] is looked at; nothing is allocated after construction.

use std::f64::consts::TAU;

use super::TETRODE_CHANNELS;

/// Spike-band noise below this is no electrode and no amplifier (Intan inputs make 2.4 µV).
pub const DEAD_UV: f32 = 0.8;
/// See the table.
pub const NOISY_UV: f32 = 40.0;
/// See the table.
pub const NOISY_RATIO: f32 = 4.0;
/// See the table.
pub const SHORT_CORRELATION: f32 = 0.9;
/// See the table.
pub const SATURATED_PART: f32 = 1e-3;
/// See the table.
pub const LINE_UV: f32 = 60.0;
/// Mains frequencies that are looked for.
pub const LINES_HZ: [f64; 2] = [50.0, 60.0];

/// One row in so many is looked at.
const EVERY: usize = 8;
/// Samples beyond this many sigmas are spikes, not noise.
const SPIKE_SIGMAS: f32 = 4.0;
/// Part of full scale that counts as the end of the converter.
const RAIL_PART: f32 = 0.995;
const PAIRS: [(usize, usize); 6] = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];

bitflags::bitflags! {
    /// What is wrong with an electrode.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ElectrodeFlags: u8 {
        /// No signal at all.
        const DEAD = 1;
        /// The same signal as another wire of the tetrode.
        const SHORTED = 1 << 1;
        /// At the converter's ends.
        const SATURATED = 1 << 2;
        /// Mains hum.
        const LINE = 1 << 3;
        /// Far noisier than the others: open.
        const NOISY = 1 << 4;
        /// Named dead in the config.
        const EXCLUDED = 1 << 5;
    }
}

/// One channel's second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChannelHealth {
    /// Root mean square of the spike band before the reference.
    pub noise_uv: f32,
    /// Part of the samples at the converter's ends.
    pub saturated: f32,
    /// Amplitude at 50 and 60 Hz; zero without a field potential.
    pub line_uv: [f32; 2],
    /// Largest correlation with another wire of its tetrode.
    pub correlation: f32,
    /// Verdict.
    pub flags: ElectrodeFlags,
}

/// Watches all channels of an array, in layout order.
pub struct HealthMonitor {
    window_rows: u64,
    rail_uv: f32,
    line_step: [(f32, f32); 2],
    /// Phasors of the mains frequencies at the present row of the field potential.
    line_phase: [(f32, f32); 2],
    rows: u64,
    looked: u32,
    slow_rows: u32,
    square: Vec<f32>,
    railed: Vec<u32>,
    /// Per tetrode: sums of squares, sums of products of pairs.
    quiet: Vec<([f32; TETRODE_CHANNELS], [f32; PAIRS.len()])>,
    line: Vec<[(f32, f32); 2]>,
    excluded: Vec<bool>,
    channels: Vec<ChannelHealth>,
    sorted: Vec<f32>,
    windows: u64,
}

impl HealthMonitor {
    /// A monitor at `rate_hz`; `lfp_rate_hz` is the rate of the field potential, 0 without one. `full_scale_uv`: the converter's end.
    pub fn new(rate_hz: f64, lfp_rate_hz: f64, full_scale_uv: f32, excluded: &[bool]) -> Self {
        let channels = excluded.len();
        let step = |hz: f64| {
            let angle = if lfp_rate_hz > 0.0 { TAU * hz / lfp_rate_hz } else { 0.0 };
            (angle.cos() as f32, -angle.sin() as f32)
        };
        Self {
            window_rows: rate_hz.round().max(1.0) as u64,
            rail_uv: full_scale_uv * RAIL_PART,
            line_step: LINES_HZ.map(step),
            line_phase: [(1.0, 0.0); 2],
            rows: 0,
            looked: 0,
            slow_rows: 0,
            square: vec![0.0; channels],
            railed: vec![0; channels],
            quiet: vec![([0.0; TETRODE_CHANNELS], [0.0; PAIRS.len()]); channels / TETRODE_CHANNELS],
            line: vec![[(0.0, 0.0); 2]; channels],
            excluded: excluded.to_vec(),
            channels: vec![ChannelHealth::default(); channels],
            sorted: vec![0.0; channels],
            windows: 0,
        }
    }

    /// The last complete second; all zero before the first.
    pub fn channels(&self) -> &[ChannelHealth] {
        &self.channels
    }

    /// Complete seconds so far.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// Whether raw row number `row` is to be looked at.
    pub(super) const fn wants(row: usize) -> bool {
        row.is_multiple_of(EVERY)
    }

    /// Looks at one raw row.
    pub(super) fn look_raw(&mut self, row_uv: &[f32]) {
        for (railed, x) in self.railed.iter_mut().zip(row_uv) {
            *railed += u32::from(x.abs() >= self.rail_uv);
        }
    }

    /// Looks at rows of the spike band before the reference.
    pub(super) fn look_band(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.square.len()).step_by(EVERY) {
            self.looked += 1;
            for (sum, x) in self.square.iter_mut().zip(row) {
                *sum += x * x;
            }
        }
    }

    /// Looks at rows of the spike band after the reference. `sigma_uv` tells the robust noise of each channel.
    pub(super) fn look_referenced(&mut self, rows: &[f32], sigma_uv: impl Fn(usize) -> f32) {
        for row in rows.chunks_exact(self.square.len()).step_by(EVERY) {
            for (tetrode, (values, (squares, products))) in
                row.as_chunks::<TETRODE_CHANNELS>().0.iter().zip(&mut self.quiet).enumerate()
            {
                let base = tetrode * TETRODE_CHANNELS;
                if (0..TETRODE_CHANNELS).any(|i| values[i].abs() > SPIKE_SIGMAS * sigma_uv(base + i)) {
                    continue;
                }
                squares.iter_mut().zip(values).for_each(|(sum, x)| *sum += x * x);
                products.iter_mut().zip(PAIRS).for_each(|(sum, (a, b))| *sum += values[a] * values[b]);
            }
        }
    }

    /// Looks at one row of the field potential.
    pub(super) fn look_slow(&mut self, row_uv: &[f32]) {
        self.slow_rows += 1;
        let phase = self.line_phase;
        for (sums, x) in self.line.iter_mut().zip(row_uv) {
            for (sum, (re, im)) in sums.iter_mut().zip(phase) {
                sum.0 += x * re;
                sum.1 += x * im;
            }
        }
        for ((re, im), (c, s)) in self.line_phase.iter_mut().zip(self.line_step) {
            (*re, *im) = (*re * c - *im * s, *re * s + *im * c);
        }
    }

    /// Counts `rows` raw rows and closes the second when it is complete.
    pub(super) fn advance(&mut self, rows: usize) {
        self.rows += rows as u64;
        if self.rows >= self.window_rows {
            self.judge();
            self.clear();
            self.windows += 1;
        }
    }

    /// Drops the second in progress: it holds a gap.
    pub(super) fn clear(&mut self) {
        self.rows = 0;
        self.looked = 0;
        self.slow_rows = 0;
        self.square.fill(0.0);
        self.railed.fill(0);
        self.quiet.fill(([0.0; TETRODE_CHANNELS], [0.0; PAIRS.len()]));
        self.line.fill([(0.0, 0.0); 2]);
        self.line_phase = [(1.0, 0.0); 2];
    }

    fn judge(&mut self) {
        let looked = self.looked.max(1) as f32;
        for (noise, square) in self.sorted.iter_mut().zip(&self.square) {
            *noise = (square / looked).sqrt();
        }
        for (channel, noise) in self.channels.iter_mut().zip(&self.sorted) {
            channel.noise_uv = *noise;
        }
        let middle = self.sorted.len() / 2;
        let median = *self.sorted.select_nth_unstable_by(middle, f32::total_cmp).1;
        for index in 0..self.channels.len() {
            let line_uv = self.line[index].map(|(re, im)| 2.0 * re.hypot(im) / self.slow_rows.max(1) as f32);
            let channel = &mut self.channels[index];
            channel.saturated = self.railed[index] as f32 / looked;
            channel.line_uv = line_uv;
            channel.correlation = correlation(&self.quiet[index / TETRODE_CHANNELS], index % TETRODE_CHANNELS);
            channel.flags = verdict(channel, median, self.excluded[index]);
        }
    }
}

/// The largest correlation of wire `wire` with another of its tetrode.
fn correlation((squares, products): &([f32; TETRODE_CHANNELS], [f32; PAIRS.len()]), wire: usize) -> f32 {
    let of = |(pair, product): ((usize, usize), &f32)| {
        let scale = (squares[pair.0] * squares[pair.1]).sqrt();
        if scale > 0.0 && (pair.0 == wire || pair.1 == wire) { product / scale } else { 0.0 }
    };
    PAIRS.into_iter().zip(products).map(of).fold(0.0, f32::max)
}

fn verdict(channel: &ChannelHealth, median_uv: f32, excluded: bool) -> ElectrodeFlags {
    let mut flags = ElectrodeFlags::empty();
    flags.set(ElectrodeFlags::EXCLUDED, excluded);
    flags.set(ElectrodeFlags::SATURATED, channel.saturated > SATURATED_PART);
    // A channel at the converter's end is flat; one name for one trouble.
    let dead = channel.noise_uv < DEAD_UV && channel.saturated < 0.5;
    flags.set(ElectrodeFlags::DEAD, dead);
    flags.set(ElectrodeFlags::NOISY, channel.noise_uv > NOISY_UV.max(NOISY_RATIO * median_uv));
    flags.set(ElectrodeFlags::LINE, channel.line_uv.iter().any(|uv| *uv > LINE_UV));
    flags.set(ElectrodeFlags::SHORTED, channel.correlation > SHORT_CORRELATION && channel.noise_uv >= DEAD_UV);
    flags
}
