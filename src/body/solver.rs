//! Fits the coordinates to one frame of keypoints: damped Gauss–Newton on the manifold, within limits.
//!
//! The cost is a sum of squares: keypoint distances (weighed by confidence, outliers weighed down), the distance to a
//! predicted posture, the distance of the joints to their rest, and depths below the floor. Lengths are metres, angles
//! radians, so a weight on an angle is square metres per square radian.

use mimicd_rat::{QPOS_LEN, QVEL_LEN, RatModel};

use super::floor::{Floor, FloorWeights};
use super::math::{Vec3, dot, minus};
use super::normal::Normal;
use super::tree::{Posture, ROOT_DOFS, Tree, difference, integrate};

/// Keypoints on one chain at most: the deepest chain that can carry one.
const CHAIN_MAX: usize = QVEL_LEN;
/// Least and greatest damping, relative to the mean of the diagonal.
const DAMPING: [f64; 2] = [1e-6, 1e3];
/// Times that a step is solved again around joints put on their bounds.
const BOUND_PASSES: usize = 4;
/// An iteration that gains less than this fraction is the last.
const GAIN_MIN: f64 = 1e-4;

/// Where the keypoints are on the body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Site {
    pub(super) body: usize,
    pub(super) offset_m: Vec3,
}

/// One frame's problem, filled anew for each frame.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// Measured keypoints, metres.
    pub(super) targets_m: Vec<Vec3>,
    /// Weight of each, 0 where it is missing.
    pub(super) weights: Vec<f64>,
    /// Distance at which a keypoint counts half, metres.
    pub(super) outlier_m: f64,
    /// The predicted posture.
    pub(super) predicted: [f64; QPOS_LEN],
    /// Pull towards it: 1 (translations), m²/rad² (rotations).
    pub(super) pull: [f64; QVEL_LEN],
    /// Joints at rest, radians, by velocity (the root's entries are not used).
    pub(super) rest_rad: [f64; QVEL_LEN],
    /// Pull towards rest, m²/rad².
    pub(super) rest_pull: [f64; QVEL_LEN],
    /// Bounds of the joints in this frame, radians, by velocity (the root's entries are not used).
    pub(super) bounds_rad: [[f64; 2]; QVEL_LEN],
    /// Weight of depth below the floor.
    pub(super) floor_weights: FloorWeights,
    /// Height of the floor, metres.
    pub(super) floor_m: f64,
    /// Iterations at most.
    pub(super) iterations_max: u8,
}

/// How a fit went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// Iterations done, counting refused steps.
    pub(super) iterations: u8,
    /// Cost at the end, m².
    pub(super) cost: f64,
}

/// Working memory of the fit.
#[derive(Clone, Debug)]
pub(super) struct Solver {
    pub(super) tree: Tree,
    pub(super) floor: Floor,
    pub(super) sites: Vec<Site>,
    pub(super) posture: Posture,
    trial: Posture,
    normal: Normal,
    damped: Normal,
    columns: [Vec3; CHAIN_MAX],
    damping: f64,
    robust: Vec<f64>,
}

impl Solver {
    pub(super) fn new(rat: &RatModel, sites: Vec<Site>) -> Self {
        let tree = Tree::new(rat);
        let bodies: Vec<usize> = sites.iter().map(|site| site.body).collect();
        let normal = Normal::new(tree.ancestors().to_vec());
        Self {
            floor: Floor::new(rat, &tree, &bodies),
            posture: tree.posture(),
            trial: tree.posture(),
            damped: normal.clone(),
            normal,
            columns: [[0.0; 3]; CHAIN_MAX],
            damping: 1e-3,
            robust: vec![0.0; sites.len()],
            sites,
            tree,
        }
    }

    /// An empty problem for this body.
    pub(super) fn problem(&self) -> Problem {
        let mut bounds_rad = [[f64::NEG_INFINITY, f64::INFINITY]; QVEL_LEN];
        bounds_rad[ROOT_DOFS..].copy_from_slice(self.tree.limits_rad());
        Problem {
            targets_m: vec![[0.0; 3]; self.sites.len()],
            weights: vec![0.0; self.sites.len()],
            outlier_m: 0.05,
            predicted: [0.0; QPOS_LEN],
            pull: [0.0; QVEL_LEN],
            rest_rad: [0.0; QVEL_LEN],
            rest_pull: [0.0; QVEL_LEN],
            bounds_rad,
            floor_weights: FloorWeights::NONE,
            floor_m: 0.0,
            iterations_max: 3,
        }
    }

    /// Improves `qpos` on `problem`. [`Solver::posture`] is that of `qpos` afterwards.
    pub(super) fn solve(&mut self, problem: &Problem, qpos: &mut [f64; QPOS_LEN]) -> Outcome {
        clamp(qpos, problem);
        self.tree.forward(qpos, &mut self.posture);
        self.reweigh(problem);
        let mut cost = self.cost_here(problem, qpos, false);
        let mut outcome = Outcome { iterations: 0, cost };
        let mut assembled = false;
        while outcome.iterations < problem.iterations_max {
            outcome.iterations += 1;
            if !assembled {
                self.assemble(problem, qpos);
                assembled = true;
            }
            let mut next = *qpos;
            let mut next_cost = f64::INFINITY;
            if let Some(step) = self.step(problem, qpos) {
                next = integrate(qpos, &step);
                clamp(&mut next, problem);
                self.tree.forward(&next, &mut self.trial);
                next_cost = self.cost_here(problem, &next, true);
            }
            if !(next_cost <= cost) {
                self.damping = (self.damping * 10.0).clamp(DAMPING[0], DAMPING[1]);
                continue;
            }
            let gain = (cost - next_cost) / cost.max(f64::MIN_POSITIVE);
            *qpos = next;
            std::mem::swap(&mut self.posture, &mut self.trial);
            self.damping = (self.damping * 0.3).clamp(DAMPING[0], DAMPING[1]);
            self.reweigh(problem);
            cost = self.cost_here(problem, qpos, false);
            outcome.cost = cost;
            assembled = false;
            if gain < GAIN_MIN {
                break;
            }
        }
        outcome
    }

    /// Distance of keypoint `index` to its target at the present posture.
    pub(super) fn residual(&self, problem: &Problem, index: usize) -> Vec3 {
        let site = &self.sites[index];
        minus(self.posture.point_m(site.body, site.offset_m), problem.targets_m[index])
    }

    /// A keypoint far off counts less: the weight of a Geman–McClure kernel at the present distance.
    fn reweigh(&mut self, problem: &Problem) {
        for index in 0..self.sites.len() {
            let weight = problem.weights[index];
            self.robust[index] = if weight > 0.0 {
                let residual = self.residual(problem, index);
                let ratio = 1.0 + dot(residual, residual) / (problem.outlier_m * problem.outlier_m);
                weight / (ratio * ratio)
            } else {
                0.0
            };
        }
    }

    /// Cost at `qpos` (without the tail's part), whose posture is the trial one or the present one.
    fn cost_here(&mut self, problem: &Problem, qpos: &[f64; QPOS_LEN], trial: bool) -> f64 {
        let posture = if trial { &self.trial } else { &self.posture };
        let mut cost = 0.0;
        for (index, site) in self.sites.iter().enumerate().filter(|(index, _)| self.robust[*index] > 0.0) {
            let residual = minus(posture.point_m(site.body, site.offset_m), problem.targets_m[index]);
            cost += 0.5 * self.robust[index] * dot(residual, residual);
        }
        let apart = difference(&problem.predicted, qpos);
        let free = self.floor.free_dofs();
        for dof in (0..QVEL_LEN).filter(|&dof| !free[dof]) {
            cost += 0.5 * problem.pull[dof] * apart[dof] * apart[dof];
            if dof >= ROOT_DOFS {
                let from_rest = qpos[dof + 1] - problem.rest_rad[dof];
                cost += 0.5 * problem.rest_pull[dof] * from_rest * from_rest;
            }
        }
        if problem.floor_weights != FloorWeights::NONE {
            self.floor.find(posture, problem.floor_m);
            cost += self.floor.cost(problem.floor_weights);
        }
        cost
    }

    fn assemble(&mut self, problem: &Problem, qpos: &[f64; QPOS_LEN]) {
        self.normal.clear();
        for (index, site) in self.sites.iter().enumerate() {
            let weight = self.robust[index];
            if weight <= 0.0 {
                continue;
            }
            let point = self.posture.point_m(site.body, site.offset_m);
            let chain = self.tree.chain(site.body);
            for (column, &dof) in self.columns.iter_mut().zip(chain) {
                *column = self.posture.column(usize::from(dof), point);
            }
            let residual = minus(point, problem.targets_m[index]);
            self.normal.add_point(chain, &self.columns[..chain.len()], residual, weight);
        }
        let apart = difference(&problem.predicted, qpos);
        for dof in 0..QVEL_LEN {
            self.normal.add_diagonal(dof, apart[dof], problem.pull[dof]);
        }
        for dof in ROOT_DOFS..QVEL_LEN {
            self.normal.add_diagonal(dof, qpos[dof + 1] - problem.rest_rad[dof], problem.rest_pull[dof]);
        }
        if problem.floor_weights != FloorWeights::NONE {
            self.floor.find(&self.posture, problem.floor_m);
            self.floor.push(&self.tree, &self.posture, problem.floor_weights, &mut self.normal);
        }
    }

    /// The damped step within the bounds: joints that would leave them are put on them and the rest is solved again.
    fn step(&mut self, problem: &Problem, qpos: &[f64; QPOS_LEN]) -> Option<[f64; QVEL_LEN]> {
        let damping = self.damping * self.normal.mean_diagonal();
        let mut fixed = blocked(problem, qpos, &self.normal.gradient);
        let mut step = [0.0; QVEL_LEN];
        for _ in 0..BOUND_PASSES {
            self.damped.copy_damped(&self.normal, damping);
            self.damped.fix(&fixed);
            if !self.damped.solve(&mut step) {
                return None;
            }
            let mut within = true;
            for dof in ROOT_DOFS..QVEL_LEN {
                let [low, high] = problem.bounds_rad[dof].map(|bound| bound - qpos[dof + 1]);
                if fixed[dof].is_nan() && !(low..=high).contains(&step[dof]) {
                    fixed[dof] = step[dof].max(low).min(high);
                    within = false;
                }
            }
            if within {
                break;
            }
        }
        Some(step)
    }
}

/// A step of 0 for joints that sit at a bound and would go through it, NaN for all others.
fn blocked(problem: &Problem, qpos: &[f64; QPOS_LEN], gradient: &[f64; QVEL_LEN]) -> [f64; QVEL_LEN] {
    let mut fixed = [f64::NAN; QVEL_LEN];
    for dof in ROOT_DOFS..QVEL_LEN {
        let [low, high] = problem.bounds_rad[dof];
        let value = qpos[dof + 1];
        if (value <= low && gradient[dof] > 0.0) || (value >= high && gradient[dof] < 0.0) {
            fixed[dof] = 0.0;
        }
    }
    fixed
}

/// Puts every joint within its bounds.
fn clamp(qpos: &mut [f64; QPOS_LEN], problem: &Problem) {
    for dof in ROOT_DOFS..QVEL_LEN {
        let [low, high] = problem.bounds_rad[dof];
        qpos[dof + 1] = qpos[dof + 1].max(low).min(high);
    }
}
