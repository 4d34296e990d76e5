//! Rigid transforms: composing, inverting, comparing, averaging.

use nalgebra::{Matrix3, Rotation3, Vector3};

use crate::geometry::RigidTransform;

/// No motion.
pub(super) fn identity() -> RigidTransform {
    RigidTransform { rotation: Matrix3::identity(), translation_m: Vector3::zeros() }
}

/// `a_from_b` and `b_from_c` give `a_from_c`.
pub(super) fn compose(a_from_b: &RigidTransform, b_from_c: &RigidTransform) -> RigidTransform {
    RigidTransform {
        rotation: a_from_b.rotation * b_from_c.rotation,
        translation_m: a_from_b.apply(&b_from_c.translation_m),
    }
}

/// `a_from_b` gives `b_from_a`.
pub(super) fn inverse(a_from_b: &RigidTransform) -> RigidTransform {
    let rotation = a_from_b.rotation.transpose();
    RigidTransform { rotation, translation_m: -(rotation * a_from_b.translation_m) }
}

/// Angle of the rotation between two transforms, radians.
fn angle_between(a: &RigidTransform, b: &RigidTransform) -> f64 {
    Rotation3::from_matrix_unchecked(a.rotation.transpose() * b.rotation).angle()
}

/// The one of `candidates` that lies closest to all others: the median of transforms. A metre counts as a radian.
pub(super) fn median(candidates: &[RigidTransform]) -> Option<RigidTransform> {
    let distance =
        |a: &RigidTransform, b: &RigidTransform| angle_between(a, b) + (a.translation_m - b.translation_m).norm();
    let total = |a: &RigidTransform| candidates.iter().map(|b| distance(a, b)).sum::<f64>();
    candidates.iter().min_by(|a, b| total(a).total_cmp(&total(b))).copied()
}

/// The transform and the scale (applied first) that take points to their partners with the least squared distance, weighted;
/// `None` when the points do not tell.
pub(super) fn similarity(from: &[Vector3<f64>], to: &[Vector3<f64>], weights: &[f64]) -> Option<(RigidTransform, f64)> {
    let total: f64 = weights.iter().sum();
    let mean = |points: &[Vector3<f64>]| points.iter().zip(weights).map(|(p, w)| p * *w).sum::<Vector3<f64>>() / total;
    let (from_mean, to_mean) = (mean(from), mean(to));
    let (mut product, mut square) = (Matrix3::zeros(), 0.0);
    for ((a, b), weight) in from.iter().zip(to).zip(weights) {
        let (a, b) = (a - from_mean, b - to_mean);
        product += b * a.transpose() * *weight;
        square += a.norm_squared() * weight;
    }
    let rotation = nearest_rotation(&product)?;
    let scale = (rotation.transpose() * product).trace() / square;
    let translation_m = to_mean - rotation * from_mean * scale;
    scale.is_finite().then_some((RigidTransform { rotation, translation_m }, scale))
}

/// The rotation nearest to a matrix that nearly is one.
pub(super) fn nearest_rotation(matrix: &Matrix3<f64>) -> Option<Matrix3<f64>> {
    let svd = matrix.svd(true, true);
    let (u, v_t) = (svd.u?, svd.v_t?);
    let handed = Matrix3::from_diagonal(&Vector3::new(1.0, 1.0, (u * v_t).determinant().signum()));
    Some(u * handed * v_t)
}

/// The transform that turns by a rotation vector (radians, in the target frame) and then moves by `shift_m`.
pub(super) fn nudged(transform: &RigidTransform, turn: &Vector3<f64>, shift_m: &Vector3<f64>) -> RigidTransform {
    let turned = Rotation3::new(*turn).matrix() * transform.rotation;
    RigidTransform { rotation: turned, translation_m: transform.translation_m + shift_m }
}
