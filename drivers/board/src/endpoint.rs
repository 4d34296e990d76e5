//! The board at its end of the line: bytes in, bytes out, around the logic.
//!
//! Everything between a UART (or USB) and the pins that is not hardware, so that firmware, emulated firmware and the
//! host's own tests run the same code. The owner reads the clock, moves bytes, drives pins and reports inputs.

use mimicd_wire::{Arrival, Button, Command, CommandBody, Deframer, ENCODED_MAX, Event, Packet, Sequence, encode};

use crate::{Board, BoardConfig, Pin, Sink};

/// Bytes that may wait for the line. What does not fit is dropped as whole frames, and the host counts the loss.
pub const TRANSMIT_BYTES: usize = 4_096;

/// The lines that a board drives.
pub trait Pins {
    /// Drive `pin` now; `at_ns` is the board time at which it was due.
    fn drive(&mut self, at_ns: u64, pin: Pin, high: bool);
}

/// What went over the line, from the board's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Commands taken in.
    pub commands: u32,
    /// Frames that were damaged.
    pub damaged: u32,
    /// Commands that were repetitions on the line.
    pub repeated: u32,
    /// Events that found no room.
    pub dropped: u32,
}

/// A ring of bytes on their way out.
struct Transmit {
    bytes: [u8; TRANSMIT_BYTES],
    start: usize,
    len: usize,
}

impl Transmit {
    const fn room(&self) -> usize {
        TRANSMIT_BYTES - self.len
    }

    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.bytes[(self.start + self.len) % TRANSMIT_BYTES] = byte;
            self.len += 1;
        }
    }
}

/// A board with its line.
pub struct Endpoint {
    board: Board,
    outbox: Outbox,
    deframer: Deframer,
    incoming: Sequence,
    counts: LineCounts,
}

/// Where events become bytes.
struct Outbox {
    transmit: Transmit,
    sequence: u32,
    dropped: u32,
}

impl Outbox {
    fn say(&mut self, at_ns: u64, event: Event) {
        let mut line = [0; ENCODED_MAX];
        let len = encode(&Packet { sequence: self.sequence, time_ns: at_ns, message: event }, &mut line);
        self.sequence = self.sequence.wrapping_add(1);
        if len <= self.transmit.room() {
            self.transmit.push(&line[..len]);
        } else {
            self.dropped += 1;
        }
    }
}

/// The logic's sink: events to the line, pins to the hardware.
struct Both<'a, P>(&'a mut Outbox, &'a mut P);

impl<P: Pins> Sink for Both<'_, P> {
    fn event(&mut self, at_ns: u64, event: Event) {
        self.0.say(at_ns, event);
    }

    fn drive(&mut self, at_ns: u64, pin: Pin, high: bool) {
        self.1.drive(at_ns, pin, high);
    }
}

impl Endpoint {
    /// A board that has just started, with its first message ready.
    pub fn new(config: BoardConfig, epoch: u32) -> Self {
        let mut outbox =
            Outbox { transmit: Transmit { bytes: [0; TRANSMIT_BYTES], start: 0, len: 0 }, sequence: 0, dropped: 0 };
        outbox.say(0, Event::Started { epoch });
        Self {
            board: Board::new(config, epoch),
            outbox,
            deframer: Deframer::new(),
            incoming: Sequence::default(),
            counts: LineCounts::default(),
        }
    }

    /// The logic, to look at.
    pub const fn board(&self) -> &Board {
        &self.board
    }

    /// What went over the line.
    pub const fn counts(&self) -> LineCounts {
        LineCounts { dropped: self.outbox.dropped, ..self.counts }
    }

    /// One byte from the host, read at `now_ns`.
    pub fn receive(&mut self, now_ns: u64, byte: u8, pins: &mut impl Pins) {
        match self.deframer.push::<Command>(byte) {
            None => {}
            Some(Err(_)) => self.counts.damaged += 1,
            Some(Ok(packet)) => self.take(now_ns, packet, pins),
        }
    }

    fn take(&mut self, now_ns: u64, packet: Packet<Command>, pins: &mut impl Pins) {
        if matches!(packet.message.body, CommandBody::Hello { .. }) {
            self.incoming.reset();
        }
        if self.incoming.take(packet.sequence) == Arrival::Repeated {
            self.counts.repeated += 1;
            return;
        }
        self.counts.commands += 1;
        self.board.command(now_ns, packet.message, &mut Both(&mut self.outbox, pins));
    }

    /// When [`advance`](Self::advance) must be called at the latest.
    pub fn next_at_ns(&self) -> Option<u64> {
        self.board.next_at_ns()
    }

    /// Does everything that is due up to `now_ns`.
    pub fn advance(&mut self, now_ns: u64, pins: &mut impl Pins) {
        self.board.advance(now_ns, &mut Both(&mut self.outbox, pins));
    }

    /// A camera's exposure line changed.
    pub fn exposure(&mut self, at_ns: u64, camera: u8, active: bool, pins: &mut impl Pins) {
        self.board.exposure(at_ns, camera, active, &mut Both(&mut self.outbox, pins));
    }

    /// A TTL input changed.
    pub fn input(&mut self, at_ns: u64, line: u8, level: bool, pins: &mut impl Pins) {
        self.board.input(at_ns, line, level, &mut Both(&mut self.outbox, pins));
    }

    /// A button was pressed.
    pub fn button(&mut self, at_ns: u64, button: Button, pins: &mut impl Pins) {
        self.board.button(at_ns, button, &mut Both(&mut self.outbox, pins));
    }

    /// The interlock input changed.
    pub fn interlock(&mut self, at_ns: u64, open: bool, pins: &mut impl Pins) {
        self.board.interlock(at_ns, open, &mut Both(&mut self.outbox, pins));
    }

    /// Bytes that wait for the line; as many of them as lie in one piece.
    pub fn outgoing(&self) -> &[u8] {
        let Transmit { bytes, start, len } = &self.outbox.transmit;
        &bytes[*start..(start + len).min(TRANSMIT_BYTES)]
    }

    /// The line took `count` of the [`outgoing`](Self::outgoing) bytes.
    ///
    /// # Panics
    /// If there were not so many.
    pub fn sent(&mut self, count: usize) {
        let transmit = &mut self.outbox.transmit;
        assert!(count <= transmit.len, "the line took more than there was");
        transmit.start = (transmit.start + count) % TRANSMIT_BYTES;
        transmit.len -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoPins;

    impl Pins for NoPins {
        fn drive(&mut self, _at_ns: u64, _pin: Pin, _high: bool) {}
    }

    fn say(endpoint: &mut Endpoint, sequence: u32, id: u32, body: CommandBody) {
        let mut line = [0; ENCODED_MAX];
        let len = encode(&Packet { sequence, time_ns: 0, message: Command { id, body } }, &mut line);
        line[..len].iter().for_each(|&byte| endpoint.receive(0, byte, &mut NoPins));
    }

    fn hear(endpoint: &mut Endpoint) -> Vec<Packet<Event>> {
        let mut deframer = Deframer::new();
        let mut heard = Vec::new();
        while !endpoint.outgoing().is_empty() {
            let len = endpoint.outgoing().len().min(7);
            let bytes = endpoint.outgoing()[..len].to_vec();
            heard.extend(bytes.iter().filter_map(|&byte| deframer.push(byte)).map(|packet| packet.expect("whole")));
            endpoint.sent(len);
        }
        heard
    }

    #[test]
    fn a_full_line_loses_whole_messages_and_their_numbers() {
        let mut endpoint = Endpoint::new(BoardConfig::default(), 1);
        (0..1_000).for_each(|round| say(&mut endpoint, round, 1, CommandBody::Ping));
        let heard = hear(&mut endpoint);
        let dropped = endpoint.counts().dropped;
        assert!(dropped > 0 && heard.len() + dropped as usize == 1_001, "{} heard, {dropped} dropped", heard.len());
        say(&mut endpoint, 1_000, 1, CommandBody::Ping);
        let next = hear(&mut endpoint)[0].sequence;
        assert_eq!(next, 1_001, "the host sees how many are missing");
    }

    #[test]
    fn a_repetition_on_the_line_is_passed_over_until_the_next_hello() {
        let mut endpoint = Endpoint::new(BoardConfig::default(), 1);
        hear(&mut endpoint);
        say(&mut endpoint, 7, 1, CommandBody::Ping);
        say(&mut endpoint, 7, 1, CommandBody::Ping);
        assert_eq!(hear(&mut endpoint).len(), 1);
        say(&mut endpoint, 3, 2, CommandBody::Hello { version: 1, session: 9 });
        say(&mut endpoint, 4, 3, CommandBody::Ping);
        assert_eq!(hear(&mut endpoint).len(), 2);
        assert_eq!(endpoint.counts(), LineCounts { commands: 3, damaged: 0, repeated: 1, dropped: 0 });
    }
}
