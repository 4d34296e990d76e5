//! The thread that executes commands.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};

use super::continuation::Marker;
use super::signals::Shutdown;
use super::state::{self, Input};
use super::watchdog::Pulse;
use crate::panel::{Acknowledgement, Caller, Desk, Order};
use crate::pipeline::{Command, Degradation, Level, Notice, Rig, RigState, RigView, StartRequest};

/// How often buttons and notices are looked at.
const TICK: Duration = Duration::from_millis(50);

/// How often health is gathered.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// Longest time that arming may take before the watchdog calls it a hang.
const ARM_TIME_MAX: Duration = Duration::from_secs(60);

/// Longest time that recovering an interrupted recording and going on with it may take before the watchdog calls it a hang.
const RESUME_TIME_MAX: Duration = Duration::from_secs(900);

/// How often an interrupted recording is tried to be continued, and how many times: devices may need a while to come back.
const RESUME_EVERY: Duration = Duration::from_secs(10);
const RESUME_TRIES: u32 = 6;

/// What the supervisor needs to know besides the rig.
#[derive(Clone, Debug)]
pub struct SupervisorOptions {
    /// Name of the rig: what an operator types to arm outputs.
    pub rig_name: String,
    /// Folder for the note of the recording in progress; `None` for no continuation after a crash.
    pub state_folder: Option<PathBuf>,
}

/// Executes commands one after the other and keeps the standing up to date.
pub struct Supervisor {
    rig: Box<dyn Rig>,
    view: Arc<dyn RigView>,
    desk: Arc<Desk>,
    orders: Receiver<Order>,
    options: SupervisorOptions,
    pulse: Arc<Pulse>,
    state: RigState,
    /// An interrupted recording that is not yet continued: tries left, and when the next is due.
    resume: Option<(u32, Instant)>,
    degraded: Vec<Degradation>,
    commands: Vec<Command>,
    notices: Vec<Notice>,
}

impl Supervisor {
    /// A supervisor of `rig` at `desk`; `orders` is the desk's other end. `pulse` is what the watchdog listens to.
    pub fn new(
        rig: Box<dyn Rig>,
        view: Arc<dyn RigView>,
        desk: Arc<Desk>,
        orders: Receiver<Order>,
        options: SupervisorOptions,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self {
            rig,
            view,
            desk,
            orders,
            options,
            pulse,
            state: RigState::Idle,
            resume: None,
            degraded: Vec::new(),
            commands: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Runs until `shutdown` is requested; then ends the recording, seals it and stops the streams.
    pub fn run(mut self, shutdown: &Shutdown) {
        self.resume = Some((RESUME_TRIES, Instant::now()));
        let mut health_due = Instant::now();
        while !shutdown.requested() {
            self.pulse.beat();
            self.continue_interrupted();
            match self.orders.recv_timeout(TICK) {
                Ok(order) => self.serve(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.press_buttons();
            self.pass_notices();
            if Instant::now() >= health_due {
                self.look_at_health();
                health_due = Instant::now() + HEALTH_EVERY;
            }
        }
        self.shut_down();
    }

    fn serve(&mut self, order: Order) {
        let Order { command, caller, reply } = order;
        let acknowledgement = self.execute(command, &caller);
        // A caller that has gone away has nobody to tell.
        let _ = reply.send(acknowledgement);
    }

    fn execute(&mut self, command: Command, caller: &Caller) -> Acknowledgement {
        let word = command.word();
        let asked = serde_json::to_value(&command).unwrap_or_default();
        if word == "stop" && self.state == RigState::Recording {
            // Afterwards there is no recording left to write it into.
            let begun = Acknowledgement {
                accepted: true,
                state: RigState::Sealing,
                message: "stopping".into(),
                ..Default::default()
            };
            self.audit(&asked, caller, &begun);
        }
        let mut answer = match command {
            Command::Arm => self.arm(),
            Command::Start(request) => self.start(request),
            Command::Mark { text } => self.mark(&text),
            Command::Stop => self.stop(Input::Stop),
            Command::Disarm => self.disarm(),
            Command::ArmOutputs { confirm } => self.arm_outputs(&confirm),
            Command::SafeOutputs => self.safe_outputs(),
        };
        answer.command = word.to_owned();
        answer.state = self.state;
        self.audit(&asked, caller, &answer);
        let level = if answer.accepted { Level::Info } else { Level::Warning };
        let text = if answer.accepted { answer.message.clone() } else { format!("{word} refused: {}", answer.message) };
        self.note(level, caller.role, text);
        answer
    }

    /// One line for the recording's audit log: who asked for what, and what came of it.
    fn audit(&mut self, asked: &serde_json::Value, caller: &Caller, answer: &Acknowledgement) {
        let line = serde_json::json!({
            "caller": caller, "asked": asked, "accepted": answer.accepted,
            "state": answer.state, "message": answer.message,
        });
        self.rig.audit(&line.to_string());
    }

    fn arm(&mut self) -> Acknowledgement {
        if !self.apply(Input::Arm) {
            return self.refused();
        }
        self.pulse.busy_for(ARM_TIME_MAX);
        let outcome = self.rig.arm();
        self.pulse.beat();
        let report = match outcome {
            Ok(report) => report,
            Err(error) => {
                self.apply(Input::PreflightFailed);
                return no(format!("not armed: {error}"));
            }
        };
        self.desk.update(|standing| standing.preflight = Some(report.clone()));
        let failed: Vec<_> = report.checks.iter().filter(|c| c.verdict == crate::pipeline::Verdict::Fail).collect();
        let answer = if failed.is_empty() {
            self.apply(Input::PreflightPassed);
            yes(format!("armed: {} checks passed", report.checks.len()))
        } else {
            let lines: Vec<_> = failed.iter().map(|check| format!("{}: {}", check.name, check.detail)).collect();
            self.apply(Input::PreflightFailed);
            no(format!("not armed: {}", lines.join("; ")))
        };
        Acknowledgement { preflight: Some(report), ..answer }
    }

    fn start(&mut self, request: StartRequest) -> Acknowledgement {
        let problems = request.problems();
        if !problems.is_empty() {
            return no(problems.join("; "));
        }
        let mut preflight = None;
        if self.state == RigState::Idle {
            let armed = self.arm();
            if !armed.accepted {
                return armed;
            }
            preflight = armed.preflight;
        }
        if state::next(self.state, Input::Started).is_none() {
            return self.refused();
        }
        // An interrupted recording is recovered first: all that its writer had not sealed.
        self.pulse.busy_for(if request.continues.is_some() { RESUME_TIME_MAX } else { ARM_TIME_MAX });
        let started = self.rig.start(&request);
        self.pulse.beat();
        let started = match started {
            Ok(started) => started,
            Err(error) => return Acknowledgement { preflight, ..no(format!("no recording: {error}")) },
        };
        self.remember(&started.name, &request);
        self.desk.update(|standing| {
            standing.request = Some(request);
            standing.recording = Some(started.name.clone());
            standing.sealed = None;
        });
        self.apply(Input::Started);
        let message = format!("recording {}", started.name);
        Acknowledgement { recording: Some(started.name), preflight, ..yes(message) }
    }

    fn mark(&mut self, text: &str) -> Acknowledgement {
        let count = text.chars().count();
        if !(1..=500).contains(&count) || text.chars().any(char::is_control) {
            return no(format!("mark of {count} characters: expected 1 to 500 without control characters"));
        }
        if self.state != RigState::Recording {
            return no(format!("nothing is being recorded ({})", self.state.word()));
        }
        match self.rig.mark(text) {
            Ok(()) => yes(format!("marked: {text}")),
            Err(error) => no(format!("not marked: {error}")),
        }
    }

    fn stop(&mut self, input: Input) -> Acknowledgement {
        if !self.apply(input) {
            return self.refused();
        }
        self.pulse.busy_for(self.rig.seal_time_max());
        let outcome = self.rig.stop();
        self.pulse.beat();
        let recording = self.desk.standing().recording;
        self.desk.update(|standing| {
            standing.recording = None;
            standing.request = None;
        });
        match outcome {
            Ok(summary) => {
                self.forget();
                self.apply(Input::Sealed);
                self.desk.update(|standing| standing.sealed = Some(summary.clone()));
                let verdict = if summary.reconciled { "everything adds up" } else { "NOT everything adds up" };
                let message = format!("sealed {} ({:.1} s): {verdict}", summary.name, summary.seconds);
                Acknowledgement { recording: Some(summary.name.clone()), sealed: Some(summary), ..yes(message) }
            }
            Err(error) => {
                let message = format!("not sealed: {error}; `mimicd recover` makes the recording valid");
                self.fault(message.clone(), Input::SealFailed);
                Acknowledgement { recording, ..no(message) }
            }
        }
    }

    fn disarm(&mut self) -> Acknowledgement {
        if state::next(self.state, Input::Disarm).is_none() {
            return self.refused();
        }
        self.rig.disarm();
        self.apply(Input::Disarm);
        self.desk.update(|standing| standing.fault = None);
        yes("disarmed".into())
    }

    fn arm_outputs(&mut self, confirm: &str) -> Acknowledgement {
        if confirm != self.options.rig_name {
            return no(format!("outputs stay safe: confirm with the rig's name, {:?}", self.options.rig_name));
        }
        if !matches!(self.state, RigState::Armed | RigState::Recording) {
            return self.refused();
        }
        match self.rig.set_outputs(true) {
            Ok(()) => yes("outputs are armed: rules may drive them".into()),
            Err(error) => no(format!("outputs stay safe: {error}")),
        }
    }

    fn safe_outputs(&mut self) -> Acknowledgement {
        match self.rig.set_outputs(false) {
            Ok(()) => yes("outputs are in the safe state".into()),
            Err(error) => no(format!("the board did not confirm the safe state: {error}; use the emergency stop")),
        }
    }

    fn press_buttons(&mut self) {
        let mut commands = std::mem::take(&mut self.commands);
        self.rig.buttons(&mut commands);
        for command in commands.drain(..) {
            let caller = Caller { role: "button", from: command.word().to_owned() };
            self.execute(command, &caller);
        }
        self.commands = commands;
    }

    fn pass_notices(&mut self) {
        self.rig.notices(&mut self.notices);
        for notice in self.notices.drain(..) {
            self.desk.events.add(notice);
        }
        for line in self.desk.audits() {
            self.rig.audit(&line);
        }
    }

    fn look_at_health(&mut self) {
        let status = self.view.status();
        for new in status.degraded.iter().filter(|d| !self.degraded.iter().any(|old| old.code == d.code)) {
            self.desk.events.add(Notice::new(Level::Warning, "rig", format!("degraded: {}", new.message)));
        }
        for gone in self.degraded.iter().filter(|d| !status.degraded.iter().any(|new| new.code == d.code)) {
            self.desk.events.add(Notice::new(Level::Info, "rig", format!("no longer degraded: {}", gone.message)));
        }
        self.degraded = status.degraded;
        if let Some(cause) = status.must_stop.filter(|_| self.state == RigState::Recording) {
            self.note(Level::Error, "recorder", format!("stopping the recording: {cause}"));
            self.execute(Command::Stop, &supervisor_caller());
        }
        if let Some(cause) = status.fault.filter(|_| self.state != RigState::Faulted) {
            if self.state == RigState::Recording {
                self.note(Level::Error, "rig", format!("fault, sealing the recording: {cause}"));
                self.stop(Input::Fault);
            }
            self.fault(cause, Input::Fault);
        }
    }

    fn fault(&mut self, cause: String, input: Input) {
        if self.apply(input) {
            self.note(Level::Error, "rig", format!("faulted: {cause}"));
            self.desk.update(|standing| standing.fault = Some(cause));
        }
    }

    /// After a crash: arms and goes on recording, as a new segment that names the interrupted one. Ends when it goes on, when
    /// someone else has begun to use the rig, or after some tries.
    fn continue_interrupted(&mut self) {
        let Some((tries, due)) = self.resume else { return };
        if Instant::now() < due {
            return;
        }
        self.resume = None;
        if self.state != RigState::Idle {
            return;
        }
        let Some(marker) = self.options.state_folder.as_deref().and_then(Marker::read) else { return };
        let text = format!("the daemon ended during {}: going on with it as a new segment", marker.name);
        self.note(Level::Error, "supervisor", text);
        let request = StartRequest { continues: Some(marker.name), ..marker.request };
        let answer = self.execute(Command::Start(request), &supervisor_caller());
        if answer.accepted {
            return;
        }
        if tries > 1 {
            self.resume = Some((tries - 1, Instant::now() + RESUME_EVERY));
        } else {
            self.note(Level::Error, "supervisor", "given up going on with it; `mimicd recover` makes it valid".into());
            self.forget();
        }
    }

    fn shut_down(&mut self) {
        let caller = Caller { role: "signal", from: "shutdown".into() };
        if self.state == RigState::Recording {
            self.execute(Command::Stop, &caller);
        }
        if state::next(self.state, Input::Disarm).is_some() {
            self.execute(Command::Disarm, &caller);
        }
        self.pass_notices();
        // What is still in the queue is answered by the closed channel.
    }

    fn remember(&self, name: &str, request: &StartRequest) {
        let Some(folder) = &self.options.state_folder else { return };
        // The first recording of a chain keeps its name, however often the daemon is restarted.
        let name = request.continues.as_deref().unwrap_or(name).to_owned();
        let request = StartRequest { continues: None, ..request.clone() };
        if let Err(error) = (Marker { name, request }).write(folder) {
            let text = format!("{}: {error}: after a crash this recording will not be continued", folder.display());
            self.desk.events.add(Notice::new(Level::Warning, "supervisor", text));
        }
    }

    fn forget(&self) {
        if let Some(folder) = &self.options.state_folder {
            Marker::remove(folder);
        }
    }

    fn apply(&mut self, input: Input) -> bool {
        let Some(after) = state::next(self.state, input) else { return false };
        self.state = after;
        self.desk.update(|standing| standing.state = after);
        true
    }

    fn refused(&self) -> Acknowledgement {
        no(format!("not while {}: {}", self.state.word(), state::advice(self.state)))
    }

    fn note(&self, level: Level, source: &str, text: String) {
        self.desk.events.add(Notice::new(level, source, text));
    }
}

fn supervisor_caller() -> Caller {
    Caller { role: "supervisor", from: "daemon".into() }
}

fn yes(message: String) -> Acknowledgement {
    Acknowledgement { accepted: true, message, ..Acknowledgement::default() }
}

fn no(message: String) -> Acknowledgement {
    Acknowledgement { message, ..Acknowledgement::default() }
}
