//! How long each step of one loop tick took, and the distributions over many.

use mimicd_device::{HostTime, Span};

use super::tables::LADDER;
use crate::clock::{host_now, thread_time};
use crate::telemetry::{LatencyHistogram, LatencySummary, RecentLatency, Stage};

/// Where stage times come from.
#[derive(Clone, Copy, Debug)]
pub enum StageClock {
    /// The host's clock.
    Real,
    /// The pass's `now`: a stepped run is a pure function of its seed, so its stages take no time.
    Fixed(HostTime),
}

impl StageClock {
    /// Tells a fixed clock what time it is.
    pub fn set(&mut self, now: HostTime) {
        if let Self::Fixed(fixed) = self {
            *fixed = now;
        }
    }

    /// Now.
    pub fn now(&self) -> HostTime {
        match self {
            Self::Real => host_now(),
            Self::Fixed(now) => *now,
        }
    }

    /// Processor time that the calling thread has used; nothing where stages take no time.
    pub fn worked(&self) -> Span {
        match self {
            Self::Real => thread_time(),
            Self::Fixed(_) => Span::ZERO,
        }
    }
}

/// The steps and stages of the present tick and the distributions over the last seconds.
#[derive(Debug)]
pub struct Ladder {
    mid_exposure: Option<HostTime>,
    started: HostTime,
    last: HostTime,
    steps: [Option<Span>; LADDER.len()],
    stages: [Option<Span>; Stage::ALL.len()],
    recent: Vec<RecentLatency>,
    scratch: LatencyHistogram,
}

impl Ladder {
    /// An empty ladder.
    pub fn new() -> Self {
        Self {
            mid_exposure: None,
            started: HostTime::ZERO,
            last: HostTime::ZERO,
            steps: [None; LADDER.len()],
            stages: [None; Stage::ALL.len()],
            recent: Stage::ALL.iter().map(|_| RecentLatency::default()).collect(),
            scratch: LatencyHistogram::new(),
        }
    }

    /// A tick begins at `now`, on a set exposed at `mid_exposure` whose last frame came at `last_arrival`.
    pub fn begin(&mut self, mid_exposure: Option<HostTime>, last_arrival: HostTime, now: HostTime) {
        self.steps = [None; LADDER.len()];
        self.stages = [None; Stage::ALL.len()];
        self.mid_exposure = mid_exposure;
        self.started = now;
        self.last = now;
        if let Some(mid) = mid_exposure {
            self.steps[0] = Some(last_arrival - mid);
            self.note(Stage::Arrival, last_arrival - mid);
        }
        self.reach(1, now);
        self.note(Stage::Gather, now - last_arrival);
    }

    /// The pose step ended at `now`, `inference` of it inside the network.
    pub fn step(&mut self, inference: Stage, overhead: Stage, spent: Span, now: HostTime) {
        let whole = now - self.last;
        self.note(inference, spent);
        self.note(overhead, whole - spent);
        self.reach(2, now);
        self.last = now;
    }

    /// The registration ended at `now`.
    pub fn stage(&mut self, stage: Stage, now: HostTime) {
        self.note(stage, now - self.last);
        self.reach(3, now);
        self.last = now;
    }

    /// Imitation ended at `now`.
    pub fn imitation(&mut self, inference: Span, physics: Span, now: HostTime) {
        let whole = now - self.last;
        self.note(Stage::PolicyInference, inference);
        self.note(Stage::Physics, physics);
        self.note(Stage::ImitationOverhead, whole - inference - physics);
        self.reach(4, now);
        self.last = now;
    }

    /// Commands were emitted at `now`.
    pub fn act(&mut self, now: HostTime) {
        self.reach(5, now);
        if let Some(mid) = self.mid_exposure {
            self.note(Stage::CameraToAction, now - mid);
        }
    }

    /// The tick ended at `now`, rows and all.
    pub fn end(&mut self, now: HostTime) {
        self.note(Stage::Rules, now - self.last);
        let spent = |stage: Stage| self.stages[stage as usize].unwrap_or(Span::ZERO);
        let foreign = spent(Stage::PoseInference) + spent(Stage::PolicyInference) + spent(Stage::Physics);
        let overhead = now - self.started - foreign;
        self.note(Stage::LoopOverhead, overhead);
    }

    /// Mid-exposure to the end of each step of the ladder.
    pub fn steps(&self) -> &[Option<Span>; LADDER.len()] {
        &self.steps
    }

    /// Time spent in each stage of the present tick.
    pub fn stages(&self) -> &[Option<Span>; Stage::ALL.len()] {
        &self.stages
    }

    /// Distribution of a stage over the last seconds.
    pub fn summary(&mut self, stage: Stage) -> LatencySummary {
        self.recent[stage as usize].summary(&mut self.scratch)
    }

    /// Camera to action of the present tick.
    pub fn camera_to_action(&self) -> Option<Span> {
        self.stages[Stage::CameraToAction as usize]
    }

    fn reach(&mut self, step: usize, now: HostTime) {
        self.steps[step] = self.mid_exposure.map(|mid| now - mid);
    }

    fn note(&mut self, stage: Stage, spent: Span) {
        self.stages[stage as usize] = Some(spent);
        self.recent[stage as usize].add(spent);
    }
}

impl Default for Ladder {
    fn default() -> Self {
        Self::new()
    }
}
