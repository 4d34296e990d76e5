//! The loop: frame sets in, actions out.
//!
//! Tier: loop. One pass reads the clock once at its top, takes what has come, and works each frame set through
//!
//! ```text
//! gather ─► pose ─► body ─► imitation ─► rules ─► board commands
//!                                           └──► rows for the recorder, snapshot for the panel
//! ```
//!
//! It never waits for the disk, the network or the panel: rows go into a lane that refuses when full, the snapshot is
//! skipped when somebody reads it, commands go into a ring. A set that is too old when its turn comes is skipped and
//! counted, so that the loop always works on the present.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mimicd_device::{Board, BoardCommand, BoardTime, Frame, Host, HostTime, Integrity, Span, Wake};

use super::act::Actor;
use super::board_edge::BoardNews;
use super::encode_feed::EncodeFeed;
use super::ladder::{Ladder, StageClock};
use super::shared::Shared;
use super::show::Show;
use super::stages::{SpikeNote, Stages};
use super::tables::{self, TableIds, TableShapes};
use crate::body::{BodyFlags, BodyState};
use crate::clock::ClockMap;
use crate::imitation::ImitationStep;
use crate::pose::PoseEstimate;
use crate::record::RecordLane;
use crate::stream::{Consumer, FrameSet, Gatherer, MatchedFrame, Producer};
use crate::telemetry::{Cause, Stage};

/// What the loop is told.
pub enum LoopControl {
    /// Write to the recording from this trigger on.
    Record {
        /// Where to.
        lane: Box<RecordLane>,
        /// Its tables.
        tables: TableIds,
        /// First trigger.
        from: u64,
    },
    /// Let go of the recording before this trigger, or when the deadline has passed.
    StopRecord {
        /// First trigger that is not written.
        before: u64,
        /// When to let go in any case.
        deadline: HostTime,
    },
    /// Forget open sets: another train begins.
    NewTrain,
    /// Fault injection of the twin: the pose network's next input is not a number.
    PoisonPose,
}

/// The queues of the loop.
pub struct LoopQueues {
    /// Frames, one ring a camera.
    pub frames: Vec<Consumer<MatchedFrame>>,
    /// News of the board.
    pub board: Consumer<BoardNews>,
    /// Spikes.
    pub spikes: Consumer<SpikeNote>,
    /// Commands for the board.
    pub to_board: Producer<BoardCommand>,
    /// Sends them off at once.
    pub board_waker: Arc<dyn Wake>,
    /// Commands for the loop.
    pub control: Consumer<LoopControl>,
    /// Ticks to the encoding thread, where there is one.
    pub encode: Option<EncodeFeed>,
}

/// Fixed numbers of the loop.
#[derive(Clone, Debug)]
pub struct LoopSettings {
    /// How long gathering waits after a set's first frame.
    pub gather_wait: Span,
    /// Half the exposure time.
    pub mid_exposure: Span,
    /// Sets older than this (arrival of the last frame to now) are skipped.
    pub set_age_max: Span,
    /// Sizes of the tables.
    pub shapes: TableShapes,
}

struct Recording {
    lane: Box<RecordLane>,
    tables: TableIds,
    from: u64,
    stop: Option<(u64, HostTime)>,
}

/// One loop.
pub struct ClosedLoop {
    stages: Stages,
    queues: LoopQueues,
    settings: LoopSettings,
    shared: Arc<Shared>,
    actor: Actor,
    show: Show,
    gatherer: Gatherer,
    set: FrameSet,
    pose: PoseEstimate,
    body: BodyState,
    step: ImitationStep,
    board_from_host: Option<ClockMap<Host, Board>>,
    ladder: Ladder,
    recording: Option<Recording>,
    clock: StageClock,
}

impl ClosedLoop {
    /// Cameras at most: a set's views lie on the stack.
    pub const CAMERAS_MAX: usize = 32;

    /// A loop that is ready to run.
    pub fn new(
        stages: Stages,
        queues: LoopQueues,
        settings: LoopSettings,
        actor: Actor,
        show: Show,
        shared: &Arc<Shared>,
    ) -> Self {
        let cameras = queues.frames.len();
        Self {
            pose: stages.pose.blank(),
            body: stages.body.state(),
            step: stages.imitation.make_step(),
            gatherer: Gatherer::new(cameras, settings.gather_wait),
            set: FrameSet::empty(cameras),
            shared: Arc::clone(shared),
            board_from_host: None,
            ladder: Ladder::new(),
            recording: None,
            clock: StageClock::Real,
            stages,
            queues,
            settings,
            actor,
            show,
        }
    }

    /// Makes the loop take its stage times from the stepped clock (all zero) instead of the host's.
    pub fn step_time(&mut self) {
        self.clock = StageClock::Fixed(HostTime::ZERO);
    }

    /// When the loop has to look again even if nothing arrives.
    pub fn deadline(&self) -> Option<HostTime> {
        self.gatherer.deadline()
    }

    /// Takes what has come and works every set that is due; returns whether there was one.
    pub fn pass(&mut self, now: HostTime) -> bool {
        self.clock.set(now);
        self.obey(now);
        self.hear();
        for ring in &mut self.queues.frames {
            while let Some(matched) = ring.pop() {
                self.gatherer.push(matched, now);
            }
        }
        let mut any = false;
        let mut set = std::mem::replace(&mut self.set, FrameSet::empty(0));
        while self.gatherer.pop(now, &mut set) {
            any = true;
            self.count(&set);
            let now = self.clock.now();
            let seen = if now - set.last_arrival > self.settings.set_age_max {
                self.shared.counters.add(Cause::SetSkipped, 1);
                false
            } else {
                self.work(&set)
            };
            self.show.keep_frames(&self.shared, &set, seen.then_some(&self.pose));
        }
        self.set = set;
        self.set.clear();
        self.look_early();
        any
    }

    /// Uses the wait for a set's other cameras to look at the frames that are there, until something new has come.
    fn look_early(&mut self) {
        let Some(set) = self.gatherer.waiting() else { return };
        for (view, frame) in set.frames.iter().enumerate() {
            let Some(frame) = frame else { continue };
            if self.stages.pose.look_early(view, frame) && self.queues.frames.iter().any(|ring| !ring.is_empty()) {
                return;
            }
        }
    }

    fn obey(&mut self, now: HostTime) {
        while let Some(control) = self.queues.control.pop() {
            match control {
                LoopControl::Record { lane, tables, from } => {
                    self.recording = Some(Recording { lane, tables, from, stop: None });
                }
                LoopControl::StopRecord { before, deadline } => {
                    if let Some(recording) = &mut self.recording {
                        recording.stop = Some((before, deadline));
                    }
                }
                LoopControl::NewTrain => self.gatherer.reset(),
                LoopControl::PoisonPose => self.stages.pose.poison_next(),
            }
        }
        if self.recording.as_ref().is_some_and(|r| r.stop.is_some_and(|(_, deadline)| now >= deadline)) {
            self.recording = None;
        }
    }

    fn hear(&mut self) {
        while let Some(news) = self.queues.board.pop() {
            match news {
                BoardNews::Map(map) => self.board_from_host = Some(map),
            }
        }
        while let Some(note) = self.queues.spikes.pop() {
            self.actor.hear_spike(note);
        }
    }

    fn count(&self, set: &FrameSet) {
        let counters = &self.shared.counters;
        counters.add(Cause::SetPartial, u64::from(set.integrity.contains(Integrity::PARTIAL)));
        self.shared.loop_sets.fetch_add(1, Ordering::Relaxed);
    }

    /// Works a set; returns whether its pose was estimated.
    fn work(&mut self, set: &FrameSet) -> bool {
        let Some(at) = self.shared.clock.board_of_trigger(set.trigger).map(|at| at + self.settings.mid_exposure) else {
            return false;
        };
        self.ladder.begin(self.host_of(at), set.last_arrival, self.clock.now());
        self.see(set);
        self.ladder.step(Stage::PoseInference, Stage::PoseOverhead, self.pose.inference, self.clock.now());
        self.stages.body.register(&self.pose.keypoints, &mut self.body);
        self.ladder.stage(Stage::Body, self.clock.now());
        self.imitate(at);
        self.ladder.imitation(self.step.inference, self.step.physics, self.clock.now());
        self.shared.counters.add(Cause::PolicyReset, u64::from(self.step.reset.is_some()));
        self.actor.see_lights(at, set);
        let now = self.clock.now();
        let board_now = self.board_from_host.map(|map| map.map(now));
        let acted =
            self.actor.act(&self.shared, at, board_now, &self.pose, &self.body, &self.step, &mut self.queues.to_board);
        if acted.commands > 0 {
            self.queues.board_waker.wake();
        }
        self.ladder.act(self.clock.now());
        self.shared.counters.add(Cause::ActionRefused, acted.refused);
        self.show.reproject(&self.pose);
        self.record(set, at);
        self.show.publish(&self.shared, set, at, &self.pose, &self.body, &self.step, &mut self.ladder, &acted);
        self.ladder.end(self.clock.now());
        self.record_stages(set.trigger, at);
        true
    }

    fn see(&mut self, set: &FrameSet) {
        let mut views: [Option<&Frame>; Self::CAMERAS_MAX] = [None; Self::CAMERAS_MAX];
        for (view, frame) in views.iter_mut().zip(&set.frames) {
            *view = frame.as_deref();
        }
        let cameras = set.frames.len().min(Self::CAMERAS_MAX);
        self.stages.pose.estimate(&views[..cameras], &mut self.pose);
        self.pose.integrity |= set.integrity & Integrity::UNPROVED_MATCH;
        self.shared.counters.add(Cause::PoseNotFinite, u64::from(self.pose.integrity.contains(Integrity::NOT_FINITE)));
    }

    fn imitate(&mut self, at: BoardTime) {
        let known = !self.body.flags.intersects(BodyFlags::NO_DATA | BodyFlags::TOO_FEW);
        let posture = known.then_some(&self.body.qpos);
        if self.stages.imitation.follow(at, posture, &mut self.step).is_err() {
            self.step.integrity |= Integrity::CORRUPT;
            self.step.trusted = false;
        }
    }

    /// Host time of a board instant, as far as a map is known.
    fn host_of(&self, at: BoardTime) -> Option<HostTime> {
        self.board_from_host.map(|map| map.inverse().map(at).at)
    }

    fn record(&mut self, set: &FrameSet, at: BoardTime) {
        if self.recording.as_ref().is_some_and(|r| r.stop.is_some_and(|(before, _)| set.trigger >= before)) {
            self.recording = None;
        }
        let Some(recording) = self.recording.as_mut().filter(|recording| set.trigger >= recording.from) else { return };
        let clock = &self.shared.clock;
        let (Some(at), Some(reference)) = (clock.rig_of_board(at), clock.rig_of_board(self.step.reference_at)) else {
            return;
        };
        if let Some(encode) = &mut self.queues.encode {
            encode.tick(&self.shared, at, reference, &self.pose.keypoints, &self.body, &self.step);
        }
        let (lane, ids, trigger) = (&mut recording.lane, &recording.tables, set.trigger);
        let mut taken = tables::write_pose(lane, ids, at, trigger, &self.pose, self.show.camera_residuals_px());
        taken &= tables::write_body(lane, ids, at, trigger, &self.body);
        taken &= tables::write_imitation(lane, ids, &self.settings.shapes, at, reference, trigger, &self.step);
        taken &= tables::write_latency(lane, ids, at, trigger, self.ladder.steps());
        for row in self.actor.rows() {
            taken &= tables::write_rule(lane, ids, &self.shared.clock, at, &row);
        }
        self.shared.counters.add(Cause::RecordLaneFull, u64::from(!taken));
    }

    /// The tick's own account, written last so that it holds the whole tick.
    fn record_stages(&mut self, trigger: u64, at: BoardTime) {
        let Some(recording) = self.recording.as_mut().filter(|recording| trigger >= recording.from) else { return };
        let Some(at) = self.shared.clock.rig_of_board(at) else { return };
        let stages = self.ladder.stages();
        let taken = tables::write_stages(&mut recording.lane, &recording.tables, at, trigger, stages);
        self.shared.counters.add(Cause::RecordLaneFull, u64::from(!taken));
    }
}
