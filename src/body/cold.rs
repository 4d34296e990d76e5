//! Fits from nothing: the trunk as a rigid body, then all joints held, then all joints free.

use mimicd_rat::QPOS_LEN;

use super::align;
use super::floor::FloorWeights;
use super::solver::{Problem, Solver};
use super::tree::ROOT_DOFS;
use super::tuning::{STOCK_SCALE, Tuning};

/// Pull of the joints towards the reference posture in the two stages, m²/rad².
const PULLS: [f64; 2] = [1e-3, 1e-6];
/// Distance at which a keypoint counts a quarter, metres: at first nothing is known.
const OUTLIER_M: f64 = 0.2;

/// Single iterations at most until the tail is above the floor, to this depth, metres.
const SETTLE_MAX: u8 = 30;
const SETTLED_M: f64 = 0.5e-3;

/// What a cold start starts from.
#[derive(Clone, Debug)]
pub(super) struct Cold {
    /// The posture whose joints are tried first; its root is at the origin, unturned.
    pub(super) reference: [f64; QPOS_LEN],
    /// Keypoints that place the animal.
    pub(super) trunk: Vec<bool>,
    /// Scale of the body.
    pub(super) scale: f64,
}

impl Cold {
    /// The posture that fits the problem's targets, and the iterations that it took; `None` with too few keypoints.
    ///
    /// The problem's predictions, pulls and bounds are changed.
    pub(super) fn fit(
        &self,
        solver: &mut Solver,
        problem: &mut Problem,
        tuning: &Tuning,
    ) -> Option<([f64; QPOS_LEN], u8)> {
        solver.tree.forward(&self.reference, &mut solver.posture);
        let pair = |index: usize| {
            let site = &solver.sites[index];
            (solver.posture.point_m(site.body, site.offset_m), problem.targets_m[index], problem.weights[index])
        };
        let trunk = (0..solver.sites.len()).filter(|&index| self.trunk[index]).map(pair);
        let (translation, quaternion) =
            align::rigid(trunk).or_else(|| align::rigid((0..solver.sites.len()).map(pair)))?;
        let mut qpos = self.reference;
        // The reference has its root at the origin, unturned, so the motion of the body is the root itself.
        qpos[..3].copy_from_slice(&translation);
        qpos[3..7].copy_from_slice(&quaternion);
        problem.outlier_m = OUTLIER_M;
        problem.floor_weights = tuning.floor();
        problem.iterations_max = tuning.cold_iterations_max;
        problem.bounds_rad[ROOT_DOFS..].copy_from_slice(solver.tree.limits_rad());
        let mut iterations = 0_u8;
        let squared = (self.scale / STOCK_SCALE).powi(2);
        for joints in PULLS.map(|pull| squared * pull) {
            problem.predicted = qpos;
            problem.pull[..ROOT_DOFS].fill(1e-9);
            problem.pull[ROOT_DOFS..].fill(joints);
            iterations = iterations.saturating_add(solver.solve(problem, &mut qpos).iterations);
        }
        let settling = settle(solver, problem, &mut qpos);
        Some((qpos, iterations.saturating_add(settling)))
    }
}

/// Lifts what no keypoint holds (the tail) out of the floor: the solver ends as soon as what keypoints see stands still.
fn settle(solver: &mut Solver, problem: &mut Problem, qpos: &mut [f64; QPOS_LEN]) -> u8 {
    problem.iterations_max = 1;
    for iteration in 0..SETTLE_MAX {
        let contacts = solver.floor.find(&solver.posture, problem.floor_m);
        let below = problem.floor_weights != FloorWeights::NONE && contacts.iter().any(|c| c.depth_m > SETTLED_M);
        if !below {
            return iteration;
        }
        problem.predicted = *qpos;
        solver.solve(problem, qpos);
    }
    SETTLE_MAX
}
