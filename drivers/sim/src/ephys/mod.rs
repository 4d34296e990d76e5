//! A simulated array: tetrode signals with known spikes, and the digital word that ties it to the cameras.

mod digital;
mod firing;
mod noise;
mod units;

use std::sync::Arc;

use mimicd_device::{
    ArrayIndex, DeviceError, DeviceErrorKind, EphysSource, HostTime, Integrity, Polled, SampleBlock, SampleIndex, Span,
};

use crate::clock::DriftClock;
use crate::fault::{ArrayFaults, Window};
use crate::pace;
use crate::random::uniform;
use crate::wiring::{Trains, Wiring};
use digital::BlockPlace;
pub(crate) use digital::{DigitalLines, SampleClock};
pub(crate) use firing::Firing;
pub(crate) use firing::SpikeLog;
pub use firing::SpikeTruth;
use noise::Background;
pub(crate) use units::place_units;
pub use units::{Tuning, Unit};

/// From a block's last sample to the block in the host: at least, and at most this much more.
const LATENCY_MIN: Span = Span::from_micros(400);
const LATENCY_JITTER_NS: f64 = 600_000.0;

/// What a simulated array is made of.
pub(crate) struct ArrayParts {
    pub(crate) index: ArrayIndex,
    pub(crate) seed: u64,
    pub(crate) stream: u64,
    pub(crate) channels: usize,
    pub(crate) gain_uv_per_bit: f64,
    pub(crate) block_samples: usize,
    pub(crate) start: HostTime,
    pub(crate) stepped: bool,
    pub(crate) clock: SampleClock,
    pub(crate) board_clock: Arc<DriftClock>,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) lines: DigitalLines,
    pub(crate) faults: ArrayFaults,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stopped,
    Starting,
    Running,
    Lost,
}

/// A simulated array. Its sample counter runs from the twin's start, whether anyone listens or not.
pub struct SimArray {
    parts: ArrayParts,
    identity: String,
    state: State,
    trains: Trains,
    background: Background,
    firing: Firing,
    cursor: u64,
    gap_before: bool,
}

impl SimArray {
    pub(crate) fn new(parts: ArrayParts, firing: Firing) -> Self {
        let identity = format!("twin array {} ({} channels, seed {})", parts.index.0, parts.channels, parts.seed);
        let background = Background::new(parts.seed, parts.stream, parts.channels, parts.gain_uv_per_bit);
        Self {
            parts,
            identity,
            state: State::Stopped,
            trains: Trains::default(),
            background,
            firing,
            cursor: 0,
            gap_before: false,
        }
    }

    fn presence(&mut self, at: Span) -> Result<(), DeviceError> {
        let on = matches!(self.state, State::Running | State::Starting);
        if on && self.is_gone(at) {
            self.state = State::Lost;
        }
        if self.state == State::Lost {
            return Err(DeviceError::new(DeviceErrorKind::Disconnected, format!("{}: link lost", self.identity)));
        }
        if self.state == State::Starting {
            self.state = State::Running;
            self.skip_to(self.parts.clock.sample_from(at));
        }
        Ok(())
    }

    fn is_gone(&self, at: Span) -> bool {
        self.parts.faults.vanished.iter().any(|window| window.holds(at))
    }

    fn skip_to(&mut self, sample: u64) {
        self.cursor = sample;
        self.firing.skip_to(self.parts.clock.universe(sample));
    }

    /// A gap as samples, its end excluded.
    fn gap_samples(&self, gap: &Window) -> (u64, u64) {
        (self.parts.clock.sample_from(gap.from), self.parts.clock.sample_from(gap.to))
    }

    /// Steps over a gap at the cursor, and says where the next block ends.
    fn next_end(&mut self) -> u64 {
        for index in 0..self.parts.faults.gaps.len() {
            let (from, to) = self.gap_samples(&self.parts.faults.gaps[index]);
            if (from..to).contains(&self.cursor) {
                self.skip_to(to);
                self.gap_before = true;
            }
        }
        let full = self.cursor + self.parts.block_samples as u64;
        let gaps = self.parts.faults.gaps.iter().map(|gap| self.gap_samples(gap));
        gaps.filter(|&(from, to)| from > self.cursor && from < full && to > from)
            .map(|(from, _)| from)
            .fold(full, u64::min)
    }

    /// When the block that ends before sample `end` reaches the host.
    fn due(&self, end: u64) -> Span {
        let parts = &self.parts;
        let jitter = uniform(parts.seed, parts.stream + 90, end).powi(4) * LATENCY_JITTER_NS;
        let due = parts.clock.universe(end) + LATENCY_MIN + Span::from_nanos(jitter as i64);
        parts.faults.stalled.iter().find(|window| window.holds(due)).map_or(due, |window| window.to)
    }

    fn fill(&mut self, end: u64, block: &mut SampleBlock) {
        let parts = &self.parts;
        let len = (end - self.cursor) as usize;
        block.clear();
        block.array = parts.index;
        block.first = SampleIndex(self.cursor);
        block.channels = parts.channels;
        block.samples.resize(len * parts.channels, 0);
        block.digital.resize(len, 0);
        let (first, clock) = (self.cursor, &parts.clock);
        let movement = self.firing.features(clock.universe(first + len as u64 / 2));
        let at = |sample: usize| clock.universe(first + sample as u64);
        self.background.fill(first, &mut block.samples, movement.speed_m_per_s, at);
        self.firing.add(clock, first, parts.channels, &mut block.samples);
        let place = BlockPlace { first, clock };
        parts.lines.mark(&place, self.trains.all(), &parts.board_clock, &mut block.digital);
        if self.gap_before {
            block.integrity |= Integrity::GAP_BEFORE;
        }
        self.gap_before = false;
        self.cursor = end;
    }
}

impl EphysSource for SimArray {
    fn channels(&self) -> usize {
        self.parts.channels
    }

    fn rate_hz(&self) -> f64 {
        self.parts.clock.rate_hz
    }

    fn block_samples_max(&self) -> usize {
        self.parts.block_samples
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn start(&mut self) -> Result<(), DeviceError> {
        if self.state == State::Stopped {
            self.state = State::Starting;
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.state = State::Stopped;
    }

    fn poll(&mut self, now: HostTime, block: &mut SampleBlock) -> Result<Polled, DeviceError> {
        if self.state == State::Stopped {
            return Ok(Polled::Nothing);
        }
        let at = now - self.parts.start;
        self.presence(at)?;
        let end = self.next_end();
        let due = self.due(end);
        if due > at {
            return Ok(Polled::Nothing);
        }
        self.trains.refresh(&self.parts.wiring);
        self.fill(end, block);
        block.arrival = if self.parts.stepped { self.parts.start + due } else { now };
        Ok(Polled::Ready)
    }

    fn wait(&mut self, until: HostTime) {
        if self.state != State::Running {
            return pace::sleep_until(until);
        }
        let end = self.next_end();
        pace::sleep_until(until.min(self.parts.start + self.due(end)));
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        // In stepped mode there is no clock to look at; the next poll finds out whether the array is there.
        if !self.parts.stepped && self.is_gone(pace::now() - self.parts.start) {
            return Err(DeviceError::new(DeviceErrorKind::NotFound, format!("{}: no such device", self.identity)));
        }
        self.state = State::Starting;
        self.gap_before = true;
        Ok(())
    }
}
