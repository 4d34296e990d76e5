//! The edge thread of the sync board: pings, heartbeat, commands out; events in.
//!
//! Tier: edge. Commands come from the loop and from the supervisor through rings; events go to both. Host ↔ board time is
//! fitted here and handed to the loop as a value.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mimicd_device::{
    BoardCommand, BoardEvent, BoardTime, ButtonKind, CommandId, DeviceError, Host, HostTime, OutputIndex, Refusal,
    RigTime, SafetyCause, Span, SyncBoard, TriggerPlan, Wake,
};

use super::lamps::{Lamps, Showing};
use super::missing::Settling;
use super::shared::Shared;
use super::tables::{self, ClockRow, TableIds};
use super::{Level, Notice};
use crate::clock::{ClockMap, PingFit, PingSample};
use crate::record::{GapCause, RecordLane};
use crate::stream::{Consumer, Producer};
use crate::telemetry::Cause;

/// What the board thread is told.
pub enum BoardControl {
    /// Send this to the board.
    Send(BoardCommand),
    /// Start the camera train and keep it running: after a board reset it is started anew.
    KeepTrain(TriggerPlan),
    /// Stop the train.
    StopTrain,
    /// Write events to the recording.
    Record(Box<RecordLane>, TableIds),
    /// Put a mark into the event table.
    Mark(Box<str>),
    /// Put a line of the audit log into the event table.
    Audit(Box<str>),
    /// Write no trigger from this one on.
    RecordUntil(u64),
    /// Let go of the recording.
    StopRecord,
}

/// What the board thread tells the loop.
#[derive(Clone, Copy, Debug)]
pub enum BoardNews {
    /// The present map from host to board time.
    Map(ClockMap<Host, mimicd_device::Board>),
}

/// What the board thread tells the supervisor.
#[derive(Clone, Copy, Debug)]
pub enum BoardReport {
    /// A button was pressed.
    Button(ButtonKind),
    /// The train was started anew after a reset.
    NewTrain {
        /// Index of its trigger 0.
        index_base: u64,
        /// Train time of its trigger 0.
        time_base: Span,
    },
    /// A command was refused by the board.
    Refused(CommandId, Refusal),
    /// A command was never answered.
    Unanswered(CommandId),
}

/// What a board edge is made of.
pub struct BoardEdgeParts {
    /// The open board.
    pub board: Box<dyn SyncBoard>,
    /// Commands from the supervisor.
    pub control: Consumer<BoardControl>,
    /// Commands from the loop.
    pub from_loop: Consumer<BoardCommand>,
    /// News for the loop.
    pub to_loop: Producer<BoardNews>,
    /// News for the supervisor.
    pub to_supervisor: Producer<BoardReport>,
    /// Time between pings.
    pub ping_every: Span,
    /// Time between barcodes for other equipment; `None` = no barcodes.
    pub barcode_every: Option<Span>,
}

/// What the recording is to know of the trigger train.
struct Recording {
    lane: Box<RecordLane>,
    tables: TableIds,
    /// Triggers that were never heard of.
    settling: Settling,
    gap_cause: GapCause,
    /// First trigger that is not written.
    before: u64,
}

/// The sync board's edge.
pub struct BoardEdge {
    parts: BoardEdgeParts,
    shared: Arc<Shared>,
    fit: PingFit,
    next_ping: HostTime,
    next_heartbeat: HostTime,
    train: Option<TriggerPlan>,
    started_at: Option<HostTime>,
    index_base: u64,
    time_base: Span,
    restarting: bool,
    /// Host to board, as it last was, for the board time that the train counts from: dates what happens while the board cannot
    /// be asked, and over its reset.
    dating: Option<ClockMap<Host, mimicd_device::Board>>,
    recording: Option<Recording>,
    reopen_at: Option<HostTime>,
    hurry_until: HostTime,
    lamps: Lamps,
}

impl BoardEdge {
    /// The board's watchdog trips after a few of these.
    const HEARTBEAT_EVERY: Span = Span::from_millis(50);
    const REOPEN_AFTER: Span = Span::from_millis(500);
    /// After a start, a restart, an unplugging or a step the map is wanted soon: so long, pings follow each other so closely.
    const HURRY: Span = Span::from_millis(1_500);
    const PING_EVERY_HURRIED: Span = Span::from_millis(5);
    /// The board's output for barcodes.
    const BARCODE_OUTPUT: OutputIndex = OutputIndex(7);

    /// An edge that is ready to run.
    pub fn new(parts: BoardEdgeParts, shared: &Arc<Shared>) -> Self {
        shared.board.connected.store(true, Ordering::Relaxed);
        Self {
            parts,
            shared: Arc::clone(shared),
            fit: PingFit::new(),
            next_ping: HostTime::ZERO,
            next_heartbeat: HostTime::ZERO,
            train: None,
            started_at: None,
            index_base: 0,
            time_base: Span::ZERO,
            restarting: false,
            dating: None,
            recording: None,
            reopen_at: None,
            hurry_until: HostTime::ZERO,
            lamps: Lamps::default(),
        }
    }

    /// Ends a wait, for who has a command ready.
    pub fn waker(&self) -> Arc<dyn Wake> {
        self.parts.board.waker()
    }

    /// Waits for the board, no longer than to the next ping.
    pub fn wait(&mut self, until: HostTime) {
        self.parts.board.wait(until.min(self.next_ping).min(self.next_heartbeat));
    }

    /// Sends what is due, takes what has come; returns whether anything had.
    pub fn pass(&mut self, now: HostTime) -> bool {
        if self.reopen_at.is_some_and(|at| !self.try_reopen(at, now)) {
            return false;
        }
        self.obey(now);
        while let Some(command) = self.parts.from_loop.pop() {
            self.send(now, command);
        }
        self.keep_alive(now);
        self.light(now);
        let mut any = false;
        loop {
            match self.parts.board.poll(now) {
                Ok(Some((arrival, event))) => {
                    any = true;
                    self.take(arrival, event);
                }
                Ok(None) => return any,
                Err(error) => {
                    self.lose(&error, now);
                    return any;
                }
            }
        }
    }

    fn obey(&mut self, now: HostTime) {
        while let Some(control) = self.parts.control.pop() {
            match control {
                BoardControl::Send(command) => self.send(now, command),
                BoardControl::KeepTrain(plan) => {
                    (self.index_base, self.time_base) = (0, Span::ZERO);
                    self.train = Some(plan);
                    self.started_at = None;
                    self.start_train(now, plan);
                }
                BoardControl::StopTrain => {
                    self.train = None;
                    self.shared.clock.set_train_start(None);
                    self.send(now, BoardCommand::StopTriggers);
                }
                BoardControl::Record(lane, tables) => {
                    let settling = Settling::from(self.shared.clock.recording_from().unwrap_or(0));
                    let gap_cause = GapCause::Device;
                    self.recording = Some(Recording { lane, tables, settling, gap_cause, before: u64::MAX });
                    self.shared.board.recording.store(true, Ordering::Release);
                }
                BoardControl::Mark(text) => {
                    self.lamps.mark(now);
                    self.note(now, "mark", &text);
                }
                BoardControl::Audit(text) => self.note(now, "audit", &text),
                BoardControl::RecordUntil(before) => {
                    self.recording.iter_mut().for_each(|recording| recording.before = before);
                }
                BoardControl::StopRecord => {
                    self.settle(|settling, before, missing| settling.finish(before, missing));
                    self.recording = None;
                    self.shared.board.recording.store(false, Ordering::Release);
                }
            }
        }
    }

    fn start_train(&mut self, now: HostTime, plan: TriggerPlan) {
        self.send(now, BoardCommand::StartTriggers(plan));
        if let Some(every) = self.parts.barcode_every {
            self.send(now, BoardCommand::Barcode { output: Self::BARCODE_OUTPUT, every });
        }
    }

    fn keep_alive(&mut self, now: HostTime) {
        if self.fit.map().is_none() {
            self.hurry_until = now + Self::HURRY;
        }
        if now >= self.next_ping {
            let every = self.parts.ping_every;
            let hurried = now < self.hurry_until;
            self.next_ping = now + if hurried { every.min(Self::PING_EVERY_HURRIED) } else { every };
            self.send(now, BoardCommand::Ping);
        }
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + Self::HEARTBEAT_EVERY;
            self.send(now, BoardCommand::Heartbeat);
        }
    }

    /// Tells the board one lamp that shows the wrong thing; the next pass tells the next.
    fn light(&mut self, now: HostTime) {
        let showing = Showing {
            train: self.train.is_some(),
            recording: self.recording.is_some(),
            outputs: self.shared.outputs_armed.load(Ordering::Relaxed),
        };
        if let Some(command) = self.lamps.next(now, showing)
            && self.parts.board.send(now, command).is_ok()
        {
            self.lamps.told(command);
        }
    }

    fn send(&mut self, now: HostTime, command: BoardCommand) {
        if self.parts.board.send(now, command).is_err() {
            self.shared.counters.add(Cause::BoardSendFailed, 1);
        }
    }

    fn take(&mut self, arrival: HostTime, event: BoardEvent) {
        self.shared.board.items.fetch_add(1, Ordering::Relaxed);
        match event {
            BoardEvent::Pong { sent, at, .. } => self.take_pong(PingSample { sent, board: at, received: arrival }),
            BoardEvent::Trigger { index, at } => self.take_trigger(arrival, index, at),
            BoardEvent::Started { epoch, at } => self.take_restart(arrival, epoch, at),
            BoardEvent::Button { button, .. } => {
                self.lamps.stop_latched &= button != ButtonKind::Arm;
                self.tell_supervisor(BoardReport::Button(button));
            }
            BoardEvent::Ack { id, refused: Some(why), .. } => self.tell_supervisor(BoardReport::Refused(id, why)),
            BoardEvent::Unanswered { id } => self.tell_supervisor(BoardReport::Unanswered(id)),
            BoardEvent::Safety { cause, .. } => self.take_safety(cause),
            BoardEvent::Lost { messages } => {
                self.shared.counters.add(Cause::BoardMessageLost, u64::from(messages));
                self.note(arrival, "link", &format!("{messages} messages of the board are lost"));
            }
            _ => {}
        }
        self.record(arrival, event);
    }

    fn take_pong(&mut self, sample: PingSample) {
        let steps = self.fit.steps();
        let accepted = self.fit.push(sample);
        if self.fit.steps() != steps {
            self.hurry_until = sample.received + Self::HURRY;
        }
        let Some(map) = self.fit.map() else { return };
        if !self.restarting {
            self.dating = Some(map);
        }
        let residual = sample.board - map.map(sample.middle()).at;
        self.shared.board.note_residual(residual.nanos(), map.drift_ppm() * 1e-6);
        self.shared.board.steps.store(u64::from(self.fit.steps()), Ordering::Relaxed);
        self.record_map(sample, &map, residual, accepted);
        self.shared.host_map.publish(|held| *held = Some(map));
        self.tell_loop(BoardNews::Map(map));
    }

    fn take_trigger(&mut self, arrival: HostTime, index: u64, at: BoardTime) {
        if self.train.is_none() {
            return;
        }
        if index == 0 && self.restarting {
            self.restarting = false;
            self.begin_new_train(arrival, at);
        } else if index == 0 {
            self.started_at = Some(arrival);
            self.shared.clock.set_train_start(Some(at));
        }
        self.shared.clock.set_latest_trigger(self.index_base + index);
    }

    /// The host's clock bridges a board reset: the new train's trigger 0 gets the index and the train time it would have had.
    fn begin_new_train(&mut self, arrival: HostTime, at: BoardTime) {
        let (Some(plan), Some(started)) = (self.train, self.started_at) else { return };
        let elapsed = arrival - started;
        let latest = self.shared.clock.latest_trigger().unwrap_or(0);
        let estimate = (elapsed.nanos() / plan.period.nanos()).max(0) as u64;
        self.index_base = estimate.max(latest + 1);
        self.time_base = elapsed;
        self.shared.clock.set_train_start(Some(at - elapsed));
        let one_ping = || ClockMap::new(arrival, at, 0.0, Span::ZERO, arrival, arrival);
        self.dating = Some(self.fit.map().unwrap_or_else(one_ping));
        self.shared.counters.add(Cause::ClockStep, 1);
        self.tell_supervisor(BoardReport::NewTrain { index_base: self.index_base, time_base: self.time_base });
    }

    /// The board holds its outputs low by itself; nobody raises them again without an operator.
    fn take_safety(&mut self, cause: SafetyCause) {
        let text = match cause {
            SafetyCause::LimitExceeded => {
                return self.shared.notice(Notice::new(
                    Level::Warning,
                    "board",
                    "a pulse was withheld: it would have exceeded the output's limits",
                ));
            }
            SafetyCause::Commanded => return self.disarm_outputs(),
            SafetyCause::HostSilent => "outputs are safe: the board heard nothing from the host",
            SafetyCause::EmergencyStop => {
                "outputs are safe: emergency stop; release it with the panel's arm button, then arm the outputs again"
            }
            SafetyCause::Interlock => "outputs are safe: the interlock is open; close it, then arm the outputs again",
        };
        self.lamps.stop_latched |= cause == SafetyCause::EmergencyStop;
        self.disarm_outputs();
        self.shared.notice(Notice::new(Level::Error, "board", text));
    }

    fn disarm_outputs(&self) {
        self.shared.outputs_armed.store(false, Ordering::Release);
    }

    fn take_restart(&mut self, arrival: HostTime, epoch: u32, at: BoardTime) {
        self.fit.reset();
        self.lamps = Lamps::default();
        self.disarm_outputs();
        let Some(plan) = self.train else {
            self.dating = None;
            return;
        };
        self.restarting = true;
        let text = format!(
            "restarted (epoch {epoch}, board time {:.3} s); the trigger train is started anew",
            at.nanos() as f64 * 1e-9
        );
        self.note(arrival, "link", &text);
        self.shared.notice(Notice::new(Level::Error, "board", text));
        self.start_train(arrival, plan);
    }

    fn record(&mut self, arrival: HostTime, event: BoardEvent) {
        let base = self.index_base;
        if let BoardEvent::Trigger { index, .. } = event {
            self.settle(|settling, before, missing| settling.see((base + index).min(before), missing));
        }
        let reset = self.restarting.then(|| self.dated(arrival)).flatten().map(|(_, at)| at);
        let shared = &self.shared;
        let Some(Recording { lane, tables, before, .. }) = self.recording.as_mut() else { return };
        if matches!(event, BoardEvent::Trigger { index, .. } if base + index >= *before) {
            return;
        }
        if !tables::write_board_event(lane, tables, &shared.clock, base, reset, arrival, event) {
            shared.counters.add(Cause::RecordLaneFull, 1);
        }
    }

    /// Lets `step` move the settling on, with the first trigger that is not written, and declares the gaps that it finds.
    fn settle(&mut self, step: impl FnOnce(&mut Settling, u64, &mut dyn FnMut(u64, u64))) {
        let Some(Recording { lane, settling, gap_cause, before, .. }) = self.recording.as_mut() else { return };
        let (clock, cause) = (&self.shared.clock, *gap_cause);
        let mut found = false;
        step(settling, *before, &mut |first, end| {
            found = true;
            lane.gap(&clock.missing_triggers("triggers", first..end, Span::ZERO, cause));
        });
        if found {
            *gap_cause = GapCause::Device;
        }
    }

    /// A row of the clock table: what the newest ping made of the map.
    fn record_map(
        &mut self,
        sample: PingSample,
        map: &ClockMap<Host, mimicd_device::Board>,
        residual: Span,
        accepted: bool,
    ) {
        let Some(Recording { lane, tables, .. }) = self.recording.as_mut() else { return };
        let mapped = map.map(sample.middle());
        let Some(at) = self.shared.clock.rig_of_board(mapped.at).filter(|at| at.nanos() >= 0) else { return };
        let row = ClockRow {
            clock: "host",
            offset_ns: (mapped.at.nanos() - sample.middle().nanos()) as f64,
            rate_ppm: map.inverse().drift_ppm(),
            residual_ns: residual.nanos() as f64,
            uncertainty_ns: map.uncertainty().nanos() as f64,
            accepted,
        };
        tables::write_clock(lane, tables, at, &row);
    }

    /// A host time on the clock that the train counts from, and on the rig's; `None` while no train runs.
    fn dated(&self, now: HostTime) -> Option<(BoardTime, RigTime)> {
        let board = self.dating.as_ref()?.map(now).at;
        Some((board, self.shared.clock.rig_of_board(board)?))
    }

    fn note(&mut self, now: HostTime, kind: &str, text: &str) {
        let Some((board, at)) = self.dated(now) else { return };
        let Some(Recording { lane, tables, .. }) = self.recording.as_mut() else { return };
        if !tables::write_text_event(lane, tables, at, kind, board, now, text) {
            self.shared.counters.add(Cause::RecordLaneFull, 1);
        }
    }

    fn tell_loop(&mut self, news: BoardNews) {
        // The loop drains this ring every pass; if it is full the loop is gone, and the next map replaces this one anyway.
        self.parts.to_loop.push(news).ok();
    }

    fn tell_supervisor(&mut self, report: BoardReport) {
        if self.parts.to_supervisor.push(report).is_err() {
            self.shared.counters.add(Cause::BoardMessageLost, 1);
        }
    }

    fn lose(&mut self, error: &DeviceError, now: HostTime) {
        self.shared.board.connected.store(false, Ordering::Relaxed);
        // The board's own watchdog has made them safe by the time it is found again.
        self.disarm_outputs();
        self.reopen_at = Some(now + Self::REOPEN_AFTER);
        let text = format!("lost: {error}; looked for again every half second");
        self.note(now, "link", &text);
        self.shared.notice(Notice::new(Level::Error, "board", text));
    }

    fn try_reopen(&mut self, at: HostTime, now: HostTime) -> bool {
        if now < at {
            return false;
        }
        if self.parts.board.reopen().is_err() {
            self.reopen_at = Some(now + Self::REOPEN_AFTER);
            return false;
        }
        self.reopen_at = None;
        self.note(now, "link", "is back");
        self.recording.iter_mut().for_each(|recording| recording.gap_cause = GapCause::Reopened);
        self.fit.reset();
        self.lamps.forget();
        self.shared.board.connected.store(true, Ordering::Relaxed);
        self.shared.counters.add(Cause::DeviceReopened, 1);
        self.shared.notice(Notice::new(Level::Warning, "board", "is back"));
        true
    }
}
