//! The pose step: every chosen frame on its own, from where its last round left it.

use mimicd_rat::{QPOS_LEN, RatModel};
use nalgebra::{DMatrix, DVector};

use super::FitOptions;
use super::groups::Groups;
use crate::body::cold::Cold;
use crate::body::intake::judge;
use crate::body::math::{Vec3, length, minus, rotate_back};
use crate::body::registrar::arrange;
use crate::body::solver::{Problem, Solver};
use crate::body::tree::ROOT_DOFS;
use crate::body::tuning::STOCK_SCALE;
use crate::body::{BodyError, Subject};
use crate::pose::Keypoint;

/// Pull towards where the last round left a frame: (root m², root m²/rad², joints m²/rad²). It only steadies the step.
const PULLS: [f64; 3] = [1e-4, 1e-7, 1e-7];

/// One keypoint over all frames of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeypointSum {
    /// Weighted sum of where it was seen, in its body's frame.
    pub(super) local_m: Vec3,
    pub(super) weight: f64,
    pub(super) residual_m: f64,
    pub(super) count: f64,
}

/// What a round of pose steps found.
#[derive(Clone, Debug)]
pub(super) struct RoundSums {
    pub(super) keypoints: Vec<KeypointSum>,
    /// Normal equations of the relative lengths: of each group, and of everything (last).
    pub(super) lengths: DMatrix<f64>,
    pub(super) pushes: DVector<f64>,
    /// How often each hinge was at a limit, 0 to 1.
    pub(super) at_limit: Vec<f64>,
}

/// Poses of the chosen frames.
#[derive(Clone, Debug)]
pub(super) struct Poses {
    known: Vec<Option<[f64; QPOS_LEN]>>,
}

impl Poses {
    pub(super) fn new(frames: usize) -> Self {
        Self { known: vec![None; frames] }
    }

    /// Fits every frame to the subject as it is.
    pub(super) fn step(
        &mut self,
        rat: &RatModel,
        subject: &Subject,
        names: &[String],
        frames: &[&[Keypoint]],
        options: &FitOptions,
    ) -> Result<RoundSums, BodyError> {
        let (sites, own, trunk) = arrange(rat, subject, names)?;
        let groups = Groups::new(rat, subject, &sites);
        let mut solver = Solver::new(rat, sites);
        let mut problem = solver.problem();
        problem.floor_m = subject.floor_m;
        let reference = rat.reference_qpos();
        problem.rest_rad[ROOT_DOFS..].copy_from_slice(&reference[ROOT_DOFS + 1..]);
        problem.rest_pull[ROOT_DOFS..].fill(options.rest_pull * (subject.scale / STOCK_SCALE).powi(2));
        let cold = Cold { reference, trunk, scale: subject.scale };
        let mut sums = RoundSums::new(names.len(), groups.len(), solver.tree.limits_rad().len());
        for (frame, known) in frames.iter().zip(&mut self.known) {
            if !fill(frame, &own, &mut problem) {
                continue;
            }
            let Some(start) = known.or_else(|| Some(cold.fit(&mut solver, &mut problem, &options.tuning)?.0)) else {
                continue;
            };
            *known = Some(improve(&mut solver, &mut problem, start, options));
            sums.add(&solver, &problem, &groups, &known.unwrap_or(start));
        }
        Ok(sums)
    }
}

/// Targets and weights of a frame; `false` where nothing can be used.
fn fill(frame: &[Keypoint], own: &[f64], problem: &mut Problem) -> bool {
    for (index, own) in own.iter().enumerate() {
        let keypoint = frame.get(index).copied().unwrap_or(Keypoint::MISSING);
        problem.weights[index] = own * judge(&keypoint).0;
        problem.targets_m[index] = keypoint.xyz_m;
    }
    problem.weights.iter().any(|&weight| weight > 0.0)
}

fn improve(
    solver: &mut Solver,
    problem: &mut Problem,
    start: [f64; QPOS_LEN],
    options: &FitOptions,
) -> [f64; QPOS_LEN] {
    problem.predicted = start;
    problem.pull[..3].fill(PULLS[0]);
    problem.pull[3..ROOT_DOFS].fill(PULLS[1]);
    problem.pull[ROOT_DOFS..].fill(PULLS[2]);
    problem.bounds_rad[ROOT_DOFS..].copy_from_slice(solver.tree.limits_rad());
    problem.iterations_max = options.tuning.iterations_max;
    problem.outlier_m = options.tuning.outlier_m;
    problem.floor_weights = options.tuning.floor();
    let mut qpos = start;
    solver.solve(problem, &mut qpos);
    qpos
}

impl RoundSums {
    fn new(keypoints: usize, groups: usize, hinges: usize) -> Self {
        Self {
            keypoints: vec![KeypointSum::default(); keypoints],
            lengths: DMatrix::zeros(groups, groups),
            pushes: DVector::zeros(groups),
            at_limit: vec![0.0; hinges],
        }
    }

    fn add(&mut self, solver: &Solver, problem: &Problem, groups: &Groups, qpos: &[f64; QPOS_LEN]) {
        for (index, sum) in self.keypoints.iter_mut().enumerate() {
            let weight = problem.weights[index];
            if weight <= 0.0 {
                continue;
            }
            let body = solver.sites[index].body;
            let away = minus(problem.targets_m[index], solver.posture.body_m[body]);
            let local = rotate_back(&solver.posture.rotation[body], away);
            (0..3).for_each(|axis| sum.local_m[axis] += weight * local[axis]);
            let residual = solver.residual(problem, index);
            sum.weight += weight;
            sum.residual_m += length(residual);
            sum.count += 1.0;
            groups.add(&solver.posture, index, residual, weight, &mut self.lengths, &mut self.pushes);
        }
        for (hinge, limits) in solver.tree.limits_rad().iter().enumerate() {
            let value = qpos[7 + hinge];
            self.at_limit[hinge] += f64::from(u8::from(value <= limits[0] || value >= limits[1]));
        }
    }

    /// Mean distance over frames and keypoints, metres.
    pub(super) fn mean_m(&self) -> f64 {
        let (sum, count) = self.keypoints.iter().fold((0.0, 0.0), |(a, b), k| (a + k.residual_m, b + k.count));
        sum / f64::max(count, 1.0)
    }

    /// Mean distance of each keypoint, metres; NaN where it was never seen.
    pub(super) fn keypoint_m(&self) -> Vec<f64> {
        self.keypoints.iter().map(|k| if k.count > 0.0 { k.residual_m / k.count } else { f64::NAN }).collect()
    }
}
