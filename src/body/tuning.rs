//! The numbers of the fit, in one place. The defaults were chosen by measurement (the report of `mimicd body fit`
//! shows it on any recording).

use super::floor::FloorWeights;

/// Scale of the body that the numbers were measured on.
pub(super) const STOCK_SCALE: f64 = 0.9;

/// The numbers of the fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// Iterations a frame while tracking.
    pub iterations_max: u8,
    /// Iterations of a cold start, each of its two stages.
    pub cold_iterations_max: u8,
    /// Distance at which a keypoint counts a quarter while tracking, metres.
    pub outlier_m: f64,
    /// Pull of the root's position towards its prediction, against one keypoint.
    pub pull_root: f64,
    /// Pull of the root's rotation, m²/rad².
    pub pull_root_rotation: f64,
    /// Pull of a joint, m²/rad².
    pub pull_joint: f64,
    /// How much harder a joint is held that the keypoints tell less of: exponent on its standard deviation in one frame.
    pub unsure_power: f64,
    /// Standard deviation at which a joint is held by `pull_joint`, radians.
    pub unsure_rad: f64,
    /// How much the mean squared speed of all joints counts beside a joint's own when it is asked whether the joint moves:
    /// an animal that walks moves all over.
    pub company: f64,
    /// How much of each new velocity enters the smoothed one, 0 to 1.
    pub trend_share: f64,
    /// How much of the smoothed step is predicted to happen again, 0 to 1.
    pub momentum: f64,
    /// Joint speed at which the pull has halved, rad/s.
    pub relax_rad_per_s: f64,
    /// Part of the pull that is left at high speed, 0 to 1.
    pub pull_moving: f64,
    /// Speed of the root's rotation at which its pull has halved, rad/s.
    pub relax_root_rad_per_s: f64,
    /// Root speed at which the root's pull has halved, m/s.
    pub relax_m_per_s: f64,
    /// Pull of a joint towards rest, m²/rad².
    pub rest_pull: f64,
    /// Pull of a joint that no keypoint moves towards rest, m²/rad².
    pub rest_pull_unseen: f64,
    /// Weight of a depth below the floor against one keypoint.
    pub floor_weight: f64,
    /// The same for the tail, which no keypoint holds down.
    pub floor_weight_tail: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            iterations_max: 3,
            cold_iterations_max: 60,
            outlier_m: 0.03,
            pull_root: 0.4,
            pull_root_rotation: 7e-4,
            pull_joint: 4.6e-3,
            unsure_power: 0.55,
            unsure_rad: 0.17,
            company: 4.5,
            trend_share: 0.065,
            momentum: 0.4,
            relax_rad_per_s: 0.67,
            pull_moving: 0.18,
            relax_root_rad_per_s: 0.27,
            relax_m_per_s: 0.045,
            rest_pull: 1e-7,
            rest_pull_unseen: 1e-6,
            floor_weight: 1.0,
            floor_weight_tail: 10.0,
        }
    }
}

impl Tuning {
    pub(super) fn floor(&self) -> FloorWeights {
        FloorWeights { held: self.floor_weight, free: self.floor_weight_tail }
    }

    /// The same fit for an animal of another size: angles weigh as much against distances as they do on the rat.
    pub(super) fn at_scale(self, scale: f64) -> Self {
        let size = scale / STOCK_SCALE;
        let squared = size * size;
        Self {
            outlier_m: size * self.outlier_m,
            pull_root_rotation: squared * self.pull_root_rotation,
            pull_joint: squared * self.pull_joint,
            relax_m_per_s: size * self.relax_m_per_s,
            rest_pull: squared * self.rest_pull,
            rest_pull_unseen: squared * self.rest_pull_unseen,
            ..self
        }
    }

    /// Scales the smoothing: 0 is none, 1 the default.
    pub fn smooth(&mut self, factor: f64) {
        self.pull_root *= factor;
        self.pull_root_rotation *= factor;
        self.pull_joint *= factor;
    }
}
