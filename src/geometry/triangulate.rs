//! Robust triangulation of one keypoint from up to [`VIEWS_MAX`] views.
//!
//! Every pixel becomes an undistorted ray. A linear solution over all views, weighted by confidence, is refined by
//! Gauss–Newton on the reprojection error. If a view disagrees by more than the outlier limit, every pair of views
//! proposes a point, the proposal that most confidence agrees with wins, and only the views that agree with it are
//! refined again. With two views nothing can be proved wrong, with three a single liar is found, so agreement of a
//! majority of the confidence is required. Nothing allocates.

use nalgebra::{Matrix3, Matrix4, Vector2, Vector3};

use super::CameraModel;

/// The most cameras that one triangulation takes (the views are a 32-bit mask).
pub const VIEWS_MAX: usize = 32;

/// Gauss–Newton steps of each refinement; it converges quadratically from the linear solution.
const REFINE_STEPS: usize = 4;

/// Where one view saw the keypoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Pixel in the (distorted) image.
    pub pixel: Vector2<f64>,
    /// 0 (or not finite): not seen. Views are weighted by it.
    pub confidence: f64,
}

impl Observation {
    /// A view that did not see the keypoint.
    pub const NONE: Self = Self { pixel: Vector2::new(0.0, 0.0), confidence: 0.0 };
}

/// Limits of [`triangulate_robust`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TriangulationOptions {
    /// A view whose reprojection is further off than this is an outlier, pixels.
    pub outlier_px: f64,
    /// Standard deviation of a detection of confidence 1, pixels; the covariance is never smaller than it implies.
    pub detection_sd_px: f64,
    /// Views under this confidence are not used.
    pub confidence_min: f64,
}

impl Default for TriangulationOptions {
    fn default() -> Self {
        Self { outlier_px: 8.0, detection_sd_px: 1.0, confidence_min: 0.05 }
    }
}

/// A triangulated keypoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Triangulated {
    /// World position, metres.
    pub xyz_m: Vector3<f64>,
    /// Bit mask of the views used.
    pub views: u32,
    /// Bit mask of the views that saw the keypoint but disagreed.
    pub rejected: u32,
    /// Weighted root mean square of the reprojection error over the views used, undistorted pixels.
    pub residual_px: f64,
    /// Covariance of the position: xx, xy, xz, yy, yz, zz in square metres.
    pub covariance_m2: [f64; 6],
}

/// A usable view, in normalised coordinates.
#[derive(Clone, Copy)]
struct Ray<'a> {
    camera: &'a CameraModel,
    point: Vector2<f64>,
    weight: f64,
    focal_px: f64,
    view: usize,
    /// Its share of the linear solution's normal matrix and right side: every choice of views is a sum of these.
    normal: Matrix3<f64>,
    right: Vector3<f64>,
}

impl<'a> Ray<'a> {
    fn new(camera: &'a CameraModel, seen: &Observation, view: usize) -> Option<Self> {
        let point = camera.undistort(&seen.pixel)?;
        let weight = seen.confidence;
        let rotation = &camera.cam_from_world.rotation;
        let translation = &camera.cam_from_world.translation_m;
        let (mut normal, mut right) = (Matrix3::zeros(), Vector3::zeros());
        for (axis, value) in [(0, point.x), (1, point.y)] {
            let row = (rotation.row(2) * value - rotation.row(axis)).transpose();
            let offset = translation[axis] - translation[2] * value;
            normal += row * row.transpose() * weight;
            right += row * (offset * weight);
        }
        Some(Self { camera, point, weight, focal_px: camera.focal_px(), view, normal, right })
    }

    /// Reprojection error in undistorted pixels; `None` behind the camera.
    fn error_px(&self, xyz: &Vector3<f64>) -> Option<Vector2<f64>> {
        let p = self.camera.cam_from_world.apply(xyz);
        (p.z > 1e-6).then(|| (p.xy() * p.z.recip() - self.point) * self.focal_px)
    }
}

/// Triangulates one keypoint; `observations[i]` belongs to `cameras[i]`.
///
/// `None` when fewer than two views saw it, the rays do not intersect in front of the cameras, or no majority of the
/// confidence agrees on a point.
///
/// # Panics
/// When the slices differ in length or are longer than [`VIEWS_MAX`].
pub fn triangulate_robust(
    cameras: &[CameraModel],
    observations: &[Observation],
    options: &TriangulationOptions,
) -> Option<Triangulated> {
    assert!(cameras.len() == observations.len() && cameras.len() <= VIEWS_MAX, "one observation for each camera");
    let mut storage = [None; VIEWS_MAX];
    let mut count = 0;
    for (view, (camera, seen)) in cameras.iter().zip(observations).enumerate() {
        if seen.confidence.is_finite()
            && seen.confidence >= options.confidence_min.max(f64::MIN_POSITIVE)
            && let Some(ray) = Ray::new(camera, seen, view)
        {
            storage[count] = Some(ray);
            count += 1;
        }
    }
    let rays = &storage[..count];
    let all = mask(count);
    if count < 2 {
        return None;
    }
    if let Some(xyz) = solve(rays, all)
        && agreeing(rays, &xyz, options.outlier_px) == all
    {
        return finish(rays, xyz, all, options);
    }
    let chosen = consensus(rays, options.outlier_px)?;
    let xyz = solve(rays, chosen)?;
    // The refined point may bring a borderline view back in, or prove one wrong.
    let settled = agreeing(rays, &xyz, options.outlier_px);
    if !is_majority(rays, settled) {
        return None;
    }
    let xyz = if settled == chosen { xyz } else { solve(rays, settled)? };
    finish(rays, xyz, settled, options)
}

/// Plain linear triangulation (homogeneous least squares over all views with confidence above 0): the yardstick.
pub fn triangulate_dlt(cameras: &[CameraModel], observations: &[Observation]) -> Option<Vector3<f64>> {
    let mut normal = Matrix4::zeros();
    let mut views = 0;
    for (camera, seen) in cameras.iter().zip(observations) {
        if !(seen.confidence > 0.0) {
            continue;
        }
        let Some(point) = camera.undistort(&seen.pixel) else { continue };
        let rt = camera.cam_from_world.rotation.insert_column(3, 0.0);
        let row = |i: usize| {
            let mut row = rt.row(i).into_owned();
            row[3] = camera.cam_from_world.translation_m[i];
            row
        };
        for equation in [row(2) * point.x - row(0), row(2) * point.y - row(1)] {
            normal += equation.transpose() * equation;
        }
        views += 1;
    }
    if views < 2 {
        return None;
    }
    let eigen = normal.symmetric_eigen();
    let smallest = eigen.eigenvalues.imin();
    let v = eigen.eigenvectors.column(smallest);
    (v[3].abs() > 1e-12).then(|| Vector3::new(v[0] / v[3], v[1] / v[3], v[2] / v[3]))
}

const fn mask(count: usize) -> u32 {
    if count >= 32 { u32::MAX } else { (1 << count) - 1 }
}

/// The rays whose bit is set in `chosen` (bits count rays, not cameras).
fn each<'a, 'b>(rays: &'b [Option<Ray<'a>>], chosen: u32) -> impl Iterator<Item = &'b Ray<'a>> {
    rays.iter().enumerate().filter(move |(i, _)| chosen >> i & 1 == 1).filter_map(|(_, ray)| ray.as_ref())
}

/// Linear solution, then Gauss–Newton, over the chosen rays.
fn solve(rays: &[Option<Ray<'_>>], chosen: u32) -> Option<Vector3<f64>> {
    let mut xyz = linear(rays, chosen)?;
    for _ in 0..REFINE_STEPS {
        let (normal, gradient) = linearise(rays, chosen, &xyz)?;
        let step = solve3(&normal, &gradient)?;
        xyz -= step;
        if step.norm_squared() < 1e-14 {
            break;
        }
    }
    xyz.iter().all(|v| v.is_finite()).then_some(xyz)
}

/// Linear solution of the projection equations, weighted by confidence.
fn linear(rays: &[Option<Ray<'_>>], chosen: u32) -> Option<Vector3<f64>> {
    let mut normal = Matrix3::zeros();
    let mut right = Vector3::zeros();
    for ray in each(rays, chosen) {
        normal += ray.normal;
        right += ray.right;
    }
    solve3(&normal, &right)
}

/// Normal matrix and gradient of the weighted squared reprojection error at `xyz`.
fn linearise(rays: &[Option<Ray<'_>>], chosen: u32, xyz: &Vector3<f64>) -> Option<(Matrix3<f64>, Vector3<f64>)> {
    let mut normal = Matrix3::zeros();
    let mut gradient = Vector3::zeros();
    for ray in each(rays, chosen) {
        let p = ray.camera.cam_from_world.apply(xyz);
        if p.z <= 1e-6 {
            return None;
        }
        let rotation = &ray.camera.cam_from_world.rotation;
        let inverse = p.z.recip();
        let (x, y, scale) = (p.x * inverse, p.y * inverse, ray.focal_px * inverse);
        let error = (Vector2::new(x, y) - ray.point) * ray.focal_px;
        let jx = (rotation.row(0) - rotation.row(2) * x).transpose() * scale;
        let jy = (rotation.row(1) - rotation.row(2) * y).transpose() * scale;
        normal += (jx * jx.transpose() + jy * jy.transpose()) * ray.weight;
        gradient += (jx * error.x + jy * error.y) * ray.weight;
    }
    Some((normal, gradient))
}

/// Which rays reproject within `limit_px` (bits count rays).
fn agreeing(rays: &[Option<Ray<'_>>], xyz: &Vector3<f64>, limit_px: f64) -> u32 {
    let mut agree = 0;
    for (i, ray) in rays.iter().enumerate() {
        let error = ray.as_ref().and_then(|r| r.error_px(xyz));
        if error.is_some_and(|e| e.norm_squared() <= limit_px * limit_px) {
            agree |= 1 << i;
        }
    }
    agree
}

fn is_majority(rays: &[Option<Ray<'_>>], chosen: u32) -> bool {
    let total: f64 = each(rays, mask(rays.len())).map(|r| r.weight).sum();
    let inside: f64 = each(rays, chosen).map(|r| r.weight).sum();
    chosen.count_ones() >= 2 && inside > 0.5 * total
}

/// The set of rays that agrees with the best two-view proposal, by a truncated weighted squared error.
fn consensus(rays: &[Option<Ray<'_>>], limit_px: f64) -> Option<u32> {
    let mut best: Option<(f64, u32)> = None;
    for first in 0..rays.len() {
        for second in first + 1..rays.len() {
            let Some(xyz) = linear(rays, 1 << first | 1 << second) else { continue };
            let lowest = best.map_or(f64::INFINITY, |(lowest, _)| lowest);
            let (mut cost, mut agree) = (0.0, 0);
            for (i, ray) in rays.iter().enumerate() {
                let Some(ray) = ray else { continue };
                let square = ray.error_px(&xyz).map_or(f64::MAX, |e| e.norm_squared() / (limit_px * limit_px));
                cost += ray.weight * square.min(1.0);
                agree |= u32::from(square <= 1.0) << i;
                // Worse than the best already: the other views only add to it.
                if cost >= lowest {
                    break;
                }
            }
            if agree.count_ones() >= 2 && cost < lowest {
                best = Some((cost, agree));
            }
        }
    }
    best.map(|(_, agree)| agree).filter(|&agree| is_majority(rays, agree))
}

fn finish(
    rays: &[Option<Ray<'_>>],
    xyz_m: Vector3<f64>,
    chosen: u32,
    options: &TriangulationOptions,
) -> Option<Triangulated> {
    let (mut squares, mut weights, mut views, mut rejected) = (0.0, 0.0, 0, 0);
    for (i, ray) in rays.iter().enumerate() {
        let Some(ray) = ray else { continue };
        if chosen >> i & 1 == 0 {
            rejected |= 1 << ray.view;
            continue;
        }
        squares += ray.weight * ray.error_px(&xyz_m)?.norm_squared();
        weights += ray.weight;
        views |= 1 << ray.view;
    }
    let residual_px = (squares / weights).sqrt();
    let (normal, _) = linearise(rays, chosen, &xyz_m)?;
    let sd_px = residual_px.max(options.detection_sd_px);
    let c = normal.try_inverse()? * (sd_px * sd_px);
    let covariance_m2 = [c[(0, 0)], c[(0, 1)], c[(0, 2)], c[(1, 1)], c[(1, 2)], c[(2, 2)]];
    Some(Triangulated { xyz_m, views, rejected, residual_px, covariance_m2 })
}

/// Solves a symmetric positive 3x3 system by its cofactors; `None` when it is near singular (parallel rays).
fn solve3(normal: &Matrix3<f64>, right: &Vector3<f64>) -> Option<Vector3<f64>> {
    let [[a, b, c], [_, d, e], [_, _, f]] = [0, 1, 2].map(|row| [0, 1, 2].map(|column| normal[(row, column)]));
    let (aa, ab, ac) = (d * f - e * e, c * e - b * f, b * e - c * d);
    let (bb, bc, cc) = (a * f - c * c, b * c - a * e, a * d - b * b);
    let determinant = a * aa + b * ab + c * ac;
    let scale = (a + d + f) / 3.0;
    if !(determinant > 1e-9 * scale * scale * scale) {
        return None;
    }
    Some(Matrix3::new(aa, ab, ac, ab, bb, bc, ac, bc, cc) * right / determinant)
}

#[cfg(test)]
mod tests {
    use super::super::camera::tests::ring_camera;
    use super::*;

    fn rig() -> Vec<CameraModel> {
        (0..6).map(|i| ring_camera(f64::from(i) * std::f64::consts::PI / 3.0, 1.1)).collect()
    }

    fn seen(rig: &[CameraModel], point: &Vector3<f64>) -> Vec<Observation> {
        rig.iter().map(|c| Observation { pixel: c.project(point).unwrap(), confidence: 0.9 }).collect()
    }

    #[test]
    fn exact_views_give_the_exact_point() {
        let rig = rig();
        let truth = Vector3::new(0.12, -0.2, 0.05);
        let found = triangulate_robust(&rig, &seen(&rig, &truth), &TriangulationOptions::default()).unwrap();
        assert!((found.xyz_m - truth).norm() < 1e-9);
        assert_eq!((found.views, found.rejected), (0b11_1111, 0));
        assert!((triangulate_dlt(&rig, &seen(&rig, &truth)).unwrap() - truth).norm() < 1e-9);
    }

    #[test]
    fn lying_views_are_named_and_do_not_pull() {
        let rig = rig();
        let truth = Vector3::new(0.12, -0.2, 0.05);
        let mut views = seen(&rig, &truth);
        views[1].pixel.x += 60.0;
        views[4].pixel.y -= 200.0;
        let found = triangulate_robust(&rig, &views, &TriangulationOptions::default()).unwrap();
        assert!((found.xyz_m - truth).norm() < 1e-9);
        assert_eq!((found.views, found.rejected), (0b10_1101, 0b01_0010));
        assert!((triangulate_dlt(&rig, &views).unwrap() - truth).norm() > 5e-3);
    }

    #[test]
    fn nothing_is_claimed_without_agreement() {
        let rig = rig();
        let truth = Vector3::new(0.0, 0.1, 0.05);
        let mut views = seen(&rig, &truth);
        for view in &mut views[2..] {
            view.confidence = 0.0;
        }
        assert_eq!(
            triangulate_robust(&rig, &views, &TriangulationOptions::default()).map(|t| t.views),
            Some(0b11),
            "two views that agree are enough"
        );
        views[1].pixel.y += 150.0;
        assert_eq!(triangulate_robust(&rig, &views, &TriangulationOptions::default()), None);
        views[1] = Observation { pixel: Vector2::new(f64::NAN, 0.0), confidence: f64::NAN };
        assert_eq!(triangulate_robust(&rig, &views, &TriangulationOptions::default()), None);
    }

    #[test]
    fn covariance_grows_along_the_depth_of_a_narrow_pair() {
        let rig = [ring_camera(0.0, 1.1), ring_camera(0.15, 1.1)];
        let views = seen(&rig, &Vector3::zeros());
        let found = triangulate_robust(&rig, &views, &TriangulationOptions::default()).unwrap();
        assert!(found.covariance_m2[0] > 20.0 * found.covariance_m2[3], "{:?}", found.covariance_m2);
    }
}
