//! A tetrode's units as Gaussians in its feature space: which unit a spike is of, and how units drift.

use super::linear::{FEATURES, Features, Moments, Projection, Square, cholesky, solve_lower};
use crate::spikes::{Snippet, TETRODE_CHANNELS, UnitId};

/// Units that one tetrode may have.
pub(super) const UNITS_MAX: usize = 24;
/// A unit's mean follows its spikes by this fraction of each: 500 spikes until a shift is mostly followed.
const DRIFT_STEP: f32 = 0.002;
/// Only spikes this certain move their unit.
const DRIFT_CONFIDENCE: f32 = 0.95;
/// Spikes over which a unit's mean waveform is averaged.
const WAVE_SPIKES: u64 = 300;
/// A second spike of one cell within this time is not possible.
const REFRACTORY_SECS: f64 = 0.0015;
/// A covariance is drawn towards the noise as if by so many more points.
pub(super) const COVARIANCE_PRIOR: f32 = 25.0;

/// One unit: shape, statistics and quality.
#[derive(Clone)]
pub(super) struct Unit {
    pub(super) id: UnitId,
    mean: Features,
    /// Where the mean was when the unit was made.
    origin: Features,
    factor: Square,
    log_weight: f32,
    pub(super) wave: Snippet,
    pub(super) count: u64,
    pub(super) violations: u64,
    pub(super) first_sample: u64,
    pub(super) last_sample: u64,
}

impl Unit {
    pub(super) fn new(id: UnitId, moments: &Moments, weight: f32, wave: Snippet) -> Self {
        let factor = cholesky(&moments.covariance(COVARIANCE_PRIOR));
        let log_det: f32 = (0..FEATURES).map(|i| factor[i][i].ln()).sum();
        let mean = moments.mean();
        Self {
            id,
            mean,
            origin: mean,
            factor,
            log_weight: weight.max(1e-4).ln() - log_det,
            wave,
            count: 0,
            violations: 0,
            first_sample: u64::MAX,
            last_sample: 0,
        }
    }

    /// Squared distance in the unit's own sigmas, and log likelihood (without the constant).
    pub(super) fn score(&self, x: &Features) -> (f32, f32) {
        let mut d: Features = std::array::from_fn(|i| x[i] - self.mean[i]);
        solve_lower(&self.factor, &mut d);
        let distance2: f32 = d.iter().map(|v| v * v).sum();
        (distance2, self.log_weight - 0.5 * distance2)
    }

    /// How far the unit has wandered since it was made, in noise sigmas.
    pub(super) fn drift(&self) -> f32 {
        super::linear::distance2(&self.mean, &self.origin).sqrt()
    }

    fn follow(&mut self, x: &Features) {
        for (mean, value) in self.mean.iter_mut().zip(x) {
            *mean += DRIFT_STEP * (value - *mean);
        }
    }

    fn note(&mut self, sample: u64, rate_hz: f64, snippet: &Snippet) {
        if self.count > 0 && sample.saturating_sub(self.last_sample) < (REFRACTORY_SECS * rate_hz) as u64 {
            self.violations += 1;
        }
        self.first_sample = self.first_sample.min(sample);
        self.last_sample = sample;
        self.count += 1;
        let step = 1.0 / self.count.min(WAVE_SPIKES) as f32;
        for (mean, wave) in self.wave.iter_mut().flatten().zip(snippet.iter().flatten()) {
            *mean += step * (wave - *mean);
        }
    }
}

/// What a spike was found to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) unit: UnitId,
    pub(super) confidence: f32,
}

/// Index and certainty of the best unit for `x`; `None` beyond the gate.
pub(super) fn best(units: &[Unit], x: &Features, gate2: f32) -> Option<(usize, f32)> {
    let mut scores = [0.0_f32; UNITS_MAX];
    let mut chosen: Option<(usize, f32)> = None;
    for (index, unit) in units.iter().enumerate() {
        let (distance2, score) = unit.score(x);
        scores[index] = score;
        if distance2 < gate2 && chosen.is_none_or(|(_, other)| score > other) {
            chosen = Some((index, score));
        }
    }
    let (index, top) = chosen?;
    let total: f32 = scores[..units.len()].iter().map(|s| (s - top).min(0.0).exp()).sum();
    Some((index, 1.0 / total))
}

/// A tetrode that has been learned.
pub(super) struct Model {
    pub(super) projection: Box<Projection>,
    /// One over the noise sigma of each channel when it was learned.
    pub(super) scale: [f32; TETRODE_CHANNELS],
    pub(super) units: Vec<Unit>,
    gate2: f32,
}

impl Model {
    pub(super) fn new(gate_sigma: f32) -> Self {
        Self {
            projection: Box::new([[0.0; super::window::WINDOW]; FEATURES]),
            scale: [0.0; TETRODE_CHANNELS],
            units: Vec::with_capacity(UNITS_MAX),
            gate2: gate_sigma * gate_sigma * FEATURES as f32,
        }
    }

    pub(super) fn features(&self, snippet: &Snippet) -> Features {
        super::linear::project(&self.projection, &super::window::aligned(snippet, &self.scale))
    }

    /// Gives a spike its unit and lets the unit follow it.
    pub(super) fn assign(&mut self, x: &Features, sample: u64, rate_hz: f64, snippet: &Snippet) -> Option<Verdict> {
        let (index, confidence) = best(&self.units, x, self.gate2)?;
        let unit = &mut self.units[index];
        if confidence >= DRIFT_CONFIDENCE {
            unit.follow(x);
        }
        unit.note(sample, rate_hz, snippet);
        Some(Verdict { unit: unit.id, confidence })
    }
}
