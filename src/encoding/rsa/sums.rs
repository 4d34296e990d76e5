//! Running sums by condition and cell, and the cross-validated distances they give.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView2};

/// Sums of channel values for each condition, in cells that blocks are dealt to: `cells = groups × folds`, the fold of a
/// cell is `cell % folds`. Folds cross-validate distances; groups are parts of the data that can be compared with each
/// other.
#[derive(Clone, Debug)]
pub struct ConditionSums {
    conditions: usize,
    folds: usize,
    groups: usize,
    channels: usize,
    counts: Vec<f64>,
    sums: Vec<f64>,
    /// By condition and channel, about the first value of the channel.
    shift: Vec<f64>,
    totals: Vec<f64>,
    squares: Vec<f64>,
}

/// What distances are divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noise<'a> {
    /// Nothing: plain squared Euclidean distances.
    Identity,
    /// Each channel's variance within conditions, from all the data.
    Diagonal,
    /// A precision matrix, channels × channels.
    Precision(ArrayView2<'a, f64>),
}

/// Dissimilarities of conditions: the upper triangle, row after row; NaN where a pair was not seen often enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Rdm {
    /// Conditions.
    pub conditions: usize,
    /// K (K − 1) / 2 dissimilarities.
    pub values: Vec<f64>,
}

impl Rdm {
    /// The dissimilarity of two conditions; 0 of a condition with itself.
    pub fn at(&self, a: usize, b: usize) -> f64 {
        let (low, high) = (a.min(b), a.max(b));
        if low == high {
            return 0.0;
        }
        self.values[low * (2 * self.conditions - low - 1) / 2 + high - low - 1]
    }

    /// The RDM of some of the conditions, in the order of `keep`.
    #[must_use]
    pub fn select(&self, keep: &[usize]) -> Self {
        let pairs = keep.iter().enumerate().flat_map(|(at, a)| keep[at + 1..].iter().map(move |b| (*a, *b)));
        Self { conditions: keep.len(), values: pairs.map(|(a, b)| self.at(a, b)).collect() }
    }

    /// Plain squared Euclidean distances between rows, divided by their length: a representational model.
    pub fn of_rows(rows: ArrayView2<'_, f64>) -> Self {
        let count = rows.nrows();
        let distance = |a: usize, b: usize| {
            let squares = rows.row(a).into_iter().zip(rows.row(b)).map(|(x, y)| (x - y) * (x - y));
            squares.sum::<f64>() / rows.ncols() as f64
        };
        let values =
            (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).map(|(a, b)| distance(a, b)).collect();
        Self { conditions: count, values }
    }
}

impl ConditionSums {
    /// Empty sums.
    ///
    /// # Panics
    /// With fewer than two folds or no group.
    pub fn new(conditions: usize, folds: usize, groups: usize, channels: usize) -> Self {
        assert!(folds >= 2 && groups >= 1, "{folds} folds, {groups} groups; expected at least 2 and 1");
        Self {
            conditions,
            folds,
            groups,
            channels,
            counts: vec![0.0; conditions * folds * groups],
            sums: vec![0.0; conditions * folds * groups * channels],
            shift: Vec::new(),
            totals: vec![0.0; conditions * channels],
            squares: vec![0.0; conditions * channels],
        }
    }

    /// Parts of the data.
    pub const fn groups(&self) -> usize {
        self.groups
    }

    /// The same sums as if only these conditions had been seen, and only these channels varied.
    #[must_use]
    pub fn only(&self, conditions: &[usize], channels: &[usize]) -> Self {
        let mut out = Self::new(self.conditions, self.folds, self.groups, channels.len());
        let pick = |from: &[f64]| channels.iter().map(|channel| from[*channel]).collect::<Vec<_>>();
        out.shift = if self.shift.is_empty() { Vec::new() } else { pick(&self.shift) };
        let line = |row: usize, width: usize| row * width..(row + 1) * width;
        for &condition in conditions {
            for cell in line(condition, self.cells()) {
                out.counts[cell] = self.counts[cell];
                out.sums[line(cell, channels.len())].copy_from_slice(&pick(&self.sums[line(cell, self.channels)]));
            }
            let (own, all) = (line(condition, channels.len()), line(condition, self.channels));
            out.totals[own.clone()].copy_from_slice(&pick(&self.totals[all.clone()]));
            out.squares[own].copy_from_slice(&pick(&self.squares[all]));
        }
        out
    }

    /// Cells that blocks are dealt to in turn.
    pub const fn cells(&self) -> usize {
        self.folds * self.groups
    }

    /// Adds a bin of `condition` in a block; values that are not finite leave the bin out.
    pub fn push(&mut self, condition: usize, block: usize, values: impl Iterator<Item = f64> + Clone) {
        if condition >= self.conditions || !values.clone().all(f64::is_finite) {
            return;
        }
        if self.shift.is_empty() {
            self.shift = values.clone().collect();
        }
        let cell = condition * self.cells() + block % self.cells();
        self.counts[cell] += 1.0;
        let sums = &mut self.sums[cell * self.channels..(cell + 1) * self.channels];
        let own = condition * self.channels..(condition + 1) * self.channels;
        let spread = self.totals[own.clone()].iter_mut().zip(&mut self.squares[own]).zip(&self.shift);
        for ((value, sum), ((total, square), shift)) in values.zip(sums).zip(spread) {
            let centred = value - shift;
            *sum += centred;
            *total += centred;
            *square += centred * centred;
        }
    }

    /// Bins of each condition.
    pub fn counts(&self) -> Vec<f64> {
        self.counts.chunks(self.cells()).map(|cells| cells.iter().sum()).collect()
    }

    /// Conditions that were seen in every fold at least `bins` times in all.
    pub fn seen(&self, bins: f64) -> Vec<usize> {
        let in_fold = |condition: usize, fold: usize| {
            (0..self.groups).map(|group| self.counts[condition * self.cells() + group * self.folds + fold]).sum::<f64>()
        };
        let counts = self.counts();
        let enough = |c: &usize| counts[*c] >= bins && (0..self.folds).all(|fold| in_fold(*c, fold) > 0.0);
        (0..self.conditions).filter(enough).collect()
    }

    /// Mean of each condition's channels over everything: conditions × channels; NaN where it was not seen.
    pub fn means(&self) -> Array2<f64> {
        let counts = self.counts();
        Array2::from_shape_fn((self.conditions, self.channels), |(condition, channel)| {
            self.totals[condition * self.channels + channel] / counts[condition]
                + self.shift.get(channel).copied().unwrap_or(0.0)
        })
    }

    /// Variance of each condition's channels: conditions × channels.
    pub fn variances(&self) -> Array2<f64> {
        let counts = self.counts();
        Array2::from_shape_fn((self.conditions, self.channels), |(condition, channel)| {
            let at = condition * self.channels + channel;
            let mean = self.totals[at] / counts[condition];
            (self.squares[at] / counts[condition] - mean * mean).max(0.0)
        })
    }

    /// Variance of each channel within conditions.
    pub fn within(&self) -> Vec<f64> {
        let counts = self.counts();
        let bins: f64 = counts.iter().sum();
        let seen = counts.iter().filter(|count| **count > 0.0).count() as f64;
        (0..self.channels)
            .map(|channel| {
                let left = counts.iter().enumerate().filter(|(_, count)| **count > 0.0).map(|(condition, count)| {
                    let at = condition * self.channels + channel;
                    self.squares[at] - self.totals[at] * self.totals[at] / count
                });
                left.sum::<f64>() / (bins - seen)
            })
            .collect()
    }

    /// Cross-validated squared distances over all groups.
    pub fn rdm(&self, noise: Noise<'_>) -> Rdm {
        self.distances(0..self.groups, noise)
    }

    /// Cross-validated squared distances within one group of blocks.
    pub fn group_rdm(&self, group: usize, noise: Noise<'_>) -> Rdm {
        self.distances(group..group + 1, noise)
    }

    fn distances(&self, groups: std::ops::Range<usize>, noise: Noise<'_>) -> Rdm {
        let weights: Option<Cow<'_, [f64]>> = match noise {
            Noise::Identity => Some(vec![1.0; self.channels].into()),
            Noise::Diagonal => {
                let usable = |v: f64| if v > 1e-18 && v.is_finite() { 1.0 / v } else { 0.0 };
                Some(self.within().into_iter().map(usable).collect::<Vec<_>>().into())
            }
            Noise::Precision(_) => None,
        };
        let pairs = self.conditions * self.conditions.saturating_sub(1) / 2;
        let (mut sums, mut folds) = (vec![0.0; pairs], vec![0.0; pairs]);
        for fold in 0..self.folds {
            let (test, seen) = self.fold_means(groups.clone(), |f| f == fold);
            let (train, trained) = self.fold_means(groups.clone(), |f| f != fold);
            let weighted = match (&weights, noise) {
                (Some(weights), _) => &train * &ndarray::ArrayView1::from(weights.as_ref()),
                (None, Noise::Precision(matrix)) => train.dot(&matrix),
                (None, _) => continue,
            };
            let kernel = weighted.dot(&test.t());
            let known = |c: usize| seen[c] && trained[c];
            let mut at = 0;
            for a in 0..self.conditions {
                for b in a + 1..self.conditions {
                    if known(a) && known(b) {
                        sums[at] += kernel[[a, a]] + kernel[[b, b]] - kernel[[a, b]] - kernel[[b, a]];
                        folds[at] += 1.0;
                    }
                    at += 1;
                }
            }
        }
        // A channel that never varies, as a unit that is not there yet, says nothing and does not count.
        let channels = match (&weights, noise) {
            (Some(weights), Noise::Diagonal) => weights.iter().filter(|weight| **weight > 0.0).count(),
            _ => self.channels,
        };
        let value = |(sum, folds): (&f64, &f64)| sum / (folds * channels as f64);
        Rdm { conditions: self.conditions, values: sums.iter().zip(&folds).map(value).collect() }
    }

    /// Means over the folds that `wanted` chooses, and which conditions were seen there.
    fn fold_means(&self, groups: std::ops::Range<usize>, wanted: impl Fn(usize) -> bool) -> (Array2<f64>, Vec<bool>) {
        let mut means = Array2::zeros((self.conditions, self.channels));
        let mut seen = vec![false; self.conditions];
        for condition in 0..self.conditions {
            let cells = groups.clone().flat_map(|group| (0..self.folds).map(move |fold| (group, fold)));
            let mut count = 0.0;
            for (group, fold) in cells.filter(|(_, fold)| wanted(*fold)) {
                let cell = condition * self.cells() + group * self.folds + fold;
                count += self.counts[cell];
                let sums = &self.sums[cell * self.channels..(cell + 1) * self.channels];
                means.row_mut(condition).iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum);
            }
            if count > 0.0 {
                seen[condition] = true;
                means.row_mut(condition).mapv_inplace(|sum| sum / count);
            }
        }
        (means, seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing::Dice;

    fn noisy(signal: f64, seed: u64) -> ConditionSums {
        let mut dice = Dice::new(seed);
        let mut sums = ConditionSums::new(3, 5, 2, 8);
        for bin in 0..6_000 {
            let condition = dice.below(3);
            let values: Vec<f64> = (0..8).map(|c| 50.0 + signal * f64::from(c == condition) + dice.normal()).collect();
            sums.push(condition, bin / 20, values.into_iter());
        }
        sums
    }

    #[test]
    fn noise_alone_is_at_no_distance_on_average() {
        let all: Vec<f64> = (0..40).flat_map(|seed| noisy(0.0, seed).rdm(Noise::Diagonal).values).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let spread = (all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt();
        assert!(mean.abs() < 3.0 * spread / (all.len() as f64).sqrt(), "mean {mean}, spread {spread}");
        assert!(all.iter().any(|value| *value < 0.0), "unbiased distances fall below zero too");
    }

    #[test]
    fn a_known_distance_is_found() {
        let rdm = noisy(2.0, 1).rdm(Noise::Identity);
        assert!(rdm.values.iter().all(|value| (value - 2.0 * 4.0 / 8.0).abs() < 0.1), "{rdm:?}");
        assert_eq!(rdm.select(&[2, 0]).values[0], rdm.at(0, 2));
    }

    #[test]
    fn sums_without_a_condition_and_a_channel_are_those_that_never_saw_them() {
        let mut dice = Dice::new(6);
        let (mut all, mut fewer) = (ConditionSums::new(3, 5, 2, 4), ConditionSums::new(3, 5, 2, 2));
        for bin in 0..3_000 {
            let condition = dice.below(3);
            let values: Vec<f64> = (0..4).map(|c| f64::from(c == condition) + dice.normal()).collect();
            all.push(condition, bin / 20, values.iter().copied());
            if condition != 1 {
                fewer.push(condition, bin / 20, [values[3], values[0]].into_iter());
            }
        }
        let (only, seen) = (all.only(&[0, 2], &[3, 0]).rdm(Noise::Diagonal), fewer.rdm(Noise::Diagonal));
        assert!(only.at(0, 1).is_nan() && (only.at(0, 2) - seen.at(0, 2)).abs() < 1e-12, "{only:?} {seen:?}");
    }

    #[test]
    fn bins_that_are_not_finite_are_left_out() {
        let mut sums = noisy(1.0, 2);
        let before = sums.rdm(Noise::Diagonal);
        sums.push(0, 0, [f64::NAN; 8].into_iter());
        sums.push(99, 0, [0.0; 8].into_iter());
        assert_eq!(before, sums.rdm(Noise::Diagonal));
    }
}
