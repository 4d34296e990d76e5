//! Keeps refining where keypoints sit on the body while the animal is followed, forgetting what is long ago.
//!
//! Each good frame moves each offset a little towards where its keypoint was seen on its body, and a little back towards the
//! subject file, which bounds the drift along what a posture can hide (a bent spine looks like a moved keypoint).

use super::math::{Vec3, length, minus, rotate_back};
use super::solver::{Problem, Solver};
use super::state::{BodyFlags, BodyState, KeypointFlags};

/// Pull back towards the subject file against one frame.
const HOLD: f64 = 0.05;
/// Farthest that an offset may get from the subject file, metres.
const REACH_M: f64 = 0.015;

/// The refinement of one animal's offsets. Does not allocate after it is made.
#[derive(Clone, Debug)]
pub(super) struct Refiner {
    start_m: Vec<Vec3>,
    /// Part of the way that one frame moves an offset.
    share: f64,
}

impl Refiner {
    /// Forgets over `memory_s` seconds at `rate_hz` frames a second.
    pub(super) fn new(solver: &Solver, memory_s: f64, rate_hz: f64) -> Self {
        let start_m = solver.sites.iter().map(|site| site.offset_m).collect();
        Self { start_m, share: (1.0 / (memory_s * rate_hz)).clamp(0.0, 1.0) }
    }

    /// Learns from the frame just fitted.
    pub(super) fn learn(&self, solver: &mut Solver, problem: &Problem, state: &BodyState) {
        let bad =
            BodyFlags::NO_DATA | BodyFlags::TOO_FEW | BodyFlags::POOR_FIT | BodyFlags::COLD_START | BodyFlags::JUMP;
        if state.flags.intersects(bad) {
            return;
        }
        for (index, start) in self.start_m.iter().enumerate() {
            let doubtful = KeypointFlags::MISSING | KeypointFlags::OUTLIER | KeypointFlags::RETURNING;
            if problem.weights[index] <= 0.0 || state.keypoint_flags[index].intersects(doubtful) {
                continue;
            }
            let site = solver.sites[index];
            let away = minus(problem.targets_m[index], solver.posture.body_m[site.body]);
            let seen = rotate_back(&solver.posture.rotation[site.body], away);
            let now = site.offset_m;
            let moved = [0, 1, 2]
                .map(|axis| now[axis] + self.share * ((seen[axis] - now[axis]) + HOLD * (start[axis] - now[axis])));
            let apart = minus(moved, *start);
            let keep = f64::min(1.0, REACH_M / length(apart).max(f64::MIN_POSITIVE));
            solver.sites[index].offset_m = [0, 1, 2].map(|axis| start[axis] + keep * apart[axis]);
        }
    }
}
