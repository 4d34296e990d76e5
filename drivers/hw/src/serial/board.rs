//! The driver: handshake, commands, events.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mimicd_device::{
    BoardCommand, BoardEvent, BoardTime, CommandId, DeviceError, DeviceErrorKind, HostTime, Span, SyncBoard, Wake, wire,
};
use mimicd_wire::{Arrival, Command, CommandBody, Damage, Deframer, Event, Packet, Sequence};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::LinkStats;
use super::find::{self, Device, UsbId};
use super::line::Line;
use super::outbox::{Outbox, Overdue};
use crate::bell::Bell;
use crate::host_now;

/// The protocol this driver speaks.
const VERSION: u16 = 1;
/// A greeting is repeated so often until it is answered.
const GREET_AGAIN: Span = Span::from_millis(200);
/// How long the board may take to answer the greeting.
const GREETING_MAX: Span = Span::from_millis(2_000);
/// How long the board may say nothing while pings wait for an answer.
const SILENCE_MAX: Span = Span::from_millis(2_000);
/// Pings whose answers are waited for.
const PINGS: usize = 64;
/// Bytes read at once: twenty messages and more.
const READ_BYTES: usize = 1_024;
/// Events that one poll may bring besides the one it returns: at most a loss and a commands' worth of farewells.
const EVENTS: usize = 128;

/// Which board, and how to talk to it.
#[derive(Clone, Debug)]
pub struct SerialOptions {
    /// Where it is.
    pub device: Device,
    /// Its USB id.
    pub usb_id: UsbId,
    /// Bits a second; means something on a UART only.
    pub baud: u32,
}

impl Default for SerialOptions {
    fn default() -> Self {
        Self { device: Device::Only, usb_id: UsbId::SYNC_BOARD, baud: 1_000_000 }
    }
}

/// How far the talk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    Closed,
    Greeting { since: HostTime, next: HostTime },
    Talking,
}

/// Who answered the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer {
    serial: u64,
    epoch: u32,
}

/// Bytes read and not yet understood.
struct Inbox {
    bytes: [u8; READ_BYTES],
    next: usize,
    end: usize,
    arrival: HostTime,
    deframer: Deframer,
}

impl Inbox {
    fn new() -> Self {
        Self { bytes: [0; READ_BYTES], next: 0, end: 0, arrival: HostTime::ZERO, deframer: Deframer::new() }
    }

    fn is_empty(&self) -> bool {
        self.next == self.end
    }

    fn pop(&mut self) -> Option<u8> {
        let byte = *self.bytes[..self.end].get(self.next)?;
        self.next += 1;
        Some(byte)
    }
}

/// A sync board on a serial line.
pub struct SerialBoard {
    options: SerialOptions,
    session: u32,
    identity: String,
    /// USB serial number of the board that was found, so that after a replug the same one is looked for.
    usb_serial: Option<String>,
    line: Option<Line>,
    place: String,
    talk: Talk,
    peer: Option<Peer>,
    inbox: Inbox,
    outbox: Outbox,
    sequence: Sequence,
    last_id: u32,
    pings: VecDeque<(CommandId, HostTime)>,
    quiet_since: Option<HostTime>,
    /// Latest board time heard and when.
    heard: Option<(HostTime, u64)>,
    events: VecDeque<(HostTime, BoardEvent)>,
    bell: Arc<Bell>,
    stats: Arc<LinkStats>,
}

impl SerialBoard {
    /// Finds the board, opens its line and shakes hands; blocks for two seconds at most.
    ///
    /// # Errors
    /// `NotFound`, `Busy`, `PermissionDenied`; `Unsupported` when there are several boards or it speaks another version;
    /// `TimedOut` when nothing answers.
    pub fn open(options: SerialOptions) -> Result<Self, DeviceError> {
        // Any number that another process is unlikely to have had.
        let session = (host_now().nanos() as u32) ^ std::process::id().rotate_left(16);
        let bell = Bell::new().map_err(|error| DeviceError::new(DeviceErrorKind::Io, format!("event: {error}")))?;
        let mut board = Self {
            options,
            session,
            identity: String::new(),
            usb_serial: None,
            line: None,
            place: String::new(),
            talk: Talk::Closed,
            peer: None,
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            sequence: Sequence::default(),
            last_id: 0,
            pings: VecDeque::with_capacity(PINGS),
            quiet_since: None,
            heard: None,
            events: VecDeque::with_capacity(EVENTS),
            bell: Arc::new(bell),
            stats: Arc::default(),
        };
        board.connect()?;
        Ok(board)
    }

    /// Live counts of the line.
    pub fn stats(&self) -> Arc<LinkStats> {
        Arc::clone(&self.stats)
    }

    /// Opens the line and greets until the board answers.
    fn connect(&mut self) -> Result<(), DeviceError> {
        self.close();
        let (line, place) = self.open_line()?;
        (self.line, self.place) = (Some(line), place);
        self.inbox = Inbox::new();
        LinkStats::add(&self.stats.opened, 1);
        let now = host_now();
        self.talk = Talk::Greeting { since: now, next: now };
        while self.talk != Talk::Talking {
            self.work(host_now())?;
            self.wait(host_now() + Span::from_millis(50));
        }
        Ok(())
    }

    fn open_line(&mut self) -> Result<(Line, String), DeviceError> {
        let wanted = match &self.options.device {
            Device::Port(path) => return Ok((Line::terminal(path, self.options.baud)?, path.display().to_string())),
            Device::Tcp(address) => return Ok((Line::tcp(address)?, format!("tcp:{address}"))),
            Device::Unix(path) => return Ok((Line::unix(path)?, format!("unix:{}", path.display()))),
            Device::Only => self.usb_serial.clone(),
            Device::SerialNumber(number) => Some(number.clone()),
        };
        let port = find::choose(find::usb_ports()?, self.options.usb_id, wanted.as_deref())?;
        let line = Line::terminal(&port.path, self.options.baud)?;
        self.usb_serial = Some(port.serial_number.clone()).filter(|number| !number.is_empty());
        Ok((line, format!("{} (USB {} {})", PathBuf::from(&port.path).display(), port.id, port.serial_number)))
    }

    fn close(&mut self) {
        self.line = None;
        self.talk = Talk::Closed;
        (self.quiet_since, self.heard) = (None, None);
        self.pings.clear();
        self.farewell(host_now());
    }

    /// Says of every command under way that nobody knows what became of it.
    fn farewell(&mut self, now: HostTime) {
        for id in self.outbox.forget() {
            LinkStats::add(&self.stats.unanswered, 1);
            self.events.push_back((now, BoardEvent::Unanswered { id }));
        }
    }

    fn fail(&mut self, kind: DeviceErrorKind, context: String) -> DeviceError {
        self.close();
        DeviceError::new(kind, context)
    }

    /// Greets, repeats, writes, reads; what came of it lies in `events`.
    fn work(&mut self, now: HostTime) -> Result<(), DeviceError> {
        self.greet(now)?;
        self.check_silence(now)?;
        while let Some(overdue) = self.outbox.overdue(now, self.board_ns(now)) {
            match overdue {
                Overdue::SentAgain => LinkStats::add(&self.stats.resent, 1),
                Overdue::GivenUp(id) => {
                    LinkStats::add(&self.stats.unanswered, 1);
                    self.events.push_back((now, BoardEvent::Unanswered { id }));
                }
            }
        }
        self.flush()?;
        while self.events.is_empty() {
            if self.inbox.is_empty() && !self.read()? {
                break;
            }
            self.understand()?;
        }
        Ok(())
    }

    fn greet(&mut self, now: HostTime) -> Result<(), DeviceError> {
        let Talk::Greeting { since, next } = self.talk else { return Ok(()) };
        if now - since > GREETING_MAX {
            let context = format!("{}: nobody answers as a sync board; is it one, and does it run?", self.place);
            return Err(self.fail(DeviceErrorKind::TimedOut, context));
        }
        if now >= next {
            self.talk = Talk::Greeting { since, next: now + GREET_AGAIN };
            let body = CommandBody::Hello { version: VERSION, session: self.session };
            self.post(now, body);
        }
        Ok(())
    }

    fn check_silence(&mut self, now: HostTime) -> Result<(), DeviceError> {
        if self.quiet_since.is_some_and(|since| now - since > SILENCE_MAX) {
            let context = format!("{}: has said nothing for {:.0} s", self.place, SILENCE_MAX.secs_f64());
            return Err(self.fail(DeviceErrorKind::TimedOut, context));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        while self.outbox.has_bytes() {
            let Some(line) = &self.line else { return Err(self.lost("closed")) };
            match line.write(self.outbox.bytes()) {
                Ok(0) => break,
                Ok(count) => {
                    self.outbox.sent(count);
                    LinkStats::add(&self.stats.bytes_out, count as u64);
                }
                Err(error) => return Err(self.lost(&error.to_string())),
            }
        }
        Ok(())
    }

    /// Fills the inbox; whether anything came.
    fn read(&mut self) -> Result<bool, DeviceError> {
        let Some(line) = &self.line else { return Err(self.lost("closed")) };
        match line.read(&mut self.inbox.bytes) {
            Ok(count) => {
                (self.inbox.next, self.inbox.end) = (0, count);
                self.inbox.arrival = host_now();
                LinkStats::add(&self.stats.bytes_in, count as u64);
                Ok(count > 0)
            }
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    fn lost(&mut self, why: &str) -> DeviceError {
        let context = format!("{}: line lost ({why})", self.place);
        self.fail(DeviceErrorKind::Disconnected, context)
    }

    /// Takes bytes until one message is understood or none is left.
    fn understand(&mut self) -> Result<(), DeviceError> {
        while let Some(byte) = self.inbox.pop() {
            match self.inbox.deframer.push::<Event>(byte) {
                None => {}
                Some(Ok(packet)) => return self.take(packet),
                Some(Err(Damage::UnknownKind)) => LinkStats::add(&self.stats.unknown, 1),
                Some(Err(_)) => LinkStats::add(&self.stats.damaged, 1),
            }
        }
        Ok(())
    }

    fn take(&mut self, packet: Packet<Event>) -> Result<(), DeviceError> {
        let arrival = self.inbox.arrival;
        LinkStats::add(&self.stats.messages_in, 1);
        match packet.message {
            Event::Hello { .. } => return self.take_hello(packet),
            // Whatever the board was told before is gone; it has to learn the session before anything else.
            Event::Started { epoch } if self.talk == Talk::Talking && self.peer.is_none_or(|p| p.epoch != epoch) => {
                self.talk = Talk::Greeting { since: arrival, next: arrival };
                self.farewell(arrival);
                return Ok(());
            }
            // Between line and greeting nothing can be placed in an epoch; the sequence numbers will tell of it.
            _ if self.talk != Talk::Talking => return Ok(()),
            _ => {}
        }
        if !self.follow(arrival, packet.sequence) {
            return Ok(());
        }
        (self.quiet_since, self.heard) = (None, Some((arrival, packet.time_ns)));
        if let Event::Ack { id, .. } = packet.message {
            self.outbox.settle(id);
        }
        let Self { pings, stats, .. } = self;
        let event = wire::event_from_wire(packet.time_ns, packet.message, |id| {
            let place = pings.iter().position(|ping| ping.0 == id)?;
            let (_, sent) = pings.remove(place)?;
            stats.note_ping((arrival - sent).nanos().max(1) as u64);
            Some(sent)
        });
        self.events.extend(event.map(|event| (arrival, event)));
        Ok(())
    }

    /// Whether a message is new; a loss before it becomes an event.
    fn follow(&mut self, arrival: HostTime, sequence: u32) -> bool {
        match self.sequence.take(sequence) {
            Arrival::Repeated => {
                LinkStats::add(&self.stats.repeated, 1);
                false
            }
            Arrival::Fresh { lost } => {
                if lost > 0 {
                    LinkStats::add(&self.stats.lost, u64::from(lost));
                    self.events.push_back((arrival, BoardEvent::Lost { messages: lost }));
                }
                true
            }
        }
    }

    fn take_hello(&mut self, packet: Packet<Event>) -> Result<(), DeviceError> {
        let Event::Hello { version, firmware, serial, epoch, tick_ns, .. } = packet.message else { return Ok(()) };
        let arrival = self.inbox.arrival;
        if version != VERSION {
            let context = format!(
                "{}: speaks protocol {version}, this program speaks {VERSION}; flash the firmware of this release",
                self.place
            );
            return Err(self.fail(DeviceErrorKind::Unsupported, context));
        }
        if let Some(peer) = self.peer.filter(|peer| peer.serial != serial) {
            let context = format!("{}: board {serial:016x} answers, board {:016x} is wanted", self.place, peer.serial);
            return Err(self.fail(DeviceErrorKind::NotFound, context));
        }
        let restarted = self.peer.is_some_and(|peer| peer.epoch != epoch);
        if restarted || self.peer.is_none() {
            self.sequence.reset();
        }
        if !self.follow(arrival, packet.sequence) {
            return Ok(());
        }
        let Some([_, major, minor, patch]) = Some(firmware.to_be_bytes()) else { return Ok(()) };
        self.identity = format!(
            "sync board {serial:016x}, firmware {major}.{minor}.{patch}, {tick_ns} ns a count, at {}",
            self.place
        );
        self.peer = Some(Peer { serial, epoch });
        self.talk = Talk::Talking;
        (self.quiet_since, self.heard) = (None, Some((arrival, packet.time_ns)));
        if restarted {
            let at = BoardTime::from_nanos(packet.time_ns as i64);
            self.events.push_back((arrival, BoardEvent::Started { epoch, at }));
        }
        Ok(())
    }

    /// The board's time as far as the newest message tells; never later than it really is by more than the drift.
    fn board_ns(&self, now: HostTime) -> u64 {
        self.heard.map_or(0, |(arrival, board_ns)| board_ns.saturating_add_signed((now - arrival).nanos()))
    }

    /// Puts a command on its way under a fresh identity; `None` when there is no room.
    fn post(&mut self, now: HostTime, body: CommandBody) -> Option<CommandId> {
        let id = self.last_id.wrapping_add(1).max(1);
        if !self.outbox.post(now, self.board_ns(now), Command { id, body }) {
            LinkStats::add(&self.stats.refused, 1);
            return None;
        }
        LinkStats::add(&self.stats.messages_out, 1);
        self.last_id = id;
        Some(CommandId(id))
    }

    fn note_ping(&mut self, id: CommandId, now: HostTime) {
        if self.pings.len() == PINGS {
            self.pings.pop_front();
        }
        self.pings.push_back((id, now));
        self.quiet_since = self.quiet_since.or(Some(now));
    }
}

impl SyncBoard for SerialBoard {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn poll(&mut self, now: HostTime) -> Result<Option<(HostTime, BoardEvent)>, DeviceError> {
        if self.events.is_empty() {
            if self.talk == Talk::Closed {
                return Err(self.lost("closed"));
            }
            self.work(now)?;
        }
        Ok(self.events.pop_front())
    }

    fn send(&mut self, now: HostTime, command: BoardCommand) -> Result<CommandId, DeviceError> {
        match self.talk {
            Talk::Closed => return Err(self.lost("closed")),
            Talk::Greeting { .. } => {
                let context = format!("{}: shaking hands", self.place);
                return Err(DeviceError::new(DeviceErrorKind::WouldBlock, context));
            }
            Talk::Talking => {}
        }
        let body = wire::command_to_wire(command).ok_or_else(|| {
            let context = format!("{}: {command:?}: a length does not fit the protocol", self.place);
            DeviceError::new(DeviceErrorKind::Unsupported, context)
        })?;
        let id = self.post(now, body).ok_or_else(|| {
            let context = format!("{}: too many commands on their way", self.place);
            DeviceError::new(DeviceErrorKind::WouldBlock, context)
        })?;
        // Noted before the bytes go: a ping's delay must never look shorter than it is.
        if body == CommandBody::Ping {
            self.note_ping(id, host_now());
        }
        self.flush()?;
        Ok(id)
    }

    fn wait(&mut self, until: HostTime) {
        if !self.events.is_empty() || !self.inbox.is_empty() {
            return;
        }
        let Some(line) = &self.line else {
            self.bell.wait(until);
            return;
        };
        let hello = match self.talk {
            Talk::Greeting { next, .. } => Some(next),
            Talk::Closed | Talk::Talking => None,
        };
        let until = [Some(until), hello, self.outbox.overdue_at()].into_iter().flatten().min().unwrap_or(until);
        let left = (until - host_now()).nanos().max(0);
        let timeout = Timespec { tv_sec: left / 1_000_000_000, tv_nsec: left % 1_000_000_000 };
        let room = if self.outbox.has_bytes() { PollFlags::OUT } else { PollFlags::empty() };
        let mut fds =
            [PollFd::from_borrowed_fd(line.fd(), PollFlags::IN | room), PollFd::new(self.bell.fd(), PollFlags::IN)];
        // Interrupted or refused: the next poll finds out.
        poll(&mut fds, Some(&timeout)).ok();
        if fds[1].revents().contains(PollFlags::IN) {
            self.bell.quiet();
        }
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.bell) as Arc<dyn Wake>
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        self.connect()?;
        tracing::info!("{}: {}", self.identity, self.stats.line());
        debug_assert!(self.stats.opened.load(Ordering::Relaxed) > 0);
        Ok(())
    }
}
