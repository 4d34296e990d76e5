//! From what pose gives to what the solver is told: which keypoints count in this frame, and how much.

use super::solver::Problem;
use super::state::KeypointFlags;
use crate::pose::Keypoint;

/// Confidence below which a keypoint is not used.
const CONFIDENCE_MIN: f32 = 0.05;
/// Confidence from which a keypoint counts fully.
const CONFIDENCE_FULL: f32 = 0.2;
/// No rig is larger, metres.
const WORLD_M: f64 = 50.0;
/// A keypoint absent for fewer frames than this is at full weight at once when it is back.
const GAP_FRAMES: u16 = 5;
/// Frames over which a keypoint that was absent for longer regains its weight.
const RAMP_FRAMES: u16 = 10;

/// Memory of one keypoint.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    absent: u16,
    ramp: u16,
}

/// Which keypoints count, and how much.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    /// Weight of each keypoint in the subject file.
    own: Vec<f64>,
    seen: Vec<Seen>,
}

impl Intake {
    pub(super) fn new(own: Vec<f64>) -> Self {
        Self { seen: vec![Seen::default(); own.len()], own }
    }

    pub(super) fn forget(&mut self) {
        self.seen.fill(Seen::default());
    }

    /// Fills targets and weights; gives the number of keypoints used.
    pub(super) fn fill(&mut self, keypoints: &[Keypoint], problem: &mut Problem, flags: &mut [KeypointFlags]) -> usize {
        let mut used = 0;
        for index in 0..self.own.len() {
            let keypoint = keypoints.get(index).copied().unwrap_or(Keypoint::MISSING);
            let (mut weight, mut flag) = judge(&keypoint);
            weight *= self.own[index];
            if weight > 0.0 {
                used += 1;
                problem.targets_m[index] = keypoint.xyz_m;
                let ramp = self.seen[index].back();
                if ramp > 0 {
                    flag |= KeypointFlags::RETURNING;
                    weight *= f64::from(RAMP_FRAMES + 1 - ramp) / f64::from(RAMP_FRAMES + 1);
                }
            } else {
                flag |= KeypointFlags::MISSING;
                self.seen[index].absent = self.seen[index].absent.saturating_add(1);
            }
            problem.weights[index] = weight;
            flags[index] = flag;
        }
        used
    }

    /// Whether keypoint `index` came back after a gap and is not yet at full weight.
    pub(super) fn returning(&self, index: usize) -> bool {
        self.seen[index].ramp > 0
    }
}

impl Seen {
    /// Notes that the keypoint is here; gives how many frames of its ramp are left.
    fn back(&mut self) -> u16 {
        if self.absent >= GAP_FRAMES {
            self.ramp = RAMP_FRAMES;
        } else {
            self.ramp = self.ramp.saturating_sub(1);
        }
        self.absent = 0;
        self.ramp
    }
}

pub(super) fn judge(keypoint: &Keypoint) -> (f64, KeypointFlags) {
    if !keypoint.xyz_m.iter().all(|value| value.is_finite()) || !keypoint.confidence.is_finite() {
        return (0.0, if keypoint.confidence > 0.0 { KeypointFlags::NOT_FINITE } else { KeypointFlags::empty() });
    }
    if keypoint.confidence < CONFIDENCE_MIN {
        return (0.0, KeypointFlags::empty());
    }
    if keypoint.xyz_m.iter().any(|value| value.abs() > WORLD_M) {
        return (0.0, KeypointFlags::OUT_OF_WORLD);
    }
    (f64::from(keypoint.confidence / CONFIDENCE_FULL).clamp(0.05, 1.0), KeypointFlags::empty())
}
