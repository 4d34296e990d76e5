//! One camera: intrinsics, distortion, place in the world.

use nalgebra::{Matrix2, Matrix3, Vector2, Vector3};

/// Where a camera's view lies beside what the others say by more than this share of its width, it has moved: 2.6 px at 640,
/// 7.7 at 1920; networks' own one-sided errors stay well below it.
pub const MOVED_SHARE: f64 = 0.004;

/// A rotation and a translation; maps points of one frame into another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RigidTransform {
    /// Orthonormal, determinant +1.
    pub rotation: Matrix3<f64>,
    /// Metres, in the target frame.
    pub translation_m: Vector3<f64>,
}

impl RigidTransform {
    /// Applies the transform to a point.
    pub fn apply(&self, point_m: &Vector3<f64>) -> Vector3<f64> {
        self.rotation * point_m + self.translation_m
    }
}

/// A calibrated pinhole camera with the five-parameter distortion model.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraModel {
    /// Name, as in the config.
    pub name: String,
    /// Image width the calibration is for; 0 where the file does not say.
    pub width_px: u32,
    /// Image height the calibration is for; 0 where the file does not say.
    pub height_px: u32,
    /// Intrinsic matrix: `[[fx, skew, cx], [0, fy, cy], [0, 0, 1]]`, pixels.
    pub k: Matrix3<f64>,
    /// k1, k2, p1, p2, k3.
    pub distortion: [f64; 5],
    /// Camera frame from world frame.
    pub cam_from_world: RigidTransform,
}

/// Newton steps of [`CameraModel::undistort`]; strong real lenses need four or five.
const UNDISTORT_STEPS: usize = 25;
/// Newton stops after a step smaller than this (normalised units): its error squares with each step, so what is left is of the
/// size of the last digit.
const UNDISTORT_STEP_SMALL: f64 = 1e-8;

impl CameraModel {
    /// Mean focal length, pixels.
    pub fn focal_px(&self) -> f64 {
        0.5 * (self.k[(0, 0)] + self.k[(1, 1)])
    }

    /// Camera centre in the world, metres.
    pub fn centre_m(&self) -> Vector3<f64> {
        -(self.cam_from_world.rotation.transpose() * self.cam_from_world.translation_m)
    }

    /// Pixel of a world point, or `None` when it lies behind the camera.
    pub fn project(&self, point_in_world_m: &Vector3<f64>) -> Option<Vector2<f64>> {
        let point = self.cam_from_world.apply(point_in_world_m);
        if point.z <= 1e-6 {
            return None;
        }
        Some(self.pixel(&self.distort(&Vector2::new(point.x / point.z, point.y / point.z))))
    }

    /// Distance along the optical axis of a world point, metres.
    pub fn depth_m(&self, point_in_world_m: &Vector3<f64>) -> f64 {
        self.cam_from_world.apply(point_in_world_m).z
    }

    /// Whether a pixel lies inside the image.
    pub fn sees(&self, pixel: &Vector2<f64>) -> bool {
        pixel.x >= -0.5
            && pixel.y >= -0.5
            && pixel.x < f64::from(self.width_px) - 0.5
            && pixel.y < f64::from(self.height_px) - 0.5
    }

    /// Normalised image coordinates (x/z, y/z) of a pixel, with distortion removed by Newton's method.
    ///
    /// `None` where the distortion model has no inverse (far outside a strongly distorted image) or the pixel is not finite.
    pub fn undistort(&self, pixel: &Vector2<f64>) -> Option<Vector2<f64>> {
        let target = self.normalised(pixel);
        if !target.iter().all(|v| v.is_finite()) {
            return None;
        }
        if self.distortion == [0.0; 5] {
            return Some(target);
        }
        let mut point = target;
        for _ in 0..UNDISTORT_STEPS {
            let (value, jacobian) = self.distort_with_jacobian(&point);
            let step = jacobian.try_inverse()? * (value - target);
            point -= step;
            if step.norm_squared() < UNDISTORT_STEP_SMALL * UNDISTORT_STEP_SMALL {
                return Some(point);
            }
        }
        None
    }

    /// Ray of a pixel: camera centre and unit direction, in the world.
    pub fn ray(&self, pixel: &Vector2<f64>) -> Option<(Vector3<f64>, Vector3<f64>)> {
        let point = self.undistort(pixel)?;
        let direction = self.cam_from_world.rotation.transpose() * Vector3::new(point.x, point.y, 1.0);
        Some((self.centre_m(), direction / direction.norm()))
    }

    /// The same camera for images of another size; a pixel's centre stays at integer coordinates.
    pub fn scaled_to(&self, width_px: u32, height_px: u32) -> Self {
        let sx = f64::from(width_px) / f64::from(self.width_px);
        let sy = f64::from(height_px) / f64::from(self.height_px);
        let mut k = self.k;
        k[(0, 0)] *= sx;
        k[(0, 1)] *= sx;
        k[(0, 2)] = (k[(0, 2)] + 0.5) * sx - 0.5;
        k[(1, 1)] *= sy;
        k[(1, 2)] = (k[(1, 2)] + 0.5) * sy - 0.5;
        Self { name: self.name.clone(), width_px, height_px, k, ..*self }
    }

    fn pixel(&self, point: &Vector2<f64>) -> Vector2<f64> {
        Vector2::new(
            self.k[(0, 0)] * point.x + self.k[(0, 1)] * point.y + self.k[(0, 2)],
            self.k[(1, 1)] * point.y + self.k[(1, 2)],
        )
    }

    fn normalised(&self, pixel: &Vector2<f64>) -> Vector2<f64> {
        let y = (pixel.y - self.k[(1, 2)]) / self.k[(1, 1)];
        Vector2::new((pixel.x - self.k[(0, 2)] - self.k[(0, 1)] * y) / self.k[(0, 0)], y)
    }

    /// Applies the lens to normalised coordinates.
    fn distort(&self, point: &Vector2<f64>) -> Vector2<f64> {
        let [k1, k2, p1, p2, k3] = self.distortion;
        let (x, y) = (point.x, point.y);
        let r2 = x * x + y * y;
        let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
        Vector2::new(
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        )
    }

    /// Distorted normalised coordinates and their derivative by the undistorted ones.
    pub(crate) fn distort_with_jacobian(&self, point: &Vector2<f64>) -> (Vector2<f64>, Matrix2<f64>) {
        let [k1, k2, p1, p2, k3] = self.distortion;
        let (x, y) = (point.x, point.y);
        let r2 = x * x + y * y;
        let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
        // d radial / d r2, times two: multiplied by x or y it is the derivative by that coordinate.
        let slope = 2.0 * (k1 + r2 * (2.0 * k2 + 3.0 * r2 * k3));
        let cross = slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y;
        let jacobian = Matrix2::new(
            radial + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x,
            cross,
            cross,
            radial + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x,
        );
        (self.distort(point), jacobian)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A camera `radius_m` from the origin at `angle_rad`, 0.4 m high, looking at the origin.
    pub(crate) fn ring_camera(angle_rad: f64, radius_m: f64) -> CameraModel {
        let centre = Vector3::new(radius_m * angle_rad.cos(), radius_m * angle_rad.sin(), 0.4);
        let forward = (-centre).normalize();
        let right = forward.cross(&Vector3::z()).normalize();
        let down = forward.cross(&right);
        let rotation = Matrix3::from_rows(&[right.transpose(), down.transpose(), forward.transpose()]);
        CameraModel {
            name: format!("ring{:.0}", angle_rad.to_degrees()),
            width_px: 1920,
            height_px: 1200,
            k: Matrix3::new(2270.0, 1.5, 950.0, 0.0, 2275.0, 610.0, 0.0, 0.0, 1.0),
            distortion: [-0.09, 0.11, 0.001, -0.0008, 0.02],
            cam_from_world: RigidTransform { rotation, translation_m: -(rotation * centre) },
        }
    }

    proptest! {
        #[test]
        fn undistort_inverts_the_lens(u in 0.0..1920.0f64, v in 0.0..1200.0f64) {
            let camera = ring_camera(0.3, 1.1);
            let pixel = Vector2::new(u, v);
            let (centre, direction) = camera.ray(&pixel).unwrap();
            let back = camera.project(&(centre + direction * 0.8)).unwrap();
            prop_assert!((back - pixel).norm() < 1e-7, "{back} is not {pixel}");
        }
    }

    #[test]
    fn a_point_behind_the_camera_has_no_pixel() {
        let camera = ring_camera(0.0, 1.0);
        assert!(camera.project(&Vector3::new(2.0, 0.0, 0.4)).is_none());
        assert!(camera.undistort(&Vector2::new(f64::NAN, 3.0)).is_none());
    }

    #[test]
    fn scaling_keeps_directions() {
        let camera = ring_camera(1.0, 1.1);
        let half = camera.scaled_to(960, 600);
        let point = Vector3::new(0.1, -0.05, 0.02);
        let (full_px, half_px) = (camera.project(&point).unwrap(), half.project(&point).unwrap());
        assert!(((full_px.add_scalar(0.5)) * 0.5 - half_px.add_scalar(0.5)).norm() < 1e-9);
    }
}
