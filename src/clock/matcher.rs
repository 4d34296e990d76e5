//! Which trigger a camera frame answers.
//!
//! The camera's counter gives the order and what is missing; the intervals of the camera's own clock, held against the coded
//! train, verify it. States:
//!
//! ```text
//!  unanchored ──anchor()──► proved ◄──────── a stretched period seen where the plan has it
//!      │                      │ interval contradicts the plan; counter or clock restarted; lost()
//!      └──first frame────► unproved (frames carry UNPROVED_MATCH) ─┘
//! ```
//!
//! An anchor comes from the pre-flight burst: when the camera has answered exactly its burst, the next counter is trigger 0.

use mimicd_device::{CameraTime, HostTime, Integrity, Span, TriggerPlan};

use super::train::{Resolved, resolve};

/// The trigger of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Index in the train.
    pub trigger: u64,
    /// Triggers between the frame before and this one that no frame answered.
    pub missing_before: u64,
    /// What is to be flagged on the frame.
    pub integrity: Integrity,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    counter: u64,
    device_time: Option<CameraTime>,
    arrival: HostTime,
    trigger: u64,
}

/// Matches one camera's frames to triggers.
#[derive(Clone, Debug)]
pub struct TriggerMatcher {
    plan: TriggerPlan,
    base: Option<u64>,
    started: Option<HostTime>,
    last: Option<Last>,
    proved: bool,
}

impl TriggerMatcher {
    /// Counters that go back by no more than this are frames overtaken on the way; by more, a restarted counter.
    const REORDER_MAX: u64 = 16;

    /// A matcher for `plan` that knows nothing of the camera yet.
    pub fn new(plan: TriggerPlan) -> Self {
        Self { plan, base: None, started: None, last: None, proved: false }
    }

    /// The frame with counter `base` answers trigger 0.
    pub fn anchor(&mut self, base: u64) {
        *self = Self { base: Some(base), proved: true, ..Self::new(self.plan) };
    }

    /// The next frame answers trigger 0 of a train that has been started anew; unproved until the code has been seen.
    pub fn anchor_next(&mut self) {
        *self = Self { started: None, ..Self::new(self.plan) };
    }

    /// Roughly when trigger 0 fired, for a camera that comes without an anchor.
    pub fn started(&mut self, at: HostTime) {
        self.started = Some(at);
    }

    /// The camera was reopened: its counter and clock start anew.
    pub fn lost(&mut self) {
        self.base = None;
        self.proved = false;
        if let Some(last) = &mut self.last {
            last.device_time = None;
            last.counter = u64::MAX;
        }
    }

    /// Whether matches are proved at present.
    pub fn is_proved(&self) -> bool {
        self.proved
    }

    /// Matches the next frame to arrive.
    pub fn on_frame(&mut self, counter: u64, device_time: Option<CameraTime>, arrival: HostTime) -> Match {
        let found = match self.last {
            None => self.first(counter, arrival),
            Some(last) if last.counter == u64::MAX => self.by_arrival(last, arrival),
            Some(last) => self.next(last, counter, device_time, arrival),
        };
        if !found.integrity.intersects(Integrity::DUPLICATE | Integrity::OUT_OF_ORDER) {
            self.last = Some(Last { counter, device_time, arrival, trigger: found.trigger });
        }
        let unproved = if self.proved { Integrity::empty() } else { Integrity::UNPROVED_MATCH };
        Match { integrity: found.integrity | unproved, ..found }
    }

    fn first(&mut self, counter: u64, arrival: HostTime) -> Match {
        let anchored = self.base.and_then(|base| counter.checked_sub(base));
        let trigger = anchored.unwrap_or_else(|| {
            self.proved = false;
            self.started.map_or(0, |started| self.index_at(arrival - started))
        });
        Match { trigger, missing_before: trigger, integrity: gap(trigger) }
    }

    /// Host time since the frame before is all there is: good to a period, never proof.
    fn by_arrival(&mut self, last: Last, arrival: HostTime) -> Match {
        let periods = (arrival - last.arrival).nanos().max(0) as f64 / self.plan.period.nanos() as f64;
        let trigger = last.trigger + (periods.round() as u64).max(1);
        let missing_before = trigger - last.trigger - 1;
        Match { trigger, missing_before, integrity: Integrity::CLOCK_STEP | gap(missing_before) }
    }

    fn next(&mut self, last: Last, counter: u64, device_time: Option<CameraTime>, arrival: HostTime) -> Match {
        if counter == last.counter {
            return Match { trigger: last.trigger, missing_before: 0, integrity: Integrity::DUPLICATE };
        }
        if counter < last.counter {
            let back = last.counter - counter;
            if back > Self::REORDER_MAX {
                self.proved = false;
                return self.by_arrival(last, arrival);
            }
            let trigger = last.trigger.saturating_sub(back);
            return Match { trigger, missing_before: 0, integrity: Integrity::OUT_OF_ORDER };
        }
        let step = counter - last.counter;
        let (Some(before), Some(now)) = (last.device_time, device_time) else {
            return forward(last.trigger, last.trigger + step, Integrity::empty());
        };
        self.verify(last.trigger, step, now - before)
    }

    fn verify(&mut self, from: u64, step: u64, interval: Span) -> Match {
        match resolve(&self.plan, from, step, interval) {
            Resolved::AsExpected { coded } => {
                self.proved |= coded;
                forward(from, from + step, Integrity::empty())
            }
            Resolved::Missed { to } => {
                self.proved = false;
                forward(from, to, Integrity::empty())
            }
            Resolved::Shifted { to } => {
                self.proved = false;
                Match { trigger: to, missing_before: to.saturating_sub(from + 1), integrity: Integrity::CLOCK_STEP }
            }
            Resolved::Nothing => {
                self.proved = false;
                forward(from, from + step, Integrity::CLOCK_STEP)
            }
        }
    }

    fn index_at(&self, since_start: Span) -> u64 {
        (since_start.nanos().max(0) / self.plan.period.nanos()) as u64
    }
}

fn forward(from: u64, to: u64, integrity: Integrity) -> Match {
    let missing_before = to.saturating_sub(from + 1);
    Match { trigger: to, missing_before, integrity: integrity | gap(missing_before) }
}

fn gap(missing: u64) -> Integrity {
    if missing > 0 { Integrity::GAP_BEFORE } else { Integrity::empty() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: TriggerPlan = TriggerPlan {
        period: Span::from_millis(20),
        width: Span::from_millis(1),
        stretch: Span::from_millis(2),
        stretch_every: 50,
        code_seed: 1,
    };

    /// Device stamp of trigger `index` on a clock 80 ppm fast with a little jitter.
    fn stamp(index: u64) -> Option<CameraTime> {
        let at = PLAN.offset(index).nanos();
        let jitter = (index * 7_919 % 41) as i64 * 500 - 10_000;
        Some(CameraTime::from_nanos(5_000_000 + at + at / 12_500 + jitter))
    }

    fn arrival(index: u64) -> HostTime {
        HostTime::from_nanos(1_000_000_000 + PLAN.offset(index).nanos())
    }

    fn anchored() -> TriggerMatcher {
        let mut matcher = TriggerMatcher::new(PLAN);
        matcher.anchor(1_000);
        matcher
    }

    #[test]
    fn an_anchored_camera_is_proved_from_its_first_frame() {
        let mut matcher = anchored();
        for index in 0..400 {
            let found = matcher.on_frame(1_000 + index, stamp(index), arrival(index));
            assert_eq!(found, Match { trigger: index, missing_before: 0, integrity: Integrity::empty() });
        }
    }

    #[test]
    fn counted_drops_are_gaps_and_keep_the_proof() {
        let mut matcher = anchored();
        let seen = (0..200).filter(|i| i % 17 != 5);
        for index in seen {
            let found = matcher.on_frame(1_000 + index, stamp(index), arrival(index));
            assert_eq!(found.trigger, index);
            assert_eq!(found.missing_before, u64::from(index % 17 == 6));
            assert!(!found.integrity.contains(Integrity::UNPROVED_MATCH));
        }
    }

    #[test]
    fn a_trigger_the_camera_never_saw_is_found_by_its_own_clock() {
        let mut matcher = anchored();
        let mut unproved = 0;
        for index in (0..300).filter(|&i| i != 20) {
            let counter = 1_000 + index - u64::from(index > 20);
            let found = matcher.on_frame(counter, stamp(index), arrival(index));
            assert_eq!(found.trigger, index, "trigger identity is kept");
            unproved += u32::from(found.integrity.contains(Integrity::UNPROVED_MATCH));
        }
        assert!((1..=100).contains(&unproved), "unproved until the next stretched period: {unproved}");
        assert!(matcher.is_proved());
    }

    #[test]
    fn a_wrong_anchor_is_corrected_by_the_code() {
        let mut matcher = TriggerMatcher::new(PLAN);
        matcher.anchor(1_002);
        let mut last = 0;
        for index in 2..400 {
            last = matcher.on_frame(1_000 + index, stamp(index), arrival(index)).trigger;
        }
        assert_eq!(last, 399);
        assert!(matcher.is_proved());
    }

    #[test]
    fn a_reopened_camera_is_unproved_until_the_code_passes() {
        let mut matcher = anchored();
        (0..60).for_each(|i| {
            matcher.on_frame(1_000 + i, stamp(i), arrival(i));
        });
        matcher.lost();
        let shifted = |i: u64| stamp(i).map(|t| t + Span::from_millis(77_777));
        let first = matcher.on_frame(0, shifted(100), arrival(100));
        assert_eq!((first.trigger, first.missing_before), (100, 40));
        assert!(first.integrity.contains(Integrity::UNPROVED_MATCH | Integrity::GAP_BEFORE));
        for index in 101..300 {
            assert_eq!(matcher.on_frame(index - 100, shifted(index), arrival(index)).trigger, index);
        }
        assert!(matcher.is_proved());
    }

    #[test]
    fn a_new_train_is_proved_by_its_stretched_periods_and_never_without_a_clock_of_the_camera() {
        for has_clock in [true, false] {
            let mut matcher = anchored();
            (0..60).for_each(|i| {
                matcher.on_frame(1_000 + i, stamp(i), arrival(i));
            });
            matcher.anchor_next();
            let mut unproved = 0;
            for index in 0..200 {
                let later = stamp(index).filter(|_| has_clock).map(|t| t + Span::from_millis(9_000));
                let found = matcher.on_frame(1_060 + index, later, arrival(index) + Span::from_millis(9_000));
                assert_eq!((found.trigger, found.missing_before), (index, 0));
                unproved += u32::from(found.integrity.contains(Integrity::UNPROVED_MATCH));
            }
            assert_eq!(matcher.is_proved(), has_clock);
            assert!(if has_clock { (1..=100).contains(&unproved) } else { unproved == 200 }, "{unproved}");
        }
    }

    #[test]
    fn duplicates_and_swaps_stay_visible() {
        let mut matcher = anchored();
        for index in [0, 1, 3, 2, 3, 4] {
            matcher.on_frame(1_000 + index, stamp(index), arrival(index));
        }
        let twice = matcher.on_frame(1_004, stamp(4), arrival(4));
        assert!(twice.integrity.contains(Integrity::DUPLICATE));
        let swapped = matcher.on_frame(1_002, stamp(2), arrival(5));
        assert_eq!(swapped.trigger, 2);
        assert!(swapped.integrity.contains(Integrity::OUT_OF_ORDER));
        assert_eq!(matcher.on_frame(1_005, stamp(5), arrival(5)).missing_before, 0);
    }
}
