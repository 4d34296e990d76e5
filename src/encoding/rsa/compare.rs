//! How alike two RDMs are, and how alike they could be at best.

use super::Rdm;

/// Cosine of the angle between two vectors.
fn angle(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The entries that both have.
fn common(a: &Rdm, b: &Rdm) -> (Vec<f64>, Vec<f64>) {
    a.values.iter().zip(&b.values).filter(|(a, b)| a.is_finite() && b.is_finite()).map(|(a, b)| (*a, *b)).unzip()
}

/// Plain cosine similarity.
pub fn cosine(a: &Rdm, b: &Rdm) -> f64 {
    let (a, b) = common(a, b);
    angle(&a, &b)
}

/// Pearson correlation.
pub fn correlation(a: &Rdm, b: &Rdm) -> f64 {
    let (a, b) = common(a, b);
    let centred = |values: Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.into_iter().map(|value| value - mean).collect::<Vec<_>>()
    };
    angle(&centred(a), &centred(b))
}

/// Whitened unbiased cosine (Diedrichsen and others 2021) for independent, equally noisy conditions: dissimilarities share
/// conditions and so are not independent; in the space of centred second moments they are. NaN with a missing entry: take
/// those conditions out with [`Rdm::select`].
pub fn whitened_cosine(a: &Rdm, b: &Rdm) -> f64 {
    angle(&whitened(a), &whitened(b))
}

/// −½ of the dissimilarities as a K × K matrix, centred twice: diagonal, then off-diagonals times √2.
fn whitened(rdm: &Rdm) -> Vec<f64> {
    let count = rdm.conditions;
    let mut matrix = vec![0.0; count * count];
    for a in 0..count {
        for b in 0..count {
            matrix[a * count + b] = -0.5 * rdm.at(a, b);
        }
    }
    let row_means: Vec<f64> = matrix.chunks(count).map(|row| row.iter().sum::<f64>() / count as f64).collect();
    let mean = row_means.iter().sum::<f64>() / count as f64;
    let centred = |a: usize, b: usize| matrix[a * count + b] - row_means[a] - row_means[b] + mean;
    let diagonal = (0..count).map(|a| centred(a, a));
    let rest = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
    diagonal.chain(rest.map(|(a, b)| std::f64::consts::SQRT_2 * centred(a, b))).collect()
}

/// Between which similarities the true model would lie.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ceiling {
    /// Each part against the others' mean.
    pub low: f64,
    /// Each part against the mean of all, itself included.
    pub high: f64,
}

/// Noise ceiling of the whitened cosine over RDMs of parts of the data (at least two), as `rsatoolbox.inference` computes
/// it: parts are scaled to unit root mean square and averaged.
pub fn noise_ceiling(parts: &[Rdm]) -> Option<Ceiling> {
    if parts.len() < 2 {
        return None;
    }
    let scaled: Vec<Rdm> = parts
        .iter()
        .map(|rdm| {
            let size = (rdm.values.iter().map(|v| v * v).sum::<f64>() / rdm.values.len() as f64).sqrt();
            Rdm { conditions: rdm.conditions, values: rdm.values.iter().map(|v| v / size).collect() }
        })
        .collect();
    let pooled = |leave: Option<usize>| {
        let kept: Vec<&Rdm> = scaled.iter().enumerate().filter(|(at, _)| Some(*at) != leave).map(|(_, r)| r).collect();
        let value = |entry: usize| kept.iter().map(|rdm| rdm.values[entry]).sum::<f64>() / kept.len() as f64;
        Rdm { conditions: parts[0].conditions, values: (0..parts[0].values.len()).map(value).collect() }
    };
    let all = pooled(None);
    let count = parts.len() as f64;
    let low = (0..parts.len()).map(|at| whitened_cosine(&pooled(Some(at)), &parts[at])).sum::<f64>() / count;
    let high = parts.iter().map(|part| whitened_cosine(&all, part)).sum::<f64>() / count;
    Some(Ceiling { low, high })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing::Dice;
    use proptest::prelude::*;

    fn some(dice: &mut Dice) -> Rdm {
        Rdm { conditions: 5, values: (0..10).map(|_| 0.2 + dice.uniform()).collect() }
    }

    #[test]
    fn an_rdm_is_like_itself_at_any_scale() {
        let rdm = some(&mut Dice::new(1));
        let scaled = Rdm { conditions: 5, values: rdm.values.iter().map(|v| v * 7.0).collect() };
        for compare in [cosine, correlation, whitened_cosine] {
            assert!((compare(&rdm, &scaled) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_ceiling_of_equal_parts_is_one_and_of_noise_is_lower() {
        let rdm = some(&mut Dice::new(2));
        let same = noise_ceiling(&[rdm.clone(), rdm.clone(), rdm]).expect("three parts");
        assert!((same.low - 1.0).abs() < 1e-12 && (same.high - 1.0).abs() < 1e-12);
        let mut dice = Dice::new(3);
        let parts: Vec<Rdm> = (0..4).map(|_| some(&mut dice)).collect();
        let noisy = noise_ceiling(&parts).expect("four parts");
        assert!(noisy.low < noisy.high && noisy.high < 1.0, "{noisy:?}");
        assert!(noise_ceiling(&parts[..1]).is_none());
    }

    proptest! {
        #[test]
        fn the_whitened_cosine_does_not_depend_on_the_order_of_conditions(seed in 0_u64..1_000) {
            let mut dice = Dice::new(seed);
            let (a, b) = (some(&mut dice), some(&mut dice));
            let order = [3, 0, 4, 1, 2];
            let turned = whitened_cosine(&a.select(&order), &b.select(&order));
            prop_assert!((turned - whitened_cosine(&a, &b)).abs() < 1e-12);
        }
    }
}
