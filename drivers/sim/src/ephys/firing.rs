//! Spikes of an array's units, drawn ahead of the samples and added to them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mimicd_device::{SampleIndex, Span};

use super::digital::SampleClock;
use super::units::{DRAW, SHIFTS, TROUGH, Unit, WAVE_SAMPLES};
use crate::random::normal;
use crate::scene::{MovementFeatures, Scene};

/// The rat's movement is looked up once in this time and drawn straight between.
const MOVEMENT_STEP: Span = Span::from_millis(20);
/// Spikes of an array that may be under way at once; more would be left out of signal and log alike.
const UNDER_WAY_MAX: usize = 512;

/// Spikes of an array that are remembered: about ten minutes, 2 MB.
const KEPT_MAX: usize = 1 << 17;

/// A spike that was put into the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpikeTruth {
    /// Which unit of the array.
    pub unit: u16,
    /// Its tetrode.
    pub tetrode: u16,
    /// The sample nearest to the trough.
    pub sample: SampleIndex,
}

/// The newest spikes of one array, as a log that the truth handle reads: a twin that runs for days must not grow.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpikeLog {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    spikes: VecDeque<SpikeTruth>,
    /// Older ones, which are forgotten.
    forgotten: usize,
}

impl SpikeLog {
    fn push(&self, spike: SpikeTruth) {
        let mut kept = self.lock();
        if kept.spikes.len() == KEPT_MAX {
            kept.spikes.pop_front();
            kept.forgotten += 1;
        }
        kept.spikes.push_back(spike);
    }

    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        let kept = self.lock();
        kept.forgotten + kept.spikes.len()
    }

    /// From the `from`th on, as far as they are kept.
    pub(crate) fn since(&self, from: usize) -> Vec<SpikeTruth> {
        let kept = self.lock();
        kept.spikes.iter().skip(from.saturating_sub(kept.forgotten)).copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A spike whose waveform is not yet wholly in the signal.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    unit: u16,
    shift: u8,
    scale: f32,
    /// Sample at which the waveform begins.
    begin: u64,
}

/// The rat's movement, looked up at steps.
struct MovementTrack {
    scene: Arc<Scene>,
    step: i64,
    ends: [MovementFeatures; 2],
}

impl MovementTrack {
    fn at(&mut self, at: Span) -> MovementFeatures {
        let step = at.nanos().div_euclid(MOVEMENT_STEP.nanos());
        if step != self.step {
            let look = |step: i64| self.scene.features(Span::from_nanos(step * MOVEMENT_STEP.nanos()));
            self.ends =
                if step == self.step + 1 { [self.ends[1], look(step + 1)] } else { [look(step), look(step + 1)] };
            self.step = step;
        }
        let share = at.nanos().rem_euclid(MOVEMENT_STEP.nanos()) as f64 / MOVEMENT_STEP.nanos() as f64;
        self.ends[0].toward(&self.ends[1], share)
    }
}

/// All units of an array.
pub(crate) struct Firing {
    seed: u64,
    stream: u64,
    units: Vec<Unit>,
    track: MovementTrack,
    /// Next draw interval.
    draw: u64,
    under_way: Vec<UnderWay>,
    log: SpikeLog,
}

impl Firing {
    pub(crate) fn new(seed: u64, stream: u64, units: Vec<Unit>, scene: Arc<Scene>, log: SpikeLog) -> Self {
        let track = MovementTrack { scene, step: i64::MIN / 2, ends: [MovementFeatures::default(); 2] };
        Self { seed, stream, units, track, draw: 0, under_way: Vec::with_capacity(UNDER_WAY_MAX), log }
    }

    pub(crate) fn features(&mut self, at: Span) -> MovementFeatures {
        self.track.at(at)
    }

    /// Nothing before `at` will be asked for.
    pub(crate) fn skip_to(&mut self, at: Span) {
        self.draw = self.draw.max(at.nanos().max(0) as u64 / DRAW.nanos() as u64);
        self.under_way.clear();
    }

    /// Adds all spikes to the block of samples (sample-major) that begins at `first`.
    pub(crate) fn add(&mut self, clock: &SampleClock, first: u64, channels: usize, samples: &mut [i16]) {
        let end = first + (samples.len() / channels) as u64;
        self.draw_until(clock, end + WAVE_SAMPLES as u64);
        for spike in &self.under_way {
            let unit = &self.units[usize::from(spike.unit)];
            let wave = &unit.waves[usize::from(spike.shift)];
            let channel = usize::from(unit.tetrode) * 4;
            for (offset, values) in wave.iter().enumerate() {
                let sample = spike.begin + offset as u64;
                if (first..end).contains(&sample) {
                    let at = (sample - first) as usize * channels + channel;
                    for (target, value) in samples[at..at + 4].iter_mut().zip(values) {
                        *target = target.saturating_add((value * spike.scale) as i16);
                    }
                }
            }
        }
        self.under_way.retain(|spike| spike.begin + WAVE_SAMPLES as u64 > end);
    }

    /// Draws spikes up to the universe time of sample `end`.
    fn draw_until(&mut self, clock: &SampleClock, end: u64) {
        let until = (clock.universe(end).nanos().max(0) / DRAW.nanos()) as u64;
        while self.draw < until {
            let movement = self.track.at(Span::from_nanos(self.draw as i64 * DRAW.nanos()));
            for index in 0..self.units.len() {
                if let Some(at) = self.units[index].fire(self.seed, self.stream, self.draw, &movement) {
                    self.begin(clock, index, at);
                }
            }
            self.draw += 1;
        }
    }

    fn begin(&mut self, clock: &SampleClock, index: usize, at: Span) {
        if self.under_way.len() == UNDER_WAY_MAX {
            return;
        }
        let unit = &self.units[index];
        // Place on the sample grid to a quarter of a sample; later by a shift than the whole sample.
        let quarters = clock.clock.local_ns(at).max(0) as f64 * clock.rate_hz * 1e-9 * SHIFTS as f64;
        let quarters = quarters.round() as u64;
        let (whole, shift) = (quarters / SHIFTS as u64, quarters % SHIFTS as u64);
        if whole < TROUGH as u64 {
            return;
        }
        let scale = 1.0 + 0.06 * normal(self.seed, self.stream + 20_000 + u64::from(unit.unit), whole);
        self.under_way.push(UnderWay {
            unit: unit.unit,
            shift: shift as u8,
            scale: scale.clamp(0.7, 1.3) as f32,
            begin: whole - TROUGH as u64,
        });
        let sample = SampleIndex(whole + u64::from(shift as usize > SHIFTS / 2));
        self.log.push(SpikeTruth { unit: unit.unit, tetrode: unit.tetrode, sample });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_forgets_the_oldest_and_goes_on_counting() {
        let log = SpikeLog::default();
        let spike = |sample: usize| SpikeTruth { unit: 0, tetrode: 0, sample: SampleIndex(sample as u64) };
        (0..KEPT_MAX + 5).for_each(|sample| log.push(spike(sample)));
        assert_eq!(log.count(), KEPT_MAX + 5);
        assert_eq!(log.since(0).first(), Some(&spike(5)), "five are forgotten");
        assert_eq!(log.since(KEPT_MAX + 3), [spike(KEPT_MAX + 3), spike(KEPT_MAX + 4)]);
        assert!(log.since(KEPT_MAX + 5).is_empty());
    }
}
