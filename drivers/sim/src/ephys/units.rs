//! Single units: where they sit, how their spikes look, when they fire.
//!
//! # Firing
//! A unit fires as an inhomogeneous Poisson process with a dead time of 2 ms. Its rate is a documented function of the
//! rat's movement ([`Tuning::rate_hz`]), so that every later analysis has a truth. Whether a spike falls into a given
//! millisecond is decided by a hash of (seed, unit, millisecond), not by state, so that blocks of any size give the same
//! train.

use mimicd_device::Span;

use crate::random::{between, normal, uniform};
use crate::scene::MovementFeatures;

/// Samples of a waveform; the trough stands at [`TROUGH`].
pub(crate) const WAVE_SAMPLES: usize = 48;
/// Where in the waveform the trough stands.
pub(crate) const TROUGH: usize = 14;
/// Shifts of a waveform by parts of a sample.
pub(crate) const SHIFTS: usize = 4;
/// Least time between spikes of a unit.
const DEAD_TIME: Span = Span::from_millis(2);
/// A spike is drawn, or not, once in this time.
pub(crate) const DRAW: Span = Span::from_millis(1);

/// What a unit's rate follows. `x` is the movement, `gain` the unit's own factor, `rate_hz` its base rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tuning {
    /// Nothing: a constant rate.
    Undriven,
    /// `rate × (0.3 + gain × speed / 0.2 m/s)`.
    Speed,
    /// `rate × (0.2 + gain × logistic((head height − 0.08 m) / 0.015 m) × 2)`: fires when the rat rears.
    HeadHeight,
    /// `rate × (0.3 + gain × max(0, ± heading rate) / 1 rad/s)`: fires in turns to the left (`+`) or right (`−`).
    Turn {
        /// `true` = left.
        left: bool,
    },
    /// `rate × (0.3 + gain × clamp(paw height / 0.015 m, 0, 2))`: fires in the swing of the right forepaw.
    Paw,
}

impl Tuning {
    /// Rate of a unit with base `rate_hz` and `gain` at `movement`; never above 150 Hz.
    pub fn rate_hz(self, rate_hz: f64, gain: f64, movement: &MovementFeatures) -> f64 {
        let factor = match self {
            Self::Undriven => 1.0,
            Self::Speed => 0.3 + gain * movement.speed_m_per_s / 0.2,
            Self::HeadHeight => 0.2 + gain * 2.0 / (1.0 + (-(movement.head_height_m - 0.08) / 0.015).exp()),
            Self::Turn { left } => {
                let sign = if left { 1.0 } else { -1.0 };
                0.3 + gain * (sign * movement.heading_rate_rad_per_s).max(0.0)
            }
            Self::Paw => 0.3 + gain * (movement.paw_height_m / 0.015).clamp(0.0, 2.0),
        };
        (rate_hz * factor).clamp(0.0, 150.0)
    }
}

/// One simulated unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Index on its array.
    pub unit: u16,
    /// Tetrode (four channels from `4 × tetrode` on).
    pub tetrode: u16,
    /// Rate at rest of what drives it.
    pub base_rate_hz: f64,
    /// Strength of the tuning.
    pub gain: f64,
    /// What drives it.
    pub tuning: Tuning,
    /// Depth of the trough on each channel of its tetrode.
    pub amplitudes_uv: [f64; 4],
    /// Waveforms for each shift: samples × 4 channels, in bits.
    pub(crate) waves: Vec<[[f32; 4]; WAVE_SAMPLES]>,
    last: Span,
}

impl Unit {
    pub(crate) fn new(seed: u64, stream: u64, unit: u16, tetrode: u16, rate_hz: f64, gain_uv_per_bit: f64) -> Self {
        let stream = stream + 100 + u64::from(unit);
        let largest = between(seed, stream, 1, 80.0, 350.0);
        let nearest = (uniform(seed, stream, 2) * 4.0) as usize % 4;
        let amplitudes_uv = std::array::from_fn(|channel| {
            let share = if channel == nearest { 1.0 } else { between(seed, stream, 3 + channel as u64, 0.2, 0.85) };
            largest * share
        });
        let tuning = match (uniform(seed, stream, 10) * 6.0) as usize {
            0 => Tuning::Undriven,
            1 => Tuning::Speed,
            2 => Tuning::HeadHeight,
            3 => Tuning::Turn { left: true },
            4 => Tuning::Turn { left: false },
            _ => Tuning::Paw,
        };
        let shape = Shape::new(seed, stream, rate_hz);
        let waves = (0..SHIFTS).map(|shift| shape.sampled(shift, amplitudes_uv, gain_uv_per_bit)).collect();
        Self {
            unit,
            tetrode,
            // Log-normal around the median of 6.4 Hz that was found in rats.
            base_rate_hz: (6.4 * (0.7 * normal(seed, stream, 11)).exp()).clamp(0.5, 40.0),
            gain: between(seed, stream, 12, 0.8, 2.0),
            tuning,
            amplitudes_uv,
            waves,
            last: Span::from_secs_f64(-1.0),
        }
    }

    /// Decides whether the unit fires in the draw interval `draw`; returns when.
    pub(crate) fn fire(&mut self, seed: u64, stream: u64, draw: u64, movement: &MovementFeatures) -> Option<Span> {
        let stream = stream + 10_000 + u64::from(self.unit);
        let rate_hz = self.tuning.rate_hz(self.base_rate_hz, self.gain, movement);
        let chance = 1.0 - (-rate_hz * DRAW.secs_f64()).exp();
        let dice = uniform(seed, stream, draw);
        if dice >= chance {
            return None;
        }
        // The dice that fell below the chance is itself uniform below it.
        let at = Span::from_nanos(draw as i64 * DRAW.nanos() + (dice / chance * DRAW.nanos() as f64) as i64);
        if at - self.last < DEAD_TIME {
            return None;
        }
        self.last = at;
        Some(at)
    }
}

/// A biphasic waveform: a sharp trough, then a slower positive wave; times in milliseconds.
struct Shape {
    trough_ms: f64,
    peak_after_ms: f64,
    peak_ms: f64,
    peak_share: f64,
    rate_hz: f64,
}

impl Shape {
    fn new(seed: u64, stream: u64, rate_hz: f64) -> Self {
        // Half of the units are narrow (interneurons), half wide.
        let wide = uniform(seed, stream, 20) < 0.5;
        let pick = |index, narrow: (f64, f64), broad: (f64, f64)| {
            let (low, high) = if wide { broad } else { narrow };
            between(seed, stream, index, low, high)
        };
        Self {
            trough_ms: pick(21, (0.07, 0.09), (0.10, 0.13)),
            peak_after_ms: pick(22, (0.22, 0.30), (0.38, 0.52)),
            peak_ms: pick(23, (0.12, 0.18), (0.18, 0.28)),
            peak_share: pick(24, (0.35, 0.6), (0.2, 0.45)),
            rate_hz,
        }
    }

    fn value(&self, ms: f64) -> f64 {
        let bump = |centre: f64, width: f64| (-0.5 * ((ms - centre) / width).powi(2)).exp();
        self.peak_share * bump(self.peak_after_ms, self.peak_ms) - bump(0.0, self.trough_ms)
    }

    fn sampled(&self, shift: usize, amplitudes_uv: [f64; 4], gain_uv_per_bit: f64) -> [[f32; 4]; WAVE_SAMPLES] {
        std::array::from_fn(|sample| {
            let place = sample as f64 - TROUGH as f64 - shift as f64 / SHIFTS as f64;
            let value = self.value(place * 1e3 / self.rate_hz);
            amplitudes_uv.map(|amplitude| (amplitude * value / gain_uv_per_bit) as f32)
        })
    }
}

/// The units of an array: one to three on some tetrodes, none on others.
pub(crate) fn place_units(
    seed: u64,
    stream: u64,
    tetrodes: usize,
    units: usize,
    rate_hz: f64,
    gain_uv_per_bit: f64,
) -> Vec<Unit> {
    let mut tetrode_of = Vec::with_capacity(units);
    let mut round = 0;
    while tetrode_of.len() < units && round < 64 {
        for tetrode in 0..tetrodes {
            let here = tetrode_of.iter().filter(|&&t| t == tetrode).count();
            let silent = uniform(seed, stream + 50, tetrode as u64) < 0.3;
            let chosen = uniform(seed, stream + 51, (round * tetrodes + tetrode) as u64) < 0.5;
            if tetrode_of.len() < units && !silent && chosen && here < 3 {
                tetrode_of.push(tetrode);
            }
        }
        round += 1;
    }
    tetrode_of.sort_unstable();
    let unit = |(unit, &tetrode): (usize, &usize)| {
        Unit::new(seed, stream, unit as u16, tetrode as u16, rate_hz, gain_uv_per_bit)
    };
    tetrode_of.iter().enumerate().map(unit).collect()
}
