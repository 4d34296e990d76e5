//! Which indices of a numbered stream never came, told once each and never too early.
//!
//! Items may overtake each other by a few places, so an index counts as missing only when items [`Settling::DEPTH`] places
//! further on have come, or when the stream ends.

/// Watches indices from a first one on.
#[derive(Clone, Copy, Debug)]
pub struct Settling {
    next: u64,
    /// Bit `i` stands for index `next + i`.
    seen: u64,
}

impl Settling {
    /// How far an item may lag behind newer ones before it counts as missing.
    pub const DEPTH: u64 = 16;

    /// Watches from index `first` on.
    pub const fn from(first: u64) -> Self {
        Self { next: first, seen: 0 }
    }

    /// Item `index` has come; `missing(first, end)` is told of every run that is now known missing.
    pub fn see(&mut self, index: u64, mut missing: impl FnMut(u64, u64)) {
        if index < self.next {
            return;
        }
        self.settle((index + 1).saturating_sub(Self::DEPTH), &mut missing);
        self.seen |= 1 << (index - self.next);
    }

    /// The stream ends before index `end`.
    pub fn finish(&mut self, end: u64, mut missing: impl FnMut(u64, u64)) {
        self.settle(end, &mut missing);
    }

    fn settle(&mut self, until: u64, missing: &mut impl FnMut(u64, u64)) {
        while self.next < until {
            let present = u64::from(self.seen.trailing_ones());
            if present > 0 {
                self.advance(present.min(until - self.next));
                continue;
            }
            let absent = u64::from(self.seen.trailing_zeros());
            let run = if self.seen == 0 { until - self.next } else { absent.min(until - self.next) };
            missing(self.next, self.next + run);
            self.advance(run);
        }
    }

    fn advance(&mut self, count: u64) {
        self.next += count;
        self.seen = if count >= 64 { 0 } else { self.seen >> count };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is dropped and however items overtake each other by less than the depth: seen and missing together
        /// are all indices, and nothing is in both.
        #[test]
        fn seen_and_missing_are_a_partition(
            first in 0u64..1_000,
            keep in prop::collection::vec(prop::bool::weighted(0.7), 1..400),
            swaps in prop::collection::vec(0usize..400, 0..50),
        ) {
            let mut order: Vec<u64> = (first..).zip(&keep).filter(|(_, keep)| **keep).map(|(i, _)| i).collect();
            let last = order.len().saturating_sub(1);
            for at in swaps.into_iter().filter(|at| *at < last) {
                order.swap(at, at + 1);
                let newest = order[..=at].iter().max();
                if newest.is_some_and(|newest| newest.saturating_sub(order[at + 1]) >= Settling::DEPTH) {
                    order.swap(at, at + 1);
                }
            }
            let end = first + keep.len() as u64;
            let mut settling = Settling::from(first);
            let mut gone = BTreeSet::new();
            let mut take = |from: u64, to: u64| (from..to).for_each(|i| assert!(gone.insert(i), "{i} told twice"));
            order.iter().for_each(|&index| settling.see(index, &mut take));
            settling.finish(end, &mut take);
            let seen: BTreeSet<u64> = order.into_iter().collect();
            prop_assert!(seen.is_disjoint(&gone));
            prop_assert_eq!(seen.len() + gone.len(), keep.len());
        }
    }

    #[test]
    fn a_long_gap_is_one_run() {
        let mut settling = Settling::from(5);
        let mut runs = Vec::new();
        settling.see(5, |a, b| runs.push((a, b)));
        settling.see(1_000, |a, b| runs.push((a, b)));
        settling.finish(1_001, |a, b| runs.push((a, b)));
        assert_eq!(runs, [(6, 985), (985, 1_000)]);
    }
}
