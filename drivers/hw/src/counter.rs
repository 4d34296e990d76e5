//! Frame counters of devices, which wrap, extended to 64 bit.

use mimicd_device::Integrity;

/// What the next value of a counter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The counter, extended.
    pub counter: u64,
    /// Values that were skipped.
    pub missing: u64,
    /// `GAP_BEFORE`, `DUPLICATE`, `OUT_OF_ORDER`, or `CLOCK_STEP` for a counter that restarted.
    pub integrity: Integrity,
}

/// Extends a counter that runs over `period` values from `first` on.
#[derive(Clone, Debug)]
pub struct Counter {
    first: u64,
    period: u64,
    /// Newest value by the counter's order.
    last: Option<(u64, u64)>,
}

impl Counter {
    /// Values that go back by no more than this were overtaken on the way; by more, the counter restarted.
    const REORDER_MAX: u64 = 16;

    /// V4L2: 32 bit, from 0.
    pub const fn v4l2() -> Self {
        Self { first: 0, period: 1 << 32, last: None }
    }

    /// GigE Vision's 16-bit block id: 1 to 65535, 0 is never used.
    pub const fn gvsp16() -> Self {
        Self { first: 1, period: 65_535, last: None }
    }

    /// GigE Vision's 64-bit block id and USB3 Vision's, which wrap after the rig has rusted.
    pub const fn wide() -> Self {
        Self { first: 0, period: 1 << 62, last: None }
    }

    /// Forgets what was seen: the device was opened again.
    pub fn restart(&mut self) {
        self.last = None;
    }

    /// Takes the next value in.
    pub fn take(&mut self, value: u64) -> Count {
        let place = value.wrapping_sub(self.first) % self.period;
        let Some((newest, counter)) = self.last else {
            self.last = Some((place, place));
            return Count { counter: place, missing: 0, integrity: Integrity::empty() };
        };
        let ahead = (place + self.period - newest) % self.period;
        let behind = (self.period - ahead) % self.period;
        match (ahead, behind) {
            (0, _) => Count { counter, missing: 0, integrity: Integrity::DUPLICATE },
            (_, 1..=Self::REORDER_MAX) if behind <= counter => {
                Count { counter: counter - behind, missing: 0, integrity: Integrity::OUT_OF_ORDER }
            }
            _ if ahead < self.period / 2 => {
                let counter = counter + ahead;
                self.last = Some((place, counter));
                let integrity = if ahead > 1 { Integrity::GAP_BEFORE } else { Integrity::empty() };
                Count { counter, missing: ahead - 1, integrity }
            }
            _ => {
                self.last = Some((place, place));
                Count { counter: place, missing: 0, integrity: Integrity::CLOCK_STEP | Integrity::GAP_BEFORE }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gaps_are_counted_across_the_wrap() {
        let mut counter = Counter::v4l2();
        let top = u64::from(u32::MAX);
        assert_eq!(counter.take(top - 1).counter, top - 1);
        assert_eq!(counter.take(top).missing, 0);
        assert_eq!(counter.take(0), Count { counter: top + 1, missing: 0, integrity: Integrity::empty() });
        assert_eq!(counter.take(4), Count { counter: top + 5, missing: 3, integrity: Integrity::GAP_BEFORE });
    }

    #[test]
    fn a_block_id_skips_zero_when_it_wraps() {
        let mut counter = Counter::gvsp16();
        assert_eq!(counter.take(65_534).counter, 65_533);
        assert_eq!(counter.take(65_535).missing, 0);
        assert_eq!(counter.take(1), Count { counter: 65_535, missing: 0, integrity: Integrity::empty() });
        assert_eq!(counter.take(3), Count { counter: 65_537, missing: 1, integrity: Integrity::GAP_BEFORE });
    }

    #[test]
    fn duplicates_swaps_and_restarts_are_told_apart() {
        let mut counter = Counter::v4l2();
        counter.take(1_000);
        assert_eq!(counter.take(1_000).integrity, Integrity::DUPLICATE);
        assert_eq!(counter.take(1_002).missing, 1);
        let late = counter.take(1_001);
        assert_eq!((late.counter, late.integrity), (1_001, Integrity::OUT_OF_ORDER));
        assert_eq!(counter.take(1_003).missing, 0);
        let again = counter.take(0);
        assert_eq!((again.counter, again.integrity), (0, Integrity::CLOCK_STEP | Integrity::GAP_BEFORE));
        assert_eq!(counter.take(1).integrity, Integrity::empty());
    }

    proptest! {
        /// Whatever is lost and wherever the counter stands, counters and gaps add up to what the device counted.
        #[test]
        fn frames_and_gaps_add_up(start in 1u64..=65_535, steps in prop::collection::vec(1u64..400, 1..600)) {
            let mut counter = Counter::gvsp16();
            let first = counter.take(start).counter;
            let (mut at, mut missing, mut last) = (start - 1, 0, first);
            for (seen, step) in steps.iter().enumerate() {
                at += step;
                let count = counter.take(at % 65_535 + 1);
                missing += count.missing;
                last = count.counter;
                prop_assert_eq!(last - first, seen as u64 + 1 + missing);
            }
            prop_assert_eq!(last - first, steps.iter().sum::<u64>());
        }
    }
}
