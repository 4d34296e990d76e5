//! Blocked cross-validation: contiguous blocks of bins, dealt to folds in turn.

use std::ops::Range;

/// How bins are dealt to folds. Neighbouring bins are alike, so whole blocks are held out, never single bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folds {
    /// Bins of a block.
    pub block_bins: usize,
    /// Folds.
    pub count: usize,
}

impl Folds {
    /// Folds of blocks.
    ///
    /// # Panics
    /// When a block is empty or there are fewer than two folds.
    pub fn new(block_bins: usize, count: usize) -> Self {
        assert!(block_bins > 0 && count >= 2, "{block_bins} bins a block, {count} folds; expected at least 1 and 2");
        Self { block_bins, count }
    }

    /// The block of a bin.
    pub const fn block(&self, bin: usize) -> usize {
        bin / self.block_bins
    }

    /// The fold that holds a bin out.
    pub const fn fold(&self, bin: usize) -> usize {
        self.block(bin) % self.count
    }

    /// Blocks that `bins` bins touch.
    pub const fn blocks(&self, bins: usize) -> usize {
        bins.div_ceil(self.block_bins)
    }

    /// Bins of a block, of `bins` in all.
    pub fn range(&self, block: usize, bins: usize) -> Range<usize> {
        (block * self.block_bins).min(bins)..((block + 1) * self.block_bins).min(bins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_and_dealt_in_turn() {
        let folds = Folds::new(200, 5);
        assert_eq!((folds.fold(0), folds.fold(199), folds.fold(200), folds.fold(1_000)), (0, 0, 1, 0));
        assert_eq!(folds.blocks(401), 3);
        assert_eq!(folds.range(2, 401), 400..401);
        assert!(folds.range(3, 401).is_empty());
    }
}
