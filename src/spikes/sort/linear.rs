//! Small dense linear algebra on fixed sizes, without allocation.

use super::window::{WINDOW, Window};

/// Features of a spike.
pub(super) const FEATURES: usize = 12;
/// A spike in feature space, in noise sigmas.
pub(super) type Features = [f32; FEATURES];
/// A matrix in feature space, row by row.
pub(super) type Square = [[f32; FEATURES]; FEATURES];
/// Window to features.
pub(super) type Projection = [Window; FEATURES];

/// Inner product, in four lanes.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a_head, a_tail) = a.as_chunks::<8>();
    let (b_head, b_tail) = b.as_chunks::<8>();
    for (x, y) in a_head.iter().zip(b_head) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + a_tail.iter().zip(b_tail).map(|(x, y)| x * y).sum::<f32>()
}

/// Squared distance.
pub(super) fn distance2(a: &Features, b: &Features) -> f32 {
    let mut sum = 0.0;
    for i in 0..FEATURES {
        let d = a[i] - b[i];
        sum += d * d;
    }
    sum
}

/// Features of a window.
pub(super) fn project(projection: &Projection, window: &Window) -> Features {
    std::array::from_fn(|i| dot(&projection[i], window))
}

/// Makes the rows orthonormal (Gram and Schmidt, twice for accuracy). A row that vanishes becomes zero.
pub(super) fn orthonormalise(rows: &mut Projection) {
    for i in 0..FEATURES {
        let (done, rest) = rows.split_at_mut(i);
        let row = &mut rest[0];
        for _ in 0..2 {
            for other in done.iter() {
                let overlap = dot(other, row);
                row.iter_mut().zip(other).for_each(|(x, y)| *x -= overlap * y);
            }
        }
        let norm = dot(row, row).sqrt();
        let scale = if norm > 1e-12 { 1.0 / norm } else { 0.0 };
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Lower Cholesky factor of a symmetric matrix; tiny pivots are lifted so that it always exists.
pub(super) fn cholesky(matrix: &Square) -> Square {
    let mut l = [[0.0; FEATURES]; FEATURES];
    for i in 0..FEATURES {
        for j in 0..=i {
            let sum: f32 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            l[i][j] = if i == j { (matrix[i][i] - sum).max(1e-4).sqrt() } else { (matrix[i][j] - sum) / l[j][j] };
        }
    }
    l
}

/// Solves `l x = b` in place for a lower factor.
pub(super) fn solve_lower(l: &Square, b: &mut Features) {
    for i in 0..FEATURES {
        let sum: f32 = (0..i).map(|k| l[i][k] * b[k]).sum();
        b[i] = (b[i] - sum) / l[i][i];
    }
}

/// Applies the inverse of a lower factor to each column of the projection: features become uncorrelated.
pub(super) fn whiten(l: &Square, projection: &mut Projection) {
    for column in 0..WINDOW {
        let mut values: Features = std::array::from_fn(|i| projection[i][column]);
        solve_lower(l, &mut values);
        for (row, value) in projection.iter_mut().zip(values) {
            row[column] = value;
        }
    }
}

/// Mean and covariance of features, accumulated.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    pub(super) count: f32,
    sum: Features,
    product: Square,
}

impl Moments {
    pub(super) const EMPTY: Self = Self { count: 0.0, sum: [0.0; FEATURES], product: [[0.0; FEATURES]; FEATURES] };

    pub(super) fn add(&mut self, x: &Features) {
        self.count += 1.0;
        for i in 0..FEATURES {
            self.sum[i] += x[i];
            for j in 0..FEATURES {
                self.product[i][j] += x[i] * x[j];
            }
        }
    }

    pub(super) fn mean(&self) -> Features {
        self.sum.map(|s| s / self.count.max(1.0))
    }

    /// Covariance, drawn towards the identity (the noise itself, in whitened space) as if by `prior` more points.
    pub(super) fn covariance(&self, prior: f32) -> Square {
        let mean = self.mean();
        std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                let scatter = self.product[i][j] - self.count * mean[i] * mean[j];
                (scatter + if i == j { prior } else { 0.0 }) / (self.count + prior)
            })
        })
    }
}
