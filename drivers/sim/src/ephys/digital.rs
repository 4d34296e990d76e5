//! The digital word: trigger line and exposure lines as the array's own clock samples them.

use std::sync::Arc;

use mimicd_device::Span;

use crate::camera::ExposureTiming;
use crate::clock::DriftClock;
use crate::wiring::TrainSpan;

/// Which line stands on which bit.
pub(crate) struct DigitalLines {
    pub(crate) trigger_bit: u8,
    /// Bit and timing of each wired camera.
    pub(crate) exposures: Vec<(u8, Arc<ExposureTiming>)>,
}

/// A block's place: its first sample and how to find the sample of an instant.
pub(crate) struct BlockPlace<'a> {
    pub(crate) first: u64,
    pub(crate) clock: &'a SampleClock,
}

/// Samples of one array in universe time.
#[derive(Clone, Debug)]
pub(crate) struct SampleClock {
    pub(crate) clock: Arc<DriftClock>,
    pub(crate) rate_hz: f64,
}

impl SampleClock {
    /// The first sample that is not taken before `universe`.
    pub(crate) fn sample_from(&self, universe: Span) -> u64 {
        let samples = self.clock.local_ns(universe).max(0) as f64 * self.rate_hz * 1e-9;
        samples.ceil() as u64
    }

    /// When `sample` is taken.
    pub(crate) fn universe(&self, sample: u64) -> Span {
        self.clock.universe((sample as f64 / self.rate_hz * 1e9).round() as i64)
    }
}

impl DigitalLines {
    /// Sets the bits of all lines that are high during the block.
    pub(crate) fn mark(&self, place: &BlockPlace<'_>, trains: &[TrainSpan], board: &DriftClock, digital: &mut [u16]) {
        digital.fill(0);
        let begin = place.clock.universe(place.first);
        let end = place.clock.universe(place.first + digital.len() as u64);
        for train in trains {
            self.mark_train(place, train, board, (begin, end), digital);
        }
    }

    fn mark_train(
        &self,
        place: &BlockPlace<'_>,
        train: &TrainSpan,
        board: &DriftClock,
        (begin, end): (Span, Span),
        digital: &mut [u16],
    ) {
        let width = Span::from_nanos(i64::from(train.plan.width_ns));
        let longest = self.exposures.iter().map(|(_, timing)| timing.end(Span::ZERO)).fold(width, Span::max);
        let mut index = train.index_at(board, begin - longest);
        while let Some(rise) = train.rise(board, index).filter(|&rise| rise < end) {
            set(place, digital, self.trigger_bit, (rise, rise + width));
            for (bit, timing) in &self.exposures {
                if timing.exposes(train, board, index, rise) {
                    set(place, digital, *bit, (timing.begin(rise), timing.end(rise)));
                }
            }
            index += 1;
        }
    }
}

/// Sets `bit` from the first sample not before `from` up to the last before `to`.
fn set(place: &BlockPlace<'_>, digital: &mut [u16], bit: u8, (from, to): (Span, Span)) {
    let inside = |at: Span| (place.clock.sample_from(at).saturating_sub(place.first) as usize).min(digital.len());
    let (from, to) = (inside(from), inside(to));
    for word in &mut digital[from..to.max(from)] {
        *word |= 1 << bit;
    }
}
