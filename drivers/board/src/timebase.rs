//! A 64-bit timebase from a wrapping 32-bit hardware counter.
//!
//! The counter's wrap interrupt and a reader can race: the counter may have wrapped while the interrupt is still pending.
//! Half-period counting removes the race without disabling interrupts. An interrupt at *each half* of the counter's range
//! (at wrap and at 2³¹) increments `halves`; its lowest bit says in which half the counter should be. When a reader finds
//! the counter in the other half, the interrupt is pending and one half period is added. This is right as long as the
//! interrupt is served within half a period (35 minutes at 1 µs a count).

/// Counts half periods of the hardware counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timebase {
    halves: u64,
}

impl Timebase {
    /// A timebase for a counter that starts at zero.
    pub const fn new() -> Self {
        Self { halves: 0 }
    }

    /// To be called once each time the counter wraps or passes 2³¹, by that interrupt.
    pub const fn half_passed(&mut self) {
        self.halves += 1;
    }

    /// The number of half periods passed; what a reader loads before it reads the counter.
    pub const fn halves(self) -> u64 {
        self.halves
    }

    /// Notes a look at the counter, where no interrupt counts the halves: looks must come more often than once a half
    /// period. Returns the 64-bit count.
    pub const fn look(&mut self, counter: u32) -> u64 {
        let count = Self::extend(self.halves, counter);
        self.halves = count >> 31;
        count
    }

    /// The 64-bit count of a moment that a counter captured as `counter`, less than one period before `now`.
    pub const fn captured(now: u64, counter: u32) -> u64 {
        now - (now as u32).wrapping_sub(counter) as u64
    }

    /// The 64-bit count for a `counter` value read *after* `halves` was loaded.
    pub const fn extend(halves: u64, counter: u32) -> u64 {
        let upper_half = counter >> 31;
        let pending = (halves & 1) as u32 ^ upper_half;
        let true_halves = halves + pending as u64;
        (true_halves >> 1) << 32 | counter as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pending_interrupt_does_not_turn_time_back() {
        // Wrapped, interrupt not yet served: halves is still 1 (upper half).
        assert_eq!(Timebase::extend(1, 5), (1 << 32) + 5);
        // Passed the middle, interrupt not yet served.
        assert_eq!(Timebase::extend(0, 0x8000_0001), 0x8000_0001);
        // Served.
        assert_eq!(Timebase::extend(1, 0x8000_0001), 0x8000_0001);
        assert_eq!(Timebase::extend(2, 5), (1 << 32) + 5);
    }

    proptest! {
        #[test]
        fn looking_often_enough_follows_any_number_of_wraps(steps in proptest::collection::vec(0u64..1 << 31, 1..50)) {
            let (mut timebase, mut ticks) = (Timebase::new(), 0u64);
            for step in steps {
                ticks += step;
                prop_assert_eq!(timebase.look(ticks as u32), ticks);
            }
        }

        #[test]
        fn a_capture_is_placed_before_now_across_wraps(now in 1u64 << 32..1 << 62, ago in 0u64..1 << 32) {
            prop_assert_eq!(Timebase::captured(now, (now - ago) as u32), now - ago);
        }

        #[test]
        fn extension_is_exact_however_late_the_interrupt(ticks in 0u64..1 << 62, late in 0u64..1 << 31) {
            // Halves as counted by interrupts that are each served `late` ticks after their moment.
            let served = ticks.saturating_sub(late) >> 31;
            let halves = if late == 0 { ticks >> 31 } else { served };
            prop_assert_eq!(Timebase::extend(halves, ticks as u32), ticks);
        }
    }
}
