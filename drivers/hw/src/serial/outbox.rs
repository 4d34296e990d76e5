//! Frames on their way out, and commands that wait for their acknowledgement. Bounded; nothing allocates.

use std::collections::VecDeque;

use mimicd_device::{CommandId, HostTime, Span};
use mimicd_wire::{Command, CommandBody, ENCODED_MAX, Packet, encode};

/// Bytes that may wait: half a second of a UART at 115,200 baud.
const BYTES: usize = 4_096;
/// Commands that may wait for their acknowledgement.
const WAITING: usize = 64;
/// An acknowledgement that takes longer is asked for again.
const PATIENCE: Span = Span::from_millis(100);
/// How often a command is sent at most.
const SENDS: u8 = 6;

/// A command without an answer yet.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    command: Command,
    sent: HostTime,
    sends: u8,
}

/// What is to be done about a command that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It was sent again.
    SentAgain,
    /// It was given up.
    GivenUp(CommandId),
}

/// Frames and commands under way.
pub(super) struct Outbox {
    bytes: VecDeque<u8>,
    waiting: Vec<Waiting>,
    sequence: u32,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { bytes: VecDeque::with_capacity(BYTES), waiting: Vec::with_capacity(WAITING), sequence: 0 }
    }

    /// Puts `command` on its way; `false` if there is no room for it, and then nothing has happened.
    pub(super) fn post(&mut self, now: HostTime, board_ns: u64, command: Command) -> bool {
        let answered = !matches!(command.body, CommandBody::Ping | CommandBody::Heartbeat | CommandBody::Hello { .. });
        if (answered && self.waiting.len() == WAITING) || !self.frame(board_ns, command) {
            return false;
        }
        if answered {
            self.waiting.push(Waiting { command, sent: now, sends: 1 });
        }
        true
    }

    fn frame(&mut self, board_ns: u64, command: Command) -> bool {
        if self.bytes.len() + ENCODED_MAX > BYTES {
            return false;
        }
        let mut line = [0; ENCODED_MAX];
        let len = encode(&Packet { sequence: self.sequence, time_ns: board_ns, message: command }, &mut line);
        self.sequence = self.sequence.wrapping_add(1);
        self.bytes.extend(&line[..len]);
        true
    }

    /// The board has answered `id`.
    pub(super) fn settle(&mut self, id: u32) {
        self.waiting.retain(|waiting| waiting.command.id != id);
    }

    /// Looks after one command that is overdue at `now`, if there is one. `gone`: board times before it are past.
    pub(super) fn overdue(&mut self, now: HostTime, board_ns: u64) -> Option<Overdue> {
        let place = self.waiting.iter().position(|waiting| now - waiting.sent > PATIENCE)?;
        let waiting = self.waiting[place];
        if waiting.sends < SENDS && may_repeat(waiting.command.body, board_ns) {
            // Without room it is tried again at the next pass.
            if !self.frame(board_ns, waiting.command) {
                return None;
            }
            self.waiting[place] = Waiting { sent: now, sends: waiting.sends + 1, ..waiting };
            return Some(Overdue::SentAgain);
        }
        self.waiting.swap_remove(place);
        Some(Overdue::GivenUp(CommandId(waiting.command.id)))
    }

    /// When a command becomes overdue next.
    pub(super) fn overdue_at(&self) -> Option<HostTime> {
        self.waiting.iter().map(|waiting| waiting.sent + PATIENCE + Span::from_nanos(1)).min()
    }

    /// Whether bytes wait.
    pub(super) fn has_bytes(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The bytes that wait, as many as lie in one piece.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// The line took `count` bytes.
    pub(super) fn sent(&mut self, count: usize) {
        self.bytes.drain(..count);
    }

    /// Forgets everything: the line is gone. Gives the commands that will never be answered.
    pub(super) fn forget(&mut self) -> impl Iterator<Item = CommandId> + '_ {
        self.bytes.clear();
        self.waiting.drain(..).map(|waiting| CommandId(waiting.command.id))
    }
}

/// Whether doing it late is as good as doing it now.
fn may_repeat(body: CommandBody, board_ns: u64) -> bool {
    match body {
        CommandBody::Pulse { at_ns, .. } | CommandBody::Echo { at_ns } => at_ns.is_some_and(|at| at > board_ns),
        _ => true,
    }
}
