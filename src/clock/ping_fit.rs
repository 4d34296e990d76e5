//! Board ↔ host from pings.
//!
//! A ping leaves at `sent`, the board stamps it, the answer arrives at `received`. The board's stamp happened somewhere in
//! between; without more knowledge the middle is the best guess and half the round trip its uncertainty. Delays on a serial
//! or USB link are one-sided and bursty, so of each window of pings only the one with the least round trip is kept; a line
//! through the kept ones gives offset and rate. This is the minimum-delay filter of NTP (RFC 5905, section 10) with a line
//! instead of a loop.

use mimicd_device::{Board, BoardTime, Host, HostTime, Span, Time};

use super::{ClockMap, LineFit, LineFitOptions, Verdict};

/// One answered ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingSample {
    /// When the host sent it.
    pub sent: HostTime,
    /// When the board took it in.
    pub board: BoardTime,
    /// When the answer arrived.
    pub received: HostTime,
}

impl PingSample {
    fn round_trip(&self) -> Span {
        self.received - self.sent
    }

    fn middle(&self) -> HostTime {
        self.sent + Span::from_nanos(self.round_trip().nanos() / 2)
    }
}

/// Fits host ↔ board from pings.
#[derive(Clone, Debug)]
pub struct PingFit {
    line: LineFit,
    window: Span,
    window_start: Option<HostTime>,
    best: Option<PingSample>,
    uncertainty: Span,
    steps: u32,
}

impl PingFit {
    /// Answers slower than this say nothing.
    pub const ROUND_TRIP_MAX: Span = Span::from_millis(100);

    /// A fit that keeps the fastest ping of each `window`.
    pub fn new(window: Span) -> Self {
        let options =
            LineFitOptions { slope: 1.0, slope_tolerance: 500e-6, tau_x: 20e9, outlier_y: 5e6, outliers_max: 2 };
        Self { line: LineFit::new(options), window, window_start: None, best: None, uncertainty: Span::ZERO, steps: 0 }
    }

    /// Takes an answered ping in.
    pub fn push(&mut self, sample: PingSample) {
        let trip = sample.round_trip();
        if trip < Span::ZERO || trip > Self::ROUND_TRIP_MAX {
            return;
        }
        // The first answer must serve at once, so that a session does not wait a window for its first map.
        if self.line.pairs() == 0 {
            self.commit(sample);
            return;
        }
        let start = *self.window_start.get_or_insert(sample.sent);
        if self.best.is_none_or(|best| trip < best.round_trip()) {
            self.best = Some(sample);
        }
        if sample.received - start >= self.window
            && let Some(best) = self.best.take()
        {
            self.commit(best);
            self.window_start = None;
        }
    }

    /// Forgets everything, for a board that restarted.
    pub fn reset(&mut self) {
        let steps = self.steps + 1;
        *self = Self { steps, ..Self::new(self.window) };
    }

    /// Host to board, or `None` before the first answer.
    pub fn map(&self) -> Option<ClockMap<Host, Board>> {
        let (from, to) = self.line.range_x();
        let (board, _) = self.line.predict(to)?;
        Some(ClockMap::new(
            HostTime::from_nanos(to),
            BoardTime::from_nanos(board),
            self.line.slope() - 1.0,
            self.uncertainty,
            Time::from_nanos(from),
            Time::from_nanos(to),
        ))
    }

    /// Clock steps and resets seen.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// Root mean square of the kept pings about the line.
    pub fn residual_rms(&self) -> Span {
        Span::from_nanos(self.line.rms_y() as i64)
    }

    fn commit(&mut self, sample: PingSample) {
        if let Verdict::Restarted(_) = self.line.push(sample.middle().nanos(), sample.board.nanos()) {
            self.steps += 1;
        }
        self.uncertainty = Span::from_nanos(sample.round_trip().nanos() / 2);
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A board 50 ppm fast behind a link with 0.15 ms floor and up to 2 ms of one-sided jitter each way.
    fn ping(rng: &mut ChaCha8Rng, at: i64, step: i64) -> PingSample {
        let there = 150_000 + (rng.random::<f64>().powi(3) * 2e6) as i64;
        let back = 150_000 + (rng.random::<f64>().powi(3) * 2e6) as i64;
        let board = at + there;
        PingSample {
            sent: HostTime::from_nanos(at),
            board: BoardTime::from_nanos(step + board + board / 20_000),
            received: HostTime::from_nanos(at + there + back),
        }
    }

    fn error_nanos(fit: &PingFit, at: i64, step: i64) -> i64 {
        let mapped = fit.map().expect("pings were pushed").map(HostTime::from_nanos(at));
        mapped.at.nanos() - (step + at + at / 20_000)
    }

    #[test]
    fn fifty_ppm_and_two_millis_of_jitter_are_followed_to_ten_micros() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut fit = PingFit::new(Span::from_millis(500));
        let mut errors = Vec::new();
        for index in 0..6_000_i64 {
            let at = index * 20_000_000;
            fit.push(ping(&mut rng, at, 0));
            if at > 20_000_000_000 {
                errors.push(error_nanos(&fit, at, 0).abs());
            }
        }
        errors.sort_unstable();
        let p99 = errors[errors.len() * 99 / 100];
        assert!(p99 <= 10_000, "p99 {p99} ns");
        assert!((fit.map().expect("fitted").drift_ppm() - 50.0).abs() < 2.0);
    }

    #[test]
    fn a_step_is_followed_within_two_seconds() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut fit = PingFit::new(Span::from_millis(500));
        (0..500).for_each(|i| fit.push(ping(&mut rng, i * 20_000_000, 0)));
        (500..600).for_each(|i| fit.push(ping(&mut rng, i * 20_000_000, 3_000_000_000)));
        assert_eq!(fit.steps(), 1);
        assert!(error_nanos(&fit, 600 * 20_000_000, 3_000_000_000).abs() < 1_000_000);
    }

    #[test]
    fn absurd_round_trips_say_nothing() {
        let mut fit = PingFit::new(Span::from_millis(500));
        fit.push(PingSample {
            sent: HostTime::from_nanos(10),
            board: BoardTime::ZERO,
            received: HostTime::from_nanos(5),
        });
        fit.push(PingSample { sent: HostTime::ZERO, board: BoardTime::ZERO, received: HostTime::from_nanos(1 << 40) });
        assert!(fit.map().is_none());
    }
}
