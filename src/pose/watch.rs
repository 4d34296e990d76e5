//! Cameras that were bumped: their detections lie beside the reprojected pose, all to the same side, for seconds.

use super::PoseEstimate;
use crate::geometry::MOVED_SHARE;

/// Views of a keypoint under this confidence say nothing about their camera.
const CONFIDENCE_MIN: f32 = 0.3;
/// Share of the newest frame set in the running mean: it follows within about two seconds at 50 Hz.
const NEWEST_SHARE: f64 = 0.01;
/// Frame sets with the animal in view before anything is said.
const SETTLED: u32 = 200;
/// It counts as back in place below this share of the limit.
const BACK_SHARE: f64 = 0.5;
/// With fewer other views the pose itself follows the moved camera and nothing can be told.
const VIEWS_MIN: u32 = 3;

/// One camera's running mean offset.
#[derive(Clone, Copy, Debug, Default)]
struct Drift {
    offset_px: [f64; 2],
    seen: u32,
    limit_px: f64,
    is_moved: bool,
}

/// Watches every camera's mean offset between what its view showed and the pose projected back into it. Allocates only
/// when made.
#[derive(Clone, Debug)]
pub struct CameraWatch {
    drifts: Vec<Drift>,
}

impl CameraWatch {
    /// A watch over cameras with frames of these widths.
    pub fn new(widths_px: impl IntoIterator<Item = u32>) -> Self {
        let drift = |width_px: u32| Drift { limit_px: MOVED_SHARE * f64::from(width_px), ..Drift::default() };
        Self { drifts: widths_px.into_iter().map(drift).collect() }
    }

    /// Takes a frame set's pose; `reprojected_px[camera][keypoint]` is the pose in that view, not finite for none.
    pub fn observe(&mut self, pose: &PoseEstimate, reprojected_px: &[Vec<[f32; 2]>]) {
        let cameras = self.drifts.iter_mut().zip(&pose.views).zip(reprojected_px).enumerate();
        for (camera, ((drift, view), points)) in cameras {
            let (mut sum, mut count) = ([0.0; 2], 0);
            for ((seen, point), keypoint) in view.keypoints_px.iter().zip(points).zip(&pose.keypoints) {
                let others = (keypoint.views & !(1 << camera)).count_ones();
                if seen[2] >= CONFIDENCE_MIN && point[0].is_finite() && others >= VIEWS_MIN {
                    (0..2).for_each(|axis| sum[axis] += f64::from(seen[axis] - point[axis]));
                    count += 1;
                }
            }
            // A few keypoints may err together; the animal as a whole does not.
            if 2 * count >= view.keypoints_px.len().max(1) {
                drift.take(sum.map(|sum| sum / count as f64));
            }
        }
        self.judge();
    }

    /// Accuses the camera that is farthest off and no other: the pose follows a camera that moved, in part, and that sets the
    /// others beside it. A second one that was bumped is named once it is the farthest.
    fn judge(&mut self) {
        let farthest_px = self.drifts.iter().map(Drift::length_px).fold(0.0, f64::max);
        for drift in &mut self.drifts {
            let length_px = drift.length_px();
            drift.is_moved = match drift.is_moved {
                true => length_px > BACK_SHARE * drift.limit_px,
                false => drift.seen >= SETTLED && length_px > drift.limit_px && length_px >= farthest_px,
            };
        }
    }

    /// Mean offset of a camera's detections from the pose, pixels; `None` before it has settled.
    pub fn offset_px(&self, camera: usize) -> Option<[f64; 2]> {
        self.drifts.get(camera).filter(|drift| drift.seen >= SETTLED).map(|drift| drift.offset_px)
    }

    /// Whether a camera no longer stands where its calibration says.
    pub fn is_moved(&self, camera: usize) -> bool {
        self.drifts.get(camera).is_some_and(|drift| drift.is_moved)
    }
}

impl Drift {
    fn take(&mut self, offset_px: [f64; 2]) {
        self.seen = self.seen.saturating_add(1);
        // A plain mean until there is enough to forget.
        let share = NEWEST_SHARE.max(1.0 / f64::from(self.seen));
        (0..2).for_each(|axis| self.offset_px[axis] += share * (offset_px[axis] - self.offset_px[axis]));
    }

    fn length_px(&self) -> f64 {
        self.offset_px[0].hypot(self.offset_px[1])
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CropBox, Keypoint, ViewEstimate};
    use super::*;

    /// A pose seen by four cameras, the first `shift_px` beside where it should be; noise of a pixel everywhere.
    fn seen(frame: u32, shift_px: f32, confidence: f32) -> (PoseEstimate, Vec<Vec<[f32; 2]>>) {
        let keypoint = Keypoint { confidence: 0.9, views: 0b1111, ..Keypoint::MISSING };
        let points: Vec<[f32; 2]> = (0..23).map(|k| [100.0 + k as f32, 200.0]).collect();
        let view = |camera: u32| {
            let noise = |k: u32, axis: u32| ((frame * 31 + camera * 17 + k * 7 + axis) as f32 * 12.9898).sin();
            let shift = if camera == 0 { shift_px } else { 0.0 };
            let see =
                |(k, p): (usize, &[f32; 2])| [p[0] + noise(k as u32, 0) + shift, p[1] + noise(k as u32, 1), confidence];
            ViewEstimate { crop: CropBox::default(), keypoints_px: points.iter().enumerate().map(see).collect() }
        };
        let pose = PoseEstimate {
            keypoints: vec![keypoint; 23],
            views: (0..4).map(view).collect(),
            ..PoseEstimate::default()
        };
        (pose, vec![points.clone(); 4])
    }

    #[test]
    fn a_bumped_camera_is_named_within_seconds_and_no_other() {
        let mut watch = CameraWatch::new([640; 4]);
        let mut feed = |frames: std::ops::Range<u32>, shift_px: f32| {
            for frame in frames {
                let (pose, points) = seen(frame, shift_px, 0.8);
                watch.observe(&pose, &points);
            }
            ([0, 1, 2, 3].map(|camera| watch.is_moved(camera)), watch.offset_px(0))
        };
        assert_eq!(feed(0..100, 6.0), ([false; 4], None), "too early to say");
        assert_eq!(feed(100..600, 0.3).0, [false; 4]);
        assert_eq!(feed(600..750, 6.0).0, [true, false, false, false], "three seconds after the bump");
        assert_eq!(feed(750..1400, 0.0).0, [false; 4], "put back");
    }

    #[test]
    fn a_camera_that_the_pose_was_pulled_away_from_is_not_named() {
        let mut watch = CameraWatch::new([640; 4]);
        for frame in 0..600 {
            let (mut pose, points) = seen(frame, 5.0, 0.8);
            pose.views[1].keypoints_px.iter_mut().for_each(|point| point[0] -= 4.0);
            watch.observe(&pose, &points);
        }
        assert_eq!([0, 1, 2, 3].map(|camera| watch.is_moved(camera)), [true, false, false, false]);
    }

    #[test]
    fn views_that_are_unsure_accuse_nobody() {
        let mut watch = CameraWatch::new([640; 4]);
        for frame in 0..1000 {
            let (pose, points) = seen(frame, 9.0, 0.2);
            watch.observe(&pose, &points);
        }
        assert_eq!((watch.is_moved(0), watch.offset_px(0)), (false, None));
    }
}
