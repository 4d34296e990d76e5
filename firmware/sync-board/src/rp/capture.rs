//! Edges of the exposure and TTL lines, captured by interrupt. The interrupt captures and queues, nothing else.

use core::cell::RefCell;

use critical_section::Mutex;
use mimicd_board::{Capture, Change, Timebase};

use super::chip;

/// Exposure lines of cameras 0 to 5.
const EXPOSURE_FIRST: u32 = 2;
const CAMERAS: u32 = 6;
/// TTL inputs.
const INPUT_FIRST: u32 = 16;
/// TTL inputs there are.
pub(super) const INPUTS: u8 = 4;
/// Pins whose both edges are captured.
pub(super) const MASK: u32 = ((1 << CAMERAS) - 1) << EXPOSURE_FIRST | ((1 << INPUTS) - 1) << INPUT_FIRST;
/// Captures that wait for the pass: six cameras at once, ten times over.
const WAITING: usize = 128;

/// The counter's lower half and all pins, at one edge.
#[derive(Clone, Copy)]
struct Shot {
    micros: u32,
    levels: u32,
}

/// Captures on their way from the interrupt to the pass.
struct Queue {
    shots: [Shot; WAITING],
    first: usize,
    len: usize,
}

static QUEUE: Mutex<RefCell<Queue>> =
    Mutex::new(RefCell::new(Queue { shots: [Shot { micros: 0, levels: 0 }; WAITING], first: 0, len: 0 }));

/// To be called by the pins' interrupt. Clearing comes first: an edge after it interrupts again, and one before it is seen
/// in the levels that are read afterwards.
pub(super) fn on_edge() {
    chip::clear_edges();
    let shot = Shot { micros: chip::micros_low(), levels: chip::levels() };
    critical_section::with(|section| {
        let mut queue = QUEUE.borrow_ref_mut(section);
        if queue.len < WAITING {
            let place = (queue.first + queue.len) % WAITING;
            queue.shots[place] = shot;
            queue.len += 1;
        }
    });
}

fn take() -> Option<Shot> {
    critical_section::with(|section| {
        let mut queue = QUEUE.borrow_ref_mut(section);
        let shot = queue.shots[queue.first];
        if queue.len == 0 {
            return None;
        }
        queue.first = (queue.first + 1) % WAITING;
        queue.len -= 1;
        Some(shot)
    })
}

/// What has been captured, as changes of lines.
pub(super) struct Captures {
    levels: u32,
    /// Pins that changed in the present shot and are not told yet.
    changed: u32,
    at_ns: u64,
}

impl Captures {
    /// Lets the interrupt begin; lines that are high already are told as changes.
    pub(super) fn start() -> Self {
        chip::listen(MASK);
        on_edge();
        Self { levels: 0, changed: 0, at_ns: 0 }
    }

    /// The oldest change that was not told yet.
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<Capture> {
        while self.changed == 0 {
            let shot = take()?;
            self.changed = (shot.levels ^ self.levels) & MASK;
            self.levels = shot.levels;
            self.at_ns = Timebase::captured(now_ns / 1_000, shot.micros) * 1_000;
        }
        let pin = self.changed.trailing_zeros();
        self.changed &= !(1 << pin);
        let high = self.levels >> pin & 1 == 1;
        let change = if pin < INPUT_FIRST {
            Change::Exposure { camera: (pin - EXPOSURE_FIRST) as u8, active: high }
        } else {
            Change::Input { line: (pin - INPUT_FIRST) as u8, level: high }
        };
        Some(Capture { at_ns: self.at_ns, change })
    }
}
