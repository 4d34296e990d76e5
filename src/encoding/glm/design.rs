//! The regressors of a set: principal components in a causal window, without a copy for each lag.
//!
//! Components lie bin after bin, so that the window of a bin is one run of memory, and the whole design a view whose rows
//! overlap.

use std::ops::Range;

use ndarray::{ArrayView2, ShapeBuilder as _};

use super::super::moments::Basis;

/// Components of every bin and which bins have a whole window.
#[derive(Clone, Debug)]
pub struct Design {
    components: usize,
    window: usize,
    values: Vec<f64>,
    usable: Vec<bool>,
    /// Finite bins in a row up to the last one.
    run: usize,
}

impl Design {
    /// An empty design.
    pub fn new(components: usize, window_bins: usize) -> Self {
        Self { components, window: window_bins.max(1), values: Vec::new(), usable: Vec::new(), run: 0 }
    }

    /// The design of `values` (bins × columns) in `basis`.
    pub fn of(basis: &Basis, values: ArrayView2<'_, f32>, window_bins: usize) -> Self {
        let mut design = Self::new(basis.components(), window_bins);
        design.extend(basis, values);
        design
    }

    /// Adds bins at the end.
    pub fn extend(&mut self, basis: &Basis, values: ArrayView2<'_, f32>) {
        let components = basis.apply(values);
        self.values.extend(components.iter());
        for row in values.rows() {
            self.run = if row.iter().all(|value| value.is_finite()) { self.run + 1 } else { 0 };
            self.usable.push(self.run >= self.window);
        }
    }

    /// Bins.
    pub fn bins(&self) -> usize {
        self.usable.len()
    }

    /// Regressors of a bin: components of the oldest bin of the window first.
    pub fn width(&self) -> usize {
        self.components * self.window
    }

    /// Whether a bin's whole window is known.
    pub fn usable(&self, bin: usize) -> bool {
        self.usable[bin]
    }

    /// The first bin that can have a window.
    pub fn first(&self) -> usize {
        self.window - 1
    }

    /// Regressors of bins; those that are not usable hold zeros in places and mean nothing.
    ///
    /// # Panics
    /// When the range begins before [`first`](Self::first) or ends after the last bin.
    pub fn rows(&self, bins: Range<usize>) -> ArrayView2<'_, f64> {
        assert!(bins.start >= self.first() && bins.end <= self.bins(), "bins {bins:?} of {}", self.bins());
        let from = (bins.start - self.first()) * self.components;
        let shape = (bins.len(), self.width()).strides((self.components.max(1), 1));
        let memory = &self.values[from..bins.end * self.components];
        ArrayView2::from_shape(shape, memory).expect("windows of the bins lie in memory")
    }

    /// Sum of the squares of each bin's regressors; of the first bins, of what they have of their window.
    pub fn energies(&self) -> Vec<f64> {
        let own = |bin: usize| {
            let row = &self.values[bin * self.components..(bin + 1) * self.components];
            row.iter().map(|value| value * value).sum::<f64>()
        };
        let each: Vec<f64> = (0..self.bins()).map(own).collect();
        (0..each.len()).map(|bin| each[(bin + 1).saturating_sub(self.window)..=bin].iter().sum()).collect()
    }

    /// Regressors of one bin.
    pub fn row(&self, bin: usize) -> &[f64] {
        &self.values[(bin - self.first()) * self.components..(bin + 1) * self.components]
    }
}
