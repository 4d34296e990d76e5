//! Frame after frame: where the animal was, what is seen now, where it is.

use mimicd_device::Integrity;
use mimicd_rat::{QPOS_LEN, QVEL_LEN, RatModel};

use super::cold::Cold;
use super::error::BodyError;
use super::floor::observed;
use super::intake::Intake;
use super::known::known;
use super::math::length;
use super::refine::Refiner;
use super::solver::{Problem, Site, Solver};
use super::state::{BodyFlags, BodyState, KeypointFlags};
use super::subject::{Subject, unnamed};
use super::tree::{ROOT_DOFS, difference, integrate};
use super::tuning::{STOCK_SCALE, Tuning};
use crate::pose::Keypoint;

/// No joint of a rat turns faster, rad/s (the fastest of the published reference clips does 16).
const JOINT_RATE_MAX: f64 = 30.0;
/// Joints of a limb that comes back after a gap turn no faster until it has caught up, rad/s (4.5° a frame at 50 Hz).
const RETURN_RATE_MAX: f64 = 3.9;
/// Frames for which that holds, after a gap and after a frame or a few without a keypoint beyond the joint.
const RETURN_FRAMES: u8 = 25;
const RETURN_FRAMES_SHORT: u8 = 4;
/// No rat runs faster, m/s.
const ROOT_SPEED_MAX: f64 = 4.0;
/// Mean distance of the keypoints beyond which they do not fit the stock body, metres.
const POOR_M: f32 = 0.015;
/// Frames of poor fit in a row after which the track counts as lost.
const POOR_FRAMES: u16 = 10;
/// Frames between two attempts to start anew.
const RESTART_FRAMES: u16 = 25;
/// A kept keypoint farther than this many outlier distances from the body hardly counted.
const OUTLIER_RATIO: f32 = 1.0;

/// The registration of one animal. [`Registrar::register`] does not allocate.
#[derive(Clone, Debug)]
pub struct Registrar {
    pub(super) solver: Solver,
    pub(super) tuning: Tuning,
    problem: Problem,
    intake: Intake,
    cold: Cold,
    refiner: Option<Refiner>,
    observed: [bool; QVEL_LEN],
    supported: [bool; QVEL_LEN],
    returning: [u8; QVEL_LEN],
    period_s: f64,
    floor_m: f64,
    /// Mean distance of the keypoints beyond which they do not fit the body, metres.
    poor_m: f32,
    qpos: [f64; QPOS_LEN],
    velocity: [f64; QVEL_LEN],
    /// The velocity smoothed: what prediction and pulls go by.
    trend: [f64; QVEL_LEN],
    /// How hard each joint is held against `pull_joint`: what keypoints tell little of must not swing with their noise.
    firmness: [f64; QVEL_LEN],
    /// Each joint's share in [`liveliness`](Self::liveliness): they sum to 1.
    share: [f64; QVEL_LEN],
    tracking: bool,
    poor_frames: u16,
    since_start: u16,
}

impl Registrar {
    /// A registration of keypoints `names` (in this order in every frame) at `rate_hz`.
    ///
    /// # Errors
    /// A subject that names bodies the rat does not have, or too few of its keypoints among `names`.
    pub fn new(
        rat: &RatModel,
        subject: &Subject,
        names: &[String],
        rate_hz: f64,
        tuning: Tuning,
    ) -> Result<Self, BodyError> {
        let (sites, own, trunk) = arrange(rat, subject, names)?;
        let tuning = tuning.at_scale(subject.scale);
        let solver = Solver::new(rat, sites);
        let used: Vec<usize> = (0..own.len()).filter(|&index| own[index] > 0.0).collect();
        let bodies: Vec<usize> = used.iter().map(|&index| solver.sites[index].body).collect();
        let observed = observed(&solver.tree, &bodies);
        let mut problem = solver.problem();
        problem.floor_m = subject.floor_m;
        let reference = rat.reference_qpos();
        problem.rest_rad[ROOT_DOFS..].copy_from_slice(&reference[ROOT_DOFS + 1..]);
        for dof in ROOT_DOFS..QVEL_LEN {
            problem.rest_pull[dof] = if observed[dof] { tuning.rest_pull } else { tuning.rest_pull_unseen };
        }
        let known = known(&solver.tree, &solver.sites, &used, &reference);
        let firmness = known.map(|deviation| (deviation / tuning.unsure_rad).powf(tuning.unsure_power));
        let looseness: f64 = firmness[ROOT_DOFS..].iter().map(|firmness| 1.0 / firmness).sum();
        Ok(Self {
            problem,
            intake: Intake::new(own),
            qpos: reference,
            cold: Cold { reference, trunk, scale: subject.scale },
            refiner: None,
            observed,
            supported: [false; QVEL_LEN],
            returning: [0; QVEL_LEN],
            period_s: 1.0 / rate_hz,
            floor_m: subject.floor_m,
            poor_m: POOR_M * (subject.scale / STOCK_SCALE) as f32,
            velocity: [0.0; QVEL_LEN],
            trend: [0.0; QVEL_LEN],
            share: firmness.map(|firmness| 1.0 / (firmness * looseness)),
            firmness,
            tracking: false,
            poor_frames: 0,
            since_start: RESTART_FRAMES,
            solver,
            tuning,
        })
    }

    /// Keeps refining the keypoints' offsets from now on, forgetting over `memory_s` seconds.
    pub fn refine_offsets(&mut self, memory_s: f64) {
        self.refiner = Some(Refiner::new(&self.solver, memory_s, 1.0 / self.period_s));
    }

    /// Where keypoint `index` is on its body now, metres: the subject's offset, or what the refinement made of it.
    pub fn offset_m(&self, index: usize) -> [f64; 3] {
        self.solver.sites[index].offset_m
    }

    /// Forgets the animal: the next frame is a cold start.
    pub fn reset(&mut self) {
        self.tracking = false;
        self.since_start = RESTART_FRAMES;
        self.velocity = [0.0; QVEL_LEN];
        self.trend = [0.0; QVEL_LEN];
        self.returning = [0; QVEL_LEN];
        self.intake.forget();
    }

    /// Fits the body to one frame. Never fails: what is wrong is flagged in `out`.
    pub fn register(&mut self, keypoints: &[Keypoint], out: &mut BodyState) {
        out.flags = BodyFlags::empty();
        out.iterations = 0;
        let used = self.intake.fill(keypoints, &mut self.problem, &mut out.keypoint_flags);
        self.since_start = self.since_start.saturating_add(1);
        self.note_support();
        let before = self.qpos;
        let tracked = self.tracking;
        if used == 0 {
            out.flags |= BodyFlags::NO_DATA;
        } else if !self.tracking {
            self.start(out);
        } else {
            self.track(out);
            if self.lost() {
                self.restart(out);
            }
        }
        self.note_motion(&before, tracked, out);
        self.report(out);
        if let Some(refiner) = &self.refiner {
            refiner.learn(&mut self.solver, &self.problem, out);
        }
    }

    /// Marks the velocities that some keypoint of this frame moves, and limbs that come back.
    fn note_support(&mut self) {
        let before = std::mem::replace(&mut self.supported, [false; QVEL_LEN]);
        for turn in &mut self.returning {
            *turn = turn.saturating_sub(1);
        }
        for (index, site) in self.solver.sites.iter().enumerate() {
            if self.problem.weights[index] <= 0.0 {
                continue;
            }
            let returning = self.intake.returning(index);
            for &dof in self.solver.tree.chain(site.body) {
                self.supported[usize::from(dof)] = true;
                if returning && usize::from(dof) >= ROOT_DOFS {
                    self.returning[usize::from(dof)] = RETURN_FRAMES;
                }
            }
        }
        for dof in (ROOT_DOFS..QVEL_LEN).filter(|&dof| self.supported[dof] && !before[dof]) {
            self.returning[dof] = self.returning[dof].max(RETURN_FRAMES_SHORT);
        }
    }

    /// Follows the animal from the frame before.
    fn track(&mut self, out: &mut BodyState) {
        self.set_prediction();
        self.problem.iterations_max = self.tuning.iterations_max;
        self.problem.outlier_m = self.tuning.outlier_m;
        self.problem.floor_weights = self.tuning.floor();
        self.set_bounds();
        let mut qpos = self.problem.predicted;
        let outcome = self.solver.solve(&self.problem, &mut qpos);
        out.iterations = outcome.iterations;
        self.accept(qpos, out);
    }

    /// A part that moves is expected to go on and held loosely; one that rests is expected to stay and held hard, the harder
    /// the less its keypoints tell of it.
    fn set_prediction(&mut self) {
        let (tuning, trend) = (&self.tuning, &self.trend);
        let mut step = [0.0; QVEL_LEN];
        let company = tuning.company * self.liveliness();
        for dof in 0..QVEL_LEN {
            let (pull, relax) = match dof {
                0..3 => (tuning.pull_root, tuning.relax_m_per_s),
                3..ROOT_DOFS => (tuning.pull_root_rotation, tuning.relax_root_rad_per_s),
                _ => (tuning.pull_joint * self.firmness[dof], tuning.relax_rad_per_s),
            };
            let speed = (trend[dof] / relax).powi(2);
            let moving = if dof < ROOT_DOFS { speed } else { speed + company };
            self.problem.pull[dof] = pull * (tuning.pull_moving + (1.0 - tuning.pull_moving) / (1.0 + moving));
            let resting = 1.0 / (1.0 + speed);
            step[dof] = trend[dof] * self.period_s * tuning.momentum * (1.0 - resting);
        }
        self.problem.predicted = integrate(&self.qpos, &step);
    }

    /// Mean squared speed of the joints in units of `relax_rad_per_s`, those counting most that are known best.
    fn liveliness(&self) -> f64 {
        let joints = self.trend.iter().zip(&self.share).skip(ROOT_DOFS);
        joints.map(|(trend, share)| share * (trend / self.tuning.relax_rad_per_s).powi(2)).sum()
    }

    /// Joint limits, narrowed to what a joint can do in one frame.
    fn set_bounds(&mut self) {
        for (dof, limits) in (ROOT_DOFS..QVEL_LEN).zip(self.solver.tree.limits_rad()) {
            let rate = if self.returning[dof] > 0 { RETURN_RATE_MAX } else { JOINT_RATE_MAX };
            let reach = rate * self.period_s;
            let now = self.qpos[dof + 1];
            self.problem.bounds_rad[dof] = [limits[0].max(now - reach), limits[1].min(now + reach)];
        }
    }

    /// Fits from nothing: the trunk as a rigid body, then the trunk's joints, then all.
    fn start(&mut self, out: &mut BodyState) {
        let Some(qpos) = self.cold(out) else {
            out.flags |= BodyFlags::TOO_FEW;
            return;
        };
        out.flags |= BodyFlags::COLD_START;
        self.since_start = 0;
        self.accept(qpos, out);
        self.trend = [0.0; QVEL_LEN];
        self.tracking = true;
        self.poor_frames = 0;
    }

    fn cold(&mut self, out: &mut BodyState) -> Option<[f64; QPOS_LEN]> {
        let (qpos, iterations) = self.cold.fit(&mut self.solver, &mut self.problem, &self.tuning)?;
        out.iterations = out.iterations.saturating_add(iterations);
        Some(qpos)
    }

    fn lost(&mut self) -> bool {
        let (mean, _) = self.mean_residual();
        self.poor_frames = if mean > self.poor_m { self.poor_frames.saturating_add(1) } else { 0 };
        let far = mean > 10.0 * self.poor_m;
        (self.poor_frames >= POOR_FRAMES || far) && self.since_start >= RESTART_FRAMES
    }

    /// Starts anew and keeps the better of the two.
    fn restart(&mut self, out: &mut BodyState) {
        self.since_start = 0;
        let (before, kept) = (self.mean_residual().0, self.qpos);
        match self.cold(out) {
            Some(qpos) if self.mean_residual().0 < 0.7 * before => {
                out.flags |= BodyFlags::COLD_START | BodyFlags::JUMP;
                self.accept(qpos, out);
                self.poor_frames = 0;
            }
            _ => self.solver.tree.forward(&kept, &mut self.solver.posture),
        }
    }

    /// Takes a solution, unless it is not a number.
    fn accept(&mut self, qpos: [f64; QPOS_LEN], out: &mut BodyState) {
        if qpos.iter().all(|value| value.is_finite()) {
            self.qpos = qpos;
        } else {
            out.flags |= BodyFlags::NOT_FINITE;
            self.solver.tree.forward(&self.qpos, &mut self.solver.posture);
        }
    }

    fn note_motion(&mut self, before: &[f64; QPOS_LEN], tracked: bool, out: &mut BodyState) {
        let moved = difference(before, &self.qpos);
        self.velocity = if tracked && !out.flags.contains(BodyFlags::COLD_START) {
            moved.map(|value| value / self.period_s)
        } else {
            [0.0; QVEL_LEN]
        };
        let share = self.tuning.trend_share;
        for (trend, now) in self.trend.iter_mut().zip(&self.velocity) {
            *trend += share * (now - *trend);
        }
        let reach = 0.98 * JOINT_RATE_MAX;
        let fast = self.velocity[ROOT_DOFS..].iter().any(|rate| rate.abs() > reach)
            || length([self.velocity[0], self.velocity[1], self.velocity[2]]) > ROOT_SPEED_MAX;
        out.flags.set(BodyFlags::JUMP, fast || out.flags.contains(BodyFlags::JUMP));
    }

    /// Mean distance of the keypoints used, metres, and their number.
    fn mean_residual(&self) -> (f32, usize) {
        let (mut sum, mut count) = (0.0, 0);
        for index in (0..self.solver.sites.len()).filter(|&index| self.problem.weights[index] > 0.0) {
            sum += length(self.solver.residual(&self.problem, index));
            count += 1;
        }
        ((sum / f64::from(count.max(1))) as f32, count as usize)
    }

    fn report(&mut self, out: &mut BodyState) {
        if !self.tracking {
            self.solver.tree.forward(&self.qpos, &mut self.solver.posture);
        }
        out.qpos = self.qpos;
        out.qvel = self.velocity;
        self.report_keypoints(out);
        let deepest = self.solver.floor.find(&self.solver.posture, self.floor_m + CONTACT_M);
        let deepest = deepest.iter().map(|contact| contact.depth_m).fold(0.0, f64::max);
        out.flags.set(BodyFlags::FLOOR_CONTACT, deepest > 0.0);
        out.floor_depth_m = (deepest - CONTACT_M).max(0.0) as f32;
        out.limits_hit = self.limits_hit();
        out.flags.set(BodyFlags::AT_LIMIT, out.limits_hit != 0);
        out.extrapolated = self.extrapolated();
        out.flags.set(BodyFlags::EXTRAPOLATED, out.extrapolated != 0);
        out.flags.set(BodyFlags::POOR_FIT, out.residual_mean_m > self.poor_m);
        out.integrity = integrity(out);
    }

    fn report_keypoints(&self, out: &mut BodyState) {
        for (index, site) in self.solver.sites.iter().enumerate() {
            out.sites_m[index] = self.solver.posture.point_m(site.body, site.offset_m);
            out.residual_m[index] = f32::NAN;
            if self.problem.weights[index] > 0.0 {
                let residual = length(self.solver.residual(&self.problem, index)) as f32;
                out.residual_m[index] = residual;
                let far = residual > OUTLIER_RATIO * self.tuning.outlier_m as f32;
                out.keypoint_flags[index].set(KeypointFlags::OUTLIER, far);
            }
            if out.keypoint_flags[index].contains(KeypointFlags::NOT_FINITE) {
                out.flags |= BodyFlags::NOT_FINITE;
            }
        }
        let (mean, count) = self.mean_residual();
        out.residual_mean_m = if count == 0 { f32::NAN } else { mean };
    }

    /// Hinges that some keypoint of the set moves but none of this frame did; bit `i` is hinge `i`.
    fn extrapolated(&self) -> u128 {
        let unsupported = |hinge: &usize| self.observed[ROOT_DOFS + hinge] && !self.supported[ROOT_DOFS + hinge];
        (0..QVEL_LEN - ROOT_DOFS).filter(unsupported).fold(0, |set, hinge| set | 1 << hinge)
    }

    /// Observed hinges at a limit; bit `i` is hinge `i`.
    fn limits_hit(&self) -> u128 {
        let mut hit = 0;
        for (hinge, limits) in self.solver.tree.limits_rad().iter().enumerate() {
            let value = self.qpos[7 + hinge];
            if self.observed[ROOT_DOFS + hinge] && (value <= limits[0] || value >= limits[1]) {
                hit |= 1 << hinge;
            }
        }
        hit
    }
}

/// Something nearer to the floor than this touches it, metres.
const CONTACT_M: f64 = 0.002;

fn integrity(out: &BodyState) -> Integrity {
    let mut integrity = Integrity::empty();
    let partial = BodyFlags::NO_DATA | BodyFlags::EXTRAPOLATED | BodyFlags::TOO_FEW | BodyFlags::POOR_FIT;
    let missing = out.keypoint_flags.iter().any(|flags| flags.contains(KeypointFlags::MISSING));
    integrity.set(Integrity::PARTIAL, out.flags.intersects(partial) || missing);
    integrity.set(Integrity::AT_LIMIT, out.flags.contains(BodyFlags::AT_LIMIT));
    integrity.set(Integrity::JUMP, out.flags.intersects(BodyFlags::JUMP | BodyFlags::COLD_START));
    integrity.set(Integrity::NOT_FINITE, out.flags.contains(BodyFlags::NOT_FINITE));
    integrity
}

/// The subject's keypoints in the order of a list of names: where they are, how much they count, which are of the trunk.
pub(super) type Arranged = (Vec<Site>, Vec<f64>, Vec<bool>);

pub(super) fn arrange(rat: &RatModel, subject: &Subject, names: &[String]) -> Result<Arranged, BodyError> {
    let (mut sites, mut own, mut trunk) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let Some(keypoint) = subject.index(name).map(|index| &subject.keypoint[index]) else {
            sites.push(Site { body: 1, offset_m: [0.0; 3] });
            own.push(0.0);
            trunk.push(false);
            continue;
        };
        let body = rat.body_id(&keypoint.body).ok_or_else(|| BodyError::Subject {
            path: unnamed(),
            reason: format!("keypoint {name:?}: no body named {:?} in the rat", keypoint.body),
        })?;
        sites.push(Site { body, offset_m: keypoint.offset_m });
        own.push(keypoint.weight);
        trunk.push(subject.trunk.contains(name));
    }
    if trunk.iter().filter(|part| **part).count() < 3 {
        let list = |names: Vec<&str>| names.join(", ");
        return Err(BodyError::Keypoints {
            missing: "three trunk keypoints among those given".to_owned(),
            has: list(subject.keypoint.iter().map(|keypoint| keypoint.name.as_str()).collect()),
            given: list(names.iter().map(String::as_str).collect()),
        });
    }
    Ok((sites, own, trunk))
}
