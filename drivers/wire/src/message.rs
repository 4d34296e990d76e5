//! What host and board say to each other.

use crate::Plan;

/// What the host tells the board. A repeated `id` is acknowledged again but not done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Identity; the acknowledgement echoes it. 0 is never used.
    pub id: u32,
    /// What to do.
    pub body: CommandBody,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandBody {
    /// First message after opening; answered by [`Event::Hello`]. A new session ends what an earlier one left running.
    Hello {
        /// Protocol version the host speaks.
        version: u16,
        /// Drawn anew by each process of the host; the same after a link was lost and found again.
        session: u32,
    },
    /// Ask for the board's time; answered by [`Event::Pong`].
    Ping,
    /// The host is alive.
    Heartbeat,
    /// Start the camera trigger train at its trigger 0.
    StartTriggers(Plan),
    /// Stop the train after the current period.
    StopTriggers,
    /// Fire exactly `count` triggers without the code.
    Burst {
        /// How many.
        count: u32,
        /// Period and width.
        plan: Plan,
    },
    /// Raise an output.
    Pulse {
        /// Which (0-based).
        output: u8,
        /// When; `None` = on receipt.
        at_ns: Option<u64>,
        /// For how long.
        width_ns: u32,
    },
    /// Outputs may be driven, or are held low.
    ArmOutputs(bool),
    /// All outputs to the safe state now.
    SafeState,
    /// A lamp of the lab panel.
    Lamp {
        /// Which, in the order of [`Button`].
        lamp: u8,
        /// On or off.
        on: bool,
    },
    /// Send a 32-bit barcode on an output again and again (16-pulse self-clocking code; 0 stops it).
    Barcode {
        /// Which output.
        output: u8,
        /// Time between barcodes; 0 = stop.
        every_ns: u64,
    },
    /// Self-test of the latency: say [`Event::Echo`] at a board time. Needs no wire and no armed outputs.
    Echo {
        /// When; `None` = on receipt.
        at_ns: Option<u64>,
    },
}

/// The lab panel's buttons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Button {
    /// Make the rig ready; also releases a latched emergency stop.
    Arm = 0,
    /// Start recording.
    Record = 1,
    /// Stop recording.
    Stop = 2,
    /// Put a mark.
    Mark = 3,
    /// Everything to the safe state; latches.
    EmergencyStop = 4,
}

/// Why outputs went safe, or a pulse was withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// The host was silent longer than the watchdog allows.
    HostSilent = 0,
    /// The emergency-stop button.
    EmergencyStop = 1,
    /// The interlock input opened.
    Interlock = 2,
    /// A pulse was withheld because it would exceed the board's limits.
    LimitExceeded = 3,
    /// The host asked for it.
    Commanded = 4,
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// No such output, lamp or value.
    BadValue = 1,
    /// Outputs are not armed.
    NotArmed = 2,
    /// The time asked for is past.
    TooLate = 3,
    /// The board's schedule is full.
    ScheduleFull = 4,
    /// More than the board's limits allow.
    OverLimit = 5,
    /// The interlock is open or an emergency stop is latched.
    HeldSafe = 6,
    /// The board does not speak this version.
    BadVersion = 7,
    /// A trigger train is already running.
    AlreadyRunning = 8,
    /// This build of the board cannot do it.
    Unsupported = 9,
}

/// What the board says. Every event travels with the board time it happened at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Answer to [`CommandBody::Hello`].
    Hello {
        /// Protocol version the board speaks.
        version: u16,
        /// Firmware version, major.minor.patch in its bytes.
        firmware: u32,
        /// The board's serial number.
        serial: u64,
        /// Counts restarts; equal to the one in [`Event::Started`].
        epoch: u32,
        /// Nanoseconds of one count of its timebase.
        tick_ns: u32,
        /// Number of outputs.
        outputs: u8,
        /// Number of TTL inputs.
        inputs: u8,
    },
    /// The board (re)started.
    Started {
        /// Counts restarts.
        epoch: u32,
    },
    /// A camera trigger pulse began.
    Trigger {
        /// Index in the train.
        index: u64,
    },
    /// A camera's exposure line changed.
    Exposure {
        /// Which camera (0-based).
        camera: u8,
        /// New level.
        active: bool,
    },
    /// A TTL input changed.
    Input {
        /// Which line (0-based).
        line: u8,
        /// New level.
        level: bool,
    },
    /// A button was pressed.
    Button(Button),
    /// An output changed level.
    Output {
        /// Which (0-based).
        output: u8,
        /// New level.
        level: bool,
        /// The command that caused it; 0 when the board did it by itself.
        cause: u32,
    },
    /// Answer to a ping.
    Pong {
        /// The ping's identity.
        id: u32,
    },
    /// A command was taken or refused.
    Ack {
        /// The command.
        id: u32,
        /// `None` when it will be done.
        refused: Option<Refusal>,
    },
    /// Outputs went to the safe state, or a pulse was withheld ([`Cause::LimitExceeded`]).
    Safety(Cause),
    /// The instant that a [`CommandBody::Echo`] asked for.
    Echo {
        /// The command.
        id: u32,
    },
}
