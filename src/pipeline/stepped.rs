//! The stepped runner: the same edges, loop and spike worker as [`Threads`](super::Threads), passed by hand.
//!
//! One thread, one hand-advanced clock: with the twin a run is a pure function of config and seed. Stages take no time
//! (see [`StageClock`](super::ladder::StageClock)); devices are polled in a fixed order every [`STEP`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use mimicd_device::{BoardCommand, HostTime, Span};
use mimicd_sim::TruthLog;

use super::RigError;
use super::act::Actor;
use super::assembly::{Assembly, Controls, assemble, rig_info, trigger_plan};
use super::board_edge::{BoardControl, BoardReport};
use super::camera_edge::EdgeControl;
use super::closed_loop::LoopControl;
use super::encode_worker::EncodeControl;
use super::host_faults;
use super::open::open;
use super::preflight::BURST;
use super::record_plan::RecordPlan;
use super::shared::Shared;
use super::spike_worker::SpikeControl;
use super::stages::Stages;
use super::tables::TableIds;
use crate::config::Config;
use crate::geometry::Calibration;
use crate::record::{Recorder, RecordingInfo};

/// Virtual time between two passes.
pub const STEP: Span = Span::from_micros(500);

/// What is passed in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The board's edge.
    Board,
    /// One camera's edge, as often as it has something.
    Camera,
    /// One array's edge, as often as it has something.
    Array,
    /// The spike worker.
    Spikes,
    /// The loop.
    Loop,
}

/// A twin rig that is stepped.
pub struct Stepped {
    config: Config,
    assembly: Assembly,
    truth: Option<TruthLog>,
    rig: serde_json::Value,
    now: HostTime,
    /// `now` for the disk's fault script, which other threads ask.
    clock: Arc<AtomicI64>,
}

impl Stepped {
    /// Opens the twin of `config` on `stages`; virtual time begins at zero.
    ///
    /// # Errors
    /// A device that does not open, rules that do not load.
    pub fn new(config: &Config, calibration: &Calibration, stages: Stages) -> Result<Self, RigError> {
        let actor = Actor::new(config, &stages).map_err(RigError::of)?;
        let devices = open(config, calibration, HostTime::ZERO, true).map_err(RigError::of)?;
        let truth = devices.truth.clone();
        let info = rig_info(config, &stages, Vec::new());
        let rig = super::provenance::rig(&info, calibration);
        let mut assembly = assemble(config, devices, stages, calibration, actor, info).map_err(RigError::of)?;
        for camera in &mut assembly.cameras {
            camera.start().map_err(RigError::of)?;
        }
        for array in &mut assembly.arrays {
            array.start().map_err(RigError::of)?;
        }
        assembly.closed_loop.step_time();
        assembly.spikes.step_time();
        if let Some(encode) = &mut assembly.encode {
            encode.step_work();
        }
        Ok(Self { config: config.clone(), assembly, truth, rig, now: HostTime::ZERO, clock: Arc::default() })
    }

    /// Virtual now.
    pub fn now(&self) -> HostTime {
        self.now
    }

    /// What the parts share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.assembly.shared
    }

    /// Signals that the policy network gives in each control step.
    pub fn policy_signals(&self) -> usize {
        self.assembly.shapes.signals.len()
    }

    /// What is really so.
    pub fn truth(&self) -> Option<&TruthLog> {
        self.truth.as_ref()
    }

    /// One pass of everything.
    pub fn step(&mut self) {
        self.step_within(&mut |_, pass| pass());
    }

    /// One pass of everything, each part's pass handed to `around`, which must call it: for tests that measure them.
    pub fn step_within(&mut self, around: &mut dyn FnMut(Part, &mut dyn FnMut())) {
        self.now += STEP;
        let now = self.now;
        self.clock.store(now.nanos(), Ordering::Release);
        self.inject();
        let assembly = &mut self.assembly;
        around(Part::Board, &mut || _ = assembly.board.pass(now));
        for camera in &mut assembly.cameras {
            around(Part::Camera, &mut || while camera.pass(now) {});
        }
        for array in &mut assembly.arrays {
            around(Part::Array, &mut || while array.pass(now) {});
        }
        around(Part::Spikes, &mut || _ = assembly.spikes.pass(now));
        around(Part::Loop, &mut || _ = assembly.closed_loop.pass(now));
        if let Some(encode) = &mut assembly.encode {
            encode.pass(now);
        }
        self.hear();
    }

    /// Steps for `span` of virtual time.
    pub fn run(&mut self, span: Span) {
        let end = self.now + span;
        while self.now < end {
            self.step();
        }
    }

    /// Link, burst, anchors, train: as the threaded pre-flight, in virtual time.
    ///
    /// # Errors
    /// A camera that does not answer the burst.
    pub fn arm(&mut self) -> Result<(), RigError> {
        self.run(Span::from_millis(300));
        let before: Vec<u64> = self.frames();
        let plan = trigger_plan(&self.config);
        self.tell_board(BoardControl::Send(BoardCommand::Burst { count: BURST, plan }));
        self.run(Span::from_millis(500));
        for (camera, (before, now)) in before.iter().zip(self.frames()).enumerate() {
            if now - before != u64::from(BURST) {
                return Err(RigError(format!("camera {camera} answered {} of {BURST} test triggers", now - before)));
            }
        }
        let counters: Vec<u64> =
            self.shared().cameras.iter().map(|c| c.last_counter.load(Ordering::Relaxed) + 1).collect();
        let controls = &mut self.assembly.controls;
        for (edge, counter) in controls.cameras.iter_mut().zip(counters) {
            edge.push(EdgeControl::Anchor { counter }).ok();
        }
        for edge in &mut controls.arrays {
            edge.push(EdgeControl::Anchor { counter: 0 }).ok();
        }
        self.assembly.controls.closed_loop.push(LoopControl::NewTrain).ok();
        self.run(Span::from_millis(10));
        self.tell_board(BoardControl::KeepTrain(plan));
        self.run(Span::from_millis(300));
        Ok(())
    }

    /// Begins a recording; returns the recorder and the first recorded trigger.
    ///
    /// # Errors
    /// When the recorder cannot start.
    pub fn record(&mut self, info: RecordingInfo) -> Result<(Recorder, u64), RigError> {
        let (faults, clock) = (self.truth.as_ref(), Arc::clone(&self.clock));
        let plan = RecordPlan::new(&self.config, &self.assembly.shapes, faults, false, move || {
            HostTime::from_nanos(clock.load(Ordering::Acquire))
        });
        let mut recorder = plan.start_as(info)?;
        recorder.note("rig", self.rig.clone());
        let from = self.shared().clock.latest_trigger().unwrap_or(0) + 5;
        self.shared().clock.set_recording_from(Some(from));
        let tables = TableIds::of(&recorder).map_err(RigError::of)?;
        hand_out(&mut self.assembly.controls, &mut recorder, tables, from);
        Ok((recorder, from))
    }

    /// Ends a recording before a trigger that it returns; the recorder can then be sealed.
    pub fn end_recording(&mut self) -> u64 {
        let before = self.shared().clock.latest_trigger().unwrap_or(0) + 3;
        let deadline = self.now + Span::from_millis(600);
        self.tell_board(BoardControl::RecordUntil(before));
        let controls = &mut self.assembly.controls;
        for edge in controls.cameras.iter_mut().chain(&mut controls.arrays) {
            edge.push(EdgeControl::StopRecord { before, deadline }).ok();
        }
        controls.closed_loop.push(LoopControl::StopRecord { before, deadline }).ok();
        self.run(Span::from_millis(800));
        self.assembly.controls.spikes.push(SpikeControl::StopRecord).ok();
        self.tell_board(BoardControl::StopRecord);
        self.run(Span::from_millis(10));
        if let Some(encode) = &mut self.assembly.controls.encode {
            encode.push(EncodeControl::Stop).ok();
        }
        self.step();
        before
    }

    fn frames(&self) -> Vec<u64> {
        self.shared().cameras.iter().map(|camera| camera.items.load(Ordering::Relaxed)).collect()
    }

    fn tell_board(&mut self, control: BoardControl) {
        // The queue is drained every step, and a step pushes one item at most.
        self.assembly.controls.board.push(control).ok();
    }

    /// Faults that strike the host itself.
    fn inject(&mut self) {
        if self.truth.as_ref().is_some_and(|truth| host_faults::network_is_nan(truth, self.now)) {
            self.assembly.controls.closed_loop.push(LoopControl::PoisonPose).ok();
        }
    }

    fn hear(&mut self) {
        while let Some(report) = self.assembly.controls.reports.pop() {
            if let BoardReport::NewTrain { index_base, time_base } = report {
                let controls = &mut self.assembly.controls;
                for edge in controls.cameras.iter_mut().chain(&mut controls.arrays) {
                    edge.push(EdgeControl::NewTrain { index_base, time_base }).ok();
                }
                controls.closed_loop.push(LoopControl::NewTrain).ok();
            }
        }
    }
}

fn hand_out(controls: &mut Controls, recorder: &mut Recorder, tables: TableIds, from: u64) {
    for (index, camera) in controls.cameras.iter_mut().enumerate() {
        let lane = Box::new(recorder.lane(&format!("camera{index}")));
        camera.push(EdgeControl::Record { lane, tables, from }).ok();
    }
    for (index, array) in controls.arrays.iter_mut().enumerate() {
        let lane = Box::new(recorder.lane(&format!("array{index}")));
        array.push(EdgeControl::Record { lane, tables, from }).ok();
    }
    controls.board.push(BoardControl::Record(Box::new(recorder.lane("board")), tables)).ok();
    controls.spikes.push(SpikeControl::Record(Box::new(recorder.lane("spikes")), tables)).ok();
    if let Some(encode) = &mut controls.encode {
        encode.push(EncodeControl::Record(Box::new(recorder.lane("encoding")), tables)).ok();
    }
    controls.closed_loop.push(LoopControl::Record { lane: Box::new(recorder.lane("loop")), tables, from }).ok();
}
