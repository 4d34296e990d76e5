//! What the loop shows: reprojection of every pose, the snapshot every other tick, the newest frames for previews.
//!
//! Tier: loop. Everything is written in place; a reader that holds the snapshot at that instant costs one skipped update.

use std::sync::atomic::Ordering;

use mimicd_device::{BoardTime, Span};

use super::act::Acted;
use super::ladder::Ladder;
use super::shared::Shared;
use super::{CameraLive, LATENCY_EDGES_MICROS, LatencyLive, Snapshot};
use crate::body::{BodyState, KeypointFlags};
use crate::geometry::{Calibration, CameraModel};
use crate::imitation::ImitationStep;
use crate::pose::{CameraWatch, PoseEstimate, ViewEstimate};
use crate::stream::FrameSet;
use crate::telemetry::{RECENT_TICKS, Stage};

/// One of so many ticks is shown.
const SHOW_EVERY: u64 = 2;

/// The loop's window.
pub struct Show {
    cameras: Vec<CameraModel>,
    reprojected_px: Vec<Vec<[f32; 2]>>,
    residuals_px: Vec<f32>,
    watch: CameraWatch,
    /// Camera-to-action counts of the window that fills and of the one before.
    buckets: [Vec<u64>; 2],
    ticks: u64,
    resets: u64,
    decisions: u64,
    reset_reason: &'static str,
}

impl Show {
    /// A window onto `keypoints` keypoints through the cameras of `calibration`.
    pub fn new(calibration: &Calibration, keypoints: usize) -> Self {
        let cameras = calibration.cameras.clone();
        Self {
            reprojected_px: vec![vec![[f32::NAN; 2]; keypoints]; cameras.len()],
            residuals_px: vec![f32::NAN; cameras.len()],
            watch: CameraWatch::new(cameras.iter().map(|camera| camera.width_px)),
            buckets: [(); 2].map(|()| vec![0; LATENCY_EDGES_MICROS.len() + 1]),
            cameras,
            ticks: 0,
            resets: 0,
            decisions: 0,
            reset_reason: "",
        }
    }

    /// Projects the triangulated keypoints (without a refiner's correction) back into every view and measures how far they lie from what the network saw there.
    pub fn reproject(&mut self, pose: &PoseEstimate) {
        for (camera, model) in self.cameras.iter().enumerate() {
            let points = &mut self.reprojected_px[camera];
            for (point, keypoint) in points.iter_mut().zip(&pose.keypoints) {
                let seen = (keypoint.confidence > 0.0).then(|| model.project(&keypoint.triangulated_m())).flatten();
                *point = seen.map_or([f32::NAN; 2], |p| [p.x as f32, p.y as f32]);
            }
            self.residuals_px[camera] =
                pose.views.get(camera).map_or(f32::NAN, |view| residual_px(view, points, pose, camera));
        }
        self.watch.observe(pose, &self.reprojected_px);
    }

    /// Mean reprojection residual of each camera in the latest pose; NaN = no view.
    pub fn camera_residuals_px(&self) -> &[f32] {
        &self.residuals_px
    }

    /// Keeps the newest frames for the preview thread, with what was found in them: `pose` is the set's own, `None` where
    /// the set was skipped.
    pub fn keep_frames(&self, shared: &Shared, set: &FrameSet, pose: Option<&PoseEstimate>) {
        shared.frames.publish(|newest| {
            for (camera, (slot, frame)) in newest.iter_mut().zip(&set.frames).enumerate() {
                let Some(frame) = frame else { continue };
                slot.frame = Some(std::sync::Arc::clone(frame));
                match pose.and_then(|pose| pose.views.get(camera)) {
                    Some(view) => {
                        slot.marks.crop_px = crop_px(view);
                        slot.marks.keypoints_px.copy_from_slice(&view.keypoints_px);
                        slot.marks.reprojected_px.copy_from_slice(&self.reprojected_px[camera]);
                    }
                    None => slot.marks.clear(),
                }
            }
        });
    }

    /// Shows a tick.
    #[expect(clippy::too_many_arguments, reason = "one argument for each thing that is shown")]
    pub fn publish(
        &mut self,
        shared: &Shared,
        set: &FrameSet,
        at: BoardTime,
        pose: &PoseEstimate,
        body: &BodyState,
        step: &ImitationStep,
        ladder: &mut Ladder,
        acted: &Acted,
    ) {
        self.ticks += 1;
        self.decisions += acted.decisions;
        if let Some(reason) = step.reset {
            self.resets += 1;
            self.reset_reason = reason.as_str();
        }
        if self.ticks.is_multiple_of(RECENT_TICKS) {
            self.buckets.swap(0, 1);
            self.buckets[0].fill(0);
        }
        if let Some(latency) = ladder.camera_to_action() {
            self.buckets[0][bucket(latency)] += 1;
        }
        if !self.ticks.is_multiple_of(SHOW_EVERY) {
            return;
        }
        for (camera, status) in shared.cameras.iter().enumerate() {
            status.moved.store(self.watch.is_moved(camera), Ordering::Relaxed);
        }
        shared.snapshot.publish(|snapshot| {
            snapshot.sequence += 1;
            snapshot.frame_sets = shared.loop_sets.load(Ordering::Relaxed);
            snapshot.board_nanos = at.nanos();
            snapshot.decisions = self.decisions;
            snapshot.outputs_armed = shared.outputs_armed.load(Ordering::Relaxed);
            self.show_cameras(snapshot, pose);
            show_pose(snapshot, pose, set, ladder);
            show_body(snapshot, body);
            self.show_imitation(snapshot, step);
            show_stage(snapshot, ladder, self.ticks as usize / SHOW_EVERY as usize);
            let [filling, full] = &self.buckets;
            for (shown, (a, b)) in snapshot.latency_buckets.iter_mut().zip(filling.iter().zip(full)) {
                *shown = a + b;
            }
        });
    }

    fn show_cameras(&self, snapshot: &mut Snapshot, pose: &PoseEstimate) {
        for (camera, live) in snapshot.cameras.iter_mut().enumerate() {
            let Some(view) = pose.views.get(camera) else { continue };
            show_view(live, view);
            live.reprojected_px.copy_from_slice(&self.reprojected_px[camera]);
            live.reprojection_px = self.residuals_px[camera];
        }
    }

    fn show_imitation(&self, snapshot: &mut Snapshot, step: &ImitationStep) {
        let live = &mut snapshot.imitation;
        copy_f32(&mut live.rat.qpos, &step.qpos);
        live.rat.valid = step.reset.is_none();
        live.root_error_mm = (step.error.root_m * 1e3) as f32;
        live.orientation_error_deg = step.error.orientation_rad.to_degrees() as f32;
        live.joint_error_deg = step.error.joints_rad.to_degrees() as f32;
        live.trusted = step.trusted;
        live.resets = self.resets;
        live.reset_reason = self.reset_reason;
        live.lag_millis = step.lag.millis_f64() as f32;
    }
}

fn residual_px(view: &ViewEstimate, points: &[[f32; 2]], pose: &PoseEstimate, camera: usize) -> f32 {
    let mut sum = 0.0;
    let mut count = 0;
    for ((seen, point), keypoint) in view.keypoints_px.iter().zip(points).zip(&pose.keypoints) {
        if seen[2] > 0.0 && point[0].is_finite() && keypoint.views & (1 << camera) != 0 {
            sum += (seen[0] - point[0]).hypot(seen[1] - point[1]);
            count += 1;
        }
    }
    if count > 0 { sum / count as f32 } else { f32::NAN }
}

fn crop_px(view: &ViewEstimate) -> [f32; 4] {
    [view.crop.left_px, view.crop.top_px, view.crop.width_px, view.crop.height_px]
}

fn show_view(live: &mut CameraLive, view: &ViewEstimate) {
    live.crop_px = crop_px(view);
    live.keypoints_px.copy_from_slice(&view.keypoints_px);
}

fn show_pose(snapshot: &mut Snapshot, pose: &PoseEstimate, set: &FrameSet, ladder: &Ladder) {
    let live = &mut snapshot.pose;
    for ((point, confidence), keypoint) in live.keypoints_m.iter_mut().zip(&mut live.confidence).zip(&pose.keypoints) {
        let known = keypoint.confidence > 0.0;
        *point = if known { keypoint.xyz_m.map(|v| v as f32) } else { [f32::NAN; 3] };
        *confidence = keypoint.confidence;
    }
    live.state = pose.state.name();
    live.views = set.present() as u32;
    live.age_millis = ladder.camera_to_action().map_or(f32::NAN, |age| age.millis_f64() as f32);
}

fn show_body(snapshot: &mut Snapshot, body: &BodyState) {
    let live = &mut snapshot.real;
    copy_f32(&mut live.qpos, &body.qpos);
    live.residual_mm = body.residual_mean_m * 1e3;
    live.valid = body.residual_mean_m.is_finite();
    live.extrapolated =
        body.keypoint_flags.iter().filter(|flags| flags.contains(KeypointFlags::MISSING)).count() as u32;
}

/// One stage a tick, in turn: a quantile walks a histogram of some thousand buckets.
fn show_stage(snapshot: &mut Snapshot, ladder: &mut Ladder, turn: usize) {
    let stage = Stage::ALL[turn % Stage::ALL.len()];
    let summary = ladder.summary(stage);
    if let Some(live) = snapshot.stages.get_mut(stage as usize) {
        *live = LatencyLive {
            count: summary.count,
            p50_micros: (summary.p50_ms * 1e3) as f32,
            p99_micros: (summary.p99_ms * 1e3) as f32,
            max_micros: (summary.max_ms * 1e3) as f32,
        };
    }
}

fn bucket(latency: Span) -> usize {
    let micros = latency.nanos() as f32 * 1e-3;
    LATENCY_EDGES_MICROS.iter().position(|edge| micros <= *edge).unwrap_or(LATENCY_EDGES_MICROS.len())
}

fn copy_f32(into: &mut [f32], from: &[f64]) {
    for (to, from) in into.iter_mut().zip(from) {
        *to = *from as f32;
    }
}
