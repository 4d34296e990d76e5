//! A helping hand on the virtual rat's root, for policies that cannot balance: a spring and damper towards the reference's
//! root, limited to a multiple of the animal's weight. Off unless the config asks for it, and then it is no physics of an
//! animal: what it holds up, the policy has not learned to hold. (Residual forces on the root as in Yuan and Kitani 2020.)

use mimicd_rat::QVEL_LEN;

use super::reference::{Qpos, Qvel, difference};
use super::rotation::{Vec3, conjugate, minus, norm, rotate};

/// How quickly the hand follows, rad/s: well below the control rate, so that the explicit force is stable.
const RATE_RAD_PER_S: f64 = 25.0;
/// Lever by which a force on the root turns the rat, and its radius of gyration, m.
const LEVER_M: f64 = 0.05;
const GRAVITY_M_PER_S2: f64 = 9.81;

/// The hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assist {
    /// Most force, in weights of the animal.
    pub(super) weights: f64,
    /// The animal, kg.
    pub(super) mass_kg: f64,
}

impl Assist {
    /// Generalised force on the six root coordinates: linear in the world (through the centre of mass), angular in the
    /// root's frame.
    pub(super) fn root_force(&self, state: (&[f64], &[f64]), com_m: Vec3, reference: (&Qpos, &Qvel)) -> [f64; 6] {
        let (mut qpos, mut apart) = ([0.0; mimicd_rat::QPOS_LEN], [0.0; QVEL_LEN]);
        qpos.copy_from_slice(state.0);
        difference(&qpos, reference.0, 1.0, &mut apart);
        let part = |first: usize, inertia: f64, most: f64| {
            let pull: Vec3 = std::array::from_fn(|axis| {
                let behind = reference.1[first + axis] - state.1[first + axis];
                inertia * (RATE_RAD_PER_S.powi(2) * apart[first + axis] + 2.0 * RATE_RAD_PER_S * behind)
            });
            let shrink = (most / norm(pull).max(1e-12)).min(1.0);
            pull.map(|value| value * shrink)
        };
        let most_n = self.weights * self.mass_kg * GRAVITY_M_PER_S2;
        let force = part(0, self.mass_kg, most_n);
        let torque = part(3, self.mass_kg * LEVER_M * LEVER_M, most_n * LEVER_M);
        let arm = minus(com_m, [qpos[0], qpos[1], qpos[2]]);
        let moment = cross(arm, force);
        let own = rotate(conjugate([qpos[3], qpos[4], qpos[5], qpos[6]]), moment);
        [force[0], force[1], force[2], torque[0] + own[0], torque[1] + own[1], torque[2] + own[2]]
    }
}

fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hand_pulls_towards_the_reference_and_no_harder_than_allowed() {
        let assist = Assist { weights: 0.5, mass_kg: 0.2 };
        let mut qpos = [0.0; mimicd_rat::QPOS_LEN];
        qpos[3] = 1.0;
        let (qvel, mut wanted) = ([0.0; QVEL_LEN], qpos);
        assert_eq!(assist.root_force((&qpos, &qvel), [0.0; 3], (&wanted, &qvel)), [0.0; 6]);
        wanted[0] = 0.001;
        let near = assist.root_force((&qpos, &qvel), [0.0; 3], (&wanted, &qvel));
        assert!((near[0] - 0.2 * 625.0 * 0.001).abs() < 1e-9 && near[1..].iter().all(|value| *value == 0.0));
        wanted[0] = 10.0;
        let far = assist.root_force((&qpos, &qvel), [0.0, 0.0, 0.05], (&wanted, &qvel));
        assert!((far[0] - 0.5 * 0.2 * 9.81).abs() < 1e-9, "at most half the weight");
        assert!((far[4] - 0.05 * far[0]).abs() < 1e-9, "through the centre of mass");
    }
}
