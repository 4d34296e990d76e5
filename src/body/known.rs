//! How well keypoints tell each joint.

use mimicd_rat::{QPOS_LEN, QVEL_LEN};
use nalgebra::{DMatrix, DVector};

use super::solver::Site;
use super::tree::{ROOT_DOFS, Tree};

/// Noise of a keypoint along each axis, metres: that of a good pose network.
const NOISE_M: f64 = 2e-3;
/// What is known of the root without any keypoint: nothing.
const ROOT_INFORMATION: f64 = 1e-6;

/// Standard deviation that one frame of keypoints at `sites` leaves to each velocity in the posture `qpos`: metres for the
/// root's position, radians for all else. What no keypoint tells about is known to one radian.
pub(super) fn known(tree: &Tree, sites: &[Site], used: &[usize], qpos: &[f64; QPOS_LEN]) -> [f64; QVEL_LEN] {
    let mut posture = tree.posture();
    tree.forward(qpos, &mut posture);
    let mut information = DMatrix::<f64>::identity(QVEL_LEN, QVEL_LEN);
    (0..ROOT_DOFS).for_each(|dof| information[(dof, dof)] = ROOT_INFORMATION);
    for site in used.iter().map(|&index| &sites[index]) {
        let point = posture.point_m(site.body, site.offset_m);
        let mut rows = [0, 1, 2].map(|_| DVector::<f64>::zeros(QVEL_LEN));
        for &dof in tree.chain(site.body) {
            let column = posture.column(usize::from(dof), point);
            rows.iter_mut().zip(column).for_each(|(row, value)| row[usize::from(dof)] = value);
        }
        rows.iter().for_each(|row| information.ger(NOISE_M.powi(-2), row, row, 1.0));
    }
    let mut deviation = [1.0; QVEL_LEN];
    if let Some(covariance) = information.try_inverse() {
        deviation.iter_mut().enumerate().for_each(|(dof, value)| *value = covariance[(dof, dof)].max(0.0).sqrt());
    }
    deviation
}
