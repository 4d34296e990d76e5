//! The board's whole behaviour.
//!
//! ```text
//!            ArmOutputs(true)                 Pulse: scheduled, limited
//!   SAFE ────────────────────────► ARMED ───────────────────────────────►
//!    ▲  refused while the             │
//!    │  interlock is open or the      │ SafeState, ArmOutputs(false), host silent,
//!    └──emergency stop is latched ◄───┘ interlock opens, emergency stop
//! ```
//! The emergency stop stays latched until the panel's arm button is pressed: no host message can undo it.

use mimicd_wire::{Button, Cause, Command, CommandBody, Event, Plan, Refusal};

use crate::outputs::{Due, Outputs, Pulse};
use crate::recent::Recent;
use crate::{Barcode, Limits, OUTPUTS, Train};

/// Version of the protocol this logic speaks.
pub const PROTOCOL_VERSION: u16 = 1;
/// Time from taking `StartTriggers` or `Burst` to trigger 0.
pub const START_LEAD_NS: u64 = 10_000_000;
/// The output that drives an indicator light, not a stimulus: its limits are wider.
pub const INDICATOR_OUTPUT: usize = 6;
/// Lamps of the lab panel.
const LAMPS: u8 = 5;

/// What a board is made of.
#[derive(Clone, Debug)]
pub struct BoardConfig {
    /// Serial number.
    pub serial: u64,
    /// Firmware version, major.minor.patch in its bytes.
    pub firmware: u32,
    /// Nanoseconds of one count of the timebase.
    pub tick_ns: u32,
    /// TTL inputs.
    pub inputs: u8,
    /// Limits of each output.
    pub limits: [Limits; OUTPUTS],
    /// The output that may carry barcodes; it takes no pulses, and the limits do not apply to it.
    pub barcode_output: Option<u8>,
    /// Longest silence of the host while outputs are armed.
    pub watchdog_ns: u64,
}

impl Default for BoardConfig {
    fn default() -> Self {
        let mut limits = [Limits::DEFAULT; OUTPUTS];
        limits[INDICATOR_OUTPUT] = Limits::INDICATOR;
        Self {
            serial: 0,
            firmware: 0x00_01_00,
            tick_ns: 1_000,
            inputs: 8,
            limits,
            barcode_output: Some(OUTPUTS as u8 - 1),
            watchdog_ns: 500_000_000,
        }
    }
}

/// A line the board drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The camera trigger line.
    Trigger,
    /// An output.
    Output(u8),
    /// A lamp of the lab panel.
    Lamp(u8),
}

/// What the logic tells its owner to do; calls come in the order of their times.
pub trait Sink {
    /// Send `event`, which happened at `at_ns`, to the host.
    fn event(&mut self, at_ns: u64, event: Event);
    /// Drive `pin`.
    fn drive(&mut self, at_ns: u64, pin: Pin, high: bool);
}

/// The board.
#[derive(Clone, Debug)]
pub struct Board {
    config: BoardConfig,
    epoch: u32,
    now_ns: u64,
    heard_ns: u64,
    armed: bool,
    stop_latched: bool,
    interlock_open: bool,
    train: Option<Train>,
    trigger_falls_ns: Option<u64>,
    outputs: Outputs,
    barcode: Option<Barcode>,
    /// The command that asked for barcodes.
    barcode_cause: u32,
    echo: Option<Echo>,
    session: Option<u32>,
    recent: Recent,
}

/// A self-test instant that is still to come.
#[derive(Clone, Copy, Debug)]
struct Echo {
    at_ns: u64,
    id: u32,
}

impl Board {
    /// A board that has just started at board time 0, for the `epoch`th time.
    ///
    /// # Panics
    /// If a limit of `config` allows no pulse of its own longest width.
    pub fn new(config: BoardConfig, epoch: u32) -> Self {
        assert!(config.limits.iter().all(Limits::is_sound), "a longest pulse must fit into its duty");
        let outputs = Outputs::new(config.limits);
        Self {
            config,
            epoch,
            now_ns: 0,
            heard_ns: 0,
            armed: false,
            stop_latched: false,
            interlock_open: false,
            train: None,
            trigger_falls_ns: None,
            outputs,
            barcode: None,
            barcode_cause: 0,
            echo: None,
            session: None,
            recent: Recent::new(),
        }
    }

    /// Says that the board has started; the first message of an epoch.
    pub fn announce(&self, sink: &mut impl Sink) {
        sink.event(self.now_ns, Event::Started { epoch: self.epoch });
    }

    /// The running trigger train.
    pub fn train(&self) -> Option<&Train> {
        self.train.as_ref()
    }

    /// Whether outputs may be driven.
    pub fn is_armed(&self) -> bool {
        self.armed
    }

    /// When [`advance`](Self::advance) must be called at the latest.
    pub fn next_at_ns(&self) -> Option<u64> {
        let watchdog = self.armed.then(|| self.heard_ns + self.config.watchdog_ns);
        let train = self.train.and_then(|train| train.next_at_ns());
        let barcode = self.barcode.map(|barcode| barcode.next_at_ns());
        let echo = self.echo.map(|echo| echo.at_ns);
        [watchdog, self.trigger_falls_ns, train, barcode, echo, self.outputs.next_at_ns()].into_iter().flatten().min()
    }

    /// Does everything that is due up to `now_ns`, each at its own time.
    pub fn advance(&mut self, now_ns: u64, sink: &mut impl Sink) {
        while let Some(at_ns) = self.next_at_ns().filter(|&at| at <= now_ns) {
            self.now_ns = self.now_ns.max(at_ns);
            self.step(sink);
        }
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// Takes a command in at `now_ns`.
    pub fn command(&mut self, now_ns: u64, command: Command, sink: &mut impl Sink) {
        self.advance(now_ns, sink);
        self.heard_ns = self.now_ns;
        match command.body {
            CommandBody::Heartbeat => return,
            CommandBody::Ping => return sink.event(self.now_ns, Event::Pong { id: command.id }),
            CommandBody::Hello { version: PROTOCOL_VERSION, session } => return self.hello(session, sink),
            _ => {}
        }
        let refused = self.recent.find(command.id).unwrap_or_else(|| {
            let refused = self.execute(command, sink).err();
            self.recent.remember(command.id, refused);
            refused
        });
        sink.event(self.now_ns, Event::Ack { id: command.id, refused });
    }

    /// A camera's exposure line changed.
    pub fn exposure(&mut self, at_ns: u64, camera: u8, active: bool, sink: &mut impl Sink) {
        self.advance(at_ns, sink);
        sink.event(at_ns, Event::Exposure { camera, active });
    }

    /// A TTL input changed.
    pub fn input(&mut self, at_ns: u64, line: u8, level: bool, sink: &mut impl Sink) {
        self.advance(at_ns, sink);
        sink.event(at_ns, Event::Input { line, level });
    }

    /// A button was pressed.
    pub fn button(&mut self, at_ns: u64, button: Button, sink: &mut impl Sink) {
        self.advance(at_ns, sink);
        match button {
            Button::EmergencyStop => {
                self.stop_latched = true;
                self.make_safe(Cause::EmergencyStop, sink);
            }
            Button::Arm => self.stop_latched = false,
            Button::Record | Button::Stop | Button::Mark => {}
        }
        sink.event(at_ns, Event::Button(button));
    }

    /// The interlock input changed.
    pub fn interlock(&mut self, at_ns: u64, open: bool, sink: &mut impl Sink) {
        self.advance(at_ns, sink);
        self.interlock_open = open;
        if open {
            self.make_safe(Cause::Interlock, sink);
        }
    }

    fn step(&mut self, sink: &mut impl Sink) {
        let now_ns = self.now_ns;
        if self.armed && self.heard_ns + self.config.watchdog_ns <= now_ns {
            return self.make_safe(Cause::HostSilent, sink);
        }
        if self.trigger_falls_ns.is_some_and(|at| at <= now_ns) {
            self.trigger_falls_ns = None;
            return sink.drive(now_ns, Pin::Trigger, false);
        }
        if self.train.and_then(|train| train.next_at_ns()).is_some_and(|at| at <= now_ns) {
            return self.trigger(sink);
        }
        if let Some(echo) = self.echo.take_if(|echo| echo.at_ns <= now_ns) {
            return sink.event(now_ns, Event::Echo { id: echo.id });
        }
        match self.outputs.take_due(now_ns) {
            Some(Due::Fall { output, cause }) => self.drive_output(output, false, cause, sink),
            Some(Due::Rise(pulse)) => {
                if self.raise(pulse, sink).is_err() {
                    sink.event(now_ns, Event::Safety(Cause::LimitExceeded));
                }
            }
            None => self.step_barcode(sink),
        }
    }

    fn trigger(&mut self, sink: &mut impl Sink) {
        let Some(train) = &mut self.train else { return };
        sink.drive(self.now_ns, Pin::Trigger, true);
        sink.event(self.now_ns, Event::Trigger { index: train.next });
        self.trigger_falls_ns = Some(self.now_ns + u64::from(train.plan.width_ns));
        train.step();
        if train.next_at_ns().is_none() {
            self.train = None;
        }
    }

    fn step_barcode(&mut self, sink: &mut impl Sink) {
        if let (Some(barcode), Some(output)) = (&mut self.barcode, self.config.barcode_output)
            && barcode.next_at_ns() <= self.now_ns
        {
            let ends = barcode.ends();
            let high = barcode.step();
            // The line is low already where a barcode ends.
            if !ends {
                self.drive_output(output, high, self.barcode_cause, sink);
            }
        }
    }

    fn execute(&mut self, command: Command, sink: &mut impl Sink) -> Result<(), Refusal> {
        match command.body {
            CommandBody::StartTriggers(plan) => self.start_train(plan, None),
            CommandBody::Burst { count: 0, .. } => Err(Refusal::BadValue),
            CommandBody::Burst { count, plan } => {
                self.start_train(Plan { stretch_every: 0, ..plan }, Some(u64::from(count)))
            }
            CommandBody::StopTriggers => {
                self.train = None;
                Ok(())
            }
            CommandBody::Pulse { output, at_ns, width_ns } => {
                let at_or_now = at_ns.unwrap_or(self.now_ns);
                let pulse = Pulse { at_ns: at_or_now, width_ns, output, cause: command.id };
                self.pulse(pulse, at_ns.is_none(), sink)
            }
            CommandBody::ArmOutputs(true) if self.stop_latched || self.interlock_open => Err(Refusal::HeldSafe),
            CommandBody::ArmOutputs(true) => {
                self.armed = true;
                Ok(())
            }
            CommandBody::ArmOutputs(false) | CommandBody::SafeState => {
                self.make_safe(Cause::Commanded, sink);
                Ok(())
            }
            CommandBody::Lamp { lamp, .. } if lamp >= LAMPS => Err(Refusal::BadValue),
            CommandBody::Lamp { lamp, on } => {
                sink.drive(self.now_ns, Pin::Lamp(lamp), on);
                Ok(())
            }
            CommandBody::Barcode { output, every_ns } => self.start_barcode(output, every_ns, command.id, sink),
            CommandBody::Echo { at_ns } => self.plan_echo(command.id, at_ns.unwrap_or(self.now_ns)),
            CommandBody::Hello { .. } => Err(Refusal::BadVersion),
            _ => Err(Refusal::Unsupported),
        }
    }

    fn hello(&mut self, session: u32, sink: &mut impl Sink) {
        if self.session.replace(session) != Some(session) {
            self.begin_session(sink);
        }
        let config = &self.config;
        sink.event(
            self.now_ns,
            Event::Hello {
                version: PROTOCOL_VERSION,
                firmware: config.firmware,
                serial: config.serial,
                epoch: self.epoch,
                tick_ns: config.tick_ns,
                outputs: OUTPUTS as u8,
                inputs: config.inputs,
            },
        );
    }

    /// Another host: what an earlier one left running ends.
    fn begin_session(&mut self, sink: &mut impl Sink) {
        self.recent = Recent::new();
        (self.train, self.barcode, self.echo) = (None, None, None);
        if self.armed {
            self.make_safe(Cause::Commanded, sink);
        }
    }

    fn plan_echo(&mut self, id: u32, at_ns: u64) -> Result<(), Refusal> {
        if at_ns < self.now_ns {
            return Err(Refusal::TooLate);
        }
        if self.echo.is_some() {
            return Err(Refusal::ScheduleFull);
        }
        self.echo = Some(Echo { at_ns, id });
        Ok(())
    }

    fn start_train(&mut self, plan: Plan, end: Option<u64>) -> Result<(), Refusal> {
        if !plan.is_sound() {
            return Err(Refusal::BadValue);
        }
        if self.train.is_some() {
            return Err(Refusal::AlreadyRunning);
        }
        self.train = Some(Train::new(plan, self.now_ns + START_LEAD_NS, end));
        Ok(())
    }

    fn pulse(&mut self, pulse: Pulse, at_once: bool, sink: &mut impl Sink) -> Result<(), Refusal> {
        if self.stop_latched || self.interlock_open {
            return Err(Refusal::HeldSafe);
        }
        if !self.armed {
            return Err(Refusal::NotArmed);
        }
        if self.config.barcode_output == Some(pulse.output) {
            return Err(Refusal::BadValue);
        }
        self.outputs.check(pulse.output, pulse.width_ns)?;
        if at_once {
            return self.raise(pulse, sink);
        }
        if pulse.at_ns < self.now_ns {
            return Err(Refusal::TooLate);
        }
        self.outputs.schedule(pulse)
    }

    fn raise(&mut self, pulse: Pulse, sink: &mut impl Sink) -> Result<(), Refusal> {
        self.outputs.raise(self.now_ns, pulse)?;
        self.drive_output(pulse.output, true, pulse.cause, sink);
        Ok(())
    }

    fn drive_output(&self, output: u8, level: bool, cause: u32, sink: &mut impl Sink) {
        sink.drive(self.now_ns, Pin::Output(output), level);
        sink.event(self.now_ns, Event::Output { output, level, cause });
    }

    fn start_barcode(&mut self, output: u8, every_ns: u64, cause: u32, sink: &mut impl Sink) -> Result<(), Refusal> {
        if self.config.barcode_output != Some(output) || (1..Barcode::EVERY_NS_MIN).contains(&every_ns) {
            return Err(Refusal::BadValue);
        }
        sink.drive(self.now_ns, Pin::Output(output), false);
        self.barcode = (every_ns > 0).then(|| Barcode::new(self.now_ns, every_ns));
        self.barcode_cause = cause;
        Ok(())
    }

    fn make_safe(&mut self, cause: Cause, sink: &mut impl Sink) {
        self.armed = false;
        while let Some(Due::Fall { output, cause }) = self.outputs.make_safe() {
            self.drive_output(output, false, cause, sink);
        }
        sink.event(self.now_ns, Event::Safety(cause));
    }
}
