//! Where the animal is, from nothing: the rigid motion that brings the body's trunk onto the measured one.

use nalgebra::{Matrix3, Rotation3, UnitQuaternion, Vector3};

use super::math::{Quat, Vec3};

/// The motion `world from body` that brings `from` nearest to `to` (weighted least squares): translation, quaternion.
///
/// `None` with fewer than three points of weight, or where they do not span a plane.
pub(super) fn rigid(points: impl Iterator<Item = (Vec3, Vec3, f64)> + Clone) -> Option<(Vec3, Quat)> {
    let (mut sum, mut from_mean, mut to_mean, mut count) = (0.0, Vector3::zeros(), Vector3::zeros(), 0);
    for (from, to, weight) in points.clone().filter(|(_, _, weight)| *weight > 0.0) {
        sum += weight;
        count += 1;
        from_mean += weight * Vector3::from(from);
        to_mean += weight * Vector3::from(to);
    }
    if count < 3 {
        return None;
    }
    (from_mean, to_mean) = (from_mean / sum, to_mean / sum);
    let mut covariance = Matrix3::zeros();
    for (from, to, weight) in points.filter(|(_, _, weight)| *weight > 0.0) {
        covariance += weight * (Vector3::from(to) - to_mean) * (Vector3::from(from) - from_mean).transpose();
    }
    let svd = covariance.try_svd(true, true, f64::EPSILON, 100)?;
    let (u, v_t) = (svd.u?, svd.v_t?);
    if !(svd.singular_values[1] > 1e-6 * svd.singular_values[0]) {
        return None;
    }
    let mirror = Matrix3::from_diagonal(&Vector3::new(1.0, 1.0, (u * v_t).determinant().signum()));
    let rotation = u * mirror * v_t;
    let translation = to_mean - rotation * from_mean;
    let quaternion = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(rotation));
    let quaternion = [quaternion.w, quaternion.i, quaternion.j, quaternion.k];
    let finite = quaternion.iter().chain(translation.iter()).all(|value| value.is_finite());
    finite.then_some((translation.into(), quaternion))
}

#[cfg(test)]
mod tests {
    use super::super::math::{add, distance, exponential, matrix, rotate};
    use super::rigid;

    #[test]
    fn a_known_motion_is_found() {
        let turn = matrix(exponential([0.3, -2.0, 1.0]));
        let from = [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.05, 0.01], [0.02, 0.0, 0.04]];
        let pairs = from.map(|point| (point, add(rotate(&turn, point), [1.0, 2.0, 3.0]), 1.0));
        let (translation, quaternion) = rigid(pairs.into_iter()).unwrap();
        assert!(distance(translation, [1.0, 2.0, 3.0]) < 1e-9);
        assert!(matrix(quaternion).iter().zip(turn).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn too_little_to_know_is_none() {
        let line = [0.0, 1.0, 2.0, 3.0].map(|x| ([x, 0.0, 0.0], [0.0, x, 0.0], 1.0));
        assert!(rigid(line.into_iter()).is_none());
        assert!(rigid(line.into_iter().take(2)).is_none());
        assert!(rigid([([0.0; 3], [0.0; 3], 1.0); 5].into_iter()).is_none());
    }
}
