//! A pose as its animal would describe it: what a refiner is shown and what it was trained on.

use nalgebra::{Matrix3, Vector2, Vector3};

use super::{Keypoint, PoseEstimate};
use crate::geometry::CameraModel;

/// Numbers of a keypoint: x, y, z (mm) and confidence.
pub const POINT_ROW: usize = 4;
/// Numbers of a keypoint in a view: direction to the camera (3), how far beside the keypoint the view saw it (3, mm),
/// confidence.
pub const VIEW_ROW: usize = 7;

/// Under this length on the floor, metres, a body axis points nowhere.
const AXIS_M_MIN: f64 = 0.002;
/// What a view says is shown as no further off than this, mm.
const BESIDE_MM_MAX: f64 = 40.0;

/// A frame that goes with the animal: origin on the floor (world z = 0) under the middle of its axis, x forwards along the
/// floor, z up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Egocentric {
    origin_m: Vector3<f64>,
    /// Animal from world.
    rotation: Matrix3<f64>,
}

impl Egocentric {
    /// The frame of an animal whose body axis runs from `rear` to `front`; `None` when either is missing or the axis
    /// stands upright.
    pub fn of(rear: &Keypoint, front: &Keypoint) -> Option<Self> {
        if !(rear.confidence > 0.0 && front.confidence > 0.0) {
            return None;
        }
        let (rear, front) = (Vector3::from(rear.xyz_m), Vector3::from(front.xyz_m));
        let axis = Vector2::new(front.x - rear.x, front.y - rear.y);
        let length = axis.norm();
        if !(length >= AXIS_M_MIN && rear.z.is_finite() && front.z.is_finite()) {
            return None;
        }
        let (cos, sin) = (axis.x / length, axis.y / length);
        Some(Self {
            origin_m: Vector3::new(0.5 * (front.x + rear.x), 0.5 * (front.y + rear.y), 0.0),
            rotation: Matrix3::new(cos, sin, 0.0, -sin, cos, 0.0, 0.0, 0.0, 1.0),
        })
    }

    /// A place in the world as the animal's frame has it, mm.
    pub fn place_mm(&self, xyz_m: &Vector3<f64>) -> Vector3<f64> {
        self.rotation * (xyz_m - self.origin_m) * 1e3
    }

    /// A displacement in the animal's frame, mm, in the world, metres.
    pub fn to_world_m(&self, offset_mm: &Vector3<f64>) -> Vector3<f64> {
        self.rotation.transpose() * offset_mm * 1e-3
    }

    /// Describes a pose: `points` has [`POINT_ROW`] numbers for each keypoint, `views` [`VIEW_ROW`] for each keypoint of
    /// each view in turn. What is missing is all zeros.
    ///
    /// # Panics
    /// When a slice is shorter than that.
    pub fn describe(&self, cameras: &[CameraModel], pose: &PoseEstimate, points: &mut [f32], views: &mut [f32]) {
        points.fill(0.0);
        views.fill(0.0);
        for (keypoint, row) in pose.keypoints.iter().zip(points.chunks_exact_mut(POINT_ROW)) {
            if keypoint.confidence > 0.0 {
                let place = self.place_mm(&Vector3::from(keypoint.xyz_m));
                row[..3].iter_mut().zip(place.iter()).for_each(|(to, &from)| *to = from as f32);
                row[3] = keypoint.confidence;
            }
        }
        let count = pose.keypoints.len();
        for (view, camera) in cameras.iter().enumerate() {
            let from_camera = self.rotation * camera.cam_from_world.rotation.transpose();
            for (index, keypoint) in pose.keypoints.iter().enumerate() {
                let seen = pose.views[view].keypoints_px[index];
                let row = &mut views[(view * count + index) * VIEW_ROW..][..VIEW_ROW];
                if keypoint.confidence > 0.0 && seen[2] > 0.0 {
                    describe_view(camera, &from_camera, keypoint, seen, row);
                }
            }
        }
    }
}

/// How one view saw one keypoint; leaves `row` alone when that cannot be said.
fn describe_view(
    camera: &CameraModel,
    from_camera: &Matrix3<f64>,
    keypoint: &Keypoint,
    seen: [f32; 3],
    row: &mut [f32],
) {
    let at = camera.cam_from_world.apply(&Vector3::from(keypoint.xyz_m));
    let pixel = Vector2::new(f64::from(seen[0]), f64::from(seen[1]));
    let Some(direction) = (at.z > 1e-6).then(|| camera.undistort(&pixel)).flatten() else { return };
    let beside = Vector3::new(direction.x * at.z - at.x, direction.y * at.z - at.y, 0.0) * 1e3;
    let beside = from_camera * beside * (BESIDE_MM_MAX / beside.norm().max(BESIDE_MM_MAX));
    let ray = from_camera * -at.normalize();
    let values = ray.iter().chain(beside.iter());
    row.iter_mut().zip(values).for_each(|(to, &from)| *to = from as f32);
    row[6] = seen[2];
}

#[cfg(test)]
mod tests {
    use super::super::ViewEstimate;
    use super::*;
    use crate::geometry::RigidTransform;

    /// A camera above the origin looking down: image x is world x, image y is minus world y.
    fn above(height_m: f64) -> CameraModel {
        CameraModel {
            name: "above".to_owned(),
            width_px: 640,
            height_px: 640,
            k: Matrix3::new(500.0, 0.0, 320.0, 0.0, 500.0, 320.0, 0.0, 0.0, 1.0),
            distortion: [0.0; 5],
            cam_from_world: RigidTransform {
                rotation: Matrix3::new(1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0),
                translation_m: Vector3::new(0.0, 0.0, height_m),
            },
        }
    }

    fn point(xyz_m: [f64; 3], confidence: f32) -> Keypoint {
        Keypoint { xyz_m, confidence, ..Keypoint::MISSING }
    }

    #[test]
    fn a_pose_reads_the_same_wherever_the_animal_stands_and_looks() {
        // The animal looks along world y.
        let (rear, front) = (point([0.1, 0.0, 0.05], 0.9), point([0.1, 0.2, 0.05], 0.8));
        let frame = Egocentric::of(&rear, &front).unwrap();
        let near = |a: Vector3<f64>, b: [f64; 3]| (a - Vector3::from(b)).norm() < 1e-9;
        assert!(near(frame.place_mm(&Vector3::new(0.1, 0.2, 0.05)), [100.0, 0.0, 50.0]));
        assert!(near(frame.place_mm(&Vector3::new(0.05, 0.1, 0.0)), [0.0, 50.0, 0.0]), "left of it is y");
        assert!(near(frame.to_world_m(&Vector3::new(10.0, 0.0, -3.0)), [0.0, 0.01, -0.003]));
    }

    #[test]
    fn an_animal_without_an_axis_has_no_frame() {
        let (here, above) = (point([0.1, 0.0, 0.05], 0.9), point([0.1, 0.0, 0.15], 0.8));
        assert_eq!(Egocentric::of(&here, &above), None, "upright");
        assert_eq!(Egocentric::of(&here, &Keypoint::MISSING), None, "missing");
        assert_eq!(Egocentric::of(&here, &point([f64::NAN, 0.0, 0.0], 0.5)), None, "not a number");
    }

    #[test]
    fn a_view_that_saw_it_beside_is_shown_by_how_much_and_where_to() {
        let camera = above(1.0);
        // One metre above a point at z = 0, a pixel is 2 mm.
        let pose = PoseEstimate {
            keypoints: vec![point([-0.1, 0.0, 0.0], 0.9), point([0.1, 0.0, 0.0], 0.7), Keypoint::MISSING],
            views: vec![ViewEstimate {
                keypoints_px: vec![[270.0, 320.0, 0.6], [370.0, 317.0, 0.5], [300.0, 300.0, 0.9]],
                ..ViewEstimate::default()
            }],
            ..PoseEstimate::default()
        };
        let frame = Egocentric::of(&pose.keypoints[0], &pose.keypoints[1]).unwrap();
        let (mut points, mut views) = ([1.0; 3 * POINT_ROW], [1.0; 3 * VIEW_ROW]);
        frame.describe(&[camera], &pose, &mut points, &mut views);
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(near(&points, &[-100.0, 0.0, 0.0, 0.9, 100.0, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0, 0.0]), "{points:?}");
        assert!(near(&views[3..7], &[0.0, 0.0, 0.0, 0.6]), "seen where it is: {views:?}");
        assert!(near(&views[10..14], &[0.0, 6.0, 0.0, 0.5]), "3 px to its left: {views:?}");
        assert!(views[2] > 0.99 && near(&views[14..], &[0.0; VIEW_ROW]), "missing: {views:?}");
    }
}
