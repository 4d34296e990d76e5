//! The board's refusals in words, and its buttons as commands.

use mimicd_device::{ButtonKind, Refusal};

use super::{Command, StartRequest};

/// Why the board refused, for an operator.
pub const fn refusal_text(why: Refusal) -> &'static str {
    match why {
        Refusal::BadValue => "there is no such output, lamp or value",
        Refusal::NotArmed => "outputs are not armed",
        Refusal::TooLate => "its time was past when it arrived",
        Refusal::ScheduleFull => "its schedule is full",
        Refusal::OverLimit => "more than the output's limits allow",
        Refusal::HeldSafe => "the interlock is open or the emergency stop is latched",
        Refusal::BadVersion => "it speaks another version of the protocol",
        Refusal::AlreadyRunning => "a trigger train is running already",
        Refusal::Unsupported => "its firmware cannot do that",
    }
}

/// What a recording started by a button is called: nobody has typed a name.
fn unnamed() -> StartRequest {
    StartRequest {
        subject: "unnamed".to_owned(),
        experiment: "started by the panel's button".to_owned(),
        ..StartRequest::default()
    }
}

/// What a button asks for.
pub fn command_of(button: ButtonKind) -> Option<Command> {
    match button {
        ButtonKind::Arm => Some(Command::Arm),
        ButtonKind::Record => Some(Command::Start(unnamed())),
        ButtonKind::Stop => Some(Command::Stop),
        ButtonKind::Mark => Some(Command::Mark { text: "button".to_owned() }),
        ButtonKind::EmergencyStop => Some(Command::SafeOutputs),
    }
}
