//! The simulated sync board: the firmware's own logic on a drifting clock, behind a link with latency.

mod link;

use std::collections::VecDeque;
use std::sync::Arc;

use mimicd_board::{Board, BoardConfig};
use mimicd_device::{
    BoardCommand, BoardEvent, CommandId, DeviceError, DeviceErrorKind, HostTime, Span, SyncBoard, Wake, wire,
};
use mimicd_wire::{Button, Command, CommandBody};

use crate::pace::{self, Doze};
use crate::wiring::{Epoch, TrainSpan, Wiring};
use link::Outgoing;
pub(crate) use link::{LATENCY_MIN, Link, latency};

/// From a reset to the board's first message.
const BOOT: Span = Span::from_millis(200);
/// Counts of the board's timebase are this long.
const TICK_NS: i64 = 1_000;
/// Commands that may be on their way to the board.
const INBOX: usize = 256;
/// Pings whose answers are waited for.
const PINGS: usize = 64;

/// What a simulated board is made of.
pub(crate) struct BoardParts {
    pub(crate) seed: u64,
    pub(crate) start: HostTime,
    pub(crate) stepped: bool,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) link: Link,
    /// In order of time.
    pub(crate) resets: Vec<Span>,
    /// In order of time.
    pub(crate) buttons: Vec<(Span, Button)>,
}

/// Something that happens to the board at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happening {
    Reset,
    Command,
    Edge,
    Button,
    Logic(u64),
}

/// The simulated board.
pub struct SimBoard {
    identity: String,
    start: HostTime,
    stepped: bool,
    seed: u64,
    wiring: Arc<Wiring>,
    link: Link,
    logic: Board,
    epoch: u32,
    /// The board takes nothing in before this instant.
    up_from: Span,
    inbox: VecDeque<(Span, Command)>,
    last_inbound: Span,
    last_id: u32,
    pings: VecDeque<(CommandId, HostTime)>,
    resets: VecDeque<Span>,
    buttons: VecDeque<(Span, Button)>,
    link_lost: bool,
    doze: Arc<Doze>,
}

impl SimBoard {
    pub(crate) fn new(parts: BoardParts) -> Self {
        let BoardParts { seed, start, stepped, wiring, mut link, resets, buttons } = parts;
        let config = BoardConfig { serial: seed, ..BoardConfig::default() };
        let logic = Board::new(config, 1);
        wiring.begin_epoch(Epoch { zero_local_ns: link.zero_local_ns, from: Span::ZERO });
        logic.announce(&mut link);
        Self {
            identity: format!("twin board (seed {seed})"),
            start,
            stepped,
            seed,
            wiring,
            link,
            logic,
            epoch: 1,
            up_from: Span::ZERO,
            inbox: VecDeque::with_capacity(INBOX),
            last_inbound: Span::ZERO,
            last_id: 0,
            pings: VecDeque::with_capacity(PINGS),
            resets: resets.into(),
            buttons: buttons.into(),
            link_lost: false,
            doze: Arc::default(),
        }
    }

    /// Board time at `at`, in whole counts of its timebase.
    fn board_ns(&self, at: Span) -> u64 {
        let elapsed = self.link.clock.local_ns(at) - self.link.zero_local_ns;
        (elapsed.max(0) / TICK_NS * TICK_NS) as u64
    }

    /// The next thing that happens; at equal times in the order of [`Happening`].
    fn next_happening(&self) -> Option<(Span, Happening)> {
        let logic = self.logic.next_at_ns();
        [
            self.resets.front().map(|&at| (at, Happening::Reset)),
            self.inbox.front().map(|&(at, _)| (at, Happening::Command)),
            self.link.edges.last().map(|edge| (edge.at, Happening::Edge)),
            self.buttons.front().map(|&(at, _)| (at, Happening::Button)),
            logic.map(|at_ns| (self.link.universe(at_ns), Happening::Logic(at_ns))),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|&(at, _)| at)
    }

    fn run_to(&mut self, now: Span) {
        while let Some((at, happening)) = self.next_happening().filter(|&(at, _)| at <= now) {
            match happening {
                Happening::Reset => self.reset(at),
                Happening::Command => self.take_command(at),
                Happening::Edge => self.take_edge(),
                Happening::Button => self.take_button(at),
                Happening::Logic(at_ns) => {
                    self.logic.advance(at_ns, &mut self.link);
                    self.follow_train_end();
                }
            }
        }
    }

    fn reset(&mut self, at: Span) {
        self.resets.pop_front();
        self.logic.advance(self.board_ns(at), &mut self.link);
        if let Some(train) = self.logic.train() {
            self.wiring.end_train(train.next);
        }
        self.up_from = at + BOOT;
        self.link.zero_local_ns = self.link.clock.local_ns(self.up_from);
        self.link.train = None;
        self.link.edges.clear();
        self.epoch += 1;
        let config = BoardConfig { serial: self.seed, ..BoardConfig::default() };
        self.logic = Board::new(config, self.epoch);
        self.wiring.begin_epoch(Epoch { zero_local_ns: self.link.zero_local_ns, from: self.up_from });
        self.logic.announce(&mut self.link);
    }

    fn take_command(&mut self, at: Span) {
        let Some((_, command)) = self.inbox.pop_front() else { return };
        if at < self.up_from || self.link.is_down(at) {
            return;
        }
        let now_ns = self.board_ns(at);
        self.logic.advance(now_ns, &mut self.link);
        let before = self.logic.train().copied();
        self.logic.command(now_ns, command, &mut self.link);
        let after = self.logic.train().copied();
        match (before, after) {
            (None, Some(train)) => {
                let start_local_ns = self.link.zero_local_ns + train.start_ns as i64;
                let span = TrainSpan { plan: train.plan, start_local_ns, end: train.end };
                self.link.train = Some(span);
                self.wiring.begin_train(span);
            }
            (Some(train), None) => self.wiring.end_train(train.next),
            _ => {}
        }
    }

    /// Nothing to tell the cameras: a burst's end was known from its start.
    fn follow_train_end(&mut self) {
        if self.logic.train().is_none() && self.link.edges.is_empty() {
            self.link.train = None;
        }
    }

    fn take_edge(&mut self) {
        let Some(edge) = self.link.edges.pop() else { return };
        let at_ns = self.board_ns(edge.at);
        self.logic.exposure(at_ns, edge.camera, edge.active, &mut self.link);
    }

    fn take_button(&mut self, at: Span) {
        let Some((_, button)) = self.buttons.pop_front() else { return };
        if at >= self.up_from {
            self.logic.button(self.board_ns(at), button, &mut self.link);
        }
    }

    fn check_link(&mut self, at: Span) -> Result<(), DeviceError> {
        self.link_lost |= self.link.is_down(at);
        if self.link_lost {
            return Err(DeviceError::new(DeviceErrorKind::Disconnected, format!("{}: link lost", self.identity)));
        }
        Ok(())
    }
}

impl SyncBoard for SimBoard {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn poll(&mut self, now: HostTime) -> Result<Option<(HostTime, BoardEvent)>, DeviceError> {
        let at = now - self.start;
        self.run_to(at);
        self.check_link(at)?;
        while let Some(&(due, outgoing)) = self.link.queue.front().filter(|(due, _)| *due <= at) {
            self.link.queue.pop_front();
            let arrival = if self.stepped { self.start + due } else { now };
            let event = match outgoing {
                Outgoing::Lost(messages) => Some(BoardEvent::Lost { messages }),
                Outgoing::Message(at_ns, event) => wire::event_from_wire(at_ns, event, |id| {
                    self.pings.iter().find(|ping| ping.0 == id).map(|ping| ping.1)
                }),
            };
            if let Some(event) = event {
                return Ok(Some((arrival, event)));
            }
        }
        Ok(None)
    }

    fn send(&mut self, now: HostTime, command: BoardCommand) -> Result<CommandId, DeviceError> {
        let at = now - self.start;
        self.check_link(at)?;
        if self.inbox.len() == INBOX {
            let context = format!("{}: {INBOX} commands on their way already", self.identity);
            return Err(DeviceError::new(DeviceErrorKind::WouldBlock, context));
        }
        let body = wire::command_to_wire(command).ok_or_else(|| {
            let context = format!("{}: {command:?}: a length does not fit the protocol", self.identity);
            DeviceError::new(DeviceErrorKind::Unsupported, context)
        })?;
        self.last_id += 1;
        let id = CommandId(self.last_id);
        let delay = latency(self.seed, 32, u64::from(self.last_id), self.link.latency_max);
        self.last_inbound = (at + delay).max(self.last_inbound);
        self.inbox.push_back((self.last_inbound, Command { id: self.last_id, body }));
        if body == CommandBody::Ping {
            if self.pings.len() == PINGS {
                self.pings.pop_front();
            }
            self.pings.push_back((id, now));
        }
        Ok(id)
    }

    fn wait(&mut self, until: HostTime) {
        let arrival = self.link.queue.front().map(|&(due, _)| due);
        // Nothing that is yet to happen can be heard of sooner than the link's least delay.
        let happening = self.next_happening().map(|(at, _)| at + LATENCY_MIN);
        let due = arrival.into_iter().chain(happening).min();
        self.doze.until(due.map_or(until, |due| until.min(self.start + due)));
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.doze) as Arc<dyn Wake>
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        // In stepped mode there is no clock to look at; the next poll finds out whether the link is there.
        if !self.stepped && self.link.is_down(pace::now() - self.start) {
            return Err(DeviceError::new(DeviceErrorKind::NotFound, format!("{}: no such device", self.identity)));
        }
        self.link_lost = false;
        self.link.queue.clear();
        Ok(())
    }
}
