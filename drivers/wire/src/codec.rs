//! Messages as bytes: what each kind's body holds. The layout is in `PROTOCOL.md`.

use crate::bytes::{Reader, Writer};
use crate::message::{Button, Cause, Command, CommandBody, Event, Refusal};
use crate::plan::Plan;

/// Something that travels in a frame.
pub trait Message: Copy + sealed::Sealed {
    /// First byte of the frame.
    #[doc(hidden)]
    fn kind(&self) -> u8;
    /// Writes the body.
    #[doc(hidden)]
    fn write(&self, to: &mut sealed::Body<'_>);
    /// Reads a body; `Err` with the damage.
    #[doc(hidden)]
    fn read(kind: u8, from: &mut sealed::Source<'_>) -> Result<Self, BodyDamage>;
}

/// What can be wrong with a body whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum BodyDamage {
    /// A kind this version does not know.
    Unknown,
    /// Too short, too long, or an impossible value.
    Malformed,
}

pub(crate) mod sealed {
    pub trait Sealed {}
    pub struct Body<'a>(pub(crate) super::Writer<'a>);
    pub struct Source<'a>(pub(crate) super::Reader<'a>);
    impl Sealed for super::Command {}
    impl Sealed for super::Event {}
}

mod kind {
    pub(super) const HELLO: u8 = 0x01;
    pub(super) const PING: u8 = 0x02;
    pub(super) const HEARTBEAT: u8 = 0x03;
    pub(super) const START_TRIGGERS: u8 = 0x04;
    pub(super) const STOP_TRIGGERS: u8 = 0x05;
    pub(super) const BURST: u8 = 0x06;
    pub(super) const PULSE: u8 = 0x07;
    pub(super) const ARM_OUTPUTS: u8 = 0x08;
    pub(super) const SAFE_STATE: u8 = 0x09;
    pub(super) const LAMP: u8 = 0x0A;
    pub(super) const BARCODE: u8 = 0x0B;
    pub(super) const ECHO: u8 = 0x0C;

    pub(super) const HELLO_BACK: u8 = 0x81;
    pub(super) const STARTED: u8 = 0x82;
    pub(super) const TRIGGER: u8 = 0x83;
    pub(super) const EXPOSURE: u8 = 0x84;
    pub(super) const INPUT: u8 = 0x85;
    pub(super) const BUTTON: u8 = 0x86;
    pub(super) const OUTPUT: u8 = 0x87;
    pub(super) const PONG: u8 = 0x88;
    pub(super) const ACK: u8 = 0x89;
    pub(super) const SAFETY: u8 = 0x8A;
    pub(super) const ECHO_BACK: u8 = 0x8B;
}

/// Stands for "at once" where a board time is expected.
const AT_ONCE: u64 = u64::MAX;

impl Message for Command {
    fn kind(&self) -> u8 {
        match self.body {
            CommandBody::Hello { .. } => kind::HELLO,
            CommandBody::Ping => kind::PING,
            CommandBody::Heartbeat => kind::HEARTBEAT,
            CommandBody::StartTriggers(_) => kind::START_TRIGGERS,
            CommandBody::StopTriggers => kind::STOP_TRIGGERS,
            CommandBody::Burst { .. } => kind::BURST,
            CommandBody::Pulse { .. } => kind::PULSE,
            CommandBody::ArmOutputs(_) => kind::ARM_OUTPUTS,
            CommandBody::SafeState => kind::SAFE_STATE,
            CommandBody::Lamp { .. } => kind::LAMP,
            CommandBody::Barcode { .. } => kind::BARCODE,
            CommandBody::Echo { .. } => kind::ECHO,
        }
    }

    fn write(&self, to: &mut sealed::Body<'_>) {
        let to = &mut to.0;
        to.u32(self.id);
        match self.body {
            CommandBody::Ping | CommandBody::Heartbeat | CommandBody::StopTriggers | CommandBody::SafeState => {}
            CommandBody::Hello { version, session } => {
                to.u16(version);
                to.u32(session);
            }
            CommandBody::StartTriggers(plan) => write_plan(plan, to),
            CommandBody::Burst { count, plan } => {
                to.u32(count);
                write_plan(plan, to);
            }
            CommandBody::Pulse { output, at_ns, width_ns } => {
                to.u8(output);
                to.u64(at_ns.unwrap_or(AT_ONCE));
                to.u32(width_ns);
            }
            CommandBody::ArmOutputs(armed) => to.bool(armed),
            CommandBody::Lamp { lamp, on } => {
                to.u8(lamp);
                to.bool(on);
            }
            CommandBody::Barcode { output, every_ns } => {
                to.u8(output);
                to.u64(every_ns);
            }
            CommandBody::Echo { at_ns } => to.u64(at_ns.unwrap_or(AT_ONCE)),
        }
    }

    fn read(kind: u8, from: &mut sealed::Source<'_>) -> Result<Self, BodyDamage> {
        if !(kind::HELLO..=kind::ECHO).contains(&kind) {
            return Err(BodyDamage::Unknown);
        }
        read_command(kind, &mut from.0).ok_or(BodyDamage::Malformed)
    }
}

fn read_command(kind: u8, from: &mut Reader<'_>) -> Option<Command> {
    let id = from.u32()?;
    let body = match kind {
        kind::HELLO => CommandBody::Hello { version: from.u16()?, session: from.u32()? },
        kind::PING => CommandBody::Ping,
        kind::HEARTBEAT => CommandBody::Heartbeat,
        kind::START_TRIGGERS => CommandBody::StartTriggers(read_plan(from)?),
        kind::STOP_TRIGGERS => CommandBody::StopTriggers,
        kind::BURST => CommandBody::Burst { count: from.u32()?, plan: read_plan(from)? },
        kind::PULSE => CommandBody::Pulse { output: from.u8()?, at_ns: read_instant(from)?, width_ns: from.u32()? },
        kind::ARM_OUTPUTS => CommandBody::ArmOutputs(from.bool()?),
        kind::SAFE_STATE => CommandBody::SafeState,
        kind::LAMP => CommandBody::Lamp { lamp: from.u8()?, on: from.bool()? },
        kind::BARCODE => CommandBody::Barcode { output: from.u8()?, every_ns: from.u64()? },
        _ => CommandBody::Echo { at_ns: read_instant(from)? },
    };
    Some(Command { id, body })
}

impl Message for Event {
    fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => kind::HELLO_BACK,
            Self::Started { .. } => kind::STARTED,
            Self::Trigger { .. } => kind::TRIGGER,
            Self::Exposure { .. } => kind::EXPOSURE,
            Self::Input { .. } => kind::INPUT,
            Self::Button(_) => kind::BUTTON,
            Self::Output { .. } => kind::OUTPUT,
            Self::Pong { .. } => kind::PONG,
            Self::Ack { .. } => kind::ACK,
            Self::Safety(_) => kind::SAFETY,
            Self::Echo { .. } => kind::ECHO_BACK,
        }
    }

    fn write(&self, to: &mut sealed::Body<'_>) {
        let to = &mut to.0;
        match *self {
            Self::Hello { version, firmware, serial, epoch, tick_ns, outputs, inputs } => {
                to.u16(version);
                to.u32(firmware);
                to.u64(serial);
                to.u32(epoch);
                to.u32(tick_ns);
                to.u8(outputs);
                to.u8(inputs);
            }
            Self::Started { epoch } => to.u32(epoch),
            Self::Trigger { index } => to.u64(index),
            Self::Exposure { camera: line, active: level } | Self::Input { line, level } => {
                to.u8(line);
                to.bool(level);
            }
            Self::Button(button) => to.u8(button as u8),
            Self::Output { output, level, cause } => {
                to.u8(output);
                to.bool(level);
                to.u32(cause);
            }
            Self::Pong { id } | Self::Echo { id } => to.u32(id),
            Self::Ack { id, refused } => {
                to.u32(id);
                to.u8(refused.map_or(0, |refusal| refusal as u8));
            }
            Self::Safety(cause) => to.u8(cause as u8),
        }
    }

    fn read(kind: u8, from: &mut sealed::Source<'_>) -> Result<Self, BodyDamage> {
        if !(kind::HELLO_BACK..=kind::ECHO_BACK).contains(&kind) {
            return Err(BodyDamage::Unknown);
        }
        read_event(kind, &mut from.0).ok_or(BodyDamage::Malformed)
    }
}

fn read_event(kind: u8, from: &mut Reader<'_>) -> Option<Event> {
    Some(match kind {
        kind::HELLO_BACK => Event::Hello {
            version: from.u16()?,
            firmware: from.u32()?,
            serial: from.u64()?,
            epoch: from.u32()?,
            tick_ns: from.u32()?,
            outputs: from.u8()?,
            inputs: from.u8()?,
        },
        kind::STARTED => Event::Started { epoch: from.u32()? },
        kind::TRIGGER => Event::Trigger { index: from.u64()? },
        kind::EXPOSURE => Event::Exposure { camera: from.u8()?, active: from.bool()? },
        kind::INPUT => Event::Input { line: from.u8()?, level: from.bool()? },
        kind::BUTTON => Event::Button(button(from.u8()?)?),
        kind::OUTPUT => Event::Output { output: from.u8()?, level: from.bool()?, cause: from.u32()? },
        kind::PONG => Event::Pong { id: from.u32()? },
        kind::ACK => {
            let (id, code) = (from.u32()?, from.u8()?);
            Event::Ack { id, refused: if code == 0 { None } else { Some(refusal(code)?) } }
        }
        kind::SAFETY => Event::Safety(cause(from.u8()?)?),
        _ => Event::Echo { id: from.u32()? },
    })
}

/// An instant of the board, or "at once" (`Some(None)`).
fn read_instant(from: &mut Reader<'_>) -> Option<Option<u64>> {
    Some(Some(from.u64()?).filter(|&at| at != AT_ONCE))
}

fn write_plan(plan: Plan, to: &mut Writer<'_>) {
    to.u32(plan.period_ns);
    to.u32(plan.width_ns);
    to.u32(plan.stretch_ns);
    to.u32(plan.stretch_every);
    to.u32(plan.code_seed);
}

fn read_plan(from: &mut Reader<'_>) -> Option<Plan> {
    Some(Plan {
        period_ns: from.u32()?,
        width_ns: from.u32()?,
        stretch_ns: from.u32()?,
        stretch_every: from.u32()?,
        code_seed: from.u32()?,
    })
}

fn button(code: u8) -> Option<Button> {
    const ALL: [Button; 5] = [Button::Arm, Button::Record, Button::Stop, Button::Mark, Button::EmergencyStop];
    ALL.get(usize::from(code)).copied()
}

fn cause(code: u8) -> Option<Cause> {
    const ALL: [Cause; 5] =
        [Cause::HostSilent, Cause::EmergencyStop, Cause::Interlock, Cause::LimitExceeded, Cause::Commanded];
    ALL.get(usize::from(code)).copied()
}

fn refusal(code: u8) -> Option<Refusal> {
    const ALL: [Refusal; 9] = [
        Refusal::BadValue,
        Refusal::NotArmed,
        Refusal::TooLate,
        Refusal::ScheduleFull,
        Refusal::OverLimit,
        Refusal::HeldSafe,
        Refusal::BadVersion,
        Refusal::AlreadyRunning,
        Refusal::Unsupported,
    ];
    ALL.get(usize::from(code).checked_sub(1)?).copied()
}
