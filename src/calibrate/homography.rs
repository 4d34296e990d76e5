//! Homographies of the board's plane: the first guess of focal lengths and of the board's places.

use nalgebra::{DMatrix, Matrix3, Vector2, Vector3};

use super::transform::nearest_rotation;
use crate::geometry::RigidTransform;

/// The homography that takes plane points to image points (four or more), by the normalised linear method; `None` when
/// they lie on a line.
pub(super) fn homography(plane: &[Vector2<f64>], image: &[Vector2<f64>]) -> Option<Matrix3<f64>> {
    if plane.len() < 4 {
        return None;
    }
    let (plane_norm, image_norm) = (normaliser(plane)?, normaliser(image)?);
    let place = |norm: &Matrix3<f64>, p: &Vector2<f64>| norm * Vector3::new(p.x, p.y, 1.0);
    let mut rows = DMatrix::zeros((2 * plane.len()).max(9), 9);
    for (i, (from, to)) in plane.iter().zip(image).enumerate() {
        let (p, q) = (place(&plane_norm, from), place(&image_norm, to));
        for axis in 0..3 {
            rows[(2 * i, axis)] = p[axis];
            rows[(2 * i, 6 + axis)] = -q.x * p[axis];
            rows[(2 * i + 1, 3 + axis)] = p[axis];
            rows[(2 * i + 1, 6 + axis)] = -q.y * p[axis];
        }
    }
    let svd = rows.svd(false, true);
    // The second smallest singular value is zero as well where the points lie on a line.
    let mut values: Vec<f64> = svd.singular_values.iter().copied().collect();
    values.sort_by(f64::total_cmp);
    if values[1] < 1e-6 * values[8] {
        return None;
    }
    let v = svd.v_t?;
    let h = v.row(svd.singular_values.imin());
    let normalised = Matrix3::from_fn(|i, j| h[3 * i + j]);
    Some(image_norm.try_inverse()? * normalised * plane_norm)
}

/// Moves points to their mean and to a mean distance of the square root of two.
fn normaliser(points: &[Vector2<f64>]) -> Option<Matrix3<f64>> {
    let mean = points.iter().sum::<Vector2<f64>>() / points.len() as f64;
    let distance = points.iter().map(|p| (p - mean).norm()).sum::<f64>() / points.len() as f64;
    if !(distance > 0.0) {
        return None;
    }
    let scale = std::f64::consts::SQRT_2 / distance;
    Some(Matrix3::new(scale, 0.0, -scale * mean.x, 0.0, scale, -scale * mean.y, 0.0, 0.0, 1.0))
}

/// Focal length in pixels from homographies to pixels counted from the principal point (square pixels, no distortion);
/// `None` when the planes are seen too frontally to tell.
pub(super) fn focal_px(homographies: &[Matrix3<f64>]) -> Option<f64> {
    let (mut product, mut square) = (0.0, 0.0);
    for h in homographies {
        // Columns of a homography are images of orthogonal unit vectors: two equations in 1 / focal².
        let scale = 1.0 / h.column(0).norm().max(h.column(1).norm());
        let (a, b) = (h.column(0) * scale, h.column(1) * scale);
        let equations = [
            (a.x * b.x + a.y * b.y, a.z * b.z),
            (a.x * a.x + a.y * a.y - b.x * b.x - b.y * b.y, a.z * a.z - b.z * b.z),
        ];
        for (plane, depth) in equations {
            product -= plane * depth;
            square += plane * plane;
        }
    }
    let inverse_square = product / square;
    (inverse_square > 0.0).then(|| (1.0 / inverse_square).sqrt()).filter(|focal| focal.is_finite())
}

/// Place of the board from its homography to normalised image coordinates (undistorted).
pub(super) fn pose(homography: &Matrix3<f64>) -> Option<RigidTransform> {
    let scale = 2.0 / (homography.column(0).norm() + homography.column(1).norm());
    // The board is in front of the camera.
    let h = homography * (scale * homography[(2, 2)].signum());
    let (a, b) = (h.column(0).into_owned(), h.column(1).into_owned());
    let rotation = nearest_rotation(&Matrix3::from_columns(&[a, b, a.cross(&b)]))?;
    let translation_m = h.column(2).into_owned();
    (translation_m.z > 0.0).then_some(RigidTransform { rotation, translation_m })
}

#[cfg(test)]
mod tests {
    use nalgebra::Rotation3;

    use super::*;

    fn grid() -> Vec<Vector2<f64>> {
        (0..20).map(|i| Vector2::new(f64::from(i % 5) * 0.03, f64::from(i / 5) * 0.03)).collect()
    }

    #[test]
    fn focal_length_and_place_come_back_from_exact_views() {
        let truth = |k: f64| RigidTransform {
            rotation: *Rotation3::from_euler_angles(0.4 * k.sin(), 0.5 * k.cos(), k).matrix(),
            translation_m: Vector3::new(0.02 * k, -0.03, 0.8 + 0.1 * k),
        };
        let view = |k: f64, focal: f64| -> Vec<Vector2<f64>> {
            let see = |p: &Vector2<f64>| {
                let q = truth(k).apply(&Vector3::new(p.x, p.y, 0.0));
                Vector2::new(q.x / q.z, q.y / q.z) * focal
            };
            grid().iter().map(see).collect()
        };
        let all: Vec<_> = (0..5).map(|k| homography(&grid(), &view(f64::from(k), 750.0)).unwrap()).collect();
        assert!((focal_px(&all).unwrap() - 750.0).abs() < 1e-6);
        let found = pose(&homography(&grid(), &view(2.0, 1.0)).unwrap()).unwrap();
        assert!((found.rotation - truth(2.0).rotation).norm() < 1e-9);
        assert!((found.translation_m - truth(2.0).translation_m).norm() < 1e-9);
    }

    #[test]
    fn points_on_a_line_have_no_homography() {
        let line: Vec<_> = (0..8).map(|i| Vector2::new(f64::from(i), 0.5)).collect();
        assert_eq!(homography(&line, &line), None);
    }
}
