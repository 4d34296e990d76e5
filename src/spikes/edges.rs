//! Digital input words to edges, exact to the sample.

use mimicd_device::{SampleBlock, SampleIndex};

/// A digital input changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigitalEdge {
    /// First sample at the new level.
    pub sample: SampleIndex,
    /// Bit of the digital word.
    pub bit: u8,
    /// New level.
    pub level: bool,
    /// Whether the sample before was seen. `false`: the change lies somewhere in the gap before this sample.
    pub exact: bool,
}

/// Finds edges from block to block.
#[derive(Clone, Copy, Debug, Default)]
pub struct EdgeFinder {
    last: Option<u16>,
}

impl EdgeFinder {
    /// Appends the edges of `block` to `out`, never beyond its capacity; returns how many did not fit.
    pub fn find(&mut self, block: &SampleBlock, gap_before: bool, out: &mut Vec<DigitalEdge>) -> u64 {
        let mut exact = !gap_before;
        let mut lost = 0;
        for (offset, &word) in block.digital.iter().enumerate() {
            let mut changed = word ^ self.last.unwrap_or(word);
            while changed != 0 {
                let bit = changed.trailing_zeros() as u8;
                changed &= changed - 1;
                if out.len() == out.capacity() {
                    lost += 1;
                    continue;
                }
                let sample = SampleIndex(block.first.0 + offset as u64);
                out.push(DigitalEdge { sample, bit, level: word >> bit & 1 == 1, exact });
            }
            self.last = Some(word);
            exact = true;
        }
        lost
    }
}
