//! What a model is worth: held-out log-likelihood in bits a spike, pseudo-R², and how sure each number is.
//!
//! Scores are kept by held-out block, so that the spread over blocks says how sure a sum over them is. Neighbouring blocks
//! may be alike (a bout of behaviour lasts longer than a block), so the spread counts the correlation of blocks near each
//! other (Newey and West 1987, Bartlett weights).

use std::f64::consts::LN_2;

/// Blocks whose correlation is counted.
const NEAR_BLOCKS: usize = 5;
/// 97.5 % point of the normal distribution.
const Z_975: f64 = 1.959_963_984_540_054;

/// Sums over the held-out blocks of units.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockScores {
    blocks: usize,
    units: Vec<Vec<Block>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Block {
    /// Log-likelihood minus that of the training mean, nats.
    gain: f64,
    /// Deviance of the training mean.
    deviance_null: f64,
    spikes: f64,
    bins: f64,
}

/// A number with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How well a set of features predicts a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Score {
    /// Cross-validated log-likelihood ratio, bits a spike.
    pub bits_per_spike: Estimate,
    /// 1 − deviance of the model / deviance of the mean.
    pub pseudo_r2: f64,
    /// Spikes in the held-out bins.
    pub spikes: f64,
    /// Held-out bins.
    pub bins: f64,
}

impl Score {
    /// Whether the set predicts the unit at all: the gain is above zero at one-sided 5 %.
    pub fn predicts(&self) -> bool {
        let bits = self.bits_per_spike;
        bits.value.is_finite() && bits.value > 1.645 * bits.error && bits.value > 0.0
    }
}

impl Estimate {
    /// A value with a normal interval.
    pub fn normal(value: f64, error: f64) -> Self {
        Self { value, error, low: value - Z_975 * error, high: value + Z_975 * error }
    }

    /// Mean of values with Student's interval.
    pub fn mean(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let spread = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let error = (spread / count).sqrt();
        let reach = student_975(values.len().saturating_sub(1)) * error;
        Self { value: mean, error, low: mean - reach, high: mean + reach }
    }
}

/// 97.5 % point of Student's distribution: exact to four digits (Cornish and Fisher's series from 10 degrees on).
pub fn student_975(degrees: usize) -> f64 {
    const SMALL: [f64; 10] =
        [f64::INFINITY, 12.706_2, 4.302_65, 3.182_45, 2.776_45, 2.570_58, 2.446_91, 2.364_62, 2.306_00, 2.262_16];
    if let Some(value) = SMALL.get(degrees) {
        return *value;
    }
    let (z, n) = (Z_975, degrees as f64);
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    z + (z3 + z) / (4.0 * n)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * n * n)
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * n.powi(3))
}

impl BlockScores {
    /// Nothing scored yet.
    pub fn new(units: usize, blocks: usize) -> Self {
        Self { blocks, units: vec![vec![Block::default(); blocks]; units] }
    }

    /// Units.
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// Makes room for more blocks.
    pub fn grow(&mut self, blocks: usize) {
        self.blocks = self.blocks.max(blocks);
        self.units.iter_mut().for_each(|unit| unit.resize(self.blocks, Block::default()));
    }

    /// Writes a unit's sums over a held-out block.
    pub fn set(&mut self, unit: usize, block: usize, gain: f64, deviance_null: f64, spikes: f64, bins: f64) {
        self.units[unit][block] = Block { gain, deviance_null, spikes, bins };
    }

    /// A unit's score over the blocks that were scored.
    pub fn score(&self, unit: usize) -> Score {
        let seen = self.units[unit].iter().filter(|block| block.bins > 0.0);
        let gains: Vec<(f64, f64)> = seen.clone().map(|block| (block.gain / LN_2, block.spikes)).collect();
        let sum = seen.fold(Block::default(), |a, b| Block {
            gain: a.gain + b.gain,
            deviance_null: a.deviance_null + b.deviance_null,
            spikes: a.spikes + b.spikes,
            bins: a.bins + b.bins,
        });
        Score {
            bits_per_spike: ratio(&gains),
            pseudo_r2: if sum.deviance_null > 0.0 { 2.0 * sum.gain / sum.deviance_null } else { f64::NAN },
            spikes: sum.spikes,
            bins: sum.bins,
        }
    }

    /// A unit's score here minus its score in `other`, over the blocks that both have: positive = better here.
    pub fn difference(&self, other: &Self, unit: usize) -> Estimate {
        let both = self.units[unit].iter().zip(&other.units[unit]).filter(|(a, b)| a.bins > 0.0 && b.bins > 0.0);
        let gains: Vec<(f64, f64)> = both.map(|(a, b)| ((a.gain - b.gain) / LN_2, a.spikes)).collect();
        ratio(&gains)
    }
}

/// Σ numerator / Σ denominator with its linearised error.
fn ratio(blocks: &[(f64, f64)]) -> Estimate {
    let denominator: f64 = blocks.iter().map(|(_, spikes)| spikes).sum();
    if denominator <= 0.0 || blocks.len() < 2 {
        return Estimate { value: f64::NAN, error: f64::NAN, low: f64::NAN, high: f64::NAN };
    }
    let value = blocks.iter().map(|(gain, _)| gain).sum::<f64>() / denominator;
    let left: Vec<f64> = blocks.iter().map(|(gain, spikes)| gain - value * spikes).collect();
    let count = left.len();
    let product = |lag: usize| left.iter().zip(&left[lag.min(count)..]).map(|(a, b)| a * b).sum::<f64>();
    let near = NEAR_BLOCKS.min(count / 4);
    let correlated: f64 = (1..=near).map(|lag| 2.0 * (1.0 - lag as f64 / (near + 1) as f64) * product(lag)).sum();
    let plain = product(0);
    // Never below the uncorrelated spread: chance anticorrelation must not make a number look surer than it is.
    let variance = plain.max(plain + correlated) * count as f64 / (count as f64 - 1.0);
    Estimate::normal(value, variance.sqrt() / denominator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing::Dice;

    #[test]
    fn students_points_are_those_of_the_tables() {
        for (degrees, known) in
            [(1, 12.7062), (4, 2.77645), (5, 2.57058), (10, 2.22814), (59, 2.00100), (1_000, 1.96234)]
        {
            assert!((student_975(degrees) - known).abs() < 2e-3, "{degrees}: {}", student_975(degrees));
        }
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        let mut dice = Dice::new(9);
        let mut held = 0;
        for _ in 0..400 {
            let mut scores = BlockScores::new(1, 150);
            for block in 0..150 {
                let spikes = 20.0 + 5.0 * dice.normal();
                scores.set(0, block, (0.1 * spikes + 3.0 * dice.normal()) * LN_2, 30.0, spikes, 200.0);
            }
            let bits = scores.score(0).bits_per_spike;
            held += u32::from(bits.low < 0.1 && 0.1 < bits.high);
        }
        assert!((365..=400).contains(&held), "{held} of 400");
    }

    #[test]
    fn a_unit_without_spikes_has_no_score() {
        let scores = BlockScores::new(1, 10);
        assert!(scores.score(0).bits_per_spike.value.is_nan());
        assert!(!scores.score(0).predicts());
    }
}
