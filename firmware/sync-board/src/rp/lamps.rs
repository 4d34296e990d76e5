//! The panel's lamps: five addressable LEDs (WS2812) in a row, in the order of the buttons, by a PIO state machine.

use super::chip::{LampMachine, pio};

const LAMPS: usize = 5;
/// Green, red, blue of each lamp, dim enough for a dark laboratory.
const COLOURS: [[u8; 3]; LAMPS] = [[16, 0, 0], [0, 24, 0], [12, 20, 0], [0, 0, 24], [0, 48, 0]];
/// A row is taken over after a pause; this is much longer.
const PAUSE_NS: u64 = 2_000_000;

/// 10 clocks of 125 ns a bit, as the LEDs want it.
pub(super) fn program() -> pio::Program<32> {
    let mut code = pio::Assembler::<32>::new_with_side_set(pio::SideSet::new(false, 1, false));
    let (mut bit, mut zero, mut end) = (code.label(), code.label(), code.label());
    code.bind(&mut bit);
    code.out_with_delay_and_side_set(pio::OutDestination::X, 1, 2, 0);
    code.jmp_with_delay_and_side_set(pio::JmpCondition::XIsZero, &mut zero, 1, 1);
    code.jmp_with_delay_and_side_set(pio::JmpCondition::Always, &mut bit, 4, 1);
    code.bind(&mut zero);
    code.nop_with_delay_and_side_set(4, 0);
    code.bind(&mut end);
    code.assemble_with_wrap(end, bit)
}

/// The row of lamps.
pub(super) struct Lamps {
    machine: LampMachine,
    lit: [bool; LAMPS],
    changed: bool,
    shown_ns: u64,
}

impl Lamps {
    pub(super) const fn new(machine: LampMachine) -> Self {
        Self { machine, lit: [false; LAMPS], changed: true, shown_ns: 0 }
    }

    /// Lights a lamp or puts it out, with the next [`show`](Self::show).
    pub(super) fn set(&mut self, lamp: u8, lit: bool) {
        if let Some(place) = self.lit.get_mut(usize::from(lamp)) {
            self.changed |= *place != lit;
            *place = lit;
        }
    }

    /// Sends what has changed, no more often than the LEDs take it.
    pub(super) fn show(&mut self, now_ns: u64) {
        if !self.changed || now_ns < self.shown_ns + PAUSE_NS {
            return;
        }
        (self.changed, self.shown_ns) = (false, now_ns);
        for (lit, [green, red, blue]) in self.lit.into_iter().zip(COLOURS) {
            let colour = u32::from_be_bytes([green, red, blue, 0]);
            self.machine.feed(if lit { colour } else { 0 });
        }
    }
}
