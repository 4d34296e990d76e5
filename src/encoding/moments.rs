//! Running means and covariances of features, one for each fold, and the principal components they give.
//!
//! Sums are kept about the first row, so that a feature far from zero loses no digits. They grow row by row, live and
//! offline alike; nothing is stored twice.

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use super::folds::Folds;

/// Columns whose spread is below this share of their size are constant.
const CONSTANT: f64 = 1e-9;
/// Rows that are taken into the sums at once.
const CHUNK: usize = 512;

/// Sums over the rows of each fold.
#[derive(Clone, Debug)]
pub struct Moments {
    shift: Option<Array1<f64>>,
    folds: Vec<FoldSums>,
}

#[derive(Clone, Debug)]
struct FoldSums {
    count: f64,
    sum: Array1<f64>,
    gram: Array2<f64>,
}

/// Standardisation and principal components of one training set.
#[derive(Clone, Debug)]
pub struct Basis {
    /// Mean of each column.
    pub mean: Array1<f64>,
    /// Standard deviation of each column; 0 = constant, left out.
    pub deviation: Array1<f64>,
    /// From columns minus their mean to components: columns × components.
    pub project: Array2<f64>,
    /// Variance of each component, of the standardised columns.
    pub variance: Vec<f64>,
    /// Share of the variance that the components keep.
    pub explained: f64,
}

impl Moments {
    /// Empty sums over `columns` columns.
    pub fn new(columns: usize, folds: usize) -> Self {
        let empty = FoldSums { count: 0.0, sum: Array1::zeros(columns), gram: Array2::zeros((columns, columns)) };
        Self { shift: None, folds: vec![empty; folds] }
    }

    /// Takes one row into the sums of its fold; rows that are not finite are left out.
    pub fn push(&mut self, row: &[f32], fold: usize) {
        if !row.iter().all(|value| value.is_finite()) {
            return;
        }
        let shift = self.shift.get_or_insert_with(|| row.iter().map(|value| f64::from(*value)).collect());
        let sums = &mut self.folds[fold];
        let centred: Vec<f64> = row.iter().zip(shift.iter()).map(|(value, shift)| f64::from(*value) - shift).collect();
        sums.count += 1.0;
        let width = centred.len();
        for ((value, total), line) in centred
            .iter()
            .zip(&mut sums.sum)
            .zip(sums.gram.as_slice_mut().into_iter().flat_map(|g| g.chunks_mut(width)))
        {
            *total += value;
            line.iter_mut().zip(&centred).for_each(|(sum, other)| *sum += value * other);
        }
    }

    /// Takes all rows of `values`, dealt by `folds`.
    pub fn extend(&mut self, values: ArrayView2<'_, f32>, folds: &Folds) {
        let columns = values.ncols();
        for block in 0..folds.blocks(values.nrows()) {
            let range = folds.range(block, values.nrows());
            let mut first = range.start;
            while first < range.end {
                let end = (first + CHUNK).min(range.end);
                let rows = values.slice(s![first..end, ..]);
                let finite: Vec<usize> =
                    (0..rows.nrows()).filter(|row| rows.row(*row).iter().all(|value| value.is_finite())).collect();
                let Some(&some) = finite.first() else {
                    first = end;
                    continue;
                };
                let shift = self.shift.get_or_insert_with(|| rows.row(some).mapv(f64::from));
                let mut centred = Array2::zeros((finite.len(), columns));
                for (mut out, &row) in centred.rows_mut().into_iter().zip(&finite) {
                    out.iter_mut()
                        .zip(rows.row(row))
                        .zip(shift.iter())
                        .for_each(|((out, v), m)| *out = f64::from(*v) - m);
                }
                let sums = &mut self.folds[folds.fold(first)];
                sums.count += finite.len() as f64;
                sums.sum += &centred.sum_axis(Axis(0));
                ndarray::linalg::general_mat_mul(1.0, &centred.t(), &centred, 1.0, &mut sums.gram);
                first = end;
            }
        }
    }

    /// Rows outside fold `held_out`.
    pub fn rows(&self, held_out: usize) -> usize {
        self.training(held_out).map(|sums| sums.count as usize).sum()
    }

    fn training(&self, held_out: usize) -> impl Iterator<Item = &FoldSums> {
        self.folds.iter().enumerate().filter(move |(fold, _)| *fold != held_out).map(|(_, sums)| sums)
    }

    /// Standardisation and principal components over all folds but `held_out`, keeping `share` of the variance.
    /// `None` while there are fewer than two rows or every column is constant.
    pub fn basis(&self, held_out: usize, share: f64) -> Option<Basis> {
        let shift = self.shift.as_ref()?;
        let columns = shift.len();
        let count: f64 = self.training(held_out).map(|sums| sums.count).sum();
        if count < 2.0 {
            return None;
        }
        let mut offset = Array1::<f64>::zeros(columns);
        let mut covariance = Array2::<f64>::zeros((columns, columns));
        for sums in self.training(held_out) {
            offset += &sums.sum;
            covariance += &sums.gram;
        }
        offset /= count;
        covariance /= count;
        let deviation: Array1<f64> = (0..columns)
            .map(|c| {
                let spread = (covariance[[c, c]] - offset[c] * offset[c]).max(0.0).sqrt();
                if spread > CONSTANT * (offset[c].abs() + shift[c].abs()).max(1e-12) { spread } else { 0.0 }
            })
            .collect();
        let kept: Vec<usize> = (0..columns).filter(|c| deviation[*c] > 0.0).collect();
        let correlation = DMatrix::from_fn(kept.len(), kept.len(), |i, j| {
            let (a, b) = (kept[i], kept[j]);
            (covariance[[a, b]] - offset[a] * offset[b]) / (deviation[a] * deviation[b])
        });
        let mean = offset + shift;
        components(correlation, share).map(|(vectors, variance, explained)| {
            let mut project = Array2::zeros((columns, variance.len()));
            for (row, &column) in kept.iter().enumerate() {
                for component in 0..variance.len() {
                    project[[column, component]] = vectors[(row, component)] / deviation[column];
                }
            }
            Basis { mean, deviation, project, variance, explained }
        })
    }
}

/// Eigenvectors of a correlation matrix by falling variance until `share` is kept; the largest entry of each is positive.
fn components(correlation: DMatrix<f64>, share: f64) -> Option<(DMatrix<f64>, Vec<f64>, f64)> {
    let width = correlation.nrows();
    if width == 0 {
        return None;
    }
    let eigen = SymmetricEigen::new(correlation);
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let total: f64 = eigen.eigenvalues.iter().map(|value| value.max(0.0)).sum();
    let (mut kept, mut sum) = (0, 0.0);
    while kept < width && (kept == 0 || sum < share * total) {
        sum += eigen.eigenvalues[order[kept]].max(0.0);
        kept += 1;
    }
    let mut vectors = DMatrix::zeros(width, kept);
    for (to, &from) in order[..kept].iter().enumerate() {
        let vector = eigen.eigenvectors.column(from);
        let largest = vector[vector.icamax()];
        vectors.set_column(to, &(vector * largest.signum()));
    }
    let variance = order[..kept].iter().map(|i| eigen.eigenvalues[*i].max(0.0)).collect();
    Some((vectors, variance, sum / total))
}

impl Basis {
    /// Components kept.
    pub fn components(&self) -> usize {
        self.project.ncols()
    }

    /// Weights of another basis' components (one column) as weights of these components, and what the intercept gains: the
    /// same function of the features, as far as these components can say it.
    pub fn translate(&self, from: &Self, weights: &[f64]) -> (Vec<f64>, f64) {
        let raw: Vec<f64> =
            from.project.rows().into_iter().map(|row| row.iter().zip(weights).map(|(p, w)| p * w).sum()).collect();
        let scaled: Vec<f64> = raw.iter().zip(&self.deviation).map(|(value, d)| value * d * d).collect();
        let own = self.project.columns().into_iter();
        let own = own.map(|column| column.iter().zip(&scaled).map(|(p, v)| p * v).sum()).collect();
        let gain = raw.iter().zip(&self.mean).zip(&from.mean).map(|((v, mine), theirs)| v * (mine - theirs)).sum();
        (own, gain)
    }

    /// Rows of features as components; rows that are not finite become zero.
    pub fn apply(&self, values: ArrayView2<'_, f32>) -> Array2<f64> {
        let mut out = Array2::zeros((values.nrows(), self.components()));
        for first in (0..values.nrows()).step_by(CHUNK) {
            let end = (first + CHUNK).min(values.nrows());
            let mut centred = Array2::<f64>::zeros((end - first, values.ncols()));
            for (mut to, from) in centred.rows_mut().into_iter().zip(values.slice(s![first..end, ..]).rows()) {
                if from.iter().all(|value| value.is_finite()) {
                    to.iter_mut().zip(from).zip(&self.mean).for_each(|((to, v), m)| *to = f64::from(*v) - m);
                }
            }
            ndarray::linalg::general_mat_mul(1.0, &centred, &self.project, 0.0, &mut out.slice_mut(s![first..end, ..]));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing::Dice;

    fn data(rows: usize) -> Array2<f32> {
        let mut dice = Dice::new(3);
        Array2::from_shape_fn((rows, 4), |(row, column)| match column {
            0 => 1_000.0 + dice.normal() as f32,
            1 => (row as f32 * 0.1).sin() * 7.0,
            2 => 5.0,
            _ => dice.normal() as f32 * 0.01,
        })
    }

    #[test]
    fn row_by_row_equals_all_at_once() {
        let values = data(1_000);
        let folds = Folds::new(50, 5);
        let (mut all, mut one) = (Moments::new(4, 5), Moments::new(4, 5));
        all.extend(values.view(), &folds);
        for (bin, row) in values.rows().into_iter().enumerate() {
            one.push(&row.to_vec(), folds.fold(bin));
        }
        let (all, one) = (all.basis(2, 1.0).expect("rows"), one.basis(2, 1.0).expect("rows"));
        assert!((&all.project - &one.project).iter().all(|d| d.abs() < 1e-7), "{:?} {:?}", all.project, one.project);
        assert_eq!(all.deviation[2], 0.0, "the constant column is left out");
    }

    #[test]
    fn components_are_uncorrelated_and_keep_the_share() {
        let values = data(2_000);
        let folds = Folds::new(50, 5);
        let mut moments = Moments::new(4, 5);
        moments.extend(values.view(), &folds);
        // Every row is training for a fold that holds nothing out.
        let basis = moments.basis(usize::MAX, 0.6).expect("rows");
        let components = basis.apply(values.view());
        assert_eq!(basis.components(), 2, "two of three equal variances keep 60 %");
        let gram = components.t().dot(&components) / values.nrows() as f64;
        assert!(gram[[0, 1]].abs() < 1e-8 && (gram[[0, 0]] - basis.variance[0]).abs() < 1e-8);
    }

    #[test]
    fn weights_mean_the_same_in_another_basis() {
        let values = data(2_000);
        let mut moments = Moments::new(4, 5);
        moments.extend(values.view(), &Folds::new(50, 5));
        let (from, to) = (moments.basis(0, 1.0).expect("rows"), moments.basis(3, 1.0).expect("rows"));
        let weights = [0.3, -0.2, 0.7];
        let (translated, gain) = to.translate(&from, &weights);
        let rows = values.slice(s![..20, ..]);
        let before = from.apply(rows).dot(&Array1::from(weights.to_vec()));
        let after = to.apply(rows).dot(&Array1::from(translated)) + gain;
        assert!((&before - &after).iter().all(|d| d.abs() < 1e-6), "{before} {after}");
    }

    #[test]
    fn rows_that_are_not_finite_are_left_out() {
        let mut values = data(100);
        values[[7, 0]] = f32::NAN;
        let mut moments = Moments::new(4, 5);
        moments.extend(values.view(), &Folds::new(10, 5));
        assert_eq!(moments.rows(4), 79);
        let basis = moments.basis(4, 1.0).expect("rows");
        assert!(basis.apply(values.view()).row(7).iter().all(|value| *value == 0.0));
    }
}
