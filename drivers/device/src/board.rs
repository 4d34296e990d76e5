//! What the sync board says and what it is told. The byte layout is in `mimicd-wire`.

use mimicd_wire::Refusal;

use crate::{BoardTime, CameraIndex, HostTime, Span};

/// An output line of the board (0-based).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputIndex(pub u8);

/// Identity of a command: echoed in its acknowledgement; a repeated identity is acknowledged again but not done again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u32);

/// The lab panel's buttons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ButtonKind {
    /// Make the rig ready.
    Arm,
    /// Start recording.
    Record,
    /// Stop recording.
    Stop,
    /// Put a mark into the event table.
    Mark,
    /// All outputs to the safe state, at once, on the board itself.
    EmergencyStop,
}

/// Why the board put its outputs into the safe state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SafetyCause {
    /// The host was silent longer than the watchdog allows.
    HostSilent,
    /// The emergency-stop button.
    EmergencyStop,
    /// The interlock input opened.
    Interlock,
    /// A command asked for more than the board's own limits allow; it was cut to the limit or refused.
    LimitExceeded,
    /// The host asked for it.
    Commanded,
}

/// The camera trigger train: a fixed period with rare stretched periods that carry identity.
///
/// Trigger `n` follows trigger `n - 1` by `period`, or by `period + stretch` where [`TriggerPlan::is_stretched`] says so.
/// The positions are a pure function of `code_seed`, so any stream that sees a few stretched periods knows its absolute
/// trigger index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerPlan {
    /// Time between triggers.
    pub period: Span,
    /// Width of the trigger pulse.
    pub width: Span,
    /// Extra time of a stretched period.
    pub stretch: Span,
    /// Mean triggers between stretched periods; 0 for none.
    pub stretch_every: u32,
    /// Seed of the stretch positions.
    pub code_seed: u32,
}

impl TriggerPlan {
    /// Whether the period that *ends* at trigger `index` is stretched (see `mimicd_wire::plan`).
    pub fn is_stretched(&self, index: u64) -> bool {
        mimicd_wire::plan::is_stretched(self.stretch_every, self.code_seed, index)
    }

    /// Time from trigger 0 to trigger `index`.
    pub fn offset(&self, index: u64) -> Span {
        let stretches = mimicd_wire::plan::stretches_to(self.stretch_every, self.code_seed, index);
        Span::from_nanos(self.period.nanos() * index as i64 + self.stretch.nanos() * stretches as i64)
    }
}

/// Something that the board saw or did, in board time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BoardEvent {
    /// The board (re)started; every earlier board time belongs to another epoch.
    Started {
        /// Counts restarts.
        epoch: u32,
        /// Now.
        at: BoardTime,
    },
    /// A camera trigger pulse began.
    Trigger {
        /// Index in the train, from 0 at each `StartTriggers`.
        index: u64,
        /// Rising edge.
        at: BoardTime,
    },
    /// A camera's exposure-active line changed.
    Exposure {
        /// Which camera.
        camera: CameraIndex,
        /// `true`: exposure began.
        active: bool,
        /// The edge.
        at: BoardTime,
    },
    /// A TTL input changed.
    Input {
        /// Which line (0-based).
        line: u8,
        /// New level.
        level: bool,
        /// The edge.
        at: BoardTime,
    },
    /// A button of the lab panel was pressed.
    Button {
        /// Which.
        button: ButtonKind,
        /// When.
        at: BoardTime,
    },
    /// An output changed level: what was really done, not what was asked.
    Output {
        /// Which output.
        output: OutputIndex,
        /// New level.
        level: bool,
        /// The command that caused it.
        cause: CommandId,
        /// The edge.
        at: BoardTime,
    },
    /// Answer to a ping.
    Pong {
        /// The ping's identity.
        id: CommandId,
        /// When the host sent the ping (kept by the driver).
        sent: HostTime,
        /// Board time when the board took the ping in.
        at: BoardTime,
    },
    /// A command was taken in or refused.
    Ack {
        /// The command.
        id: CommandId,
        /// Why it will not be done; `None` when it will.
        refused: Option<Refusal>,
        /// When.
        at: BoardTime,
    },
    /// Outputs went to the safe state.
    Safety {
        /// Why.
        cause: SafetyCause,
        /// When.
        at: BoardTime,
    },
    /// The instant that an [`BoardCommand::Echo`] asked for.
    Echo {
        /// The command.
        id: CommandId,
        /// That very instant.
        at: BoardTime,
    },
    /// A command was repeated and never answered: whether it was done is not known.
    Unanswered {
        /// The command.
        id: CommandId,
    },
    /// Messages were lost between board and host (from the sequence numbers).
    Lost {
        /// How many.
        messages: u32,
    },
}

/// What the board is told. Every command is idempotent under its [`CommandId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BoardCommand {
    /// Ask for the board's time.
    Ping,
    /// The host is alive; feeds the board's watchdog.
    Heartbeat,
    /// Start the camera trigger train at its trigger 0.
    StartTriggers(TriggerPlan),
    /// Stop the train after the current period.
    StopTriggers,
    /// Fire exactly `count` triggers of the plan's period, for the pre-flight check.
    Burst {
        /// How many.
        count: u32,
        /// Period and width (the code is not used).
        plan: TriggerPlan,
    },
    /// Raise an output at a board time (or at once) for `width`, within the board's own limits.
    Pulse {
        /// Which output.
        output: OutputIndex,
        /// When; `None` = now. A time already past is refused.
        at: Option<BoardTime>,
        /// How long.
        width: Span,
    },
    /// Outputs may be driven (`true`) or are held safe (`false`).
    ArmOutputs(bool),
    /// All outputs to the safe state now.
    SafeState,
    /// A lamp of the lab panel.
    Lamp {
        /// Which lamp, in the order of [`ButtonKind`].
        lamp: u8,
        /// On or off.
        on: bool,
    },
    /// Send barcodes on the board's barcode output for other equipment.
    Barcode {
        /// Which output.
        output: OutputIndex,
        /// Time between barcodes; zero stops them.
        every: Span,
    },
    /// Self-test of the latency: say [`BoardEvent::Echo`] at a board time.
    Echo {
        /// When; `None` = now.
        at: Option<BoardTime>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: TriggerPlan = TriggerPlan {
        period: Span::from_millis(20),
        width: Span::from_millis(1),
        stretch: Span::from_millis(2),
        stretch_every: 50,
        code_seed: 7,
    };

    #[test]
    fn offsets_are_the_sum_of_the_periods() {
        let mut at = Span::ZERO;
        for index in 1..2_000 {
            at = at + PLAN.period + if PLAN.is_stretched(index) { PLAN.stretch } else { Span::ZERO };
            assert_eq!(PLAN.offset(index), at, "trigger {index}");
        }
    }

    #[test]
    fn stretches_are_never_adjacent_and_come_once_a_block() {
        let stretched: Vec<u64> = (0..5_000).filter(|&i| PLAN.is_stretched(i)).collect();
        assert_eq!(stretched.len(), 100);
        assert!(stretched.windows(2).all(|pair| pair[1] - pair[0] >= 2));
        let gaps: std::collections::BTreeSet<u64> = stretched.windows(2).map(|p| p[1] - p[0]).collect();
        assert!(gaps.len() > 20, "the code must not repeat: {gaps:?}");
    }
}
