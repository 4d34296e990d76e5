//! A recording that goes on after its writer died: producers begin to count anew, the recording does not.
//!
//! What producers hand in (rig times, trigger and sample indices) counts from the new run's beginning; the lanes add where the
//! recording stands. So every table goes on in `t_ns`, `trigger_index` and `sample_index`, and what lies between is a gap.

use std::sync::atomic::{AtomicI64, Ordering};

use mimicd_device::{RigTime, Span};

/// Not known yet.
const UNKNOWN: i64 = i64::MIN;
/// A device that kept its counter is off by less than this much of what its clock would have counted.
const KEPT_WITHIN_SECONDS: f64 = 1.0;

/// What is added; all zero for a recording that began with its producers.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// Rig time of the producers' zero.
    pub(super) time: Span,
    /// Added to trigger indices.
    pub(super) triggers: i64,
    /// One entry an array.
    pub(super) arrays: Vec<ArrayOrigin>,
}

/// Where an array's samples had come to.
#[derive(Debug)]
pub(super) struct ArrayOrigin {
    end: i64,
    end_ns: i64,
    shift: AtomicI64,
}

impl ArrayOrigin {
    /// The recording has the array's samples up to index `end`, at rig time `end_ns`.
    pub(super) const fn new(end: i64, end_ns: i64) -> Self {
        Self { end, end_ns, shift: AtomicI64::new(UNKNOWN) }
    }
}

impl Origin {
    /// Whether anything is added at all.
    pub(super) fn moves(&self) -> bool {
        self.time != Span::ZERO || self.triggers != 0 || !self.arrays.is_empty()
    }

    /// Rig time on the recording's clock.
    pub(super) fn time(&self, at: RigTime) -> RigTime {
        at + self.time
    }

    /// A trigger's index in the recording.
    pub(super) const fn trigger(&self, index: i64) -> i64 {
        index + self.triggers
    }

    /// A sample's index in the recording. What was said of an array before its first block came is passed on as it is.
    pub(super) fn sample(&self, array: usize, index: i64) -> i64 {
        let shift = self.arrays.get(array).map(|array| array.shift.load(Ordering::Acquire));
        index + shift.filter(|shift| *shift != UNKNOWN).unwrap_or(0)
    }

    /// A block of `array` begins with the device's sample `first` at rig time `at` (on the recording's clock).
    ///
    /// The first block decides: a device that kept its counter keeps it; one that began anew goes on where its clock says.
    pub(super) fn see_block(&self, array: usize, first: i64, at: RigTime, nanos_per_sample: f64) {
        let Some(array) = self.arrays.get(array) else { return };
        if array.shift.load(Ordering::Acquire) != UNKNOWN {
            return;
        }
        let missing = ((at.nanos() - array.end_ns) as f64 / nanos_per_sample).round().max(0.0) as i64;
        let expected = array.end + missing;
        let within = (KEPT_WITHIN_SECONDS * 1e9 / nanos_per_sample) as i64;
        let kept = first >= array.end && (first - expected).abs() <= within;
        array.shift.store(if kept { 0 } else { expected - first }, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANOS_PER_SAMPLE: f64 = 1e9 / 30_000.0;

    fn origin() -> Origin {
        let arrays = vec![ArrayOrigin::new(90_000, 3_000_000_000)];
        Origin { time: Span::from_millis(5_000), triggers: 240, arrays }
    }

    #[test]
    fn a_counter_that_began_anew_goes_on_where_the_clock_says() {
        let origin = origin();
        assert_eq!(origin.sample(0, 7), 7, "not known yet");
        origin.see_block(0, 300, origin.time(RigTime::from_nanos(10_000_000)), NANOS_PER_SAMPLE);
        assert_eq!(origin.sample(0, 300), 90_000 + 60_300);
        origin.see_block(0, 0, RigTime::ZERO, NANOS_PER_SAMPLE);
        assert_eq!(origin.sample(0, 301), 90_000 + 60_301, "only the first block decides");
        assert_eq!(origin.trigger(0), 240);
    }

    #[test]
    fn a_counter_that_was_kept_stays() {
        let origin = origin();
        origin.see_block(0, 150_450, origin.time(RigTime::from_nanos(10_000_000)), NANOS_PER_SAMPLE);
        assert_eq!(origin.sample(0, 150_450), 150_450);
    }
}
