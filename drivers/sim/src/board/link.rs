//! The serial link from the board to the host: late, in order, bounded, and sometimes lossy.

use std::collections::VecDeque;
use std::sync::Arc;

use mimicd_board::{Pin, Sink};
use mimicd_device::Span;
use mimicd_wire::Event;

use crate::camera::ExposureTiming;
use crate::clock::DriftClock;
use crate::fault::Window;
use crate::random::uniform;
use crate::wiring::{TrainSpan, Wiring};

/// Least delay of a message.
pub(crate) const LATENCY_MIN: Span = Span::from_micros(200);
/// Time one message takes on the wire: messages cannot arrive closer than this.
const MESSAGE: Span = Span::from_micros(20);
/// Messages the host's side holds while nobody reads.
const QUEUE: usize = 4_096;

/// What reaches the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// A message and its board time.
    Message(u64, Event),
    /// Messages were lost here.
    Lost(u32),
}

/// A delay between [`LATENCY_MIN`] and `max`, mostly near the least: how a polled bus behaves.
pub(crate) fn latency(seed: u64, stream: u64, index: u64, max: Span) -> Span {
    let share = uniform(seed, stream, index).powi(3);
    LATENCY_MIN + Span::from_nanos(((max - LATENCY_MIN).nanos() as f64 * share) as i64)
}

/// A change of a camera's exposure line that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineEdge {
    pub(crate) at: Span,
    pub(crate) camera: u8,
    pub(crate) active: bool,
}

/// Takes what the board logic says and puts it on the link; follows the camera lines that its triggers set off.
pub(crate) struct Link {
    pub(crate) seed: u64,
    pub(crate) latency_max: Span,
    pub(crate) clock: Arc<DriftClock>,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) cameras: Vec<Arc<ExposureTiming>>,
    pub(crate) vanished: Vec<Window>,
    pub(crate) lost_script: Vec<(Span, u32)>,
    /// What the oscillator shows at board time 0.
    pub(crate) zero_local_ns: i64,
    pub(crate) train: Option<TrainSpan>,
    /// Camera edges to come, soonest last.
    pub(crate) edges: Vec<LineEdge>,
    pub(crate) queue: VecDeque<(Span, Outgoing)>,
    pub(crate) sent: u64,
    pub(crate) last_arrival: Span,
    pub(crate) to_lose: u32,
    pub(crate) unreported: u32,
}

impl Link {
    pub(crate) fn new(
        seed: u64,
        latency_max: Span,
        clock: Arc<DriftClock>,
        wiring: Arc<Wiring>,
        cameras: Vec<Arc<ExposureTiming>>,
        vanished: Vec<Window>,
        mut lost_script: Vec<(Span, u32)>,
    ) -> Self {
        lost_script.reverse();
        let edges = Vec::with_capacity(4 * cameras.len());
        let zero_local_ns = clock.local_ns(Span::ZERO);
        Self {
            seed,
            latency_max,
            clock,
            wiring,
            cameras,
            vanished,
            lost_script,
            zero_local_ns,
            train: None,
            edges,
            queue: VecDeque::with_capacity(QUEUE),
            sent: 0,
            last_arrival: Span::ZERO,
            to_lose: 0,
            unreported: 0,
        }
    }

    pub(crate) fn universe(&self, board_ns: u64) -> Span {
        self.clock.universe(self.zero_local_ns + board_ns as i64)
    }

    pub(crate) fn is_down(&self, at: Span) -> bool {
        self.vanished.iter().any(|window| window.holds(at))
    }

    fn is_lost(&mut self, at: Span) -> bool {
        while self.lost_script.last().is_some_and(|&(when, _)| when <= at) {
            self.to_lose += self.lost_script.pop().map_or(0, |(_, count)| count);
        }
        let scripted = self.to_lose > 0;
        self.to_lose = self.to_lose.saturating_sub(1);
        scripted || self.is_down(at) || self.queue.len() + 2 > QUEUE
    }

    fn push_exposures(&mut self, index: u64, rise: Span) {
        let Some(train) = self.train else { return };
        for camera in 0..self.cameras.len() {
            let timing = &self.cameras[camera];
            if timing.exposes(&train, &self.clock, index, rise) {
                let (begin, end) = (timing.begin(rise), timing.end(rise));
                self.push_edge(LineEdge { at: begin, camera: camera as u8, active: true });
                self.push_edge(LineEdge { at: end, camera: camera as u8, active: false });
            }
        }
    }

    fn push_edge(&mut self, edge: LineEdge) {
        let place = self.edges.partition_point(|other| other.at > edge.at);
        self.edges.insert(place, edge);
    }
}

impl Sink for Link {
    fn event(&mut self, at_ns: u64, event: Event) {
        let at = self.universe(at_ns);
        if let Event::Trigger { index } = event {
            self.push_exposures(index, at);
        }
        self.sent += 1;
        if self.is_lost(at) {
            self.unreported += 1;
            return;
        }
        let delay = latency(self.seed, 31, self.sent, self.latency_max);
        let arrival = (at + delay).max(self.last_arrival + MESSAGE);
        self.last_arrival = arrival;
        if self.unreported > 0 {
            self.queue.push_back((arrival, Outgoing::Lost(self.unreported)));
            self.unreported = 0;
        }
        self.queue.push_back((arrival, Outgoing::Message(at_ns, event)));
    }

    fn drive(&mut self, at_ns: u64, pin: Pin, high: bool) {
        if let Pin::Output(output) = pin {
            self.wiring.drive(output, self.universe(at_ns), high);
        }
    }
}
