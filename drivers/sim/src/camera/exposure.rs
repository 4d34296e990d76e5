//! What becomes of each trigger at one camera: a pure function of trains, clock and fault script.

use mimicd_device::Span;

use crate::clock::DriftClock;
use crate::fault::CameraFaults;
use crate::random::{between, hash, uniform};
use crate::wiring::TrainSpan;

/// Frames that wait in the camera's queue when nobody takes them.
const QUEUE: u64 = 4;
/// Largest delay of a frame on its way, beyond the readout.
const DELIVERY_JITTER_NS: f64 = 600_000.0;

/// Timing of one camera, shared by the camera itself, the board's exposure inputs and the arrays' digital lines.
#[derive(Clone, Debug)]
pub(crate) struct ExposureTiming {
    pub(crate) seed: u64,
    pub(crate) stream: u64,
    pub(crate) exposure: Span,
    pub(crate) readout: Span,
    pub(crate) faults: CameraFaults,
}

/// Where a trigger stands: which train, which trigger of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) train: usize,
    pub(crate) index: u64,
}

/// What became of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// No exposure.
    Missed,
    /// Exposed and counted, lost on its way.
    Lost,
    /// Arrives.
    Delivered,
}

impl ExposureTiming {
    /// From the trigger's edge to the exposure's: a constant of the camera, 8 to 30 µs.
    fn delay(&self) -> Span {
        Span::from_nanos(between(self.seed, self.stream, 0, 8_000.0, 30_000.0) as i64)
    }

    /// Begin of the exposure for a trigger that rose at `rise`.
    pub(crate) fn begin(&self, rise: Span) -> Span {
        rise + self.delay()
    }

    /// End of the exposure for a trigger that rose at `rise`.
    pub(crate) fn end(&self, rise: Span) -> Span {
        rise + self.delay() + self.exposure
    }

    /// Whether the camera exposes for trigger `index`, which rose at `rise`.
    pub(crate) fn exposes(&self, train: &TrainSpan, board: &DriftClock, index: u64, rise: Span) -> bool {
        !first_at(&self.faults.missed, train, board, index, rise)
            && !self.faults.vanished.iter().any(|window| window.holds(rise))
    }

    /// When the frame of a trigger that rose at `rise` reaches the host if nothing holds it up.
    fn undisturbed_due(&self, place: Place, rise: Span) -> Span {
        let index = hash(self.seed, 7, place.train as u64) ^ place.index;
        // Mostly prompt with a thin tail, as a shared bus delivers.
        let jitter = uniform(self.seed, self.stream + 1, index).powi(4) * DELIVERY_JITTER_NS;
        self.end(rise) + self.readout + Span::from_nanos(jitter as i64)
    }

    /// When the frame reaches the host.
    pub(crate) fn due(&self, place: Place, rise: Span) -> Span {
        let due = self.undisturbed_due(place, rise);
        self.faults.stalled.iter().find(|window| window.holds(due)).map_or(due, |window| window.to)
    }

    /// What becomes of the trigger at `place`, which rose at `rise`.
    pub(crate) fn fate(&self, train: &TrainSpan, board: &DriftClock, place: Place, rise: Span) -> Fate {
        if !self.exposes(train, board, place.index, rise) {
            return Fate::Missed;
        }
        if first_at(&self.faults.dropped, train, board, place.index, rise) || self.overflows(train, board, place, rise)
        {
            return Fate::Lost;
        }
        Fate::Delivered
    }

    pub(crate) fn is_swapped(&self, train: &TrainSpan, board: &DriftClock, index: u64, rise: Span) -> bool {
        first_at(&self.faults.swapped, train, board, index, rise)
    }

    /// Begin of the frozen stretch that `at` lies in.
    pub(crate) fn frozen_since(&self, at: Span) -> Option<Span> {
        self.faults.frozen.iter().find(|window| window.holds(at)).map(|window| window.from)
    }

    /// Whether the camera's queue was already full of frames of the same stall.
    fn overflows(&self, train: &TrainSpan, board: &DriftClock, place: Place, rise: Span) -> bool {
        let due = self.undisturbed_due(place, rise);
        let Some(window) = self.faults.stalled.iter().find(|window| window.holds(due)) else { return false };
        let before = place.index.checked_sub(QUEUE).and_then(|index| {
            let rise = train.rise(board, index)?;
            Some(self.undisturbed_due(Place { index, ..place }, rise))
        });
        before.is_some_and(|due| window.holds(due))
    }
}

/// Whether `index` is the first trigger of its train that does not rise before one of `instants`.
fn first_at(instants: &[Span], train: &TrainSpan, board: &DriftClock, index: u64, rise: Span) -> bool {
    instants.iter().any(|&at| {
        let before = index.checked_sub(1).and_then(|index| train.rise(board, index));
        rise >= at && before.is_none_or(|before| before < at)
            // A fault between two trains belongs to neither.
            && (index > 0 || rise - at < Span::from_millis(1_000))
    })
}
