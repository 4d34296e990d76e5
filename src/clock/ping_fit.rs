//! Board ↔ host from pings.
//!
//! A ping leaves at `sent`, the board stamps it, the answer arrives at `received`. The board's stamp happened somewhere in
//! between; without more knowledge the middle is the best guess and half the round trip a bound that nothing can exceed.
//! Delays on a serial or USB link are one-sided and bursty, so a ping counts by how near its round trip comes to the
//! shortest one known: the minimum-delay filter of NTP (RFC 5905, section 10) with weights instead of a choice, and a line
//! through the weighted pings instead of a loop.
//!
//! A ping whose middle lies further from the line than its own bound and the line's allow contradicts it. Three of those that one
//! shift of the board's clock explains, and every ping between them too, are a step: the line begins anew. The rate is
//! remembered then, as it was before them, since a crystal keeps its rate when its counter restarts: offset and rate are good
//! again as soon as one quick ping has come.

use mimicd_device::{Board, BoardTime, Host, HostTime, Span, Time};

use super::{ClockMap, LineFit, LineFitOptions, SlopeMemory};

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
    /// Half way between question and answer, on the host's clock.
    pub fn middle(&self) -> HostTime {
        self.sent + self.bound()
    }

    fn round_trip(&self) -> Span {
        self.received - self.sent
    }

    /// How far the board's stamp may lie from the middle.
    fn bound(&self) -> Span {
        Span::from_nanos(self.round_trip().nanos() / 2)
    }
}

/// The shortest round trip of a link, as of an instant. It creeps up, so that a link that became slower is believed.
#[derive(Clone, Copy, Debug)]
struct Floor {
    at: HostTime,
    trip: Span,
}

impl Floor {
    /// Nanoseconds a second.
    const CREEP: f64 = 100.0;

    fn crept(self, now: HostTime) -> Span {
        self.trip + Span::from_nanos(((now - self.at).secs_f64().max(0.0) * Self::CREEP) as i64)
    }
}

/// Pings that contradict the line.
#[derive(Clone, Debug)]
struct Strays {
    /// The line before the first of them: what came after may have bent it.
    line: LineFit,
    count: u32,
    quickest: PingSample,
    /// Shifts of the board's clock against that line, in ns, that every ping since allows.
    shift: [i64; 2],
}

impl Strays {
    fn new(line: &LineFit, first: PingSample) -> Self {
        let mut this = Self { line: line.clone(), count: 0, quickest: first, shift: [i64::MIN, i64::MAX] };
        this.allows(&first);
        this
    }

    /// Whether a shift is left that explains `sample` as well.
    fn allows(&mut self, sample: &PingSample) -> bool {
        let Some((predicted, _)) = self.line.predict(sample.middle().nanos()) else { return false };
        let (shift, bound) = (sample.board.nanos() - predicted, sample.bound().nanos() + PingFit::STEP_MIN.nanos());
        self.shift = [self.shift[0].max(shift - bound), self.shift[1].min(shift + bound)];
        self.shift[0] <= self.shift[1]
    }

    fn count(&mut self, sample: PingSample) {
        self.count += 1;
        if sample.round_trip() < self.quickest.round_trip() {
            self.quickest = sample;
        }
    }
}

/// Fits host ↔ board from pings.
#[derive(Clone, Debug)]
pub struct PingFit {
    line: LineFit,
    floor: Option<Floor>,
    strays: Option<Strays>,
    uncertainty: Span,
    steps: u32,
}

impl Default for PingFit {
    fn default() -> Self {
        Self::new()
    }
}

impl PingFit {
    /// Answers slower than this say nothing.
    pub const ROUND_TRIP_MAX: Span = Span::from_millis(100);
    /// A ping that may be off by so much more than the best counts a quarter of it.
    const SPREAD_NS: f64 = 5_000.0;
    /// Contradictions smaller than this are left to the weights.
    const STEP_MIN: Span = Span::from_micros(100);
    /// So many contradictions are a step.
    const STRAYS: u32 = 3;
    const OPTIONS: LineFitOptions = LineFitOptions {
        slope: 1.0,
        slope_tolerance: 500e-6,
        tau_x: 20e9,
        outlier_y: f64::INFINITY,
        outliers_max: u32::MAX,
        // A good ping is off by 10 us or so: at first the rate is nominal to 100 ppm, after a restart known to 1 ppm.
        memory: Some(SlopeMemory { nominal_x: 0.1e9, known_x: 10e9 }),
    };

    /// A fit that knows nothing.
    pub fn new() -> Self {
        Self { line: LineFit::new(Self::OPTIONS), floor: None, strays: None, uncertainty: Span::ZERO, steps: 0 }
    }

    /// Takes an answered ping in; whether the line uses it.
    pub fn push(&mut self, sample: PingSample) -> bool {
        let trip = sample.round_trip();
        if trip < Span::ZERO || trip > Self::ROUND_TRIP_MAX {
            return false;
        }
        let contradicts = self.contradicts(&sample);
        if self.strays.as_mut().is_some_and(|strays| !strays.allows(&sample)) {
            self.strays = None;
        }
        if !contradicts {
            self.commit(sample);
            return true;
        }
        let strays = self.strays.get_or_insert_with(|| Strays::new(&self.line, sample));
        strays.count(sample);
        if strays.count < Self::STRAYS {
            return false;
        }
        let quickest = strays.quickest;
        self.line.clone_from(&strays.line);
        self.reset();
        self.commit(quickest);
        quickest == sample
    }

    /// Forgets the offset, for a board that restarted; its rate and the link's shortest round trip stay.
    pub fn reset(&mut self) {
        self.line.forget();
        self.strays = None;
        self.steps += 1;
    }

    /// Forgets everything but the count of steps, for another link or another board.
    pub fn forget(&mut self) {
        *self = Self { steps: self.steps + 1, ..Self::new() };
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

    /// Root mean square of the pings about the line.
    pub fn residual_rms(&self) -> Span {
        Span::from_nanos(self.line.rms_y() as i64)
    }

    fn contradicts(&self, sample: &PingSample) -> bool {
        let Some(map) = self.map() else { return false };
        let predicted = map.map(sample.middle());
        (sample.board - predicted.at).abs() > sample.bound() + predicted.uncertainty + Self::STEP_MIN
    }

    fn commit(&mut self, sample: PingSample) {
        let weight = self.weigh(&sample);
        // What bounds the map is the tightest ping that it agrees with, less sharp the longer ago.
        let known = self.map().map(|map| map.map(sample.middle()).uncertainty);
        self.uncertainty = known.unwrap_or(sample.bound()).min(sample.bound());
        self.line.push_weighted(sample.middle().nanos(), sample.board.nanos(), weight);
    }

    /// 1 for a ping as quick as the quickest, less the more its round trip leaves open. Where the floor falls, what was
    /// weighed against the old one had been thought better than it is.
    fn weigh(&mut self, sample: &PingSample) -> f64 {
        let trip = sample.round_trip();
        let share = |excess: Span| (Self::SPREAD_NS / (Self::SPREAD_NS + excess.nanos() as f64 / 2.0)).powi(2);
        let known = self.floor.map_or(trip, |floor| floor.crept(sample.received));
        if trip < known {
            self.line.fade(share(known - trip));
        }
        let floor = trip.min(known);
        self.floor = Some(Floor { at: sample.received, trip: floor });
        share(trip - floor)
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
        let mut fit = PingFit::new();
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
        let mut fit = PingFit::new();
        (0..500).for_each(|i| _ = fit.push(ping(&mut rng, i * 20_000_000, 0)));
        (500..600).for_each(|i| _ = fit.push(ping(&mut rng, i * 20_000_000, 3_000_000_000)));
        assert_eq!(fit.steps(), 1);
        assert!(error_nanos(&fit, 600 * 20_000_000, 3_000_000_000).abs() < 10_000);
    }

    #[test]
    fn a_restarted_board_is_known_to_ten_micros_after_two_seconds_of_close_pings() {
        for seed in 0..50 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut fit = PingFit::new();
            (0..400).for_each(|i| _ = fit.push(ping(&mut rng, i * 50_000_000, 0)));
            fit.reset();
            assert!(fit.map().is_none());
            let begun = 20_000_000_000;
            (0..300).for_each(|i| _ = fit.push(ping(&mut rng, begun + i * 5_000_000, 777_000_000)));
            let error = error_nanos(&fit, begun + 2_000_000_000, 777_000_000);
            assert!(error.abs() < 10_000, "seed {seed}: {error} ns");
        }
    }

    #[test]
    fn a_late_answer_is_no_step_and_a_step_of_half_a_milli_is() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut fit = PingFit::new();
        (0..200).for_each(|i| _ = fit.push(ping(&mut rng, i * 20_000_000, 0)));
        for i in 200..220 {
            let quick = ping(&mut rng, i * 20_000_000, 0);
            assert!(fit.push(PingSample { received: quick.received + Span::from_millis(80), ..quick }));
        }
        assert_eq!(fit.steps(), 0);
        assert!(error_nanos(&fit, 220 * 20_000_000, 0).abs() < 10_000);
        (220..420).for_each(|i| _ = fit.push(ping(&mut rng, i * 20_000_000, 500_000)));
        assert!(error_nanos(&fit, 420 * 20_000_000, 500_000).abs() < 10_000);
    }

    #[test]
    fn absurd_round_trips_say_nothing() {
        let mut fit = PingFit::new();
        fit.push(PingSample {
            sent: HostTime::from_nanos(10),
            board: BoardTime::ZERO,
            received: HostTime::from_nanos(5),
        });
        fit.push(PingSample { sent: HostTime::ZERO, board: BoardTime::ZERO, received: HostTime::from_nanos(1 << 40) });
        assert!(fit.map().is_none());
    }
}
