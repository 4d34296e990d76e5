//! Standard normal numbers from a seed, for latents: the same seed gives the same run.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of standard normal numbers.
pub(super) struct Noise {
    source: ChaCha8Rng,
    spare: Option<f64>,
}

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self { source: ChaCha8Rng::seed_from_u64(seed), spare: None }
    }

    /// A number in (0, 1].
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.source.next_u64() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    }

    /// The next number (Box–Muller, both halves used).
    pub(super) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let angle = std::f64::consts::TAU * self.uniform();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_standard_normal_and_repeat() {
        let mut noise = Noise::new(7);
        let values: Vec<f64> = (0..20_000).map(|_| noise.normal()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        let mut again = Noise::new(7);
        assert!(values.iter().take(100).all(|&v| v == again.normal()));
    }
}
