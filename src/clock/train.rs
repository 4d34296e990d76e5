//! The coded trigger train, seen through another clock.
//!
//! [`resolve`] holds one interval between two sightings against the plan. [`TrainFollower`] follows the train on an
//! array's digital input, where there is no counter: the interval alone says how many triggers passed, and the stretched
//! periods say which.

use mimicd_device::{Integrity, SampleIndex, Span, TriggerPlan};

/// What an interval between two sightings of the train says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    /// The interval fits the expected step; `coded` when a stretched period lies inside it.
    AsExpected {
        /// A stretched period was seen where the plan has it.
        coded: bool,
    },
    /// The interval fits another number of triggers.
    Missed {
        /// The later sighting's trigger.
        to: u64,
    },
    /// The interval holds a stretched period where the plan has none, but the plan has one close by: both sightings are
    /// other triggers than was believed.
    Shifted {
        /// The later sighting's trigger.
        to: u64,
    },
    /// The interval fits nothing: the clock it was measured with has stepped.
    Nothing,
}

/// How far both sightings may be from where they were believed to be.
const SHIFT_MAX: u64 = 24;
/// How many more or fewer triggers than expected may lie between two sightings.
const MISSED_MAX: u64 = 4_096;
/// How far two crystals may be apart.
const RATE_TOLERANCE: f64 = 300e-6;

/// Holds `interval` between trigger `from` and the sighting `step` triggers later against the plan.
pub(super) fn resolve(plan: &TriggerPlan, from: u64, step: u64, interval: Span) -> Resolved {
    if fits(plan, from, from + step, interval) {
        let coded = (from + 1..=from + step.min(SHIFT_MAX)).any(|i| plan.is_stretched(i));
        return Resolved::AsExpected { coded };
    }
    let around = (interval.nanos().max(0) / plan.period.nanos().max(1)) as u64;
    let candidates = around.saturating_sub(around / 16 + 1)..=around + 1;
    if let Some(other) =
        candidates.filter(|&n| n > 0 && n <= MISSED_MAX).find(|&n| fits(plan, from, from + n, interval))
    {
        return Resolved::Missed { to: from + other };
    }
    for shift in 1..=SHIFT_MAX {
        let later = fits(plan, from + shift, from + shift + step, interval);
        let earlier = from >= shift && fits(plan, from - shift, from - shift + step, interval);
        match (earlier, later) {
            (true, false) => return Resolved::Shifted { to: from - shift + step },
            (false, true) => return Resolved::Shifted { to: from + shift + step },
            (true, true) => return Resolved::Nothing,
            (false, false) => {}
        }
    }
    Resolved::Nothing
}

fn fits(plan: &TriggerPlan, from: u64, to: u64, interval: Span) -> bool {
    let expected = plan.offset(to) - plan.offset(from);
    let tolerance = plan.stretch.nanos() / 4 + (expected.nanos().abs() as f64 * RATE_TOLERANCE) as i64;
    (interval - expected).nanos().abs() <= tolerance.min(plan.period.nanos() / 4)
}

/// The trigger of one edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeMatch {
    /// Index in the train.
    pub trigger: u64,
    /// `UNPROVED_MATCH`, `GAP_BEFORE`, `CLOCK_STEP` as they apply.
    pub integrity: Integrity,
}

/// Follows the trigger train on an array's digital input.
#[derive(Clone, Debug)]
pub struct TrainFollower {
    plan: TriggerPlan,
    nanos_per_sample: f64,
    last: Option<(SampleIndex, u64)>,
    expecting_start: bool,
    proved: bool,
}

impl TrainFollower {
    /// A follower for `plan` on a clock of `rate_hz` that does not know where the train begins.
    pub fn new(plan: TriggerPlan, rate_hz: f64) -> Self {
        Self { plan, nanos_per_sample: 1e9 / rate_hz, last: None, expecting_start: false, proved: false }
    }

    /// The next edge is trigger 0.
    pub fn expect_start(&mut self) {
        self.last = None;
        self.expecting_start = true;
    }

    /// The array's counter restarted: identity must be found again.
    pub fn lost(&mut self) {
        self.proved = false;
        self.last = None;
    }

    /// Whether matches are proved at present.
    pub fn is_proved(&self) -> bool {
        self.proved
    }

    /// Matches the next rising edge; `None` while there is nothing to match against.
    pub fn on_edge(&mut self, at: SampleIndex) -> Option<EdgeMatch> {
        let Some((before, from)) = self.last else {
            if !self.expecting_start {
                return None;
            }
            self.expecting_start = false;
            self.proved = true;
            self.last = Some((at, 0));
            return Some(EdgeMatch { trigger: 0, integrity: Integrity::empty() });
        };
        let samples = at.0.saturating_sub(before.0) as f64;
        let interval = Span::from_nanos((samples * self.nanos_per_sample).round() as i64);
        let (trigger, integrity) = match resolve(&self.plan, from, 1, interval) {
            Resolved::AsExpected { coded } => {
                self.proved |= coded;
                (from + 1, Integrity::empty())
            }
            // The sample counter counts through gaps, so a longer interval is time really passed, not a guess.
            Resolved::Missed { to } => (to, Integrity::GAP_BEFORE),
            Resolved::Shifted { to } => {
                self.proved = false;
                (to, Integrity::CLOCK_STEP)
            }
            Resolved::Nothing => {
                self.proved = false;
                // After a restart the counter is only as good as the host's clock: about so many triggers have passed, and
                // the next stretched period tells exactly.
                let passed = (interval.nanos() as f64 / self.plan.period.nanos() as f64).round() as u64;
                (from + passed.max(1), Integrity::CLOCK_STEP)
            }
        };
        self.last = Some((at, trigger));
        let unproved = if self.proved { Integrity::empty() } else { Integrity::UNPROVED_MATCH };
        Some(EdgeMatch { trigger, integrity: integrity | unproved })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: TriggerPlan = TriggerPlan {
        period: Span::from_millis(20),
        width: Span::from_millis(1),
        stretch: Span::from_millis(2),
        stretch_every: 150,
        code_seed: 9,
    };

    fn sample(index: u64) -> SampleIndex {
        SampleIndex(12_345 + (PLAN.offset(index).nanos() as f64 * 30e3 / 1e9 * (1.0 + 60e-6)) as u64)
    }

    #[test]
    fn the_train_is_followed_through_lost_samples() {
        let mut follower = TrainFollower::new(PLAN, 30e3);
        follower.expect_start();
        for index in (0..2_000).filter(|i| !(300..340).contains(i) && i % 97 != 1) {
            let found = follower.on_edge(sample(index)).expect("started");
            assert_eq!(found.trigger, index);
            assert!(!found.integrity.contains(Integrity::UNPROVED_MATCH));
        }
    }

    #[test]
    fn a_counter_that_restarted_about_where_it_should_be_is_found_again_by_the_code() {
        let mut follower = TrainFollower::new(PLAN, 30e3);
        follower.expect_start();
        (0..100).for_each(|index| assert!(follower.on_edge(sample(index)).is_some()));
        // Five seconds away; the counter goes on 37 ms early.
        let late = |index| SampleIndex(sample(index).0 - 1_110);
        let found: Vec<EdgeMatch> = (350..800).filter_map(|index| follower.on_edge(late(index))).collect();
        assert!(found[0].integrity.contains(Integrity::UNPROVED_MATCH | Integrity::CLOCK_STEP));
        let last = found.last().expect("followed");
        assert_eq!((last.trigger, last.integrity), (799, Integrity::empty()));
    }

    #[test]
    fn before_the_start_edges_match_nothing() {
        let mut follower = TrainFollower::new(PLAN, 30e3);
        assert_eq!(follower.on_edge(SampleIndex(5)), None);
    }
}
