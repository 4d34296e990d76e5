//! The rig as the supervisor drives it: arm, record, stop.
//!
//! Tier: service; every call may block for seconds. Arming opens the devices, starts the threads, and proves that each
//! camera answers a known burst of triggers with exactly that many frames before the coded train begins.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mimicd_device::{BoardCommand, HostTime, OutputIndex, Span};
use mimicd_sim::TruthLog;

use super::act::Actor;
use super::assembly::{assemble, rig_info, trigger_plan};
use super::board_edge::{BoardControl, BoardReport};
use super::board_words::{command_of, refusal_text};
use super::camera_edge::EdgeControl;
use super::closed_loop::LoopControl;
use super::encode_setup;
use super::encode_worker::{EncodeControl, is_busy};
use super::host_faults;
use super::open::open;
use super::preflight::{Preflight, wait_until};
use super::preview::{PreviewThread, Previews};
use super::record_plan::{self, LEAD_TRIGGERS, RecordPlan};
use super::rig_status::{self, Space, Trouble};
use super::shared::Shared;
use super::signals::SignalShape;
use super::spike_worker::SpikeControl;
use super::stages::Stages;
use super::tables::TableIds;
use super::threads::{LOOP_THREAD, SPIKE_THREAD, Threads};
use super::truth::TruthWriter;
use super::view::{HostStatus, View};
use super::{
    ArrayLive, Command, Level, Notice, PreflightReport, RecordingStarted, Rig, RigError, SealSummary, StartRequest,
    Verdict,
};
use crate::body::BodyStage;
use crate::clock::host_now;
use crate::config::Config;
use crate::geometry::Calibration;
use crate::imitation::ImitationStage;
use crate::pose::PoseStage;
use crate::record::{Recorder, verify};
use crate::spikes::SpikeStage;
use crate::telemetry::{ProcessorTime, memory};

/// Threads whose time is recorded, so that waiting for a processor is told from work.
const WATCHED: [&str; 2] = [LOOP_THREAD, SPIKE_THREAD];
/// What the notes with their times are called.
const WATCHED_NOTES: [&str; 2] = ["processors", "processors_spikes"];

/// A rig made of a checked config.
pub struct RigHost {
    config: Config,
    calibration: Calibration,
    stages: Option<Stages>,
    view: Arc<View>,
    previews: Arc<Previews>,
    armed: Option<Armed>,
    space: Space,
    /// Whether truth is written beside a twin's recording.
    truth_wanted: bool,
    on_truth: Option<OnTruth>,
}

/// Is given the truth of a twin that has been opened.
type OnTruth = Box<dyn FnMut(&TruthLog) + Send>;

struct Armed {
    threads: Threads,
    truth: Option<TruthLog>,
    signals: SignalShape,
    train: usize,
    shapes: super::tables::TableShapes,
    recording: Option<Recording>,
    _previews: PreviewThread,
}

struct Recording {
    recorder: Recorder,
    truth: Option<TruthWriter>,
    name: String,
    from: u64,
    begun: Instant,
    /// Who had had the processors until then, with the time of each watched thread.
    processors: [Option<ProcessorTime>; WATCHED.len()],
    trouble: Trouble,
}

impl Armed {
    /// Truth follows the recording a little behind, so that stopping does not wait for it.
    fn write_truth(&mut self) {
        let newest = self.threads.shared.clock.latest_trigger();
        if let (Some(recording), Some(newest)) = (&mut self.recording, newest)
            && let Some(truth) = &mut recording.truth
        {
            truth.advance(recording.from, newest.saturating_sub(10));
        }
    }
}

impl RigHost {
    /// Loads the models and looks at everything that can be checked without devices.
    ///
    /// # Errors
    /// The first file that is not what the config needs.
    pub fn new(config: Config) -> Result<Self, RigError> {
        let names: Vec<_> = config.cameras.iter().map(|c| (c.name.as_str(), c.width_px, c.height_px)).collect();
        let calibration = Calibration::load(&config.rig.calibration)
            .and_then(|calibration| calibration.for_frames(names.iter().copied()))
            .map_err(RigError::of)?;
        let stages = load_stages(&config, &calibration)?;
        for array in &config.arrays {
            SpikeStage::for_array(&config.spikes, array).map_err(RigError::of)?;
        }
        let info = rig_info(&config, &stages, super::geoms::of(stages.body.rat()));
        Actor::new(&config, &stages).map_err(RigError::of)?;
        if config.encoding.live {
            encode_setup::parts(&config, &signals_of(&stages)).map_err(RigError)?;
        }
        let previews = Previews::new(config.cameras.len());
        let view = Arc::new(View::new(info, Arc::clone(stages.body.rat()), Arc::clone(&previews)));
        Ok(Self {
            config,
            calibration,
            stages: Some(stages),
            view,
            previews,
            armed: None,
            space: Space::default(),
            truth_wanted: true,
            on_truth: None,
        })
    }

    /// Gives `watcher` the truth of each twin that is opened from now on, before its devices start: for simulated devices
    /// that are no part of the twin and are wired to its board.
    pub fn on_truth(&mut self, watcher: impl FnMut(&TruthLog) + Send + 'static) {
        self.on_truth = Some(Box::new(watcher));
    }

    /// The readers' side.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// What is really so, for a demo's verdict; `None` for a real rig.
    pub fn truth(&self) -> Option<&TruthLog> {
        self.armed.as_ref().and_then(|armed| armed.truth.as_ref())
    }

    /// Raises an output now, within the board's limits.
    ///
    /// # Errors
    /// When the rig or its outputs are not armed.
    pub fn pulse(&mut self, output: u8, width: Span) -> Result<(), RigError> {
        let armed = self.armed()?;
        if !armed.threads.shared.outputs_armed.load(Ordering::Acquire) {
            return Err(RigError("the outputs are not armed; arm them first".to_owned()));
        }
        let command = BoardCommand::Pulse { output: OutputIndex(output), at: None, width };
        tell_board(armed, BoardControl::Send(command));
        Ok(())
    }

    fn armed(&mut self) -> Result<&mut Armed, RigError> {
        self.armed.as_mut().ok_or_else(|| RigError("the rig is not armed; arm it first".to_owned()))
    }

    fn build(&mut self) -> Result<Armed, RigError> {
        let stages = match self.stages.take() {
            Some(stages) => stages,
            None => load_stages(&self.config, &self.calibration)?,
        };
        let mut stages = stages;
        stages.pose.set_clock(host_now);
        stages.imitation = stages.imitation.with_clock(host_now);
        let actor = Actor::new(&self.config, &stages).map_err(RigError::of)?;
        let signals = actor.shape().clone();
        let devices = open(&self.config, &self.calibration, host_now(), false).map_err(RigError::of)?;
        let truth = devices.truth.clone();
        if let (Some(watcher), Some(truth)) = (&mut self.on_truth, &truth) {
            watcher(truth);
        }
        let info = super::RigView::info(&*self.view).clone();
        let assembly = assemble(&self.config, devices, stages, &self.calibration, actor, info).map_err(RigError::of)?;
        let shapes = assembly.shapes.clone();
        let names: Vec<String> = assembly
            .info
            .cameras
            .iter()
            .map(|c| c.name.clone())
            .chain(assembly.info.arrays.iter().map(|a| a.name.clone()))
            .collect();
        let threads = Threads::start(assembly, &names, self.config.rig.real_time).map_err(RigError::of)?;
        let previews = PreviewThread::start(&self.previews, &threads.shared).map_err(RigError::of)?;
        Ok(Armed { threads, truth, signals, train: 0, shapes, recording: None, _previews: previews })
    }

    fn begin(&mut self, request: &StartRequest) -> Result<RecordingStarted, RigError> {
        let config = self.config.clone();
        let wanted = self.truth_wanted;
        let rig = super::provenance::rig(super::RigView::info(&*self.view), &self.calibration);
        let armed = self.armed()?;
        let shared = Arc::clone(&armed.threads.shared);
        let newest =
            shared.clock.latest_trigger().ok_or_else(|| RigError("the trigger train does not run".to_owned()))?;
        let from = newest + LEAD_TRIGGERS;
        let truth = armed.truth.clone().filter(|_| wanted);
        let plan = RecordPlan::new(&config, &armed.shapes, armed.truth.as_ref(), wanted, host_now);
        let recorder = match plan.resume(request, &shared, from) {
            Some(recorder) => recorder,
            None => {
                let recorder = plan.start(request)?;
                recorder.note("request", serde_json::to_value(request).map_err(RigError::of)?);
                recorder
            }
        };
        recorder.note("rig", rig);
        recorder.note("signals", serde_json::to_value(&armed.signals).map_err(RigError::of)?);
        let name = recorder.folder().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        shared.clock.set_recording_from(Some(from));
        let (begun, processors, trouble) = (Instant::now(), WATCHED.map(ProcessorTime::read), Trouble::default());
        let mut recording = Recording { recorder, truth: None, name: name.clone(), from, begun, processors, trouble };
        if let Some(truth) = truth {
            let lane = recording.recorder.lane("truth");
            let writer = TruthWriter::new(&recording.recorder, lane, truth, armed.train, &config, &shared)
                .map_err(RigError::of)?;
            recording.truth = Some(writer);
        }
        hand_out_lanes(armed, &mut recording)?;
        armed.recording = Some(recording);
        let reached =
            wait_until(Duration::from_secs(5), || shared.clock.latest_trigger().is_some_and(|newest| newest >= from));
        if !reached {
            shared.notice(Notice::new(
                Level::Error,
                "board",
                "no trigger came within 5 s of the start; nothing is recorded until they come",
            ));
        }
        Ok(RecordingStarted { name })
    }

    fn end(&mut self) -> Result<SealSummary, RigError> {
        let finish_secs = self.config.encoding.finish_secs;
        let armed = self.armed()?;
        let Some(mut recording) = armed.recording.take() else {
            return Err(RigError("nothing is recorded; start a recording first".to_owned()));
        };
        let shared = Arc::clone(&armed.threads.shared);
        let before = shared.clock.latest_trigger().map_or(recording.from + 1, |newest| newest.max(recording.from) + 3);
        take_lanes_back(armed, before);
        let quiet = wait_until(Duration::from_secs(3), || nobody_records(&shared));
        if !quiet {
            shared.notice(Notice::new(Level::Error, "recorder", "a thread did not let go of the recording within 3 s"));
        }
        // The loop and the spike thread drop their lanes within a pass of hearing of it.
        std::thread::sleep(Duration::from_millis(120));
        finish_encoding(armed, finish_secs);
        if let Some(truth) = recording.truth.take() {
            truth.finish(recording.from, before);
        }
        recording.recorder.note("trigger_from", recording.from.into());
        recording.recorder.note("trigger_before", before.into());
        recording.recorder.note("counters", counters_json(&shared));
        recording.recorder.note("detection_ms", detection_json(&shared, &self.config, |live| live.detection_ms));
        recording
            .recorder
            .note("detection_work_ms", detection_json(&shared, &self.config, |live| live.detection_work_ms));
        for ((note, thread), before) in WATCHED_NOTES.into_iter().zip(WATCHED).zip(recording.processors) {
            if let (Some(before), Some(now)) = (before, ProcessorTime::read(thread)) {
                recording.recorder.note(note, serde_json::to_value(now.since(before)).map_err(RigError::of)?);
            }
        }
        let seconds = recording.begun.elapsed().as_secs_f64();
        let report = recording.recorder.seal().map_err(RigError::of)?;
        shared.clock.set_recording_from(None);
        let verified = verify(&report.folder).map_err(RigError::of)?;
        memory::give_back();
        Ok(SealSummary {
            name: recording.name,
            seconds,
            rows: report.rows.iter().map(|(_, rows)| rows).sum(),
            bytes: folder_bytes(&report.folder),
            reconciled: verified.ok(),
            problems: verified.problems,
        })
    }

    /// Conditions that only the host knows of.
    fn look_around(&mut self) {
        let mut host = HostStatus::default();
        let mut recording = None;
        if let Some(armed) = &mut self.armed {
            armed.write_truth();
            rig_status::of_threads(&mut host, &armed.threads, self.config.rig.real_time);
            recording = armed.recording.as_mut();
        }
        match recording {
            Some(Recording { recorder, name, begun, trouble, .. }) => {
                rig_status::of_recording(&mut host, name, *begun, recorder, &self.config, trouble);
            }
            None => self.space.look(&mut host, &self.config),
        }
        self.view.update_host(|status| *status = host);
    }
}

impl Rig for RigHost {
    fn arm(&mut self) -> Result<PreflightReport, RigError> {
        let video = record_plan::video_check(&self.config);
        if video.verdict == Verdict::Fail {
            // Before a device is touched.
            return Ok(PreflightReport { checks: vec![video] });
        }
        let mut armed = self.build()?;
        let names: Vec<String> = self.config.cameras.iter().map(|camera| camera.name.clone()).collect();
        let arrays: Vec<String> = self.config.arrays.iter().map(|array| array.name.clone()).collect();
        let mut preflight = Preflight::new(&names, &arrays, trigger_plan(&self.config));
        preflight.run(&mut armed.threads);
        let mut report = preflight.into_report();
        let (truth, wanted) = (armed.truth.as_ref(), self.truth_wanted);
        let plan = RecordPlan::new(&self.config, &armed.shapes, truth, wanted, host_now);
        report.checks.extend([plan.disk_check(), video]);
        armed.train = usize::from(armed.truth.is_some());
        if report.passed() {
            self.view.set_shared(Some(Arc::clone(&armed.threads.shared)));
            self.armed = Some(armed);
        }
        Ok(report)
    }

    fn disarm(&mut self) {
        if let Some(armed) = &mut self.armed {
            tell_board(armed, BoardControl::Send(BoardCommand::SafeState));
            tell_board(armed, BoardControl::StopTrain);
            std::thread::sleep(Duration::from_millis(50));
        }
        self.view.set_shared(None);
        self.armed = None;
    }

    fn start(&mut self, request: &StartRequest) -> Result<RecordingStarted, RigError> {
        let started = self.begin(request);
        self.look_around();
        started
    }

    fn stop(&mut self) -> Result<SealSummary, RigError> {
        let sealed = self.end();
        self.look_around();
        sealed
    }

    fn mark(&mut self, text: &str) -> Result<(), RigError> {
        let armed = self.armed()?;
        if armed.recording.is_none() {
            return Err(RigError("nothing is recorded, so there is nothing to mark".to_owned()));
        }
        tell_board(armed, BoardControl::Mark(text.into()));
        Ok(())
    }

    fn audit(&mut self, line: &str) {
        if let Some(armed) = &mut self.armed
            && armed.recording.is_some()
        {
            tell_board(armed, BoardControl::Audit(line.into()));
        }
    }

    fn set_outputs(&mut self, outputs_armed: bool) -> Result<(), RigError> {
        let armed = self.armed()?;
        armed.threads.shared.outputs_armed.store(outputs_armed, Ordering::Release);
        tell_board(armed, BoardControl::Send(BoardCommand::ArmOutputs(outputs_armed)));
        if !outputs_armed {
            tell_board(armed, BoardControl::Send(BoardCommand::SafeState));
        }
        Ok(())
    }

    fn buttons(&mut self, commands: &mut Vec<Command>) {
        self.look_around();
        let Some(armed) = &mut self.armed else { return };
        if armed.truth.as_ref().is_some_and(|truth| host_faults::network_is_nan(truth, host_now())) {
            armed.threads.controls.closed_loop.push(LoopControl::PoisonPose).ok(); // The next pass tries again.
        }
        while let Some(report) = armed.threads.controls.reports.pop() {
            match report {
                BoardReport::Button(button) => commands.extend(command_of(button)),
                BoardReport::NewTrain { index_base, time_base } => new_train(armed, index_base, time_base),
                BoardReport::Refused(id, why) => {
                    let text = format!("the board refused command {}: {}", id.0, refusal_text(why));
                    armed.threads.shared.notice(Notice::new(Level::Warning, "board", text));
                }
                BoardReport::Unanswered(id) => {
                    let text = format!("the board did not answer command {}; whether it was done is not known", id.0);
                    armed.threads.shared.notice(Notice::new(Level::Warning, "board", text));
                }
            }
        }
    }

    fn notices(&mut self, notices: &mut Vec<Notice>) {
        if let Some(armed) = &self.armed {
            armed.threads.shared.take_notices(notices);
        }
    }
}

/// Loads the networks, the body and the policy.
///
/// # Errors
/// The first that does not load.
pub fn load_stages(config: &Config, calibration: &Calibration) -> Result<Stages, RigError> {
    let pose = PoseStage::load(&config.pose, calibration).map_err(RigError::of)?;
    let body = BodyStage::load(&config.body, pose.keypoint_names(), config.rig.frame_rate_hz).map_err(RigError::of)?;
    let imitation =
        ImitationStage::load(&config.imitation, &config.body, config.rig.frame_rate_hz).map_err(RigError::of)?;
    Ok(Stages { pose, body, imitation })
}

fn hand_out_lanes(armed: &mut Armed, recording: &mut Recording) -> Result<(), RigError> {
    let recorder = &mut recording.recorder;
    let (tables, from) = (TableIds::of(recorder).map_err(RigError::of)?, recording.from);
    let mut lane = |name: &str| Box::new(recorder.lane(name));
    let controls = &mut armed.threads.controls;
    let full = |_| RigError("a thread does not take commands; disarm and arm again".to_owned());
    for (index, camera) in controls.cameras.iter_mut().enumerate() {
        let control = EdgeControl::Record { lane: lane(&format!("camera{index}")), tables, from };
        camera.push(control).map_err(full)?;
    }
    for (index, array) in controls.arrays.iter_mut().enumerate() {
        let control = EdgeControl::Record { lane: lane(&format!("array{index}")), tables, from };
        array.push(control).map_err(full)?;
    }
    let full = |()| RigError("a thread does not take commands; disarm and arm again".to_owned());
    controls.board.push(BoardControl::Record(lane("board"), tables)).map_err(|_| full(()))?;
    controls.spikes.push(SpikeControl::Record(lane("spikes"), tables)).map_err(|_| full(()))?;
    if let Some(encode) = &mut controls.encode {
        armed.threads.shared.encoding_busy.store(true, Ordering::Release);
        encode.push(EncodeControl::Record(lane("encoding"), tables)).map_err(|_| full(()))?;
    }
    controls.closed_loop.push(LoopControl::Record { lane: lane("loop"), tables, from }).map_err(|_| full(()))
}

fn take_lanes_back(armed: &mut Armed, before: u64) {
    let deadline: HostTime = host_now() + Span::from_millis(600);
    let controls = &mut armed.threads.controls;
    controls.board.push(BoardControl::RecordUntil(before)).ok();
    for edge in controls.cameras.iter_mut().chain(&mut controls.arrays) {
        // A full control queue belongs to a thread that is gone; sealing does not wait for it.
        edge.push(EdgeControl::StopRecord { before, deadline }).ok();
    }
    controls.closed_loop.push(LoopControl::StopRecord { before, deadline }).ok();
    let shared = &armed.threads.shared;
    wait_until(Duration::from_secs(2), || !any_edge_records(shared));
    armed.threads.controls.spikes.push(SpikeControl::StopRecord).ok();
    armed.threads.controls.board.push(BoardControl::StopRecord).ok();
}

/// Lets the encoding thread come to the minimum and write its last rows.
fn finish_encoding(armed: &mut Armed, finish_secs: f64) {
    let Some(encode) = &mut armed.threads.controls.encode else { return };
    // A full control queue belongs to a thread that is gone; sealing does not wait for it.
    encode.push(EncodeControl::Stop).ok();
    let shared = &armed.threads.shared;
    let patience = Duration::from_secs_f64(finish_secs + 5.0);
    if !wait_until(patience, || !is_busy(&shared.encoding_busy)) {
        let text = "the encoding thread did not let go of the recording; `mimicd encode` computes what is missing";
        shared.notice(Notice::new(Level::Warning, "encoding", text));
    }
}

/// Names and lengths of the policy's signals.
fn signals_of(stages: &Stages) -> Vec<(String, usize)> {
    stages.imitation.signals().iter().map(|signal| (signal.name.clone(), signal.range.len())).collect()
}

fn any_edge_records(shared: &Shared) -> bool {
    shared.cameras.iter().chain(&shared.arrays).any(|stream| stream.recording.load(Ordering::Acquire))
}

fn nobody_records(shared: &Shared) -> bool {
    !any_edge_records(shared) && !shared.board.recording.load(Ordering::Acquire)
}

fn new_train(armed: &mut Armed, index_base: u64, time_base: Span) {
    let controls = &mut armed.threads.controls;
    for edge in controls.cameras.iter_mut().chain(&mut controls.arrays) {
        edge.push(EdgeControl::NewTrain { index_base, time_base }).ok();
    }
    controls.closed_loop.push(LoopControl::NewTrain).ok();
}

fn tell_board(armed: &mut Armed, control: BoardControl) {
    if armed.threads.controls.board.push(control).is_err() {
        armed.threads.shared.notice(Notice::new(Level::Error, "board", "the board thread does not take commands"));
    }
}

fn counters_json(shared: &Shared) -> serde_json::Value {
    crate::telemetry::Cause::ALL
        .iter()
        .map(|cause| (cause.name().to_owned(), shared.counters.get(*cause).into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Median, 99th percentile and largest time of each array, in milliseconds.
fn detection_json(shared: &Shared, config: &Config, of: impl Fn(&ArrayLive) -> [f32; 3]) -> serde_json::Value {
    let mut times = Vec::new();
    shared.spikes.read(|view| times.extend(view.arrays.iter().map(of)));
    let named = config.arrays.iter().zip(times).map(|(array, times)| (array.name.clone(), times.to_vec().into()));
    named.collect::<serde_json::Map<_, _>>().into()
}

fn folder_bytes(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => folder_bytes(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
