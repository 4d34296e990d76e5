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
}

impl Train {
    /// Board time of the next trigger, if there will be one.
    pub fn next_at_ns(&self) -> Option<u64> {
        (self.end.is_none_or(|end| self.next < end)).then(|| self.start_ns + self.plan.offset_ns(self.next))
    }
}
