//! How variable the policy is in each behaviour, and whether the neurons are so too.
//!
//! The latent's own standard deviation says how much freedom the policy leaves itself; drawing it again (50 times a step)
//! and looking at the spread of the actions says how much of that freedom reaches the body. Neural variability is the Fano
//! factor of counts in windows inside one behaviour.

use ndarray::{Array2, ArrayView2};

/// Bins of a window in which spikes are counted for the Fano factor.
pub const FANO_BINS: usize = 10;
/// Dimensions that are reported as most regulated.
pub const TOP: usize = 6;
/// Fewer spikes than this in a behaviour give no Fano factor.
const SPIKES_MIN: f64 = 20.0;
/// Random orders that a rank correlation is held against.
const ORDERS: u64 = 2_000;

/// Mean of each column in each class; NaN where a class was not seen. Rows that are not finite are left out.
pub fn by_class(rows: ArrayView2<'_, f32>, labels: &[Option<usize>], classes: usize) -> Array2<f64> {
    let mut sums = Array2::<f64>::zeros((classes, rows.ncols()));
    let mut counts = vec![0.0_f64; classes];
    for (row, label) in rows.rows().into_iter().zip(labels) {
        let Some(label) = label.filter(|_| row.iter().all(|value| value.is_finite())) else { continue };
        counts[label] += 1.0;
        sums.row_mut(label).iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    for (mut line, count) in sums.rows_mut().into_iter().zip(counts) {
        line.mapv_inplace(|sum| if count > 0.0 { sum / count } else { f64::NAN });
    }
    sums
}

/// Share of each column's variance that lies between classes (η²): how strongly behaviour regulates it.
pub fn effect(rows: ArrayView2<'_, f32>, labels: &[Option<usize>], classes: usize) -> Vec<f64> {
    let means = by_class(rows, labels, classes);
    let kept: Vec<(usize, usize)> = labels
        .iter()
        .enumerate()
        .filter_map(|(bin, label)| label.map(|label| (bin, label)))
        .filter(|(bin, _)| *bin < rows.nrows() && rows.row(*bin).iter().all(|value| value.is_finite()))
        .collect();
    (0..rows.ncols())
        .map(|column| {
            let value = |bin: usize| f64::from(rows[[bin, column]]);
            let mean = kept.iter().map(|(bin, _)| value(*bin)).sum::<f64>() / kept.len() as f64;
            let total: f64 = kept.iter().map(|(bin, _)| (value(*bin) - mean).powi(2)).sum();
            let between: f64 = kept.iter().map(|(_, label)| (means[[*label, column]] - mean).powi(2)).sum();
            if total > 0.0 { between / total } else { 0.0 }
        })
        .collect()
}

/// Columns with the largest effect, largest first.
pub fn most_regulated(effects: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..effects.len()).collect();
    order.sort_by(|a, b| effects[*b].total_cmp(&effects[*a]));
    order.truncate(TOP);
    order
}

/// Fano factor of each unit in each class: variance over mean of counts in windows of [`FANO_BINS`] bins that lie wholly
/// in one bout. Classes × units; NaN where there is too little.
pub fn fano(counts: ArrayView2<'_, f32>, labels: &[Option<usize>], classes: usize) -> Array2<f64> {
    let units = counts.ncols();
    let mut sums = vec![Array2::<f64>::zeros((classes, units)); 2];
    let mut windows = vec![0.0_f64; classes];
    for (at, window) in labels.chunks_exact(FANO_BINS).enumerate() {
        let first = at * FANO_BINS;
        let Some(label) = window[0].filter(|_| window.iter().all(|l| *l == window[0])) else { continue };
        if first + FANO_BINS > counts.nrows() {
            break;
        }
        windows[label] += 1.0;
        for unit in 0..units {
            let sum: f64 = (first..first + FANO_BINS).map(|bin| f64::from(counts[[bin, unit]])).sum();
            sums[0][[label, unit]] += sum;
            sums[1][[label, unit]] += sum * sum;
        }
    }
    Array2::from_shape_fn((classes, units), |(class, unit)| {
        let (count, sum, square) = (windows[class], sums[0][[class, unit]], sums[1][[class, unit]]);
        if sum < SPIKES_MIN || count < 3.0 {
            return f64::NAN;
        }
        let mean = sum / count;
        (square - count * mean * mean) / (count - 1.0) / mean
    })
}

/// Rank correlation of two lists over the places where both are finite, and the share of random orders that reach its size.
pub fn rank_correlation(a: &[f64], b: &[f64]) -> Option<(f64, f64)> {
    let both: Vec<(f64, f64)> =
        a.iter().zip(b).filter(|(a, b)| a.is_finite() && b.is_finite()).map(|(a, b)| (*a, *b)).collect();
    if both.len() < 4 {
        return None;
    }
    let a = ranks(&both.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let mut b = ranks(&both.iter().map(|pair| pair.1).collect::<Vec<_>>());
    let found = pearson(&a, &b);
    let mut dice = super::testing::Dice::new(17);
    let mut reached = 1.0;
    for _ in 0..ORDERS {
        for at in (1..b.len()).rev() {
            b.swap(at, dice.below(at + 1));
        }
        reached += f64::from(u8::from(pearson(&a, &b).abs() >= found.abs() - 1e-12));
    }
    Some((found, reached / (ORDERS + 1) as f64))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |value: f64| values.iter().filter(|other| **other < value).count() as f64;
    let same = |value: f64| values.iter().filter(|other| **other == value).count() as f64;
    values.iter().map(|value| below(*value) + 0.5 * (same(*value) - 1.0)).collect()
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        ab += (x - mean_a) * (y - mean_b);
        aa += (x - mean_a).powi(2);
        bb += (y - mean_b).powi(2);
    }
    if aa * bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing::Dice;

    #[test]
    fn columns_that_follow_behaviour_have_the_largest_effect() {
        let mut dice = Dice::new(8);
        let labels: Vec<Option<usize>> = (0..3_000).map(|bin| (bin % 7 != 0).then_some(bin / 50 % 3)).collect();
        let rows = Array2::from_shape_fn((3_000, 10), |(bin, column)| {
            let class = labels[bin].unwrap_or(0) as f32;
            dice.normal() as f32 + if column == 4 { 2.0 * class } else { 0.0 }
        });
        let effects = effect(rows.view(), &labels, 3);
        assert_eq!(most_regulated(&effects)[0], 4);
        // Classes 0, 2, 4 apart with unit noise: between 8/3, within 1.
        assert!((effects[4] - (8.0 / 3.0) / (8.0 / 3.0 + 1.0)).abs() < 0.03, "{effects:?}");
        assert!(effects.iter().enumerate().all(|(column, effect)| column == 4 || *effect < 0.01));
    }

    #[test]
    fn poisson_units_have_a_fano_factor_of_one() {
        let mut dice = Dice::new(9);
        let labels: Vec<Option<usize>> = (0..20_000).map(|bin| Some(bin / 500 % 2)).collect();
        let counts = Array2::from_shape_fn((20_000, 3), |_| dice.poisson(0.3) as f32);
        let fano = fano(counts.view(), &labels, 3);
        assert!(fano.row(0).iter().chain(fano.row(1)).all(|value| (value - 1.0).abs() < 0.15), "{fano}");
        assert!(fano.row(2).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn rank_correlations_are_held_against_chance() {
        let rising: Vec<f64> = (0..8).map(f64::from).collect();
        let (rho, p) = rank_correlation(&rising, &rising.iter().map(|v| v.exp()).collect::<Vec<_>>()).expect("eight");
        assert!((rho - 1.0).abs() < 1e-12 && p < 0.01);
        assert!(rank_correlation(&rising[..3], &rising[..3]).is_none());
        let (_, p) = rank_correlation(&rising, &[3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0]).expect("eight");
        assert!(p > 0.1, "{p}");
    }
}
