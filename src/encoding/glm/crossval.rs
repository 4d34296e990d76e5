//! Cross-validation over sets, folds and units, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{ArrayView2, Axis, s};

use super::super::folds::Folds;
use super::super::moments::Moments;
use super::super::score::BlockScores;
use super::{Coefficients, Descent, Design, GlmSettings};

/// Units that one task fits together.
const UNITS_TOGETHER: usize = 64;

/// Held-out scores of every set and unit.
#[derive(Clone, Debug)]
pub struct CrossValidation {
    /// By set.
    pub sets: Vec<BlockScores>,
    /// Components of each set in each fold.
    pub components: Vec<Vec<usize>>,
    /// Fits that did not come to their minimum, of all.
    pub unfinished: usize,
    /// Fits: units × sets × folds.
    pub fits: usize,
}

/// Fits all units on the training folds.
pub fn fit_fold(
    settings: GlmSettings,
    design: &Design,
    counts: ArrayView2<'_, f32>,
    folds: &Folds,
    held_out: usize,
) -> (Coefficients, usize) {
    let training = |bin: usize| folds.fold(bin) != held_out;
    let mut descent = Descent::new(settings, design, counts, training);
    descent.run(design, counts, training);
    (descent.coefficients(), descent.unfinished())
}

/// Scores the held-out bins of a fold into `scores`, units from `first_unit` on.
pub fn score_fold(
    coefficients: &Coefficients,
    design: &Design,
    counts: ArrayView2<'_, f32>,
    folds: &Folds,
    held_out: usize,
    first_unit: usize,
    scores: &mut BlockScores,
) {
    let bins = design.bins().min(counts.nrows());
    let means = training_means(design, counts, folds, held_out);
    for block in (held_out..folds.blocks(bins)).step_by(folds.count) {
        score_block(coefficients, design, counts, folds, block, &means, first_unit, scores);
    }
}

/// Scores one held-out block against the units' training `means`.
#[expect(clippy::too_many_arguments, reason = "one argument for each thing that a score depends on")]
pub fn score_block(
    coefficients: &Coefficients,
    design: &Design,
    counts: ArrayView2<'_, f32>,
    folds: &Folds,
    block: usize,
    means: &[f64],
    first_unit: usize,
    scores: &mut BlockScores,
) {
    let range = folds.range(block, design.bins().min(counts.nrows()));
    let range = range.start.max(design.first())..range.end;
    if range.is_empty() {
        return;
    }
    let log_rates = coefficients.log_rates(design, range.clone());
    let mut fresh = vec![[0.0_f64; 3]; means.len()];
    let mut seen = 0.0;
    for (bin, line) in range.zip(log_rates.rows()).filter(|(bin, _)| design.usable(*bin)) {
        seen += 1.0;
        for ((sums, (&log_rate, &count)), &mean) in fresh.iter_mut().zip(line.iter().zip(counts.row(bin))).zip(means) {
            let count = f64::from(count);
            sums[0] += count * (log_rate - mean.ln()) - (log_rate.exp() - mean);
            let own = if count > 0.0 { count * (count / mean).ln() } else { 0.0 };
            sums[1] += 2.0 * (own - (count - mean));
            sums[2] += count;
        }
    }
    for (unit, [gain, deviance_null, spikes]) in fresh.into_iter().enumerate() {
        scores.set(first_unit + unit, block, gain, deviance_null, spikes, seen);
    }
}

/// Mean count of each unit over the usable training bins; never zero.
fn training_means(design: &Design, counts: ArrayView2<'_, f32>, folds: &Folds, held_out: usize) -> Vec<f64> {
    let mut totals = vec![0.0_f64; counts.ncols()];
    let mut seen = 0.0;
    for bin in design.first()..design.bins().min(counts.nrows()) {
        if design.usable(bin) && folds.fold(bin) != held_out {
            totals.iter_mut().zip(counts.row(bin)).for_each(|(total, count)| *total += f64::from(*count));
            seen += 1.0;
        }
    }
    totals.iter().map(|total| total.max(0.5) / f64::max(seen, 1.0)).collect()
}

/// Cross-validated scores of `counts` (bins × units) on each of `sets` (bins × columns; NaN = unknown). `progress` hears
/// of fits done, of all.
pub fn score_sets(
    settings: GlmSettings,
    folds: &Folds,
    sets: &[ArrayView2<'_, f32>],
    counts: ArrayView2<'_, f32>,
    threads: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> CrossValidation {
    let units = counts.ncols();
    let blocks = folds.blocks(counts.nrows());
    let fits = sets.len() * folds.count * units;
    let moments: Vec<Moments> = sets.iter().map(|set| moments(*set, folds)).collect();
    let empty = CrossValidation {
        sets: vec![BlockScores::new(units, blocks); sets.len()],
        components: vec![vec![0; folds.count]; sets.len()],
        unfinished: 0,
        fits,
    };
    let out = Mutex::new((empty, 0));
    for_each_fold(threads, sets.len(), folds, &|set, fold| {
        let Some(basis) = moments[set].basis(fold, settings.variance_share) else { return };
        let design = Design::of(&basis, sets[set], settings.window_bins);
        for first in (0..units).step_by(UNITS_TOGETHER) {
            let some = counts.slice(s![.., first..(first + UNITS_TOGETHER).min(units)]);
            let (coefficients, unfinished) = fit_fold(settings, &design, some, folds, fold);
            let mut done = out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let (result, count) = &mut *done;
            score_fold(&coefficients, &design, some, folds, fold, first, &mut result.sets[set]);
            result.components[set][fold] = basis.components();
            result.unfinished += unfinished;
            *count += some.ncols();
            progress(*count, fits);
        }
    });
    out.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).0
}

/// Does the work of every set and held-out fold, set by set, on so many threads, this one among them.
pub fn for_each_fold(threads: usize, sets: usize, folds: &Folds, work: &(dyn Fn(usize, usize) + Sync)) {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= sets * folds.count {
                return;
            }
            work(task / folds.count, task % folds.count);
        }
    };
    std::thread::scope(|scope| {
        for index in 1..threads.max(1) {
            let named = std::thread::Builder::new().name(format!("encode-{index}"));
            // A thread that the system refuses is a core less, nothing else.
            named.spawn_scoped(scope, work).ok();
        }
        work();
    });
}

/// Threads that fits may take: one for each processor.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn moments(values: ArrayView2<'_, f32>, folds: &Folds) -> Moments {
    let mut moments = Moments::new(values.len_of(Axis(1)), folds.count);
    moments.extend(values, folds);
    moments
}
