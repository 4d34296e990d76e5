//! Fitting many units at once: a pass over the bins, then a proximal Newton step for each unit.
//!
//! A pass may come in pieces ([`Descent::add`]), so that live fitting can spread it over time.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::GlmSettings;
use super::design::Design;
use super::quadratic::Quadratic;
use super::sample::{Growing, LOG_RATE_MAX, Sample, SampleSize};

/// Bins of one matrix product.
const CHUNK: usize = 1_024;
/// Predictions are cut at 55 spikes a bin, which no unit fires in 20 ms: features beyond all that training saw (a reset, a
/// glitch) must not let one bin decide a score.
const PREDICTED_LOG_RATE_MAX: f64 = 4.0;

/// What was fitted.
#[derive(Clone, Debug)]
pub struct Coefficients {
    /// Regressors × units.
    pub weights: Array2<f64>,
    /// One for each unit: log of spikes a bin.
    pub intercepts: Array1<f64>,
}

impl Coefficients {
    /// Each unit's mean rate over the training bins, whatever the regressors.
    pub fn constant(design: &Design, counts: ArrayView2<'_, f32>, training: impl Fn(usize) -> bool) -> Self {
        let bins = design.bins().min(counts.nrows());
        let mut totals = Array1::<f64>::zeros(counts.ncols());
        let mut seen = 0.0;
        for bin in (design.first()..bins).filter(|bin| design.usable(*bin) && training(*bin)) {
            totals.iter_mut().zip(counts.row(bin)).for_each(|(total, count)| *total += f64::from(*count));
            seen += 1.0;
        }
        // A unit that never fired in training has a rate below one spike in all of it.
        let intercepts = totals.mapv(|total| (total.max(0.5) / f64::max(seen, 1.0)).ln());
        Self { weights: Array2::zeros((design.width(), counts.ncols())), intercepts }
    }

    /// Log rate of every unit in bins: bins × units.
    pub fn log_rates(&self, design: &Design, bins: Range<usize>) -> Array2<f64> {
        let mut out = design.rows(bins).dot(&self.weights);
        out += &self.intercepts;
        out.mapv_inplace(|value| value.min(PREDICTED_LOG_RATE_MAX));
        out
    }
}

/// One unit on its way.
#[derive(Clone, Debug)]
struct Unit {
    /// Best point so far, the intercept last.
    best: Vec<f64>,
    /// Slope of the mean loss there.
    gradient: Vec<f64>,
    value: f64,
    /// Mean rate there, spikes a bin.
    rate: f64,
    damping: f64,
    done: bool,
    /// Own curvature, once it was estimated.
    curvature: Option<Vec<f64>>,
    /// Whether it was estimated at another point than the best one.
    stale: bool,
}

/// A fit of all units of a fold on its way.
#[derive(Clone, Debug)]
pub struct Descent {
    settings: GlmSettings,
    units: Vec<Unit>,
    at: Coefficients,
    active: Vec<usize>,
    passes: usize,
    /// Active units whose turn at the end of the running pass is over.
    ending: usize,
    /// Curvature of the next of them, where it needs a new one.
    growing: Option<Growing>,
    /// Mean count of each unit over the training bins of the first pass.
    means: Vec<f64>,
    /// Of the running pass.
    sums: Sums,
    sample: Sample,
    /// Mean outer product of regressors and a one: the curvature, but for the rate, while rates are constant.
    shared: Vec<f64>,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    bins: f64,
    loss: Vec<f64>,
    rate: Vec<f64>,
    count: Vec<f64>,
    gradient: Array2<f64>,
    intercept: Vec<f64>,
    weights: Array2<f64>,
    intercepts: Array1<f64>,
}

impl Descent {
    /// A fit that begins at constant rates; `training` says which bins it may look at.
    pub fn new(
        settings: GlmSettings,
        design: &Design,
        counts: ArrayView2<'_, f32>,
        training: impl Fn(usize) -> bool + Copy,
    ) -> Self {
        let at = Coefficients::constant(design, counts, training);
        let bins = design.bins().min(counts.nrows());
        let sample = Sample::of(design, bins, training, SampleSize::EXACT);
        let shared = sample.outer();
        Self::begun(settings, at, sample, shared)
    }

    /// A fit that begins at `at`; `size` says how many bins a curvature is estimated from: more take longer and need fewer
    /// passes.
    pub fn warm(
        settings: GlmSettings,
        design: &Design,
        bins: usize,
        training: impl Fn(usize) -> bool + Copy,
        size: SampleSize,
        at: Coefficients,
    ) -> Self {
        Self::begun(settings, at, Sample::of(design, bins, training, size), Vec::new())
    }

    /// Without a `shared` curvature every unit estimates its own from the first pass on.
    fn begun(settings: GlmSettings, at: Coefficients, sample: Sample, shared: Vec<f64>) -> Self {
        let width = at.weights.nrows() + 1;
        let fresh = Unit {
            best: vec![0.0; width],
            gradient: vec![0.0; width],
            value: f64::INFINITY,
            rate: 0.0,
            damping: 0.0,
            done: false,
            curvature: None,
            stale: false,
        };
        let units = at.intercepts.len();
        let mut descent = Self {
            settings,
            units: vec![fresh; units],
            at,
            active: (0..units).collect(),
            passes: 0,
            ending: 0,
            growing: None,
            means: vec![f64::NAN; units],
            sums: Sums::default(),
            sample,
            shared,
        };
        descent.begin();
        descent
    }

    /// Whether every unit has come to its minimum, or passes ran out.
    pub fn done(&self) -> bool {
        self.active.is_empty() || self.passes >= self.settings.passes_max
    }

    /// Units that are not at their minimum to the tolerance.
    pub fn unfinished(&self) -> usize {
        self.active.len()
    }

    /// Passes made.
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// The best point so far.
    pub fn coefficients(&self) -> Coefficients {
        let mut out = self.at.clone();
        for (index, unit) in self.units.iter().enumerate().filter(|(_, unit)| unit.value.is_finite()) {
            let (intercept, weights) = unit.best.split_last().expect("an intercept");
            out.weights.column_mut(index).iter_mut().zip(weights).for_each(|(out, w)| *out = *w);
            out.intercepts[index] = *intercept;
        }
        out
    }

    /// Runs passes over all of `bins` until done.
    pub fn run(&mut self, design: &Design, counts: ArrayView2<'_, f32>, training: impl Fn(usize) -> bool + Copy) {
        let bins = design.bins().min(counts.nrows());
        while !self.done() {
            self.add(design, counts, design.first()..bins, training);
            self.end();
        }
    }

    fn begin(&mut self) {
        let width = self.at.weights.nrows();
        self.sums = Sums {
            bins: 0.0,
            loss: vec![0.0; self.active.len()],
            rate: vec![0.0; self.active.len()],
            count: vec![0.0; self.active.len()],
            gradient: Array2::zeros((width, self.active.len())),
            intercept: vec![0.0; self.active.len()],
            weights: self.at.weights.select(Axis(1), &self.active),
            intercepts: self.at.intercepts.select(Axis(0), &self.active),
        };
    }

    /// Takes the training bins among `bins` into the running pass.
    pub fn add(
        &mut self,
        design: &Design,
        counts: ArrayView2<'_, f32>,
        bins: Range<usize>,
        training: impl Fn(usize) -> bool + Copy,
    ) {
        let mut first = bins.start.max(design.first());
        while first < bins.end {
            let end = (first + CHUNK).min(bins.end);
            let rows = design.rows(first..end);
            let mut rates = rows.dot(&self.sums.weights);
            for (offset, mut line) in rates.rows_mut().into_iter().enumerate() {
                let bin = first + offset;
                if !(design.usable(bin) && training(bin)) {
                    line.fill(0.0);
                    continue;
                }
                self.sums.bins += 1.0;
                let counts = counts.row(bin);
                for (slot, value) in line.iter_mut().enumerate() {
                    let count = f64::from(counts[self.active[slot]]);
                    let log_rate = (*value + self.sums.intercepts[slot]).min(LOG_RATE_MAX);
                    let rate = log_rate.exp();
                    self.sums.loss[slot] += rate - count * log_rate;
                    self.sums.rate[slot] += rate;
                    self.sums.count[slot] += count;
                    *value = rate - count;
                    self.sums.intercept[slot] += *value;
                }
            }
            ndarray::linalg::general_mat_mul(1.0, &rows.t(), &rates, 1.0, &mut self.sums.gradient);
            first = end;
        }
    }

    /// Ends a pass: takes or refuses each unit's last step and makes its next.
    pub fn end(&mut self) {
        while !self.end_piece(usize::MAX) {}
    }

    /// A piece of [`end`](Self::end): one unit's step, or at most `rows` rows of the curvature that it needs; returns whether
    /// all units have had their turn.
    pub fn end_piece(&mut self, rows: usize) -> bool {
        let Some(&index) = self.active.get(self.ending) else { return self.turn_over() };
        if self.growing.is_none() {
            self.passes += usize::from(self.ending == 0);
            if self.settle(self.ending, index) {
                self.ending += 1;
                return self.turn_over();
            }
            if self.wants_curvature(index) {
                self.growing = Some(self.sample.begin_curvature(&self.units[index].best));
                return false;
            }
        }
        if let Some(growing) = &mut self.growing {
            let Some(curvature) = growing.grow(&self.sample, rows) else { return false };
            let unit = &mut self.units[index];
            (unit.curvature, unit.stale, self.growing) = (Some(curvature), false, None);
        }
        self.step(index);
        self.ending += 1;
        self.turn_over()
    }

    /// Begins the next pass if all units have had their turn.
    fn turn_over(&mut self) -> bool {
        if self.ending < self.active.len() {
            return false;
        }
        self.passes += usize::from(self.active.is_empty());
        self.ending = 0;
        self.active.retain(|index| !self.units[*index].done);
        self.begin();
        true
    }

    /// Judges a unit's last step; whether its next needs no work: because it is done, or begins anew at a constant rate.
    fn settle(&mut self, slot: usize, index: usize) -> bool {
        let bins = self.sums.bins.max(1.0);
        if self.passes == 1 {
            self.means[index] = self.sums.count[slot].max(0.5) / bins;
            if self.is_lost(slot, index, bins) {
                self.at.weights.column_mut(index).fill(0.0);
                self.at.intercepts[index] = self.means[index].ln();
                return true;
            }
        }
        self.judge(slot, index, bins);
        self.units[index].done
    }

    /// Mean count of each unit over the training bins; known after the first pass. A unit that never fired counts half a
    /// spike.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// Whether a unit begins worse than a constant rate would: then it begins there instead. Weights from other data may
    /// say anything about these, and a Newton step takes back no more than a factor of e of a rate.
    fn is_lost(&self, slot: usize, index: usize, bins: f64) -> bool {
        let (mean, value) = (self.means[index], self.sums.loss[slot] / bins);
        !(value <= mean - mean * mean.ln() + 1e-9)
    }

    fn judge(&mut self, slot: usize, index: usize, bins: f64) {
        let settings = self.settings;
        let sums = &self.sums;
        let weights = sums.weights.column(slot);
        let (l1, l2) = (settings.strength * settings.mixing, settings.strength * (1.0 - settings.mixing));
        let penalty: f64 = weights.iter().map(|w| l1 * w.abs() + 0.5 * l2 * w * w).sum();
        let value = sums.loss[slot] / bins + penalty;
        let unit = &mut self.units[index];
        if value > unit.value + 1e-12 * unit.value.abs().max(1.0) || !value.is_finite() {
            // A step from a curvature of elsewhere says little: the next is made from the one at the best point.
            match unit.stale {
                true => unit.curvature = None,
                false => unit.damping = (unit.damping * 2.0).max(0.5),
            }
            return;
        }
        unit.stale = true;
        unit.damping = if unit.damping < 0.05 { 0.0 } else { unit.damping * 0.3 };
        unit.value = value;
        unit.rate = sums.rate[slot] / bins;
        unit.best.clear();
        unit.best.extend(weights.iter().copied().chain([sums.intercepts[slot]]));
        unit.gradient.clear();
        let slope = sums.gradient.column(slot);
        unit.gradient.extend(slope.iter().map(|g| g / bins).chain([sums.intercept[slot] / bins]));
        let last = unit.best.len() - 1;
        let largest =
            unit.best.iter().zip(&unit.gradient).enumerate().map(|(j, (&w, &g))| match (j == last, w == 0.0) {
                (true, _) => g.abs(),
                (_, true) => (g.abs() - l1).max(0.0),
                _ => (g + l2 * w + l1 * w.signum()).abs(),
            });
        unit.done = largest.fold(0.0, f64::max) <= settings.tolerance;
    }

    fn wants_curvature(&self, index: usize) -> bool {
        let is_warm = self.shared.is_empty();
        let constant = self.passes == 1 && !is_warm;
        // The shared curvature is that of constant rates, which are far behind after the first step. A fit that begins warm
        // has its own from near its minimum.
        let refresh = matches!(self.passes, 5 | 10 | 20 | 40) || (self.passes == 2 && !is_warm);
        !constant && (refresh || self.units[index].curvature.is_none())
    }

    fn step(&mut self, index: usize) {
        let settings = self.settings;
        let unit = &self.units[index];
        let scaled: Vec<f64>;
        let curvature = match &unit.curvature {
            Some(own) => own.as_slice(),
            None => {
                scaled = self.shared.iter().map(|value| value * unit.rate).collect();
                &scaled
            }
        };
        let next = Quadratic {
            at: &unit.best,
            gradient: &unit.gradient,
            curvature,
            damping: unit.damping,
            l1: settings.strength * settings.mixing,
            l2: settings.strength * (1.0 - settings.mixing),
        }
        .minimise();
        let (intercept, weights) = next.split_last().expect("an intercept");
        self.at.weights.column_mut(index).iter_mut().zip(weights).for_each(|(at, w)| *at = *w);
        self.at.intercepts[index] = *intercept;
    }
}
