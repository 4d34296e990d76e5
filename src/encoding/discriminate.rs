//! Telling behaviours apart from a vector a bin: shrunk linear discriminants, cross-validated over blocks.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use ndarray::ArrayView2;

use super::folds::Folds;
use super::score::Estimate;

/// Weight of the pooled covariance's own diagonal: enough that features as many as bins of a bout do no harm.
const SHRINKAGE: f64 = 0.1;

/// Which of `classes` each held-out bin looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct Discrimination {
    /// True class (row) against the class it was taken for (column), in bins.
    pub confusion: Vec<Vec<f64>>,
    /// Mean over classes of the share that was recognised, with its interval over folds.
    pub balanced_accuracy: Estimate,
    /// What guessing reaches: 1 / classes.
    pub chance: f64,
}

/// Discriminants of one training set.
struct Discriminants {
    means: Vec<Option<DVector<f64>>>,
    covariance: Cholesky<f64, Dyn>,
}

impl Discriminants {
    fn fit(
        rows: ArrayView2<'_, f32>,
        labels: &[Option<usize>],
        classes: usize,
        wanted: impl Fn(usize) -> bool,
    ) -> Option<Self> {
        let width = rows.ncols();
        let training: Vec<(usize, usize)> = labels
            .iter()
            .enumerate()
            .filter(|(bin, _)| wanted(*bin))
            .filter_map(|(bin, l)| l.map(|l| (bin, l)))
            .collect();
        let mut sums = vec![(DVector::<f64>::zeros(width), 0.0); classes];
        for &(bin, label) in &training {
            sums[label].1 += 1.0;
            sums[label].0.iter_mut().zip(rows.row(bin)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let means: Vec<Option<DVector<f64>>> =
            sums.into_iter().map(|(sum, count)| (count > 0.0).then(|| sum / count)).collect();
        let mut covariance = DMatrix::<f64>::zeros(width, width);
        let mut centred = DVector::zeros(width);
        for &(bin, label) in &training {
            let mean = means[label].as_ref()?;
            centred.iter_mut().zip(rows.row(bin)).zip(mean.iter()).for_each(|((c, v), m)| *c = f64::from(*v) - m);
            covariance.syger(1.0, &centred, &centred, 1.0);
        }
        covariance /= training.len().max(1) as f64;
        covariance.fill_upper_triangle_with_lower_triangle();
        let diagonal = covariance.diagonal();
        let floor = diagonal.mean().max(1e-12) * 1e-6;
        covariance *= 1.0 - SHRINKAGE;
        for (at, own) in diagonal.iter().enumerate() {
            covariance[(at, at)] += SHRINKAGE * own + floor;
        }
        Some(Self { means, covariance: covariance.cholesky()? })
    }

    /// For each class its direction and offset; the class with the largest `direction · x + offset` wins.
    fn rules(&self) -> Vec<Option<(DVector<f64>, f64)>> {
        let rule = |mean: &DVector<f64>| {
            let direction = self.covariance.solve(mean);
            let offset = -0.5 * direction.dot(mean);
            (direction, offset)
        };
        self.means.iter().map(|mean| mean.as_ref().map(rule)).collect()
    }
}

/// Cross-validated discrimination of `labels` (below `classes`; `None` = not counted) from `rows`, one row a bin. `None`
/// where there are fewer than two classes or too little data for every fold.
pub fn discriminate(
    rows: ArrayView2<'_, f32>,
    labels: &[Option<usize>],
    classes: usize,
    folds: &Folds,
) -> Option<Discrimination> {
    let finite = |bin: usize| rows.row(bin).iter().all(|value| value.is_finite());
    let labels: Vec<Option<usize>> =
        labels.iter().enumerate().map(|(bin, label)| label.filter(|l| *l < classes && finite(bin))).collect();
    let mut confusion = vec![vec![0.0; classes]; classes];
    let mut by_fold = Vec::new();
    for fold in 0..folds.count {
        let rules = Discriminants::fit(rows, &labels, classes, |bin| folds.fold(bin) != fold)?.rules();
        let mut own = vec![vec![0.0; classes]; classes];
        for (bin, label) in labels.iter().enumerate().filter(|(bin, _)| folds.fold(*bin) == fold) {
            let Some(label) = label else { continue };
            let value = |(direction, offset): &(DVector<f64>, f64)| {
                direction.iter().zip(rows.row(bin)).map(|(d, x)| d * f64::from(*x)).sum::<f64>() + offset
            };
            let best =
                rules.iter().enumerate().filter_map(|(class, rule)| rule.as_ref().map(|rule| (class, value(rule))));
            let best = best.max_by(|a, b| a.1.total_cmp(&b.1))?.0;
            own[*label][best] += 1.0;
        }
        by_fold.extend(balanced(&own));
        confusion.iter_mut().flatten().zip(own.iter().flatten()).for_each(|(sum, own)| *sum += own);
    }
    let seen = confusion.iter().filter(|row| row.iter().sum::<f64>() > 0.0).count();
    if seen < 2 {
        return None;
    }
    let spread = Estimate::mean(&by_fold);
    let value = balanced(&confusion)?;
    let reach = 0.5 * (spread.high - spread.low);
    let balanced_accuracy = Estimate { value, error: spread.error, low: value - reach, high: value + reach };
    Some(Discrimination { confusion, balanced_accuracy, chance: 1.0 / seen as f64 })
}

/// Mean over the classes that occur of the share recognised.
fn balanced(confusion: &[Vec<f64>]) -> Option<f64> {
    let rows = confusion.iter().enumerate().map(|(class, row)| (row[class], row.iter().sum::<f64>()));
    let shares: Vec<f64> = rows.filter(|(_, sum)| *sum > 0.0).map(|(right, sum)| right / sum).collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing::Dice;
    use ndarray::Array2;

    fn data(apart: f32) -> (Array2<f32>, Vec<Option<usize>>) {
        let mut dice = Dice::new(5);
        let labels: Vec<Option<usize>> = (0..6_000).map(|bin| Some(bin / 40 % 3)).collect();
        let rows = Array2::from_shape_fn((6_000, 4), |(bin, column)| {
            let own = labels[bin] == Some(column);
            dice.normal() as f32 + if own { apart } else { 0.0 }
        });
        (rows, labels)
    }

    #[test]
    fn classes_that_differ_are_told_apart_and_others_at_chance() {
        let folds = Folds::new(200, 5);
        let (rows, labels) = data(3.0);
        let apart = discriminate(rows.view(), &labels, 3, &folds).expect("three classes");
        assert!(apart.balanced_accuracy.low > 0.9, "{apart:?}");
        let (rows, labels) = data(0.0);
        let same = discriminate(rows.view(), &labels, 3, &folds).expect("three classes");
        assert!((same.balanced_accuracy.value - same.chance).abs() < 0.04, "{same:?}");
    }

    #[test]
    fn one_class_cannot_be_told_from_nothing() {
        let (rows, _) = data(1.0);
        let labels = vec![Some(0); 6_000];
        assert!(discriminate(rows.view(), &labels, 3, &Folds::new(200, 5)).is_none());
    }
}
