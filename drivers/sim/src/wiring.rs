//! What the board's lines carry, as the other devices see it: trigger trains placed in universe time.
//!
//! The board writes; cameras and arrays keep a copy of their own and look at a generation number before they take the
//! lock, so that in a steady state they never do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mimicd_device::Span;
use mimicd_wire::Plan;

use crate::clock::DriftClock;

/// A trigger train with its place in the universe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrainSpan {
    pub(crate) plan: Plan,
    /// What the board's clock shows at trigger 0, whatever its epoch.
    pub(crate) start_local_ns: i64,
    /// One past the last trigger, once known.
    pub(crate) end: Option<u64>,
}

impl TrainSpan {
    /// When trigger `index` rises; `None` if there is no such trigger.
    pub(crate) fn rise(&self, clock: &DriftClock, index: u64) -> Option<Span> {
        self.end
            .is_none_or(|end| index < end)
            .then(|| clock.universe(self.start_local_ns + self.plan.offset_ns(index) as i64))
    }

    /// The first trigger that does not rise before `universe`.
    pub(crate) fn index_at(&self, clock: &DriftClock, universe: Span) -> u64 {
        let elapsed = clock.local_ns(universe) - self.start_local_ns;
        self.plan.index_at(elapsed.max(0) as u64)
    }
}

/// One life of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// What the board's oscillator had counted when board time was 0.
    pub(crate) zero_local_ns: i64,
    /// When that was.
    pub(crate) from: Span,
}

#[derive(Debug, Default)]
struct Lines {
    trains: Vec<TrainSpan>,
    epochs: Vec<Epoch>,
}

/// The shared lines.
#[derive(Debug, Default)]
pub(crate) struct Wiring {
    generation: AtomicU64,
    lines: Mutex<Lines>,
    outputs: Mutex<OutputLog>,
}

/// Pulses of outputs that are remembered: far more than one exposure can hold.
const PULSES: usize = 64;

/// What the outputs did lately.
#[derive(Debug, Default)]
struct OutputLog {
    pulses: VecDeque<OutputPulse>,
}

/// A pulse; without an end while it lasts.
#[derive(Clone, Copy, Debug)]
struct OutputPulse {
    output: u8,
    from: Span,
    to: Option<Span>,
}

impl Wiring {
    pub(crate) fn begin_epoch(&self, epoch: Epoch) {
        self.change(|lines| lines.epochs.push(epoch));
    }

    pub(crate) fn begin_train(&self, train: TrainSpan) {
        self.change(|lines| lines.trains.push(train));
    }

    /// Ends the last train before trigger `end`.
    pub(crate) fn end_train(&self, end: u64) {
        self.change(|lines| {
            if let Some(train) = lines.trains.last_mut() {
                train.end = Some(train.end.map_or(end, |known| known.min(end)));
            }
        });
    }

    /// Output `output` changed to `high` at `at`.
    pub(crate) fn drive(&self, output: u8, at: Span, high: bool) {
        let mut log = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        if high {
            if log.pulses.len() == PULSES {
                log.pulses.pop_front();
            }
            log.pulses.push_back(OutputPulse { output, from: at, to: None });
        } else if let Some(pulse) = log.pulses.iter_mut().rev().find(|pulse| pulse.output == output) {
            pulse.to = pulse.to.or(Some(at));
        }
    }

    /// The share of `from..to` that output `output` was high.
    pub(crate) fn share_high(&self, output: u8, from: Span, to: Span) -> f64 {
        let log = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let own = log.pulses.iter().filter(|pulse| pulse.output == output);
        let high: i64 =
            own.map(|pulse| (pulse.to.unwrap_or(to).min(to).nanos() - pulse.from.max(from).nanos()).max(0)).sum();
        high as f64 / (to - from).nanos().max(1) as f64
    }

    pub(crate) fn epochs(&self) -> Vec<Epoch> {
        self.lock().epochs.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lock());
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device's own copy of the trains.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trains {
    generation: u64,
    trains: Vec<TrainSpan>,
}

impl Trains {
    /// Takes over what has changed; allocates only when a train has been added.
    pub(crate) fn refresh(&mut self, wiring: &Wiring) {
        let generation = wiring.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.trains.clone_from(&wiring.lock().trains);
        }
    }

    pub(crate) fn all(&self) -> &[TrainSpan] {
        &self.trains
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exposure_sees_the_share_of_it_that_a_light_was_on() {
        let wiring = Wiring::default();
        let micros = Span::from_micros;
        wiring.drive(3, micros(100), true);
        assert_eq!(wiring.share_high(3, micros(0), micros(200)), 0.5, "still on");
        wiring.drive(3, micros(150), false);
        wiring.drive(3, micros(180), true);
        wiring.drive(3, micros(190), false);
        assert_eq!(wiring.share_high(3, micros(0), micros(200)), 0.3);
        assert_eq!(wiring.share_high(3, micros(200), micros(400)), 0.0);
        assert_eq!(wiring.share_high(2, micros(0), micros(200)), 0.0, "another output");
        (0..200).for_each(|pulse| {
            wiring.drive(1, micros(1_000 + pulse * 10), true);
            wiring.drive(1, micros(1_005 + pulse * 10), false);
        });
        assert_eq!(wiring.share_high(1, micros(2_900), micros(3_000)), 0.5);
    }
}
