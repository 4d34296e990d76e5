//! A simulated camera: one frame a trigger, on its own clock.

mod darkroom;
mod exposure;

use std::sync::Arc;

use mimicd_device::{
    CameraIndex, CameraSource, CameraTime, DeviceError, DeviceErrorKind, Frame, FrameGeometry, HostTime, Integrity,
    Moment, Polled, Span,
};

use crate::TwinLight;
use crate::clock::DriftClock;
use crate::pace;
use crate::random::hash;
use crate::scene::{Painter, Shot};
use crate::wiring::{Trains, Wiring};
use darkroom::{Darkroom, Developed};
pub(crate) use exposure::{ExposureTiming, Fate, Place};

/// How long a camera without anything due may sleep before it looks for a new trigger train.
const IDLE: Span = Span::from_millis(4);
/// How soon to look again for an image that is not ready.
const RENDER_POLL: Span = Span::from_micros(200);
/// An image that is not ready so long after its time is given up: the frame comes without it, flagged as damaged, as from
/// a camera whose bus is overloaded. It keeps a machine that is too slow from falling behind for good.
const RENDER_GRACE: Span = Span::from_millis(10);
/// A swapped frame comes this long after the one that overtook it.
const SWAP_LAG: Span = Span::from_micros(300);

/// Middle of the cameras' trigger delays: all images of a trigger show the rat at one instant (0.01 ms off at most).
const NOMINAL_DELAY: Span = Span::from_micros(19);

/// What a simulated camera is made of.
pub(crate) struct CameraParts {
    pub(crate) index: CameraIndex,
    pub(crate) name: String,
    pub(crate) geometry: FrameGeometry,
    pub(crate) start: HostTime,
    pub(crate) stepped: bool,
    pub(crate) render_ahead: Span,
    pub(crate) render_thread: Option<fn()>,
    pub(crate) timing: Arc<ExposureTiming>,
    pub(crate) clock: Arc<DriftClock>,
    pub(crate) board_clock: Arc<DriftClock>,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) lights: Vec<TwinLight>,
}

/// A frame on its way to the host.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    place: Place,
    begin: Span,
    due: Span,
    counter: u64,
    shot: Shot,
}

/// Whether the camera is there and runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stopped,
    /// Started or reopened; sees triggers from the next poll on.
    Starting,
    Running,
    /// It vanished while running; waits to be reopened.
    Lost,
}

/// A simulated camera.
pub struct SimCamera {
    parts: CameraParts,
    identity: String,
    state: State,
    trains: Trains,
    cursor: Place,
    /// Triggers before this instant were not seen.
    since: Span,
    counter: u64,
    next: Option<Delivery>,
    after: Option<Delivery>,
    darkroom: Darkroom,
    gap_before: bool,
}

impl SimCamera {
    pub(crate) fn new(parts: CameraParts, painter: Painter) -> Self {
        let seed = parts.timing.seed;
        let identity = format!("twin camera {} (seed {seed})", parts.name);
        let darkroom = Darkroom::new(painter, parts.geometry.bytes(), parts.render_thread);
        // Counters of real cameras start anywhere.
        let counter = hash(seed, parts.timing.stream, 99) % 1_000;
        Self {
            parts,
            identity,
            state: State::Stopped,
            trains: Trains::default(),
            cursor: Place::default(),
            since: Span::ZERO,
            counter,
            next: None,
            after: None,
            darkroom,
            gap_before: false,
        }
    }

    /// Images that were not rendered in time; their frames came late or damaged.
    pub fn rendered_late(&self) -> u64 {
        self.darkroom.made_late()
    }

    fn universe(&self, now: HostTime) -> Span {
        now - self.parts.start
    }

    fn is_on(&self) -> bool {
        matches!(self.state, State::Running | State::Starting)
    }

    fn is_gone(&self, at: Span) -> bool {
        self.parts.timing.faults.vanished.iter().any(|window| window.holds(at))
    }

    /// Follows the script: `Err` while the camera is gone or has not been reopened.
    fn presence(&mut self, at: Span) -> Result<(), DeviceError> {
        if self.is_on() && self.is_gone(at) {
            self.state = State::Lost;
            (self.next, self.after) = (None, None);
        }
        if self.state == State::Lost {
            return Err(DeviceError::new(DeviceErrorKind::Disconnected, format!("{}: link lost", self.identity)));
        }
        if self.state == State::Starting {
            self.state = State::Running;
            self.since = at;
        }
        Ok(())
    }

    /// Makes sure that `next` is the next frame to be delivered, if one is in sight.
    fn look_ahead(&mut self) {
        if self.next.is_some() {
            return;
        }
        if let Some(held) = self.after.take() {
            self.next = Some(held);
            return;
        }
        self.trains.refresh(&self.parts.wiring);
        let Some((delivery, swapped)) = self.expose() else { return };
        self.next = Some(delivery);
        if swapped && let Some((overtaking, _)) = self.expose() {
            self.after = Some(Delivery { due: overtaking.due + SWAP_LAG, ..delivery });
            self.next = Some(overtaking);
        }
    }

    /// Walks the triggers to the next one whose frame arrives; says whether it is to be overtaken.
    fn expose(&mut self) -> Option<(Delivery, bool)> {
        loop {
            let train = *self.trains.all().get(self.cursor.train)?;
            let place = self.cursor;
            let Some(rise) = train.rise(&self.parts.board_clock, place.index) else {
                self.cursor = Place { train: place.train + 1, index: 0 };
                continue;
            };
            let (timing, board) = (&self.parts.timing, &self.parts.board_clock);
            if rise < self.since {
                let index = train.index_at(board, self.since).max(place.index + 1);
                self.cursor.index = index;
                continue;
            }
            self.cursor.index += 1;
            let fate = timing.fate(&train, board, place, rise);
            if fate == Fate::Missed {
                continue;
            }
            let counter = self.counter;
            self.counter += 1;
            if fate == Fate::Lost {
                continue;
            }
            let swapped = timing.is_swapped(&train, board, place.index, rise);
            let due = timing.due(place, rise);
            let begin = timing.begin(rise);
            return Some((Delivery { place, begin, due, counter, shot: self.shot(place, rise) }, swapped));
        }
    }

    fn shot(&self, place: Place, rise: Span) -> Shot {
        let timing = &self.parts.timing;
        let half = Span::from_nanos(timing.exposure.nanos() / 2);
        match timing.frozen_since(rise) {
            Some(since) => Shot { at: since, number: 0, seed: hash(timing.seed, timing.stream, 3) },
            None => Shot {
                at: rise + NOMINAL_DELAY + half,
                number: place.index,
                seed: hash(timing.seed, timing.stream + 2, (place.train as u64) << 48 | place.index),
            },
        }
    }

    /// Forgets frames that a train cut short will never make.
    fn drop_cancelled(&mut self) {
        self.trains.refresh(&self.parts.wiring);
        let real = |delivery: &Delivery| {
            let train = self.trains.all().get(delivery.place.train);
            train.is_some_and(|train| train.end.is_none_or(|end| delivery.place.index < end))
        };
        let (next, after) = (self.next.filter(real), self.after.filter(real));
        let cancelled = usize::from(self.next.is_some()) + usize::from(self.after.is_some())
            - usize::from(next.is_some())
            - usize::from(after.is_some());
        self.counter -= cancelled as u64;
        (self.next, self.after) = (next, after);
    }

    /// Draws the lights that were on during the exposure, as bright as their share of it.
    fn light_up(&self, delivery: Delivery, pixels: &mut [u8]) {
        let parts = &self.parts;
        let (width, height) = (parts.geometry.width_px, parts.geometry.height_px);
        for light in &parts.lights {
            let end = delivery.begin + parts.timing.exposure;
            let share = parts.wiring.share_high(light.output, delivery.begin, end);
            if share <= 0.0 {
                continue;
            }
            let level = (255.0 * share) as u8;
            let range = |middle: u32, size: u32| {
                middle.saturating_sub(light.radius_px).min(size)..(middle + light.radius_px + 1).min(size)
            };
            for row in range(light.y_px, height) {
                let row = &mut pixels[(row * width) as usize..][..width as usize];
                let columns = range(light.x_px, width);
                let lit = &mut row[columns.start as usize..columns.end as usize];
                lit.iter_mut().for_each(|pixel| *pixel = (*pixel).max(level));
            }
        }
    }

    fn fill(&mut self, delivery: Delivery, arrival: HostTime, frame: &mut Frame) {
        let parts = &self.parts;
        frame.camera = parts.index;
        frame.counter = delivery.counter;
        // Cameras stamp with their own microsecond counters.
        let stamp_ns = parts.clock.local_ns(delivery.begin) / 1_000 * 1_000;
        frame.device_time = Some(CameraTime::from_nanos(stamp_ns));
        frame.moment = Moment::ExposureStart;
        frame.arrival = arrival;
        frame.integrity = if self.gap_before { Integrity::GAP_BEFORE } else { Integrity::empty() };
        frame.geometry = parts.geometry;
        self.gap_before = false;
    }
}

impl CameraSource for SimCamera {
    fn geometry(&self) -> FrameGeometry {
        self.parts.geometry
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
        (self.next, self.after) = (None, None);
    }

    fn poll(&mut self, now: HostTime, frame: &mut Frame) -> Result<Polled, DeviceError> {
        if self.state == State::Stopped {
            return Ok(Polled::Nothing);
        }
        let at = self.universe(now);
        self.presence(at)?;
        self.drop_cancelled();
        self.look_ahead();
        let Some(delivery) = self.next.filter(|delivery| delivery.due <= at) else { return Ok(Polled::Nothing) };
        let developed = self.darkroom.develop(delivery.shot, &mut frame.pixels);
        if developed == Developed::NotYet && at < delivery.due + RENDER_GRACE {
            return Ok(Polled::Nothing);
        }
        self.next = None;
        self.light_up(delivery, &mut frame.pixels);
        let arrival = if self.parts.stepped { self.parts.start + delivery.due } else { now };
        self.fill(delivery, arrival, frame);
        if developed == Developed::NotYet {
            frame.integrity |= Integrity::CORRUPT;
        }
        Ok(Polled::Ready)
    }

    fn wait(&mut self, until: HostTime) {
        if self.state != State::Running {
            return pace::sleep_until(until);
        }
        self.look_ahead();
        let now = pace::now();
        let Some(delivery) = self.next else { return pace::sleep_until(until.min(now + IDLE)) };
        let due = self.parts.start + delivery.due;
        self.darkroom.order(delivery.shot, due - self.parts.render_ahead);
        // Past its time: the image is late.
        let wake = if due > now { due } else { now + RENDER_POLL };
        pace::sleep_until(until.min(wake));
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        // In stepped mode there is no clock to look at; the next poll finds out whether the camera is there.
        if !self.parts.stepped && self.is_gone(self.universe(pace::now())) {
            return Err(DeviceError::new(DeviceErrorKind::NotFound, format!("{}: no such device", self.identity)));
        }
        self.state = State::Starting;
        self.counter = 0;
        self.gap_before = true;
        Ok(())
    }
}
