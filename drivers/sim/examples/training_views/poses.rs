//! Poses to render: from a file of coordinates, varied far beyond what the file shows.

use mimicd_sim::rat::{HINGES, QPOS, Skeleton, Tail};
use nalgebra::{UnitQuaternion, Vector3};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Angle of the jaw with the mouth shut.
const MOUTH_SHUT_RAD: f64 = -0.28;

/// How far poses are varied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// Standard deviation of the change of each hinge, rad.
    pub(crate) hinge_rad: f64,
    /// Standard deviation of the tilt of the whole rat, rad.
    pub(crate) tilt_rad: f64,
    /// Greatest distance of the rat from the arena's centre, m.
    pub(crate) radius_m: f64,
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

/// Moves a pose anywhere in the arena, turns it anywhere, shakes its hinges within their limits and puts it on the floor
/// (one in eight is left a little above it, as in a hop).
pub(crate) fn vary(
    skeleton: &Skeleton,
    tail: &Tail,
    pose: &[f64; QPOS],
    spread: Spread,
    random: &mut ChaCha8Rng,
) -> [f64; QPOS] {
    let mut varied = *pose;
    let share = random.random::<f64>();
    for (angle, hinge) in varied[7..].iter_mut().zip(skeleton.hinges()) {
        let [low, high] = hinge.range_rad;
        let middle = if hinge.name == "mandible" { MOUTH_SHUT_RAD } else { *angle };
        *angle = (middle + share * spread.hinge_rad * normal(random)).clamp(low, high);
    }
    let old = UnitQuaternion::new_normalize(nalgebra::Quaternion::new(pose[3], pose[4], pose[5], pose[6]));
    let tilt = Vector3::new(normal(random), normal(random), 0.0) * (share * spread.tilt_rad);
    let yaw = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), random.random::<f64>() * std::f64::consts::TAU);
    let turn = yaw * UnitQuaternion::from_scaled_axis(tilt) * old;
    varied[3..7].copy_from_slice(&[turn.w, turn.i, turn.j, turn.k]);
    let radius = spread.radius_m * random.random::<f64>().sqrt();
    let bearing = random.random::<f64>() * std::f64::consts::TAU;
    let place = skeleton.place(&varied);
    let middle = place[0].translation.vector;
    varied[0] += radius * bearing.cos() - middle.x;
    varied[1] += radius * bearing.sin() - middle.y;
    let mut place = skeleton.place(&varied);
    let solids = skeleton.solids().iter().filter(|solid| !tail.contains(solid.body));
    let lowest = solids.map(|solid| skeleton.lowest_m(solid, &place)).fold(f64::MAX, f64::min);
    let hop = if random.random::<f64>() < 0.125 { 0.03 * random.random::<f64>() } else { 0.0 };
    varied[2] += hop - lowest;
    for pose in &mut place {
        pose.translation.z += hop - lowest;
    }
    let mut hinges: [f64; HINGES] = std::array::from_fn(|k| varied[7 + k]);
    if random.random::<f64>() < 0.9 {
        tail.lay(skeleton, &mut hinges, &mut place);
    }
    varied[7..].copy_from_slice(&hinges);
    varied
}
