//! Inverse kinematics of one limb: hinge angles that bring a paw to a place.
//!
//! Damped Gauss-Newton on the limb's own few hinges, warm-started from the last keyframe, within the joint limits. A weak pull
//! toward a natural posture settles what the paw's place leaves open.

use nalgebra::{Isometry3, Point3, UnitQuaternion, Vector3};

use super::skeleton::{HINGES, Placement, Skeleton};
use crate::SimError;

/// Most hinges a limb solves for.
const MAX: usize = 7;
/// A hinge 1 rad from its natural angle weighs as much as this distance of the paw from its target, m.
const POSTURE_M: f64 = 0.0015;
/// A hinge step of 1 rad weighs as much as this distance, m: the damping.
const STEP_M: f64 = 0.004;
const ITERATIONS: usize = 3;

/// Where a paw should be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// Tip of the paw, world frame, m.
    pub(crate) tip_m: Vector3<f64>,
    /// Direction of the paw's long bone toward the digits, world frame, unit length.
    pub(crate) direction: Vector3<f64>,
    /// How much the direction counts: the paw's distance that weighs as much as an error of 1 rad, m.
    pub(crate) direction_m: f64,
}

/// One limb.
#[derive(Clone, Debug)]
pub(crate) struct Limb {
    /// Parts from shoulder or hip to digits.
    pub(crate) bodies: Vec<usize>,
    /// Hinges solved for; the digits' hinge is set by the caller.
    hinges: Vec<usize>,
    /// Index of the digits' hinge.
    pub(crate) digits: usize,
    /// Tip in the digits' frame.
    tip: Point3<f64>,
    /// Natural angles of `hinges`.
    natural_rad: Vec<f64>,
}

impl Limb {
    /// The limb made of `parts` (the last one the digits) with `tip` on the digits, m; `natural_rad` as many as the hinges
    /// of all parts but the last.
    pub(crate) fn new(
        skeleton: &Skeleton,
        parts: &[String],
        tip: [f64; 3],
        natural_rad: &[f64],
    ) -> Result<Self, SimError> {
        let bodies = parts.iter().map(|part| skeleton.body(part)).collect::<Result<Vec<_>, _>>()?;
        let (last, upper) = bodies.split_last().ok_or_else(|| SimError::Body("a limb without parts".into()))?;
        let hinges: Vec<usize> = upper.iter().flat_map(|body| skeleton.bodies()[*body].hinges.clone()).collect();
        if hinges.len() != natural_rad.len() || hinges.len() > MAX {
            return Err(SimError::Body(format!("limb {parts:?} has {} hinges", hinges.len())));
        }
        let digits = skeleton.bodies()[*last].hinges.start;
        Ok(Self { bodies, hinges, digits, tip: Point3::from(tip), natural_rad: natural_rad.to_vec() })
    }

    /// Moves the limb's hinges toward `reach`, each to within `step_rad` of its angle in `from_rad`; `placement` must hold the part it hangs on, and
    /// the limb's parts are placed in it.
    pub(crate) fn reach(
        &self,
        skeleton: &Skeleton,
        reach: &Reach,
        (from_rad, step_rad): (&[f64; HINGES], f64),
        hinges_rad: &mut [f64; HINGES],
        placement: &mut Placement,
    ) {
        self.place(skeleton, hinges_rad, placement);
        for _ in 0..ITERATIONS {
            let step = self.step(skeleton, reach, hinges_rad, placement);
            for (k, hinge) in self.hinges.iter().enumerate() {
                let [low, high] = skeleton.hinges()[*hinge].range_rad;
                let moved =
                    (hinges_rad[*hinge] + step[k]).clamp(from_rad[*hinge] - step_rad, from_rad[*hinge] + step_rad);
                hinges_rad[*hinge] = moved.clamp(low, high);
            }
            self.place(skeleton, hinges_rad, placement);
        }
    }

    /// Tip of the paw, world frame, m.
    pub(crate) fn tip(&self, placement: &Placement) -> Vector3<f64> {
        (self.digits_pose(placement) * self.tip).coords
    }

    /// How far the paw's own x axis points above the horizon, rad; zero when below it.
    pub(crate) fn pitch_rad_above(&self, placement: &Placement) -> f64 {
        let paw = &placement[self.bodies[self.bodies.len() - 2]];
        (paw.rotation * Vector3::x()).z.clamp(0.0, 1.0).asin()
    }

    /// Sets the limb's hinges to their natural angles.
    pub(crate) fn relax(&self, hinges_rad: &mut [f64; HINGES]) {
        for (hinge, natural) in self.hinges.iter().zip(&self.natural_rad) {
            hinges_rad[*hinge] = *natural;
        }
    }

    fn digits_pose<'a>(&self, placement: &'a Placement) -> &'a Isometry3<f64> {
        &placement[self.bodies[self.bodies.len() - 1]]
    }

    fn bone(&self, placement: &Placement) -> Vector3<f64> {
        let paw = &placement[self.bodies[self.bodies.len() - 2]];
        (self.digits_pose(placement).translation.vector - paw.translation.vector).normalize()
    }

    pub(crate) fn place(&self, skeleton: &Skeleton, hinges_rad: &[f64; HINGES], placement: &mut Placement) {
        for body in &self.bodies {
            let parent = skeleton.bodies()[*body].parent.unwrap_or(0);
            placement[*body] = placement[parent] * skeleton.turned(*body, hinges_rad);
        }
    }

    fn step(
        &self,
        skeleton: &Skeleton,
        reach: &Reach,
        hinges_rad: &[f64; HINGES],
        placement: &Placement,
    ) -> [f64; MAX] {
        let tip = self.tip(placement);
        let bone = self.bone(placement);
        let miss = reach.tip_m - tip;
        let swing = (reach.direction - bone) * reach.direction_m;
        let count = self.hinges.len();
        let mut columns = [[0.0; 6]; MAX];
        let mut columns_left = columns.iter_mut();
        for body in &self.bodies[..self.bodies.len() - 1] {
            let part = &skeleton.bodies()[*body];
            let mut rotation = placement[part.parent.unwrap_or(0)].rotation * part.parent_from_body.rotation;
            for (hinge_index, column) in part.hinges.clone().zip(&mut columns_left) {
                let hinge = &skeleton.hinges()[hinge_index];
                let axis = rotation * hinge.axis.into_inner();
                rotation *= UnitQuaternion::from_axis_angle(&hinge.axis, hinges_rad[hinge_index]);
                // A part's hinges lie within millimetres of each other, so one anchor in the turned part does for all.
                let anchor = (placement[*body] * Point3::from(hinge.anchor_m)).coords;
                let moved = axis.cross(&(tip - anchor));
                let turned = axis.cross(&bone) * reach.direction_m;
                *column = [moved.x, moved.y, moved.z, turned.x, turned.y, turned.z];
            }
        }
        let residual = [miss.x, miss.y, miss.z, swing.x, swing.y, swing.z];
        let mut matrix = [[0.0; MAX]; MAX];
        let mut right = [0.0; MAX];
        for i in 0..count {
            for j in 0..=i {
                matrix[i][j] = (0..6).map(|k| columns[i][k] * columns[j][k]).sum();
                matrix[j][i] = matrix[i][j];
            }
            matrix[i][i] += POSTURE_M * POSTURE_M + STEP_M * STEP_M;
            let pull = self.natural_rad[i] - hinges_rad[self.hinges[i]];
            right[i] = (0..6).map(|k| columns[i][k] * residual[k]).sum::<f64>() + POSTURE_M * POSTURE_M * pull;
        }
        solve(&mut matrix, &mut right, count);
        right
    }
}

/// Solves a symmetric positive definite system in place (Cholesky); the solution replaces `right`.
fn solve(matrix: &mut [[f64; MAX]; MAX], right: &mut [f64; MAX], count: usize) {
    for i in 0..count {
        for j in 0..=i {
            let sum = matrix[i][j] - (0..j).map(|k| matrix[i][k] * matrix[j][k]).sum::<f64>();
            matrix[i][j] = if i == j { sum.max(1e-18).sqrt() } else { sum / matrix[j][j] };
        }
    }
    for i in 0..count {
        right[i] = (right[i] - (0..i).map(|k| matrix[i][k] * right[k]).sum::<f64>()) / matrix[i][i];
    }
    for i in (0..count).rev() {
        right[i] = (right[i] - (i + 1..count).map(|k| matrix[k][i] * right[k]).sum::<f64>()) / matrix[i][i];
    }
}
