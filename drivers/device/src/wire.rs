//! The board's vocabulary in the words of its protocol, and back. Every driver of a board uses these.

use mimicd_wire::{Button, Cause, CommandBody, Event, Plan};

use crate::{
    BoardCommand, BoardEvent, BoardTime, ButtonKind, CameraIndex, CommandId, HostTime, OutputIndex, SafetyCause, Span,
    TriggerPlan,
};

/// `command` as the board takes it; `None` if a length does not fit its field (the board would have to guess).
pub fn command_to_wire(command: BoardCommand) -> Option<CommandBody> {
    Some(match command {
        BoardCommand::Ping => CommandBody::Ping,
        BoardCommand::Heartbeat => CommandBody::Heartbeat,
        BoardCommand::StartTriggers(plan) => CommandBody::StartTriggers(plan_to_wire(plan)?),
        BoardCommand::StopTriggers => CommandBody::StopTriggers,
        BoardCommand::Burst { count, plan } => CommandBody::Burst { count, plan: plan_to_wire(plan)? },
        BoardCommand::Pulse { output, at, width } => {
            CommandBody::Pulse { output: output.0, at_ns: instant(at)?, width_ns: nanos_u32(width)? }
        }
        BoardCommand::ArmOutputs(armed) => CommandBody::ArmOutputs(armed),
        BoardCommand::SafeState => CommandBody::SafeState,
        BoardCommand::Lamp { lamp, on } => CommandBody::Lamp { lamp, on },
        BoardCommand::Echo { at } => CommandBody::Echo { at_ns: instant(at)? },
        BoardCommand::Barcode { output, every } => {
            CommandBody::Barcode { output: output.0, every_ns: u64::try_from(every.nanos()).ok()? }
        }
    })
}

/// `plan` as the board takes it; `None` if a length does not fit its field.
pub fn plan_to_wire(plan: TriggerPlan) -> Option<Plan> {
    Some(Plan {
        period_ns: nanos_u32(plan.period)?,
        width_ns: nanos_u32(plan.width)?,
        stretch_ns: nanos_u32(plan.stretch)?,
        stretch_every: plan.stretch_every,
        code_seed: plan.code_seed,
    })
}

/// An instant as the board counts it, or "at once" (`Some(None)`); the board knows no time before its start.
fn instant(at: Option<BoardTime>) -> Option<Option<u64>> {
    at.map(|at| u64::try_from(at.nanos())).transpose().ok()
}

fn nanos_u32(span: Span) -> Option<u32> {
    u32::try_from(span.nanos()).ok()
}

/// `event`, which happened at board time `at_ns`. `sent` gives the host time at which a ping was sent.
///
/// `None` for what is between driver and board only: the handshake, and the answer to a ping that was never sent.
pub fn event_from_wire(
    at_ns: u64,
    event: Event,
    sent: impl FnOnce(CommandId) -> Option<HostTime>,
) -> Option<BoardEvent> {
    let at = BoardTime::from_nanos(at_ns as i64);
    Some(match event {
        Event::Started { epoch } => BoardEvent::Started { epoch, at },
        Event::Trigger { index } => BoardEvent::Trigger { index, at },
        Event::Exposure { camera, active } => BoardEvent::Exposure { camera: CameraIndex(camera), active, at },
        Event::Input { line, level } => BoardEvent::Input { line, level, at },
        Event::Button(button) => BoardEvent::Button { button: button_from_wire(button), at },
        Event::Output { output, level, cause } => {
            BoardEvent::Output { output: OutputIndex(output), level, cause: CommandId(cause), at }
        }
        Event::Pong { id } => BoardEvent::Pong { id: CommandId(id), sent: sent(CommandId(id))?, at },
        Event::Ack { id, refused } => BoardEvent::Ack { id: CommandId(id), refused, at },
        Event::Echo { id } => BoardEvent::Echo { id: CommandId(id), at },
        Event::Safety(cause) => BoardEvent::Safety { cause: cause_from_wire(cause), at },
        _ => return None,
    })
}

const fn button_from_wire(button: Button) -> ButtonKind {
    match button {
        Button::Arm => ButtonKind::Arm,
        Button::Record => ButtonKind::Record,
        Button::Stop => ButtonKind::Stop,
        Button::Mark => ButtonKind::Mark,
        Button::EmergencyStop => ButtonKind::EmergencyStop,
    }
}

const fn cause_from_wire(cause: Cause) -> SafetyCause {
    match cause {
        Cause::HostSilent => SafetyCause::HostSilent,
        Cause::EmergencyStop => SafetyCause::EmergencyStop,
        Cause::Interlock => SafetyCause::Interlock,
        Cause::LimitExceeded => SafetyCause::LimitExceeded,
        Cause::Commanded => SafetyCause::Commanded,
    }
}
