//! Barcodes for equipment that has no other way to learn the time: 16 alternating levels, each 10 ms (one) or 5 ms (zero)
//! long, self-clocking. The value counts barcodes; its most significant bit comes first; the first level is high, and the
//! line rests low.

/// Bits of one barcode; even, so that the line ends low.
pub const BARCODE_BITS: u32 = 16;
const _: () = assert!(BARCODE_BITS.is_multiple_of(2) && BARCODE_BITS <= 16);

const ONE_NS: u64 = 10_000_000;
const ZERO_NS: u64 = 5_000_000;

/// A running barcode output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barcode {
    every_ns: u64,
    /// Board time at which the current barcode began or the next will begin.
    start_ns: u64,
    value: u16,
    /// Levels already begun, 0 (resting) to [`BARCODE_BITS`].
    bit: u32,
    edge_ns: u64,
}

impl Barcode {
    /// Shortest time between barcodes: all ones and a rest as long again.
    pub const EVERY_NS_MIN: u64 = 2 * BARCODE_BITS as u64 * ONE_NS;

    /// Barcodes each `every_ns` from `now_ns` on.
    pub const fn new(now_ns: u64, every_ns: u64) -> Self {
        Self { every_ns, start_ns: now_ns, value: 0, bit: 0, edge_ns: now_ns }
    }

    /// When the line changes next.
    pub const fn next_at_ns(&self) -> u64 {
        self.edge_ns
    }

    /// Whether the next step ends a barcode, without a change of level.
    pub const fn ends(&self) -> bool {
        self.bit == BARCODE_BITS
    }

    /// Takes the next edge; returns the new level.
    pub const fn step(&mut self) -> bool {
        if self.bit == BARCODE_BITS {
            self.bit = 0;
            self.value = self.value.wrapping_add(1);
            self.start_ns += self.every_ns;
            self.edge_ns = self.start_ns;
            return false;
        }
        let one = self.value >> (BARCODE_BITS - 1 - self.bit) & 1 == 1;
        self.bit += 1;
        self.edge_ns += if one { ONE_NS } else { ZERO_NS };
        self.bit % 2 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barcode_spells_its_number_in_level_lengths() {
        let mut code = Barcode::new(1_000, 5_000_000_000);
        for number in 0..40u16 {
            let begin = code.next_at_ns();
            assert_eq!(begin, 1_000 + u64::from(number) * 5_000_000_000);
            let mut read = 0u16;
            for bit in 0..BARCODE_BITS {
                let at = code.next_at_ns();
                assert_eq!(code.step(), bit % 2 == 0);
                read = read << 1 | u16::from(code.next_at_ns() - at == ONE_NS);
            }
            assert!(!code.step(), "rests low");
            assert_eq!(read, number);
        }
    }
}
