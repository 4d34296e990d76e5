//! The running trigger train.

use mimicd_wire::Plan;

/// A trigger train with its place in board time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train {
    /// Periods, width and code.
    pub plan: Plan,
    /// Board time of trigger 0.
    pub start_ns: u64,
    /// Index of the next trigger.
    pub next: u64,
    /// One past the last trigger; `None` = until stopped.
    pub end: Option<u64>,
    /// Kept, because a small processor divides slowly and is asked for it in every pass.
    next_ns: u64,
}

impl Train {
    /// A train whose trigger 0 comes at `start_ns`.
    pub const fn new(plan: Plan, start_ns: u64, end: Option<u64>) -> Self {
        Self { plan, start_ns, next: 0, end, next_ns: start_ns }
    }

    /// Board time of the next trigger, if there will be one.
    pub fn next_at_ns(&self) -> Option<u64> {
        self.end.is_none_or(|end| self.next < end).then_some(self.next_ns)
    }

    /// Goes on to the trigger after the next.
    pub const fn step(&mut self) {
        self.next += 1;
        let stretch = if self.plan.is_stretched(self.next) { self.plan.stretch_ns as u64 } else { 0 };
        self.next_ns += self.plan.period_ns as u64 + stretch;
    }
}
