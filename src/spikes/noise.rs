//! Robust noise per channel, as a stream: the median of the magnitude, followed by small multiplicative steps.
//!
//! Each look moves the estimate up or down by a fixed fraction, depending on which side of it the magnitude falls, so it
//! rests where both are equally likely: at the median. For Gaussian noise sigma = median / 0.6745. Spikes are rare and
//! count once each, whatever their size. With the final step of 1/2,000 the estimate's own deviation is 1.7 % and its
//! time constant 0.3 s at 30 kHz.

/// Every which row is looked at: neighbouring samples say little new.
const EVERY: u64 = 4;
const STEP_FIRST: f32 = 0.05;
const STEP_LAST: f32 = 5e-4;
const STEP_DECAY: f32 = 0.999;
/// Where the search begins; reached from anywhere between 0.1 and 1,000 microvolts in half a second.
const FIRST_GUESS_UV: f32 = 6.0;
const SIGMA_PER_MEDIAN: f32 = 1.0 / 0.674_49;
/// The estimate never falls to zero (a dead channel), from where a multiplicative step could not lift it.
const MEDIAN_MIN_UV: f32 = 1e-3;

/// Streaming robust sigma of each channel.
pub struct NoiseTracker {
    median_uv: Vec<f32>,
    step: f32,
    phase: u64,
}

impl NoiseTracker {
    /// A tracker that knows nothing yet.
    pub fn new(channels: usize) -> Self {
        Self { median_uv: vec![FIRST_GUESS_UV; channels], step: STEP_FIRST, phase: 0 }
    }

    /// Looks at filtered `rows`.
    pub fn look(&mut self, rows: &[f32]) {
        let channels = self.median_uv.len();
        for row in rows.chunks_exact(channels) {
            self.phase += 1;
            if !self.phase.is_multiple_of(EVERY) {
                continue;
            }
            let (up, down) = (1.0 + self.step, 1.0 - self.step);
            for (median, x) in self.median_uv.iter_mut().zip(row) {
                *median *= if x.abs() > *median { up } else { down };
                *median = if *median < MEDIAN_MIN_UV { MEDIAN_MIN_UV } else { *median };
            }
            self.step = STEP_LAST.max(self.step * STEP_DECAY);
        }
    }

    /// Robust sigma of a channel in microvolts.
    pub fn sigma_uv(&self, channel: usize) -> f32 {
        self.median_uv[channel] * SIGMA_PER_MEDIAN
    }

    /// Whether enough has been seen for the estimate to be used.
    pub fn settled(&self) -> bool {
        self.step < 0.01
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt as _;
    use rand::SeedableRng as _;

    #[test]
    fn finds_sigma_under_spikes_and_from_far_away() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        for sigma in [0.5_f32, 9.0, 120.0] {
            let mut tracker = NoiseTracker::new(1);
            for i in 0..60_000 {
                let sum: f32 = (0..12).map(|_| rng.random::<f32>()).sum();
                let spike = if i % 300 < 6 { sigma * 30.0 } else { 0.0 };
                tracker.look(&[(sum - 6.0) * sigma + spike]);
            }
            assert!(tracker.settled());
            assert!((tracker.sigma_uv(0) / sigma - 1.0).abs() < 0.08, "{} for {sigma}", tracker.sigma_uv(0));
        }
    }
}
