//! Limits of an output that hold whatever the host does.

/// What an output may do at most.
///
/// The guarantee, for every window of `window_ns`: time high ≤ `duty_ppm` / 10⁶ × `window_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest single pulse.
    pub width_ns_max: u32,
    /// Largest share of any window that the output may be high, in parts per million.
    pub duty_ppm: u32,
    /// The window.
    pub window_ns: u64,
    /// Least time from one rising edge to the next (the largest rate).
    pub rise_gap_ns_min: u32,
}

impl Limits {
    /// 100 ms pulses, a tenth of any 10 s, 100 pulses a second.
    pub const DEFAULT: Self =
        Self { width_ns_max: 100_000_000, duty_ppm: 100_000, window_ns: 10_000_000_000, rise_gap_ns_min: 10_000_000 };

    /// A light that only cameras look at: 0.5 s pulses, 60 % of any 10 s.
    pub const INDICATOR: Self =
        Self { width_ns_max: 500_000_000, duty_ppm: 600_000, window_ns: 10_000_000_000, rise_gap_ns_min: 2_000_000 };

    /// Whether one pulse of the longest width fits into the duty.
    pub const fn is_sound(&self) -> bool {
        self.window_ns > 0
            && self.duty_ppm <= 1_000_000
            && self.width_ns_max as u128 * 1_000_000 <= self.duty_ppm as u128 * self.window_ns as u128
    }
}

/// A budget of high time that refills slowly.
///
/// It holds at most one longest pulse, C, and refills at r = duty − C / window. A pulse pays its whole width when it
/// rises. So the high time in any window W is at most C + r W = duty × W: a pulse that was already high when the window
/// began has paid for its part before it, and r < 1.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// Parts per million of a nanosecond, so that the refill is exact in integers.
    budget: u64,
    at_ns: u64,
}

impl Meter {
    /// A full budget at board time 0.
    pub const fn new(limits: &Limits) -> Self {
        Self { budget: Self::capacity(limits), at_ns: 0 }
    }

    /// Pays for a pulse of `width_ns` at `now_ns`, or leaves the budget as it is and returns `false`.
    pub fn pay(&mut self, limits: &Limits, now_ns: u64, width_ns: u32) -> bool {
        self.refill(limits, now_ns);
        let price = u64::from(width_ns) * 1_000_000;
        let can = price <= self.budget;
        if can {
            self.budget -= price;
        }
        can
    }

    fn refill(&mut self, limits: &Limits, now_ns: u64) {
        let earned = now_ns.saturating_sub(self.at_ns).saturating_mul(Self::rate_ppm(limits));
        self.budget = self.budget.saturating_add(earned).min(Self::capacity(limits));
        self.at_ns = self.at_ns.max(now_ns);
    }

    const fn capacity(limits: &Limits) -> u64 {
        limits.width_ns_max as u64 * 1_000_000
    }

    /// duty − C / window, rounded down.
    const fn rate_ppm(limits: &Limits) -> u64 {
        let share = (limits.width_ns_max as u128 * 1_000_000).div_ceil(limits.window_ns as u128) as u64;
        (limits.duty_ppm as u64).saturating_sub(share)
    }
}
