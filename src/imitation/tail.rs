//! The reference's tail, kept off the floor.
//!
//! Cameras see no keypoint on the tail, so references often run it through the floor (7 to 11 cm in the real clips);
//! contact then throws the virtual rat over. The tail's extenders are bent toward their upper limit, all by the same
//! fraction and no more than is needed.

use std::sync::Arc;

use mimicd_rat::RatModel;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;

use super::reference::Qpos;

/// Least height of a tail vertebra's centre: a little more than the tail's half-width.
const CLEARANCE_M: f64 = 0.006;
/// Halvings of the search: the lift is found to 1/65,536 of the joints' range, so it moves without steps.
const HALVINGS: usize = 16;

/// Lifts the tail of reference postures.
pub(super) struct TailLift {
    scratch: MjData<Arc<MjModel>>,
    vertebrae: Vec<usize>,
    /// Index in `qpos` and upper limit of each extender.
    extenders: Vec<(usize, f64)>,
}

impl TailLift {
    pub(super) fn new(rat: &RatModel) -> Self {
        let of_tail = |name: &str| name.starts_with("vertebra_C");
        let vertebrae = (0..rat.bodies().len()).filter(|&id| of_tail(&rat.bodies()[id].name)).collect();
        let extenders = rat
            .joints()
            .iter()
            .filter(|joint| of_tail(&joint.name) && joint.name.ends_with("_extend"))
            .filter_map(|joint| joint.limits_rad.map(|[_, upper]| (joint.qpos, upper)))
            .collect();
        Self { scratch: rat.make_data(), vertebrae, extenders }
    }

    /// Lifts the tail of `qpos` where it is too low; gives the fraction, 0 (untouched) to 1 (all the way up).
    pub(super) fn apply(&mut self, qpos: &mut Qpos) -> f64 {
        if self.clearance_m(qpos, 0.0) >= CLEARANCE_M {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if self.clearance_m(qpos, middle) >= CLEARANCE_M {
                high = middle;
            } else {
                low = middle;
            }
        }
        for &(index, upper) in &self.extenders {
            qpos[index] += high * (upper - qpos[index]);
        }
        high
    }

    fn clearance_m(&mut self, qpos: &Qpos, lift: f64) -> f64 {
        let trial = self.scratch.qpos_mut();
        trial.copy_from_slice(qpos);
        for &(index, upper) in &self.extenders {
            trial[index] += lift * (upper - qpos[index]);
        }
        self.scratch.kinematics();
        let positions = self.scratch.xpos();
        self.vertebrae.iter().map(|&id| positions[id][2]).fold(f64::INFINITY, f64::min)
    }
}
