//! Frames of one trigger become a frame set.
//!
//! Sets are keyed by trigger index, never by arrival. A set is handed out when it is complete, when a newer set is complete,
//! or when it has waited its time; sets come out in trigger order, each exactly once. A frame whose set has gone is late: it
//! is counted and dropped here (the recorder has its own clone).

use std::sync::Arc;

use mimicd_device::{Frame, HostTime, Integrity, Span};

/// A frame with the trigger it answers.
#[derive(Clone, Debug)]
pub struct MatchedFrame {
    /// The image.
    pub frame: Arc<Frame>,
    /// Index in the trigger train.
    pub trigger: u64,
    /// The frame's own flags and those of the match.
    pub integrity: Integrity,
}

/// Why a set was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetState {
    /// All cameras are in.
    Complete,
    /// Its time was up, or a newer set was complete first.
    Partial,
}

/// The frames of one trigger.
#[derive(Clone, Debug)]
pub struct FrameSet {
    /// Index in the trigger train.
    pub trigger: u64,
    /// One place for each camera.
    pub frames: Vec<Option<Arc<Frame>>>,
    /// Flags of all frames together; `PARTIAL` when one is missing.
    pub integrity: Integrity,
    /// When the first frame came in.
    pub first_arrival: HostTime,
    /// When the last frame came in.
    pub last_arrival: HostTime,
    present: usize,
    in_use: bool,
}

impl FrameSet {
    /// An empty set for `cameras` cameras.
    pub fn empty(cameras: usize) -> Self {
        Self {
            trigger: 0,
            frames: vec![None; cameras],
            integrity: Integrity::empty(),
            first_arrival: HostTime::ZERO,
            last_arrival: HostTime::ZERO,
            present: 0,
            in_use: false,
        }
    }

    /// Cameras that are in.
    pub fn present(&self) -> usize {
        self.present
    }

    fn open(&mut self, trigger: u64, now: HostTime) {
        self.clear();
        self.trigger = trigger;
        self.first_arrival = now;
        self.in_use = true;
    }

    /// Lets go of the frames.
    pub fn clear(&mut self) {
        self.frames.iter_mut().for_each(|place| *place = None);
        self.integrity = Integrity::empty();
        self.present = 0;
        self.in_use = false;
    }
}

/// What a gatherer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatherCounts {
    /// Sets handed out with every camera.
    pub complete: u64,
    /// Sets handed out with cameras missing.
    pub partial: u64,
    /// Frames that came after their set had been handed out.
    pub late: u64,
    /// Second frames of the same camera for the same trigger.
    pub duplicate: u64,
}

/// Gathers frames into sets.
#[derive(Debug)]
pub struct Gatherer {
    open: Vec<FrameSet>,
    wait: Span,
    next_trigger: u64,
    counts: GatherCounts,
}

impl Gatherer {
    /// Sets that may be open at once: cameras differ by less than three periods or their frames are late.
    const OPEN_MAX: usize = 4;

    /// A gatherer for `cameras` cameras that waits `wait` after a set's first frame.
    pub fn new(cameras: usize, wait: Span) -> Self {
        let open = (0..Self::OPEN_MAX).map(|_| FrameSet::empty(cameras)).collect();
        Self { open, wait, next_trigger: 0, counts: GatherCounts::default() }
    }

    /// Forgets open sets; the next set may be any trigger.
    pub fn reset(&mut self) {
        self.open.iter_mut().for_each(FrameSet::clear);
        self.next_trigger = 0;
    }

    /// Takes a frame in.
    pub fn push(&mut self, matched: MatchedFrame, now: HostTime) {
        if matched.trigger < self.next_trigger {
            self.counts.late += 1;
            return;
        }
        let Some(set) = self.set_for(matched.trigger, now) else {
            self.counts.late += 1;
            return;
        };
        let camera = matched.frame.camera.as_usize();
        let Some(place) = set.frames.get_mut(camera) else { return };
        let duplicate = place.replace(matched.frame).is_some();
        set.integrity |= matched.integrity;
        set.last_arrival = now;
        set.present += usize::from(!duplicate);
        self.counts.duplicate += u64::from(duplicate);
    }

    /// Swaps the next set that is due into `out` (whose old frames are let go); `false` when none is.
    pub fn pop(&mut self, now: HostTime, out: &mut FrameSet) -> bool {
        let wait = self.wait;
        let is_due =
            |set: &&FrameSet| set.in_use && (set.present == set.frames.len() || now - set.first_arrival >= wait);
        let Some(newest_due) = self.open.iter().filter(is_due).map(|set| set.trigger).max() else { return false };
        // Sets older than one that is due go first, so that order holds even when a camera lags by a whole period.
        let older = |set: &&mut FrameSet| set.in_use && set.trigger <= newest_due;
        let Some(set) = self.open.iter_mut().filter(older).min_by_key(|set| set.trigger) else { return false };
        out.clear();
        std::mem::swap(set, out);
        set.clear();
        out.in_use = false;
        self.next_trigger = out.trigger + 1;
        if out.present == out.frames.len() {
            self.counts.complete += 1;
        } else {
            self.counts.partial += 1;
            out.integrity |= Integrity::PARTIAL;
        }
        true
    }

    /// The set that will be handed out next, as far as it has come; `None` when none has begun.
    pub fn waiting(&self) -> Option<&FrameSet> {
        self.open.iter().filter(|set| set.in_use).min_by_key(|set| set.trigger)
    }

    /// When an open set's time will be up; the loop sleeps no longer than that.
    pub fn deadline(&self) -> Option<HostTime> {
        self.open.iter().filter(|set| set.in_use).map(|set| set.first_arrival + self.wait).min()
    }

    /// What has been done so far.
    pub fn counts(&self) -> GatherCounts {
        self.counts
    }

    fn set_for(&mut self, trigger: u64, now: HostTime) -> Option<&mut FrameSet> {
        let at = self
            .open
            .iter()
            .position(|set| set.in_use && set.trigger == trigger)
            .or_else(|| self.open.iter().position(|set| !set.in_use))?;
        let set = &mut self.open[at];
        if !set.in_use {
            set.open(trigger, now);
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use mimicd_device::{CameraIndex, FrameGeometry, PixelFormat};
    use proptest::prelude::*;

    use super::*;

    fn frame(camera: u8, trigger: u64) -> MatchedFrame {
        let geometry = FrameGeometry { width_px: 1, height_px: 1, format: PixelFormat::Mono8 };
        MatchedFrame {
            frame: Arc::new(Frame::blank(CameraIndex(camera), geometry)),
            trigger,
            integrity: Integrity::empty(),
        }
    }

    fn at(micros: i64) -> HostTime {
        HostTime::ZERO + Span::from_micros(micros)
    }

    #[test]
    fn a_complete_set_comes_at_once_and_a_partial_one_after_its_wait() {
        let mut gatherer = Gatherer::new(2, Span::from_millis(4));
        let mut set = FrameSet::empty(2);
        gatherer.push(frame(0, 7), at(0));
        assert!(!gatherer.pop(at(100), &mut set));
        gatherer.push(frame(1, 7), at(200));
        assert!(gatherer.pop(at(200), &mut set));
        assert_eq!((set.trigger, set.present()), (7, 2));
        gatherer.push(frame(0, 8), at(20_000));
        assert_eq!(gatherer.deadline(), Some(at(24_000)));
        assert!(gatherer.pop(at(24_000), &mut set));
        assert!(set.integrity.contains(Integrity::PARTIAL));
        gatherer.push(frame(1, 8), at(25_000));
        assert_eq!(gatherer.counts(), GatherCounts { complete: 1, partial: 1, late: 1, duplicate: 0 });
    }

    proptest! {
        /// Any arrival order within two triggers gives every set once, in order, and loses no frame uncounted.
        #[test]
        fn any_arrival_order_keeps_order_and_counts(jitter in prop::collection::vec(0i64..35_000, 180)) {
            let mut arrivals: Vec<(i64, u8, u64)> = (0..180)
                .map(|i| (i as i64 / 6 * 20_000 + jitter[i], (i % 6) as u8, i as u64 / 6))
                .collect();
            arrivals.sort_unstable();
            let mut gatherer = Gatherer::new(6, Span::from_millis(4));
            let mut set = FrameSet::empty(6);
            let mut seen = Vec::new();
            let mut handed_out = 0;
            for (when, camera, trigger) in arrivals {
                gatherer.push(frame(camera, trigger), at(when));
                while gatherer.pop(at(when), &mut set) {
                    seen.push(set.trigger);
                    handed_out += set.present() as u64;
                }
            }
            while gatherer.pop(at(10_000_000), &mut set) {
                seen.push(set.trigger);
                handed_out += set.present() as u64;
            }
            prop_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(handed_out + gatherer.counts().late, 180);
        }
    }
}
