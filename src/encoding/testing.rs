//! Random numbers and simulated spike counts for tests and measurements of the analyses.

use std::path::Path;

use ndarray::{Array2, ArrayView1, ArrayView2};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::folds::Folds;
use super::glm::Design;

/// A seeded source of random numbers.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// A source for `seed`.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform, 0 to less than 1.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A Poisson count of this mean, by inversion; means are small here.
    pub fn poisson(&mut self, mean: f64) -> u32 {
        let (mut count, mut product, floor) = (0, self.uniform(), (-mean).exp());
        while product > floor && count < 1_000 {
            count += 1;
            product *= self.uniform();
        }
        count
    }

    /// A fair choice of 0 to less than `count`.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// Counts with these means.
    pub fn counts(&mut self, means: ArrayView1<'_, f64>) -> Vec<f32> {
        means.iter().map(|mean| self.poisson(*mean) as f32).collect()
    }

    /// Smooth noise: first-order autoregressive, unit variance, one column each.
    pub fn smooth(&mut self, rows: usize, columns: usize, correlation: f64) -> Array2<f32> {
        let mut state = vec![0.0; columns];
        let fresh = (1.0 - correlation * correlation).sqrt();
        Array2::from_shape_fn((rows, columns), |(row, column)| {
            let noise = self.normal();
            state[column] = if row == 0 { noise } else { correlation * state[column] + fresh * noise };
            state[column] as f32
        })
    }
}

/// Writes a matrix as a file that NumPy reads (format version 1).
///
/// # Errors
/// A path that cannot be written.
pub fn write_npy(path: &Path, values: ArrayView2<'_, f64>) -> std::io::Result<()> {
    let shape = format!("({}, {})", values.nrows(), values.ncols());
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(path, bytes)
}

/// The training bins of a design and some units' counts as plain matrices, as other people's programs want them.
pub fn training_matrices(
    design: &Design,
    counts: ArrayView2<'_, f32>,
    folds: &Folds,
    held_out: usize,
) -> (Array2<f64>, Array2<f64>) {
    let bins: Vec<usize> = (design.first()..design.bins()).filter(|bin| folds.fold(*bin) != held_out).collect();
    let x = Array2::from_shape_fn((bins.len(), design.width()), |(row, column)| design.row(bins[row])[column]);
    let y = Array2::from_shape_fn((bins.len(), counts.ncols()), |(row, unit)| f64::from(counts[[bins[row], unit]]));
    (x, y)
}
