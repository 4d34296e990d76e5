//! Background of an array: noise that neighbours share, and slow waves.
//!
//! Noise is taken from two tables of random rows whose lengths have no common factor, so that the sum repeats only after
//! their product (more than eight minutes) while a sample costs two reads and an add. Per channel it is made of a part of
//! its own, a part that its tetrode shares and a part that the whole array shares (a common reference removes that one),
//! each slightly coloured. Slow waves: theta (8 Hz, grows with the rat's speed) and delta (2 Hz, shrinks with it).

use core::f64::consts::TAU;

use mimicd_device::Span;

use crate::random::{between, normal};

const OWN_UV: f64 = 7.0;
const TETRODE_UV: f64 = 6.0;
const ARRAY_UV: f64 = 8.0;
/// Share of each noise sample that stays in the next.
const COLOUR: f64 = 0.3;
/// Lengths of the tables, in samples: primes.
const ROWS: [usize; 2] = [4_099, 3_803];

const THETA_HZ: f64 = 8.0;
const DELTA_HZ: f64 = 2.1;
const THETA_UV: f64 = 120.0;
const DELTA_UV: f64 = 150.0;
/// Speed at which theta has grown to half.
const THETA_HALF_SPEED_M_PER_S: f64 = 0.1;
/// The waves change slowly: they are computed once in so many samples and drawn straight between.
const WAVE_SAMPLES: usize = 15;

/// Noise and slow waves of one array.
pub(crate) struct Background {
    channels: usize,
    tables: [Vec<i16>; 2],
    /// How strongly each channel sees the waves, as a share of 2¹².
    wave_gains: Vec<i32>,
    bits_per_uv: f64,
    phases_rad: [f64; 2],
}

impl Background {
    pub(crate) fn new(seed: u64, stream: u64, channels: usize, gain_uv_per_bit: f64) -> Self {
        let table = |which: usize| noise_table(seed, stream + 1 + which as u64, channels, ROWS[which], gain_uv_per_bit);
        let gain = |channel: usize| {
            let tetrode = between(seed, stream + 5, (channel / 4) as u64, 0.7, 1.3);
            let own = between(seed, stream + 6, channel as u64, 0.97, 1.03);
            (tetrode * own * f64::from(1 << 12)) as i32
        };
        Self {
            channels,
            tables: [table(0), table(1)],
            wave_gains: (0..channels).map(gain).collect(),
            bits_per_uv: 1.0 / gain_uv_per_bit,
            phases_rad: [between(seed, stream, 1, 0.0, TAU), between(seed, stream, 2, 0.0, TAU)],
        }
    }

    /// Fills `samples` (sample-major) for the samples from `first` on; `at(s)` is the universe time of the block's sample
    /// `s`, `speed_m_per_s` the rat's speed during the block.
    pub(crate) fn fill(&self, first: u64, samples: &mut [i16], speed_m_per_s: f64, at: impl Fn(usize) -> Span) {
        for (piece, rows) in samples.chunks_mut(self.channels * WAVE_SAMPLES).enumerate() {
            let start = piece * WAVE_SAMPLES;
            let (from, to) = (self.wave(at(start), speed_m_per_s), self.wave(at(start + WAVE_SAMPLES), speed_m_per_s));
            for (offset, row) in rows.chunks_exact_mut(self.channels).enumerate() {
                let share = offset as f64 / WAVE_SAMPLES as f64;
                self.fill_row(first + (start + offset) as u64, (from + (to - from) * share) as i32, row);
            }
        }
    }

    fn fill_row(&self, sample: u64, wave: i32, row: &mut [i16]) {
        let noise = |which: usize| {
            let from = (sample % ROWS[which] as u64) as usize * self.channels;
            &self.tables[which][from..from + self.channels]
        };
        let sources = noise(0).iter().zip(noise(1)).zip(&self.wave_gains);
        for (value, ((&a, &b), &gain)) in row.iter_mut().zip(sources) {
            // Wrapping only so that the loop vectorises in test builds; the sum stays far inside 16 bit.
            *value = a.wrapping_add(b).wrapping_add((wave.wrapping_mul(gain) >> 12) as i16);
        }
    }

    /// The slow waves at `at`, in bits.
    fn wave(&self, at: Span, speed_m_per_s: f64) -> f64 {
        let walking = speed_m_per_s / (speed_m_per_s + THETA_HALF_SPEED_M_PER_S);
        let sine = |hz: f64, phase: f64| (TAU * hz * at.secs_f64() + phase).sin();
        let theta = THETA_UV * walking * sine(THETA_HZ, self.phases_rad[0]);
        let delta = DELTA_UV * (1.0 - 0.7 * walking) * sine(DELTA_HZ, self.phases_rad[1]);
        (theta + delta) * self.bits_per_uv
    }
}

/// `rows` of noise for all channels. Two such tables are summed, so each carries half the power.
fn noise_table(seed: u64, stream: u64, channels: usize, rows: usize, gain_uv_per_bit: f64) -> Vec<i16> {
    let draws = channels + channels / 4 + 1;
    // Colouring keeps the power of each part.
    let fresh = (1.0 - COLOUR * COLOUR).sqrt();
    let scale = core::f64::consts::FRAC_1_SQRT_2 / gain_uv_per_bit;
    let mut state: Vec<f64> = (0..draws).map(|i| normal(seed, stream, i as u64)).collect();
    let mut table = Vec::with_capacity(rows * channels);
    for row in 0..rows {
        for (i, value) in state.iter_mut().enumerate() {
            *value = COLOUR * *value + fresh * normal(seed, stream, ((row + 1) * draws + i) as u64);
        }
        table.extend((0..channels).map(|channel| {
            let parts =
                OWN_UV * state[channel] + TETRODE_UV * state[channels + channel / 4] + ARRAY_UV * state[draws - 1];
            (parts * scale).round() as i16
        }));
    }
    table
}
