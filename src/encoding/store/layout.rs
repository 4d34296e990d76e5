//! How a row of each source is laid out, and what each value is called.

use mimicd_rat::{ACTUATORS, QPOS_LEN, QVEL_LEN, RAT23};

use super::FeatureColumn;

const KEYPOINTS: usize = RAT23.len();
const JOINTS: usize = QPOS_LEN - 7;
/// Values that describe the root: velocity, angular velocity, height, up.
const ROOT: usize = 10;

/// Values of a body row: joint angles, joint velocities, root, keypoints.
pub const BODY_WIDTH: usize = 2 * JOINTS + ROOT + 3 * KEYPOINTS;

/// What a body row is made from.
#[derive(Clone, Copy, Debug)]
pub struct BodyInput<'a> {
    /// Root position (m), quaternion (w first), joint angles (rad).
    pub qpos: &'a [f64],
    /// Root velocity (m/s, world), angular velocity (rad/s, root), joint velocities (rad/s).
    pub qvel: &'a [f64],
    /// Keypoints in the world, x y z each, metres; NaN = missing.
    pub keypoints_m: &'a [f32],
}

/// Writes a body row. Everything but heights is in the animal's own frame, so that where it is and which way it looks do not
/// count.
///
/// # Panics
/// When `out` is no [`BODY_WIDTH`] long or the input is no rat's.
pub fn body_row(input: BodyInput<'_>, out: &mut [f32]) {
    assert!(out.len() == BODY_WIDTH && input.qpos.len() == QPOS_LEN && input.qvel.len() == QVEL_LEN, "a rat's row");
    let (angles, rest) = out.split_at_mut(JOINTS);
    let (rates, rest) = rest.split_at_mut(JOINTS);
    let (root, keypoints) = rest.split_at_mut(ROOT);
    angles.iter_mut().zip(&input.qpos[7..]).for_each(|(to, from)| *to = *from as f32);
    rates.iter_mut().zip(&input.qvel[6..]).for_each(|(to, from)| *to = *from as f32);
    let turn = axes(&input.qpos[3..7]);
    let in_root = |v: [f64; 3]| turn.map(|axis| axis[0] * v[0] + axis[1] * v[1] + axis[2] * v[2]);
    let velocity = in_root([input.qvel[0], input.qvel[1], input.qvel[2]]);
    let up = in_root([0.0, 0.0, 1.0]);
    let values = velocity.into_iter().chain(input.qvel[3..6].iter().copied()).chain([input.qpos[2]]).chain(up);
    root.iter_mut().zip(values).for_each(|(to, from)| *to = from as f32);
    keypoints.fill(f32::NAN);
    for (to, from) in keypoints.chunks_exact_mut(3).zip(input.keypoints_m.chunks_exact(3)) {
        let place = in_root(std::array::from_fn(|axis| f64::from(from[axis]) - input.qpos[axis]));
        to.iter_mut().zip(place).for_each(|(to, from)| *to = from as f32);
    }
}

/// The root's axes in the world, from its quaternion (w first, of any length).
fn axes(q: &[f64]) -> [[f64; 3]; 3] {
    let length = q.iter().map(|value| value * value).sum::<f64>().sqrt().max(1e-12);
    let [w, x, y, z] = std::array::from_fn(|i| q[i] / length);
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)],
        [2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)],
        [2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

/// Names and units of a body row, grouped as sets are.
pub fn body_columns() -> Vec<(&'static str, Vec<FeatureColumn>)> {
    let column = |at: usize, name: String, unit: &str| FeatureColumn { at, name, unit: unit.to_owned() };
    let joint = |at: usize, kind: &str, unit: &str| column(at, format!("joint{:02}.{kind}", at % JOINTS), unit);
    let root = [
        ("forward", "m/s"),
        ("left", "m/s"),
        ("up", "m/s"),
        ("roll_rate", "rad/s"),
        ("pitch_rate", "rad/s"),
        ("yaw_rate", "rad/s"),
        ("height", "m"),
        ("up_x", ""),
        ("up_y", ""),
        ("up_z", ""),
    ];
    let keypoint = |at: usize| {
        let axis = ["x", "y", "z"][at % 3];
        column(2 * JOINTS + ROOT + at, format!("{}.{axis}", RAT23[at / 3]), "m")
    };
    let appendage = |name: &&str| ["Snout", "HandL", "HandR", "FootL", "FootR"].contains(name);
    let appendages = RAT23.iter().enumerate().filter(|(_, name)| appendage(name));
    vec![
        ("joint_angles", (0..JOINTS).map(|at| joint(at, "angle", "rad")).collect()),
        ("joint_velocities", (JOINTS..2 * JOINTS).map(|at| joint(at, "rate", "rad/s")).collect()),
        ("root", root.iter().enumerate().map(|(i, (n, u))| column(2 * JOINTS + i, format!("root.{n}"), u)).collect()),
        ("keypoints", (0..3 * KEYPOINTS).map(keypoint).collect()),
        ("appendages", appendages.flat_map(|(k, _)| (3 * k..3 * k + 3).map(keypoint)).collect()),
    ]
}

/// Writes a row of the virtual rat: forces, action, then the network's signals.
///
/// # Panics
/// When `out` is not long enough.
pub fn virtual_row(qfrc: &[f64], action: &[f32], signals: &[f32], out: &mut [f32]) {
    assert_eq!(out.len(), qfrc.len() + action.len() + signals.len(), "a virtual rat's row");
    let (forces, rest) = out.split_at_mut(qfrc.len());
    forces.iter_mut().zip(qfrc).for_each(|(to, from)| *to = *from as f32);
    rest[..action.len()].copy_from_slice(action);
    rest[action.len()..].copy_from_slice(signals);
}

/// Names and units of a virtual row with these signals, grouped as sets are.
pub fn virtual_columns(signals: &[(String, usize)]) -> Vec<(String, Vec<FeatureColumn>)> {
    let column = |at: usize, name: String, unit: &str| FeatureColumn { at, name, unit: unit.to_owned() };
    let force = |at: usize| column(at, format!("force{at:02}"), if at < 3 { "N" } else { "N m" });
    let action = |at: usize| column(QVEL_LEN + at, format!("action{at:02}"), "");
    let mut groups = vec![
        ("dynamic".to_owned(), (0..QVEL_LEN).map(force).collect()),
        ("action".to_owned(), (0..ACTUATORS).map(action).collect()),
    ];
    let mut first = QVEL_LEN + ACTUATORS;
    for (name, len) in signals {
        // The action is there once already, and in every policy.
        if name != "action" && name != "policy_action" {
            let columns = (0..*len).map(|at| column(first + at, format!("{name}[{at}]"), "")).collect();
            groups.push((name.clone(), columns));
        }
        first += len;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_does_not_depend_on_where_the_animal_is_or_looks() {
        let mut qpos = [0.1; QPOS_LEN];
        let mut qvel = [0.2; QVEL_LEN];
        qpos[..7].copy_from_slice(&[0.0, 0.0, 0.06, 1.0, 0.0, 0.0, 0.0]);
        qvel[..3].copy_from_slice(&[0.3, 0.0, 0.0]);
        let points: Vec<f32> = (0..69).map(|i| i as f32 * 0.001).collect();
        let mut here = [0.0; BODY_WIDTH];
        body_row(BodyInput { qpos: &qpos, qvel: &qvel, keypoints_m: &points }, &mut here);
        // A quarter turn to the left, and a metre away.
        let half = std::f64::consts::FRAC_1_SQRT_2;
        qpos[..7].copy_from_slice(&[1.0, -2.0, 0.06, half, 0.0, 0.0, half]);
        qvel[..3].copy_from_slice(&[0.0, 0.3, 0.0]);
        let turned: Vec<f32> = points.chunks(3).flat_map(|p| [1.0 - p[1], -2.0 + p[0], p[2]]).collect();
        let mut there = [0.0; BODY_WIDTH];
        body_row(BodyInput { qpos: &qpos, qvel: &qvel, keypoints_m: &turned }, &mut there);
        for (at, (a, b)) in here.iter().zip(&there).enumerate() {
            assert!((a - b).abs() < 1e-5, "value {at}: {a} and {b}");
        }
        assert!((here[2 * JOINTS] - 0.3).abs() < 1e-6, "forward speed");
    }

    #[test]
    fn every_value_has_one_name() {
        let mut places: Vec<usize> =
            body_columns().into_iter().filter(|(n, _)| *n != "appendages").flat_map(|(_, c)| c).map(|c| c.at).collect();
        places.sort_unstable();
        assert_eq!(places, (0..BODY_WIDTH).collect::<Vec<_>>());
        let groups = virtual_columns(&[("action".into(), 38), ("latent_loc".into(), 60)]);
        assert_eq!(groups[2].1[0].at, QVEL_LEN + ACTUATORS + 38);
    }
}
