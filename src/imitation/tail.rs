//! The reference's tail, kept off the floor.
//!
//! Cameras see no keypoint on the tail, so references often run it through the floor (7 to 11 cm in the real clips);
//! contact then throws the virtual rat over. The tail's extenders are bent toward their upper limit, all by the same
//! fraction and no more than is needed.

use mimicd_rat::RatModel;

use super::reference::Qpos;
use crate::body::Skeleton;

/// Least height of a tail vertebra's centre: a little more than the tail's half-width.
const CLEARANCE_M: f64 = 0.006;
/// What the lift may leave beyond that height: the lift moves without steps that anybody could see.
const CLEARANCE_SLACK_M: f64 = 10e-6;
/// Trials at most: as many halvings would find the lift to 1/65,536 of the joints' range.
const TRIALS: usize = 16;

/// Lifts the tail of reference postures.
pub(super) struct TailLift {
    skeleton: Skeleton,
    vertebrae: Vec<usize>,
    /// Index in `qpos` and upper limit of each extender.
    extenders: Vec<(usize, f64)>,
    /// The latest lift: the next is near it.
    latest: f64,
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
        Self { skeleton: Skeleton::new(rat), vertebrae, extenders, latest: 0.0 }
    }

    /// Forgets the latest lift.
    pub(super) fn restart(&mut self) {
        self.latest = 0.0;
    }

    /// Lifts the tail of `qpos` where it is too low; gives the fraction, 0 (untouched) to 1 (all the way up).
    pub(super) fn apply(&mut self, qpos: &mut Qpos) -> f64 {
        let lift = self.least_lift(qpos, self.latest);
        self.latest = lift;
        for &(index, upper) in &self.extenders {
            qpos[index] += lift * (upper - qpos[index]);
        }
        lift
    }

    /// The least lift that clears the floor, or 1 where none does. By false position with the Illinois rule (Dowell and
    /// Jarratt 1971), beginning with `guess`.
    fn least_lift(&mut self, qpos: &Qpos, guess: f64) -> f64 {
        let half_slack = 0.5 * CLEARANCE_SLACK_M;
        let mut over_m = |lift| self.clearance_m(qpos, lift) - CLEARANCE_M - half_slack;
        let (mut low, mut below) = (0.0, over_m(0.0));
        if below >= -half_slack {
            return 0.0;
        }
        // Not known to clear the floor until it was tried.
        let (mut high, mut above) = (1.0, None);
        let mut trial = if guess > 0.0 { guess } else { high };
        let mut was_over = None;
        for _ in 0..TRIALS {
            let over = over_m(trial);
            if over.abs() <= half_slack {
                return trial;
            }
            let again = was_over == Some(over > 0.0);
            if over > 0.0 {
                (high, above) = (trial, Some(over));
                below *= if again { 0.5 } else { 1.0 };
            } else if trial >= high {
                return high;
            } else {
                (low, below) = (trial, over);
                above = above.map(|above| above * if again { 0.5 } else { 1.0 });
            }
            was_over = Some(over > 0.0);
            trial = above.map_or(high, |above| low + (high - low) * below / (below - above));
        }
        high
    }

    fn clearance_m(&mut self, qpos: &Qpos, lift: f64) -> f64 {
        let mut trial = *qpos;
        for &(index, upper) in &self.extenders {
            trial[index] += lift * (upper - qpos[index]);
        }
        let positions = self.skeleton.place(&trial);
        self.vertebrae.iter().map(|&id| positions[id][2]).fold(f64::INFINITY, f64::min)
    }
}
