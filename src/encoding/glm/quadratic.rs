//! The least value of a quadratic with an elastic net on it: what one Newton step asks for.

use nalgebra::{DMatrix, DVector};

/// Rounds of coordinate descent and exact solution on the active set.
const ROUNDS: usize = 60;
/// Passes of coordinate descent in a round.
const PASSES: usize = 2;

/// `gradient · (w − at) + ½ (w − at)ᵀ curvature (w − at) + l1 |w|₁ + ½ l2 |w|²`; the last entry is not penalised.
pub(super) struct Quadratic<'a> {
    pub(super) at: &'a [f64],
    pub(super) gradient: &'a [f64],
    /// Symmetric, row after row.
    pub(super) curvature: &'a [f64],
    /// Factor on the curvature's diagonal, minus one.
    pub(super) damping: f64,
    pub(super) l1: f64,
    pub(super) l2: f64,
}

impl Quadratic<'_> {
    fn width(&self) -> usize {
        self.at.len()
    }

    fn line(&self, row: usize) -> &[f64] {
        &self.curvature[row * self.width()..(row + 1) * self.width()]
    }

    fn diagonal(&self, row: usize) -> f64 {
        self.line(row)[row] * (1.0 + self.damping)
    }

    fn l1(&self, row: usize) -> f64 {
        if row + 1 == self.width() { 0.0 } else { self.l1 }
    }

    fn l2(&self, row: usize) -> f64 {
        if row + 1 == self.width() { 0.0 } else { self.l2 }
    }

    /// Finds the least value, beginning at `at`.
    pub(super) fn minimise(&self) -> Vec<f64> {
        let mut w = self.at.to_vec();
        if self.l1 == 0.0 {
            let all: Vec<usize> = (0..self.width()).collect();
            return self.on_active(&all, &w).unwrap_or(w);
        }
        // The slope of the smooth part at `w`, the L2 part not counted.
        let mut slope = self.gradient.to_vec();
        for _ in 0..ROUNDS {
            for _ in 0..PASSES {
                self.descend(&mut w, &mut slope);
            }
            let last = self.width() - 1;
            let active: Vec<usize> = (0..self.width()).filter(|j| w[*j] != 0.0 || *j == last).collect();
            let Some(exact) = self.on_active(&active, &w) else { continue };
            let share = self.toward(&exact, &mut w, &active);
            slope = self.slope(&w);
            let holds = |j: usize| w[j] != 0.0 || j == last || slope[j].abs() <= self.l1(j) * (1.0 + 1e-12);
            if share >= 1.0 && (0..self.width()).all(holds) {
                break;
            }
        }
        w
    }

    /// Goes from `w` toward `exact` until an entry would change its sign, which stops at zero there; returns the share of
    /// the way.
    fn toward(&self, exact: &[f64], w: &mut [f64], active: &[usize]) -> f64 {
        let last = self.width() - 1;
        let flip = |&&j: &&usize| j != last && exact[j] * w[j] <= 0.0;
        let reach = active.iter().filter(flip).map(|&j| (w[j] / (w[j] - exact[j]), j));
        let Some((share, stopped)) = reach.min_by(|a, b| a.0.total_cmp(&b.0)) else {
            w.copy_from_slice(exact);
            return 1.0;
        };
        w.iter_mut().zip(exact).for_each(|(w, exact)| *w += share * (exact - *w));
        w[stopped] = 0.0;
        share.min(1.0 - 1e-12)
    }

    fn slope(&self, w: &[f64]) -> Vec<f64> {
        let change: Vec<f64> = w.iter().zip(self.at).map(|(w, at)| w - at).collect();
        (0..self.width())
            .map(|row| {
                let along: f64 = self.line(row).iter().zip(&change).map(|(h, c)| h * c).sum();
                self.gradient[row] + along + self.damping * self.line(row)[row] * change[row]
            })
            .collect()
    }

    /// One pass of coordinate descent.
    fn descend(&self, w: &mut [f64], slope: &mut [f64]) {
        for j in 0..self.width() {
            let curvature = self.diagonal(j);
            if curvature <= 0.0 {
                continue;
            }
            let pull = curvature * w[j] - slope[j];
            let shrunk = pull.signum() * (pull.abs() - self.l1(j)).max(0.0);
            let next = shrunk / (curvature + self.l2(j));
            let change = next - w[j];
            if change != 0.0 {
                w[j] = next;
                slope.iter_mut().zip(self.line(j)).for_each(|(slope, h)| *slope += h * change);
                slope[j] += self.damping * self.line(j)[j] * change;
            }
        }
    }

    /// The least value with the signs of `w` where it is active and zero elsewhere.
    fn on_active(&self, active: &[usize], w: &[f64]) -> Option<Vec<f64>> {
        let matrix = DMatrix::from_fn(active.len(), active.len(), |a, b| {
            let (row, column) = (active[a], active[b]);
            let extra = if a == b { self.l2(row) + self.damping * self.line(row)[row] } else { 0.0 };
            self.line(row)[column] + extra
        });
        let wanted = DVector::from_iterator(
            active.len(),
            active.iter().map(|&row| {
                let along: f64 = self.line(row).iter().zip(self.at).map(|(h, at)| h * at).sum();
                let along = along + self.damping * self.line(row)[row] * self.at[row];
                let sign = if w[row] == 0.0 { 0.0 } else { w[row].signum() };
                along - self.gradient[row] - self.l1(row) * sign
            }),
        );
        let solved = matrix.cholesky()?.solve(&wanted);
        let mut out = vec![0.0; self.width()];
        active.iter().zip(solved.iter()).for_each(|(&row, value)| out[row] = *value);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_least_value_meets_its_own_conditions(
            numbers in prop::collection::vec(-1.0_f64..1.0, 36 + 12),
            l1 in 0.0_f64..0.4,
            l2 in 0.0_f64..0.4,
        ) {
            let root = DMatrix::from_column_slice(6, 6, &numbers[..36]);
            let curvature = &root * root.transpose() + DMatrix::identity(6, 6) * 0.05;
            let at = &numbers[36..42];
            let gradient = &numbers[42..48];
            let flat: Vec<f64> = curvature.iter().copied().collect();
            let quadratic = Quadratic { at, gradient, curvature: &flat, damping: 0.0, l1, l2 };
            let w = quadratic.minimise();
            let slope = quadratic.slope(&w);
            for j in 0..6 {
                let smooth = slope[j] + quadratic.l2(j) * w[j];
                let fits = if w[j] == 0.0 {
                    smooth.abs() <= quadratic.l1(j) + 1e-7
                } else {
                    (smooth + quadratic.l1(j) * w[j].signum()).abs() < 1e-7
                };
                prop_assert!(fits, "entry {j}: w {} slope {smooth} l1 {}", w[j], quadratic.l1(j));
            }
        }
    }
}
