//! Normal equations on the kinematic tree.
//!
//! Two velocities are coupled only if one hangs from the other, and factoring deepest-first adds no coupling
//! (Featherstone's LᵀL), so the 73 × 73 system costs a few thousand operations.

use mimicd_rat::QVEL_LEN;

use super::math::{Vec3, dot};

const N: usize = QVEL_LEN;

/// `H step = -gradient`; row `i` of `H` holds only `i` and the velocities it hangs from.
#[derive(Clone, Debug)]
pub(super) struct Normal {
    h: Vec<[f64; N]>,
    pub(super) gradient: [f64; N],
    ancestors: Vec<Vec<u8>>,
}

impl Normal {
    /// `ancestors[i]`: what velocity `i` hangs from, deepest first.
    pub(super) fn new(ancestors: Vec<Vec<u8>>) -> Self {
        Self { h: vec![[0.0; N]; N], gradient: [0.0; N], ancestors }
    }

    pub(super) fn clear(&mut self) {
        for (row, ancestors) in self.h.iter_mut().zip(&self.ancestors) {
            for &column in ancestors {
                row[usize::from(column)] = 0.0;
            }
        }
        (0..N).for_each(|dof| self.h[dof][dof] = 0.0);
        self.gradient = [0.0; N];
    }

    /// Adds `weight/2 · |residual|²` where `columns[i]` is the derivative of the residual by velocity `chain[i]`.
    pub(super) fn add_point(&mut self, chain: &[u8], columns: &[Vec3], residual: Vec3, weight: f64) {
        for (depth, (&dof, &column)) in chain.iter().zip(columns).enumerate() {
            let weighted = column.map(|value| weight * value);
            self.gradient[usize::from(dof)] += dot(weighted, residual);
            let row = &mut self.h[usize::from(dof)];
            for (&other, &across) in chain[depth..].iter().zip(&columns[depth..]) {
                row[usize::from(other)] += dot(weighted, across);
            }
        }
    }

    /// The same for one scalar residual.
    pub(super) fn add_row(&mut self, chain: &[u8], slopes: &[f64], residual: f64, weight: f64) {
        for (depth, (&dof, &slope)) in chain.iter().zip(slopes).enumerate() {
            let weighted = weight * slope;
            self.gradient[usize::from(dof)] += weighted * residual;
            let row = &mut self.h[usize::from(dof)];
            for (&other, &across) in chain[depth..].iter().zip(&slopes[depth..]) {
                row[usize::from(other)] += weighted * across;
            }
        }
    }

    /// Adds `weight/2 · residual²` on one velocity.
    #[inline]
    pub(super) fn add_diagonal(&mut self, dof: usize, residual: f64, weight: f64) {
        self.gradient[dof] += weight * residual;
        self.h[dof][dof] += weight;
    }

    /// Mean of the diagonal: the scale that damping is relative to.
    pub(super) fn mean_diagonal(&self) -> f64 {
        (0..N).map(|dof| self.h[dof][dof]).sum::<f64>() / N as f64
    }

    /// Gives velocities a step beforehand (NaN leaves one free): the others are then solved around them.
    pub(super) fn fix(&mut self, steps: &[f64; N]) {
        for dof in 0..N {
            for &other in &self.ancestors[dof] {
                let other = usize::from(other);
                let coupling = self.h[dof][other];
                if coupling == 0.0 || (steps[dof].is_nan() && steps[other].is_nan()) {
                    continue;
                }
                if !steps[other].is_nan() {
                    self.gradient[dof] += coupling * steps[other];
                }
                if !steps[dof].is_nan() {
                    self.gradient[other] += coupling * steps[dof];
                }
                self.h[dof][other] = 0.0;
            }
        }
        for dof in (0..N).filter(|&dof| !steps[dof].is_nan()) {
            self.h[dof][dof] = 1.0;
            self.gradient[dof] = -steps[dof];
        }
    }

    /// Copies the system of `other`, damped.
    pub(super) fn copy_damped(&mut self, other: &Self, damping: f64) {
        for (dof, (row, from)) in self.h.iter_mut().zip(&other.h).enumerate() {
            row[..=dof].copy_from_slice(&from[..=dof]);
            row[dof] += damping;
        }
        self.gradient = other.gradient;
    }

    /// Factors in place and gives the step; `false` where the system is not positive definite.
    pub(super) fn solve(&mut self, step: &mut [f64; N]) -> bool {
        if !self.factor() {
            return false;
        }
        *step = self.gradient.map(|value| -value);
        for dof in (0..N).rev() {
            step[dof] /= self.h[dof][dof];
            let value = step[dof];
            if value != 0.0 {
                for &other in &self.ancestors[dof] {
                    step[usize::from(other)] -= self.h[dof][usize::from(other)] * value;
                }
            }
        }
        for dof in 0..N {
            let mut value = step[dof];
            for &other in &self.ancestors[dof] {
                value -= self.h[dof][usize::from(other)] * step[usize::from(other)];
            }
            step[dof] = value / self.h[dof][dof];
        }
        step.iter().all(|value| value.is_finite())
    }

    fn factor(&mut self) -> bool {
        for dof in (0..N).rev() {
            let (above, rest) = self.h.split_at_mut(dof);
            let row = &mut rest[0];
            let pivot = row[dof];
            if !(pivot > 0.0 && pivot.is_finite()) {
                return false;
            }
            let pivot = pivot.sqrt();
            row[dof] = pivot;
            let ancestors = &self.ancestors[dof];
            for &other in ancestors {
                row[usize::from(other)] /= pivot;
            }
            for (depth, &other) in ancestors.iter().enumerate() {
                let value = row[usize::from(other)];
                if value == 0.0 {
                    continue;
                }
                let target = &mut above[usize::from(other)];
                for &across in &ancestors[depth..] {
                    target[usize::from(across)] -= value * row[usize::from(across)];
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrix, DVector};

    use super::{N, Normal};

    /// A tree: a stem of ten, then three branches.
    fn ancestors() -> Vec<Vec<u8>> {
        (0..N)
            .map(|dof| {
                let parent = |dof: usize| match dof {
                    0 => None,
                    10 | 30 | 50 => Some(9),
                    _ => Some(dof - 1),
                };
                std::iter::successors(parent(dof), |&dof| parent(dof)).map(|dof| dof as u8).collect()
            })
            .collect()
    }

    #[test]
    fn the_sparse_solution_is_the_dense_one() {
        let tree = ancestors();
        let mut normal = Normal::new(tree.clone());
        let mut dense = DMatrix::<f64>::zeros(N, N);
        let mut gradient = DVector::<f64>::zeros(N);
        for leaf in [29_usize, 49, 72, 40, 9] {
            let mut chain = vec![leaf as u8];
            chain.extend(&tree[leaf]);
            let columns: Vec<[f64; 3]> = chain
                .iter()
                .map(|&dof| [1.0, 2.0, 3.0].map(|k: f64| (k * f64::from(dof) + leaf as f64).sin()))
                .collect();
            normal.add_point(&chain, &columns, [0.1, -0.2, 0.3], 2.0);
            for (&a, p) in chain.iter().zip(&columns) {
                gradient[usize::from(a)] += 2.0 * (0.1 * p[0] - 0.2 * p[1] + 0.3 * p[2]);
                for (&b, q) in chain.iter().zip(&columns) {
                    dense[(usize::from(a), usize::from(b))] += 2.0 * (p[0] * q[0] + p[1] * q[1] + p[2] * q[2]);
                }
            }
        }
        for dof in 0..N {
            normal.add_diagonal(dof, 0.0, 0.5);
            dense[(dof, dof)] += 0.5;
        }
        let mut step = [0.0; N];
        assert!(normal.solve(&mut step));
        let truth = dense.cholesky().unwrap().solve(&-gradient);
        assert!(step.iter().zip(truth.iter()).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn the_others_are_solved_around_a_fixed_step() {
        let mut normal = Normal::new(ancestors());
        let chain: Vec<u8> = (0..10).rev().collect();
        normal.add_row(&chain, &[1.0; 10], 1.0, 1.0);
        (0..N).for_each(|dof| normal.add_diagonal(dof, 0.0, 1.0));
        let mut fixed = [f64::NAN; N];
        fixed[4] = 0.5;
        normal.fix(&fixed);
        let mut step = [0.0; N];
        assert!(normal.solve(&mut step));
        assert_eq!(step[4], 0.5);
        // Nine equal steps s: s + (1 + 0.5 + 9 s) = 0.
        assert!((0..10).filter(|&dof| dof != 4).all(|dof| (step[dof] + 0.15).abs() < 1e-12));
    }

    #[test]
    fn an_indefinite_system_is_refused() {
        let mut normal = Normal::new(ancestors());
        assert!(!normal.solve(&mut [0.0; N]));
    }
}
