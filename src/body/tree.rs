//! The rat's kinematic tree: forward pass and Jacobian columns, without allocation.
//!
//! MuJoCo is the reference (a test holds the two together to 1e-9); this pass does only what registration needs and
//! takes a few microseconds.

use std::ops::Range;

use mimicd_rat::{QPOS_LEN, QVEL_LEN, RatModel};

use super::math::{IDENTITY, Mat3, Vec3, add, conjugate, cross, exponential, logarithm, matrix, minus, product};
use super::math::{quat_product, rotate, turn, unit};

/// The root's translations and rotations come first among the velocities.
pub(super) const ROOT_DOFS: usize = 6;

#[derive(Clone, Debug)]
struct TreeBody {
    parent: usize,
    position_m: Vec3,
    rotation: Option<Mat3>,
    hinges: Range<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Hinge {
    anchor_m: Vec3,
    axis: Vec3,
    reference_rad: f64,
}

/// The tree. Body ids are MuJoCo's; hinge `i` is coordinate `7 + i` and velocity `6 + i`.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    bodies: Vec<TreeBody>,
    hinges: Vec<Hinge>,
    limits_rad: Vec<[f64; 2]>,
    /// For each body the velocities that move it, deepest first.
    chains: Vec<Vec<u8>>,
    /// For each velocity those it hangs from, deepest first.
    ancestors: Vec<Vec<u8>>,
}

/// Where everything is at one set of coordinates.
#[derive(Clone, Debug)]
pub(super) struct Posture {
    /// Body origins, world, metres.
    pub(super) body_m: Vec<Vec3>,
    /// World from body.
    pub(super) rotation: Vec<Mat3>,
    /// Axis of each rotating velocity in the world.
    pub(super) axis: [Vec3; QVEL_LEN],
    /// A point on that axis, metres.
    pub(super) anchor_m: [Vec3; QVEL_LEN],
}

impl Posture {
    /// A body-fixed point in the world.
    #[inline]
    pub(super) fn point_m(&self, body: usize, offset_m: Vec3) -> Vec3 {
        add(self.body_m[body], rotate(&self.rotation[body], offset_m))
    }

    /// How fast `point_m` moves for a unit of velocity `dof`.
    #[inline]
    pub(super) fn column(&self, dof: usize, point_m: Vec3) -> Vec3 {
        if dof < 3 {
            let mut column = [0.0; 3];
            column[dof] = 1.0;
            return column;
        }
        cross(self.axis[dof], minus(point_m, self.anchor_m[dof]))
    }

    /// The vertical part of [`Posture::column`].
    #[inline]
    pub(super) fn vertical(&self, dof: usize, point_m: Vec3) -> f64 {
        if dof < 3 {
            return if dof == 2 { 1.0 } else { 0.0 };
        }
        let (axis, anchor) = (self.axis[dof], self.anchor_m[dof]);
        axis[0] * (point_m[1] - anchor[1]) - axis[1] * (point_m[0] - anchor[0])
    }
}

impl Tree {
    pub(super) fn new(rat: &RatModel) -> Self {
        let joints = rat.joints();
        let hinge_of = |joint: usize| joint - 1;
        let bodies: Vec<TreeBody> = rat
            .bodies()
            .iter()
            .map(|body| TreeBody {
                parent: body.parent,
                position_m: body.position_m,
                rotation: (body.quaternion != [1.0, 0.0, 0.0, 0.0]).then(|| matrix(body.quaternion)),
                hinges: if body.joints.is_empty() || body.joints.start == 0 {
                    0..0
                } else {
                    hinge_of(body.joints.start)..hinge_of(body.joints.end)
                },
            })
            .collect();
        let hinges = joints[1..]
            .iter()
            .map(|joint| Hinge { anchor_m: joint.anchor_m, axis: joint.axis, reference_rad: joint.reference_rad })
            .collect();
        let limits_rad =
            joints[1..].iter().map(|joint| joint.limits_rad.unwrap_or([f64::NEG_INFINITY, f64::INFINITY])).collect();
        let chains: Vec<Vec<u8>> = (0..bodies.len()).map(|body| chain(&bodies, body)).collect();
        let ancestors = (0..QVEL_LEN)
            .map(|dof| {
                let body = if dof < ROOT_DOFS { 1 } else { joints[dof - ROOT_DOFS + 1].body };
                chains[body].iter().copied().filter(|&other| usize::from(other) < dof).collect()
            })
            .collect();
        Self { bodies, hinges, limits_rad, chains, ancestors }
    }

    pub(super) fn posture(&self) -> Posture {
        Posture {
            body_m: vec![[0.0; 3]; self.bodies.len()],
            rotation: vec![IDENTITY; self.bodies.len()],
            axis: [[0.0; 3]; QVEL_LEN],
            anchor_m: [[0.0; 3]; QVEL_LEN],
        }
    }

    /// Velocities that move a body, deepest first.
    pub(super) fn chain(&self, body: usize) -> &[u8] {
        &self.chains[body]
    }

    /// Velocities that a velocity hangs from, deepest first.
    pub(super) fn ancestors(&self) -> &[Vec<u8>] {
        &self.ancestors
    }

    /// Limits of the hinges, radians; hinge `i` is coordinate `7 + i`.
    pub(super) fn limits_rad(&self) -> &[[f64; 2]] {
        &self.limits_rad
    }

    /// Moves everything to `qpos`.
    pub(super) fn forward(&self, qpos: &[f64; QPOS_LEN], out: &mut Posture) {
        let root = matrix([qpos[3], qpos[4], qpos[5], qpos[6]]);
        let origin = [qpos[0], qpos[1], qpos[2]];
        (out.body_m[1], out.rotation[1]) = (origin, root);
        for axis in 0..3 {
            out.axis[3 + axis] = [root[axis], root[3 + axis], root[6 + axis]];
            out.anchor_m[3 + axis] = origin;
        }
        for (id, body) in self.bodies.iter().enumerate().skip(2) {
            let above = &out.rotation[body.parent];
            let mut position = add(out.body_m[body.parent], rotate(above, body.position_m));
            let mut rotation = match &body.rotation {
                Some(own) => product(above, own),
                None => *above,
            };
            for index in body.hinges.clone() {
                let hinge = &self.hinges[index];
                let anchor = add(position, rotate(&rotation, hinge.anchor_m));
                out.anchor_m[ROOT_DOFS + index] = anchor;
                out.axis[ROOT_DOFS + index] = rotate(&rotation, hinge.axis);
                rotation = product(&rotation, &turn(hinge.axis, qpos[7 + index] - hinge.reference_rad));
                position = minus(anchor, rotate(&rotation, hinge.anchor_m));
            }
            (out.body_m[id], out.rotation[id]) = (position, rotation);
        }
    }
}

/// The velocities that move `body`, deepest first.
fn chain(bodies: &[TreeBody], body: usize) -> Vec<u8> {
    let mut chain = Vec::new();
    let mut at = body;
    while at > 1 {
        chain.extend(bodies[at].hinges.clone().rev().map(|hinge| (ROOT_DOFS + hinge) as u8));
        at = bodies[at].parent;
    }
    if body > 0 {
        chain.extend((0..ROOT_DOFS as u8).rev());
    }
    chain
}

/// `qpos` moved by the velocities `step` for a unit of time: translations in the world, rotations about the root's axes.
pub(super) fn integrate(qpos: &[f64; QPOS_LEN], step: &[f64; QVEL_LEN]) -> [f64; QPOS_LEN] {
    let mut out = *qpos;
    (0..3).for_each(|axis| out[axis] += step[axis]);
    let root = unit([qpos[3], qpos[4], qpos[5], qpos[6]]);
    out[3..7].copy_from_slice(&unit(quat_product(root, exponential([step[3], step[4], step[5]]))));
    (ROOT_DOFS..QVEL_LEN).for_each(|dof| out[dof + 1] += step[dof]);
    out
}

/// The step that leads from `from` to `to`; the opposite of [`integrate`].
pub(super) fn difference(from: &[f64; QPOS_LEN], to: &[f64; QPOS_LEN]) -> [f64; QVEL_LEN] {
    let mut out = [0.0; QVEL_LEN];
    (0..3).for_each(|axis| out[axis] = to[axis] - from[axis]);
    let (a, b) = ([from[3], from[4], from[5], from[6]], [to[3], to[4], to[5], to[6]]);
    out[3..6].copy_from_slice(&logarithm(quat_product(conjugate(unit(a)), unit(b))));
    (ROOT_DOFS..QVEL_LEN).for_each(|dof| out[dof] = to[dof + 1] - from[dof + 1]);
    out
}

#[cfg(test)]
mod tests {
    use mimicd_rat::{Kinematics, QPOS_LEN, QVEL_LEN};
    use proptest::prelude::*;

    use super::super::math::distance;
    use super::super::testing;
    use super::{Tree, difference, integrate};

    fn coordinates() -> impl Strategy<Value = [f64; QPOS_LEN]> {
        proptest::collection::vec(-1.5..1.5_f64, QPOS_LEN).prop_map(|values| values.try_into().unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn the_forward_pass_is_mujocos(mut qpos in coordinates()) {
            let Some(rat) = testing::rat() else { return Ok(()) };
            let norm = qpos[3..7].iter().map(|value| value * value).sum::<f64>().sqrt();
            prop_assume!(norm > 0.1);
            let tree = Tree::new(&rat);
            let mut posture = tree.posture();
            tree.forward(&qpos, &mut posture);
            qpos[3..7].iter_mut().for_each(|value| *value /= norm);
            let mut truth = Kinematics::new(&rat);
            truth.set(&qpos);
            for body in 1..rat.bodies().len() {
                prop_assert!(distance(posture.body_m[body], truth.body_positions_m()[body]) < 1e-9);
                let turned = posture.rotation[body].iter().zip(&truth.body_rotations()[body]);
                prop_assert!(turned.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) < 1e-9);
            }
            let mut rows = [[0.0; QVEL_LEN]; 3];
            for (keypoint, site) in rat.options().sites.iter().enumerate() {
                truth.keypoint_jacobian(keypoint, &mut rows);
                let body = rat.body_id(&site.body).unwrap();
                let point = truth.keypoint_m(keypoint);
                let mut seen = [false; QVEL_LEN];
                for &dof in tree.chain(body) {
                    let dof = usize::from(dof);
                    seen[dof] = true;
                    let column = posture.column(dof, point);
                    for axis in 0..3 {
                        prop_assert!((rows[axis][dof] - column[axis]).abs() < 1e-9);
                    }
                    prop_assert!((posture.vertical(dof, point) - column[2]).abs() < 1e-12);
                }
                for dof in (0..QVEL_LEN).filter(|&dof| !seen[dof]) {
                    prop_assert!(rows.iter().all(|row| row[dof] == 0.0));
                }
            }
        }

        #[test]
        fn steps_lead_there_and_back(qpos in coordinates(), other in coordinates()) {
            let step = difference(&qpos, &other);
            let there = integrate(&qpos, &step);
            prop_assert!(difference(&there, &other).iter().all(|value| value.abs() < 1e-9));
        }
    }
}
