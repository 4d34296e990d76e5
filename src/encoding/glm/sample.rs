//! A part of the training bins that curvatures are estimated from.
//!
//! Movement has heavy tails: one reset or slip of the registration lies a hundred deviations out, and alone makes most of the
//! curvature in its direction. The bins farthest out are therefore all taken, each counting as the one bin that it is; the
//! rest are taken at even spacing and count for those between them.

use ndarray::{Array2, Axis, s};

use super::design::Design;

/// Larger log rates are cut: a rate of e²⁰ spikes a bin only means that a step went too far.
pub(super) const LOG_RATE_MAX: f64 = 20.0;

/// How many bins are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSize {
    /// For each regressor.
    pub per_regressor: usize,
    /// At least.
    pub min: usize,
}

impl SampleSize {
    /// For fits that come to their minimum.
    pub const EXACT: Self = Self { per_regressor: 24, min: 4_000 };
    /// For fits that go a few steps at a time.
    pub const QUICK: Self = Self { per_regressor: 6, min: 400 };
}

/// Regressors and a one, at some training bins.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    rows: Array2<f64>,
    /// Share of the training bins that each row stands for.
    shares: Vec<f64>,
}

impl Sample {
    pub(super) fn of(design: &Design, bins: usize, training: impl Fn(usize) -> bool, size: SampleSize) -> Self {
        let usable: Vec<usize> = (design.first()..bins).filter(|bin| design.usable(*bin) && training(*bin)).collect();
        let (all, width) = (usable.len(), design.width());
        let wanted = (size.per_regressor * width).max(size.min).min(all);
        let far = if wanted < all { width.min(wanted / 2) } else { 0 };
        let (far, rest) = farthest(design, usable, far);
        let spaced = wanted - far.len();
        let chosen = far.iter().copied().chain((0..spaced).map(|at| rest[at * rest.len() / spaced]));
        let mut rows = Array2::ones((wanted, width + 1));
        for (mut line, bin) in rows.rows_mut().into_iter().zip(chosen) {
            line.slice_mut(s![..width]).iter_mut().zip(design.row(bin)).for_each(|(to, from)| *to = *from);
        }
        let one = 1.0 / all.max(1) as f64;
        let mut shares = vec![one; far.len()];
        shares.resize(wanted, one * rest.len() as f64 / spaced.max(1) as f64);
        Self { rows, shares }
    }

    /// Mean outer product of regressors and a one, row after row.
    pub(super) fn outer(&self) -> Vec<f64> {
        self.weighted(&self.shares)
    }

    /// Begins the mean of rate × outer product at these weights (the intercept last).
    pub(super) fn begin_curvature(&self, at: &[f64]) -> Growing {
        let log_rates = self.rows.dot(&ndarray::ArrayView1::from(at));
        let rates =
            log_rates.iter().zip(&self.shares).map(|(log_rate, share)| log_rate.min(LOG_RATE_MAX).exp() * share);
        Growing { weights: rates.collect(), done: 0, sum: Array2::zeros((at.len(), at.len())) }
    }

    fn weighted(&self, weights: &[f64]) -> Vec<f64> {
        let weighted = &self.rows * &ndarray::ArrayView1::from(weights).insert_axis(Axis(1));
        self.rows.t().dot(&weighted).iter().copied().collect()
    }
}

/// A curvature on its way: it takes longer than a piece of live work may.
#[derive(Clone, Debug)]
pub(super) struct Growing {
    weights: Vec<f64>,
    done: usize,
    sum: Array2<f64>,
}

impl Growing {
    /// Takes in up to `rows` more of the sample's bins; the whole, row after row, once all are in.
    pub(super) fn grow(&mut self, sample: &Sample, rows: usize) -> Option<Vec<f64>> {
        let end = self.done.saturating_add(rows).min(self.weights.len());
        let part = sample.rows.slice(s![self.done..end, ..]);
        let weighted = &part * &ndarray::ArrayView1::from(&self.weights[self.done..end]).insert_axis(Axis(1));
        ndarray::linalg::general_mat_mul(1.0, &part.t(), &weighted, 1.0, &mut self.sum);
        self.done = end;
        (end == self.weights.len()).then(|| self.sum.iter().copied().collect())
    }
}

/// The `count` bins whose regressors are largest, and the others in order.
fn farthest(design: &Design, usable: Vec<usize>, count: usize) -> (Vec<usize>, Vec<usize>) {
    if count == 0 {
        return (Vec::new(), usable);
    }
    let energies = design.energies();
    let mut order: Vec<f64> = usable.iter().map(|bin| energies[*bin]).collect();
    let least = order.len() - count;
    let (_, least, _) = order.select_nth_unstable_by(least, f64::total_cmp);
    let least = *least;
    usable.into_iter().partition(|bin| energies[*bin] >= least)
}

#[cfg(test)]
mod tests {
    use super::super::super::moments::Moments;
    use super::super::super::testing::Dice;
    use super::*;

    fn whole(sample: &Sample, at: &[f64]) -> Vec<f64> {
        sample.begin_curvature(at).grow(sample, usize::MAX).expect("all rows at once")
    }

    #[test]
    fn a_part_of_the_bins_gives_the_curvature_of_all_and_misses_no_outlier() {
        let mut dice = Dice::new(3);
        let mut features = dice.smooth(20_000, 4, 0.8);
        // Between the evenly spaced ones.
        features[[7_777, 2]] = 100.0;
        let mut moments = Moments::new(4, 5);
        moments.extend(features.view(), &super::super::super::folds::Folds::new(200, 5));
        let design = Design::of(&moments.basis(0, 1.0).expect("features vary"), features.view(), 3);
        let size = SampleSize { per_regressor: 100, min: 1 };
        let part = Sample::of(&design, 20_000, |_| true, size);
        let all = Sample::of(&design, 20_000, |_| true, SampleSize { min: 20_000, ..size });
        assert_eq!((part.rows.nrows(), all.rows.nrows()), (1_200, 19_998));
        let at: Vec<f64> = (0..13).map(|i| if i == 12 { -1.0 } else { 0.05 * f64::from(i % 5) - 0.1 }).collect();
        for (part, all) in [(part.outer(), all.outer()), (whole(&part, &at), whole(&all, &at))] {
            let far = part.iter().zip(&all).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let size = all.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
            assert!(far < 0.1 * size, "{far} of {size}");
        }
        let mut growing = part.begin_curvature(&at);
        let pieces: Vec<_> = std::iter::repeat_with(|| growing.grow(&part, 500)).take(3).collect();
        assert!(pieces[..2].iter().all(Option::is_none));
        let (pieced, whole) = (pieces[2].as_ref().expect("1,200 rows are three pieces"), whole(&part, &at));
        assert!(pieced.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-12 * b.abs().max(1.0)));
    }
}
