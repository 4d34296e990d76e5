//! Clocks that drift: a constant error, a slow wobble, and what the fault script does to them.
//!
//! Each is a pure, invertible function of universe time. The constant part is that of ordinary crystals (10 to 100 ppm);
//! the wobble stands for temperature: two sinusoids with periods of minutes that change the rate by less than 0.2 ppm.

use mimicd_device::Span;

use crate::random::{between, uniform};

const WOBBLES: usize = 2;

#[derive(Clone, Copy, Debug)]
struct Wobble {
    amplitude_ns: f64,
    rate_rad_per_ns: f64,
    phase_rad: f64,
}

/// A change at an instant of universe time.
#[derive(Clone, Copy, Debug)]
struct Change {
    at_ns: i64,
    rate_ppm: f64,
    step_ns: i64,
}

/// One device's clock.
#[derive(Clone, Debug)]
pub(crate) struct DriftClock {
    origin_ns: i64,
    rate_ppm: f64,
    wobbles: [Wobble; WOBBLES],
    changes: Vec<Change>,
}

impl DriftClock {
    /// A clock whose error is drawn from `seed` and `stream`: 10 ppm to `drift_ppm_max` fast or slow.
    /// It shows `origin` at universe time 0.
    pub(crate) fn new(seed: u64, stream: u64, drift_ppm_max: f64, origin: Span) -> Self {
        let sign = if uniform(seed, stream, 0) < 0.5 { -1.0 } else { 1.0 };
        let rate_ppm = sign * between(seed, stream, 1, drift_ppm_max.min(10.0), drift_ppm_max);
        let wobbles = std::array::from_fn(|i| {
            let index = 10 * (i as u64 + 1);
            let period_s = between(seed, stream, index, 90.0, 600.0);
            let rate_ppm = between(seed, stream, index + 1, 0.0, 0.1) * (drift_ppm_max / 100.0).min(1.0);
            let rate_rad_per_ns = core::f64::consts::TAU / (period_s * 1e9);
            Wobble {
                amplitude_ns: rate_ppm * 1e-6 / rate_rad_per_ns,
                rate_rad_per_ns,
                phase_rad: between(seed, stream, index + 2, 0.0, core::f64::consts::TAU),
            }
        });
        Self { origin_ns: origin.nanos(), rate_ppm, wobbles, changes: Vec::new() }
    }

    pub(crate) fn change_rate(&mut self, at: Span, rate_ppm: f64) {
        self.changes.push(Change { at_ns: at.nanos(), rate_ppm, step_ns: 0 });
    }

    pub(crate) fn step(&mut self, at: Span, step: Span) {
        self.changes.push(Change { at_ns: at.nanos(), rate_ppm: 0.0, step_ns: step.nanos() });
    }

    /// What the clock shows at `universe`.
    pub(crate) fn local_ns(&self, universe: Span) -> i64 {
        let at_ns = universe.nanos();
        self.origin_ns + at_ns + self.error_ns(at_ns).round() as i64
    }

    /// When the clock shows `local_ns`; exact to a nanosecond. Around a step, one of the instants that fit.
    pub(crate) fn universe(&self, local_ns: i64) -> Span {
        let elapsed_ns = local_ns - self.origin_ns;
        // The error changes by less than 1 part in 1,000: each round gains three digits.
        let mut at_ns = elapsed_ns;
        for _ in 0..6 {
            at_ns = elapsed_ns - self.error_ns(at_ns).round() as i64;
        }
        Span::from_nanos(at_ns)
    }

    fn error_ns(&self, at_ns: i64) -> f64 {
        let at = at_ns as f64;
        let drift = at * self.rate_ppm * 1e-6;
        let wobble: f64 = self
            .wobbles
            .iter()
            .map(|w| w.amplitude_ns * ((w.rate_rad_per_ns * at + w.phase_rad).sin() - w.phase_rad.sin()))
            .sum();
        let changes: f64 = self
            .changes
            .iter()
            .filter(|change| at_ns >= change.at_ns)
            .map(|change| change.step_ns as f64 + (at_ns - change.at_ns) as f64 * change.rate_ppm * 1e-6)
            .sum();
        drift + wobble + changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn clocks_invert(seed in any::<u64>(), at_ns in 0i64..100_000_000_000_000, change in -80.0f64..80.0) {
            let mut clock = DriftClock::new(seed, 3, 100.0, Span::from_millis(77));
            clock.change_rate(Span::from_millis(5_000), change);
            let local = clock.local_ns(Span::from_nanos(at_ns));
            prop_assert!((clock.universe(local).nanos() - at_ns).abs() <= 1);
        }
    }

    #[test]
    fn the_rate_stays_within_what_was_asked() {
        for seed in 0..50 {
            let clock = DriftClock::new(seed, 1, 100.0, Span::ZERO);
            for second in 0..100 {
                let (a, b) = (Span::from_millis(second * 1_000), Span::from_millis(second * 1_000 + 1_000));
                let ppm = (clock.local_ns(b) - clock.local_ns(a) - 1_000_000_000) as f64 / 1_000.0;
                assert!(ppm.abs() < 100.3 && ppm.abs() > 9.7, "seed {seed}: {ppm} ppm");
            }
        }
    }
}
