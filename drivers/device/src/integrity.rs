//! Flags that travel with damaged data.

bitflags::bitflags! {
    /// What is known to be wrong with one frame, block or row. Empty means nothing is.
    ///
    /// The numeric values are written into tables (`integrity` columns) and never change meaning.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Integrity: u32 {
        /// Data directly before this item is missing.
        const GAP_BEFORE = 1 << 0;
        /// The device said that part of this item's payload is damaged or missing.
        const CORRUPT = 1 << 1;
        /// Same device counter as the item before.
        const DUPLICATE = 1 << 2;
        /// Arrived after the item that follows it by device counter.
        const OUT_OF_ORDER = 1 << 3;
        /// Arrived after its frame set had been closed.
        const LATE = 1 << 4;
        /// The match of this frame to its trigger could not be proved.
        const UNPROVED_MATCH = 1 << 5;
        /// The device's clock or counter restarted or jumped here.
        const CLOCK_STEP = 1 << 6;
        /// The image equals the one before (a frozen sensor).
        const FROZEN = 1 << 7;
        /// Older than its limit when it was used; nothing may act on it.
        const STALE = 1 << 8;
        /// Computed without some of its inputs (missing views, extrapolated limb).
        const PARTIAL = 1 << 9;
        /// A value was not finite and has been replaced or refused.
        const NOT_FINITE = 1 << 10;
        /// A value sits at a limit (joint limit, saturated sample).
        const AT_LIMIT = 1 << 11;
        /// A discontinuity against the row before.
        const JUMP = 1 << 12;
        /// The virtual rat was reset at this row.
        const RESET = 1 << 13;
        /// The clock map used for this row was outside its valid range.
        const CLOCK_EXTRAPOLATED = 1 << 14;
        /// The stage that makes this row overran its deadline.
        const OVERRUN = 1 << 15;
    }
}
