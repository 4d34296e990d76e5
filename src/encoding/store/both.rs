//! Both sources on one grid.

use ndarray::Array2;

use super::super::grid::{Grid, Slots};
use super::layout::BODY_WIDTH;
use super::sets::{SetSpec, Source};

/// Both sources on the grid.
#[derive(Clone, Debug)]
pub struct Store {
    /// The grid.
    pub grid: Grid,
    /// The registered body: [`body_columns`](super::body_columns).
    pub body: Slots,
    /// The virtual rat: [`virtual_columns`](super::virtual_columns).
    pub imitation: Slots,
}

impl Store {
    /// An empty store; `imitation_width` is the length of a [`virtual_row`](super::virtual_row).
    pub fn new(grid: Grid, imitation_width: usize) -> Self {
        Self { grid, body: Slots::new(BODY_WIDTH), imitation: Slots::new(imitation_width) }
    }

    /// Bins that either source has reached.
    pub fn bins(&self) -> usize {
        self.body.bins().max(self.imitation.bins())
    }

    /// A set's values over the first `bins` bins.
    pub fn values(&self, set: &SetSpec, bins: usize) -> Array2<f32> {
        self.part(set, 0..bins)
    }

    /// A set's values over some bins; NaN where a bin has no row.
    pub fn part(&self, set: &SetSpec, bins: std::ops::Range<usize>) -> Array2<f32> {
        let slots = self.slots(set.source);
        let mut out = Array2::from_elem((bins.len(), set.columns.len()), f32::NAN);
        for (bin, mut row) in bins.zip(out.rows_mut()) {
            if let Some(values) = slots.row(bin) {
                row.iter_mut().zip(&set.columns).for_each(|(to, column)| *to = values[column.at]);
            }
        }
        out
    }

    /// The slots of a source.
    pub fn slots(&self, source: Source) -> &Slots {
        match source {
            Source::Body => &self.body,
            Source::Virtual => &self.imitation,
        }
    }
}
