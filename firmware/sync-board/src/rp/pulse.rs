//! Trigger pulses by a PIO state machine: it counts system clocks, so no software is in the edges.
//!
//! ```text
//!          pull block      ; clocks from the fall before (or from now) to the rise
//!          mov  x, osr
//! low:     jmp  x--, low
//!          set  pins, 1
//!          pull block      ; clocks high
//!          mov  x, osr
//! high:    jmp  x--, high
//!          set  pins, 0
//! ```
//! With the counts D and W, the pulse is W + 4 clocks wide and rises D + W + 8 clocks after the one before.

use mimicd_board::{Feed, Feeder, Train};

use super::chip::{self, PulseMachine, pio};

/// Clocks that the instructions around a wait take.
const WIDTH_OVERHEAD: u64 = 4;
const PERIOD_OVERHEAD: u64 = 8;

/// The program, assembled once.
pub(super) fn program() -> pio::Program<32> {
    let mut code = pio::Assembler::<32>::new();
    for (level, mut wait) in [(1, code.label()), (0, code.label())] {
        code.pull(false, true);
        code.mov(pio::MovDestination::X, pio::MovOperation::None, pio::MovSource::OSR);
        code.bind(&mut wait);
        code.jmp(pio::JmpCondition::XDecNonZero, &mut wait);
        code.set(pio::SetDestination::PINS, level);
    }
    code.assemble_program()
}

/// The generator.
pub(super) struct Pulser {
    machine: PulseMachine,
    feeder: Feeder,
    /// Clocks high of the pulse fed last.
    width: u64,
    /// Thousandths of a clock that did not fit into whole clocks yet, so that none is lost in the long run.
    rest: u64,
}

impl Pulser {
    pub(super) fn new(machine: PulseMachine) -> Self {
        Self { machine, feeder: Feeder::new(), width: 0, rest: 0 }
    }

    /// Keeps the state machine one pulse ahead of `train`.
    pub(super) fn follow(&mut self, now_ns: u64, train: Option<&Train>) {
        while let Some(feed) = self.feeder.next(now_ns, train) {
            match feed {
                Feed::Abort => self.machine.abort(),
                Feed::Pulse { after_ns, width_ns, start } => self.pulse(after_ns, width_ns, start),
            }
        }
    }

    fn pulse(&mut self, after_ns: u64, width_ns: u32, start: bool) {
        let clocks = |nanos: u64| nanos * u64::from(chip::CLOCK_MHZ);
        if start {
            self.rest = 0;
            self.width = 0;
        }
        let after = clocks(after_ns) + self.rest;
        self.rest = after % 1_000;
        let low = (after / 1_000).saturating_sub(self.width + if start { 0 } else { PERIOD_OVERHEAD });
        self.width = (clocks(u64::from(width_ns)) / 1_000).saturating_sub(WIDTH_OVERHEAD);
        self.machine.feed(low as u32);
        self.machine.feed(self.width as u32);
    }
}
