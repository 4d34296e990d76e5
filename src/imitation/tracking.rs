//! How far the virtual rat is from the real one, as a whole and by body part.

use mimicd_rat::RatModel;

use super::ImitationError;
use super::reference::Qpos;
use super::rotation::{Vec3, angle_between_rad, minus, norm};

/// Body parts whose positions are compared: name and body.
pub const PARTS: [(&str, &str); 8] = [
    ("head", "skull"),
    ("torso", "torso"),
    ("pelvis", "pelvis"),
    ("hand_left", "hand_L"),
    ("hand_right", "hand_R"),
    ("foot_left", "foot_L"),
    ("foot_right", "foot_R"),
    ("tail_base", "vertebra_C1"),
];

/// Distance between the virtual rat and its reference at the same instant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrackingError {
    /// Root position, metres.
    pub root_m: f64,
    /// Root orientation, radians.
    pub orientation_rad: f64,
    /// Mean of the absolute differences of the 67 hinges, radians.
    pub joints_rad: f64,
    /// Euclidean distance over the 67 hinges, radians.
    pub joints_l2_rad: f64,
    /// Positions of [`PARTS`] in the world, metres.
    pub parts_m: [f64; PARTS.len()],
}

impl TrackingError {
    /// Mean of the two hands, metres.
    pub fn hands_m(&self) -> f64 {
        0.5 * (self.parts_m[3] + self.parts_m[4])
    }

    /// Mean of the two feet, metres.
    pub fn feet_m(&self) -> f64 {
        0.5 * (self.parts_m[5] + self.parts_m[6])
    }
}

/// Ids of the bodies of [`PARTS`].
pub(super) fn part_ids(rat: &RatModel) -> Result<[usize; PARTS.len()], ImitationError> {
    let mut ids = [0; PARTS.len()];
    for (id, (part, body)) in ids.iter_mut().zip(PARTS) {
        *id = rat.body_id(body).ok_or_else(|| ImitationError::Rig {
            reason: format!("the body has no part {body:?} ({part}); expected the dm_control rat"),
        })?;
    }
    Ok(ids)
}

/// Compares coordinates and body positions.
pub(super) fn measure(
    virtual_qpos: &[f64],
    virtual_bodies_m: &[Vec3],
    reference: &Qpos,
    reference_bodies_m: &[Vec3],
    parts: &[usize; PARTS.len()],
) -> TrackingError {
    let root = |q: &[f64]| ([q[0], q[1], q[2]], [q[3], q[4], q[5], q[6]]);
    let ((at, turned), (wanted_at, wanted)) = (root(virtual_qpos), root(reference));
    let (mut sum, mut squares) = (0.0, 0.0);
    for (a, b) in virtual_qpos[7..].iter().zip(&reference[7..]) {
        sum += (a - b).abs();
        squares += (a - b) * (a - b);
    }
    TrackingError {
        root_m: norm(minus(at, wanted_at)),
        orientation_rad: angle_between_rad(&turned, &wanted),
        joints_rad: sum / (reference.len() - 7) as f64,
        joints_l2_rad: squares.sqrt(),
        parts_m: parts.map(|id| norm(minus(virtual_bodies_m[id], reference_bodies_m[id]))),
    }
}
