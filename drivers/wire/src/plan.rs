//! The camera trigger train: a fixed period with rare stretched periods that carry identity.
//!
//! Trigger `n` follows trigger `n - 1` by `period_ns`, or by `period_ns + stretch_ns` where [`Plan::is_stretched`] says
//! so. The positions are a pure function of `code_seed`, so any stream that sees a few stretched periods knows its
//! absolute trigger index.

/// A trigger train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Time between triggers.
    pub period_ns: u32,
    /// Width of the trigger pulse.
    pub width_ns: u32,
    /// Extra time of a stretched period.
    pub stretch_ns: u32,
    /// Mean triggers between stretched periods; fewer than 4 for none.
    pub stretch_every: u32,
    /// Seed of the stretch positions.
    pub code_seed: u32,
}

impl Plan {
    /// Shortest period a board runs.
    pub const PERIOD_NS_MIN: u32 = 100_000;

    /// Whether the period that *ends* at trigger `index` is stretched.
    pub const fn is_stretched(&self, index: u64) -> bool {
        is_stretched(self.stretch_every, self.code_seed, index)
    }

    /// Nanoseconds from trigger 0 to trigger `index`.
    pub const fn offset_ns(&self, index: u64) -> u64 {
        self.period_ns as u64 * index + self.stretch_ns as u64 * stretches_to(self.stretch_every, self.code_seed, index)
    }

    /// The first trigger that is not before `offset_ns` after trigger 0.
    pub const fn index_at(&self, offset_ns: u64) -> u64 {
        // The code only delays triggers, so the plain quotient is never too small by more than the stretches passed.
        let longest = self.period_ns as u64 * self.block() + self.stretch_ns as u64;
        let mut index = offset_ns / longest * self.block();
        while self.offset_ns(index) < offset_ns {
            index += 1;
        }
        index
    }

    /// Whether a board can run it: a pulse ends before the next begins.
    pub const fn is_sound(&self) -> bool {
        self.period_ns >= Self::PERIOD_NS_MIN && self.width_ns > 0 && self.width_ns < self.period_ns
    }

    const fn block(&self) -> u64 {
        if self.stretch_every < 4 { 1 } else { self.stretch_every as u64 }
    }
}

/// Whether the period that *ends* at trigger `index` is stretched, by the code of `seed`.
///
/// One trigger in each block of `every` is chosen by a 64-bit mix of seed and block number (the finaliser of
/// `SplitMix64`), never the block's first two, so that two stretches are never adjacent.
pub const fn is_stretched(every: u32, seed: u32, index: u64) -> bool {
    every >= 4 && index % every as u64 == place(every, seed, index / every as u64)
}

/// How many of the periods that end at triggers up to and with `index` are stretched.
pub const fn stretches_to(every: u32, seed: u32, index: u64) -> u64 {
    if every < 4 {
        return 0;
    }
    let block = index / every as u64;
    block + (index % every as u64 >= place(every, seed, block)) as u64
}

const fn place(every: u32, seed: u32, block: u64) -> u64 {
    2 + mix((seed as u64) << 32 ^ block) % (every as u64 - 3)
}

const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan =
        Plan { period_ns: 20_000_000, width_ns: 1_000_000, stretch_ns: 2_000_000, stretch_every: 50, code_seed: 7 };

    #[test]
    fn offsets_are_the_sum_of_the_periods_and_invert() {
        for plan in [PLAN, Plan { stretch_every: 0, ..PLAN }, Plan { stretch_every: 4, ..PLAN }] {
            let mut at = 0;
            for index in 1..2_000 {
                assert_eq!(plan.index_at(at + 1), index);
                at += u64::from(plan.period_ns) + if plan.is_stretched(index) { u64::from(plan.stretch_ns) } else { 0 };
                assert_eq!(plan.offset_ns(index), at, "trigger {index}");
                assert_eq!(plan.index_at(at), index);
            }
        }
    }

    #[test]
    fn stretches_are_never_adjacent_and_come_once_a_block() {
        let stretched: Vec<u64> = (0..5_000).filter(|&i| PLAN.is_stretched(i)).collect();
        assert_eq!(stretched.len(), 100);
        assert!(stretched.windows(2).all(|pair| pair[1] - pair[0] >= 2));
        let gaps: std::collections::BTreeSet<u64> = stretched.windows(2).map(|p| p[1] - p[0]).collect();
        assert!(gaps.len() > 20, "the code must not repeat: {gaps:?}");
    }
}
