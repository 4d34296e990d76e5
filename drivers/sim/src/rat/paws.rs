//! Footfalls: when each paw stands, swings or hangs free, and where it is.
//!
//! A standing paw does not move. A gait clock, faster with speed, tells each paw when to swing; a swing aims at where the body
//! will be, half a stance ahead of the paw's natural place under hip or shoulder. A rat at rest steps only when a paw is
//! far from its natural place.

use nalgebra::Vector3;

/// Paws: hind left, hind right, fore left, fore right.
pub(crate) const PAWS: usize = 4;
/// Height of a standing paw's tip (the middle of the rounded digit), m, hind and fore.
pub(crate) const TIP_HEIGHT_M: [f64; PAWS] = [0.0022, 0.0022, 0.0018, 0.0018];
/// Greatest height of a swinging paw's tip above that, m.
const LIFT_M: [f64; PAWS] = [0.012, 0.012, 0.011, 0.011];
/// A resting rat puts a paw right when it is further from its natural place than this, m.
const RIGHT_M: f64 = 0.014;

/// Where a paw is in its cycle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// On the floor, not moving.
    Down,
    /// In the air on its way to the floor.
    Swing {
        /// Share of the swing that is over, 0..1.
        done: f64,
        /// Duration, s.
        swing_s: f64,
        /// Where it left from.
        from: Vector3<f64>,
    },
    /// Held off the floor; `share` of the way from where it left to where the posture wants it.
    Free {
        /// 0..1.
        share: f64,
        /// Where it left from.
        from: Vector3<f64>,
    },
}

/// One paw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paw {
    /// Its place in the cycle.
    pub(crate) step: Step,
    /// Tip, world frame, m.
    pub(crate) tip_m: Vector3<f64>,
}

impl Paw {
    /// A standing paw.
    pub(crate) fn at(tip_m: Vector3<f64>) -> Self {
        Self { step: Step::Down, tip_m }
    }
}

/// Where the body carries the paws, and how it moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carriage {
    /// Natural places of the paws on the floor now, m.
    pub(crate) natural_m: [Vector3<f64>; PAWS],
    /// Point the rat turns about, m.
    pub(crate) pivot_m: Vector3<f64>,
    /// Velocity, m/s.
    pub(crate) velocity: Vector3<f64>,
    /// Heading rate, rad/s.
    pub(crate) turn_rad_per_s: f64,
    /// Where free hands go, m.
    pub(crate) hands_m: [Vector3<f64>; 2],
    /// Hands wanted off the floor.
    pub(crate) hands_free: bool,
}

/// The gait clock and the four paws.
#[derive(Clone, Debug)]
pub(crate) struct Paws {
    /// Gait phase, turns (0..1).
    pub(crate) phase: f64,
    rate_hz: f64,
    pub(crate) paws: [Paw; PAWS],
}

impl Paws {
    pub(crate) fn new(natural_m: [Vector3<f64>; PAWS]) -> Self {
        Self { phase: 0.0, rate_hz: 0.0, paws: natural_m.map(Paw::at) }
    }

    /// Moves clock and paws on by `step_s`.
    pub(crate) fn advance(&mut self, step_s: f64, carriage: &Carriage) {
        let pace = carriage.velocity.norm() + 0.1 * carriage.turn_rad_per_s.abs();
        let is_moving = pace > 0.02;
        let off = (0..PAWS).filter(|paw| matches!(self.paws[*paw].step, Step::Down));
        let is_off = off.clone().any(|paw| self.off_m(paw, carriage) > RIGHT_M);
        let wanted = if is_moving {
            1.3 + 7.5 * pace
        } else if is_off {
            1.9
        } else {
            0.0
        };
        self.rate_hz += (wanted - self.rate_hz) * (step_s / 0.08).min(1.0);
        self.phase = (self.phase + self.rate_hz * step_s).fract();
        let duty = (0.76 - 0.6 * pace).clamp(0.55, 0.76);
        let swing_s = ((1.0 - duty) / self.rate_hz.max(1.3)).clamp(0.11, 0.19);
        let stance_s = duty / self.rate_hz.max(1.3);
        // From a walk, each fore paw a quarter cycle after the hind paw of its side, toward a trot, half a cycle after.
        let lag = 0.27 + 0.55 * pace.min(0.35);
        let offsets = [0.0, 0.5, lag, 0.5 + lag];
        for (paw, offset) in offsets.into_iter().enumerate() {
            let phase = (self.phase - offset).rem_euclid(1.0);
            let may_lift = phase > duty && phase < duty + 0.6 * (1.0 - duty) && self.rate_hz > 0.3;
            let may_lift = may_lift && (is_moving || self.off_m(paw, carriage) > 0.5 * RIGHT_M);
            self.advance_paw(paw, step_s, carriage, may_lift.then_some(swing_s), stance_s);
        }
    }

    /// Makes a standing paw step at once.
    pub(crate) fn release(&mut self, index: usize) {
        let paw = &mut self.paws[index];
        paw.step = Step::Swing { done: 0.0, swing_s: 0.13, from: paw.tip_m };
    }

    /// How far a paw is from its natural place, m.
    fn off_m(&self, paw: usize, carriage: &Carriage) -> f64 {
        let off = self.paws[paw].tip_m - carriage.natural_m[paw];
        off.x.hypot(off.y)
    }

    fn advance_paw(&mut self, index: usize, step_s: f64, carriage: &Carriage, lift_s: Option<f64>, stance_s: f64) {
        let paw = &mut self.paws[index];
        let hands_free = index >= 2 && carriage.hands_free;
        match (paw.step, hands_free) {
            (Step::Down, true) => paw.step = Step::Free { share: 0.0, from: paw.tip_m },
            (Step::Swing { .. }, true) => paw.step = Step::Free { share: 0.0, from: paw.tip_m },
            (Step::Free { .. }, false) => paw.step = Step::Swing { done: 0.0, swing_s: 0.34, from: paw.tip_m },
            (Step::Down, false) => {
                if let Some(swing_s) = lift_s {
                    paw.step = Step::Swing { done: 0.0, swing_s, from: paw.tip_m };
                }
            }
            _ => {}
        }
        match &mut paw.step {
            Step::Down => {}
            Step::Free { share, from } => {
                *share = (*share + step_s / 0.4).min(1.0);
                paw.tip_m = *from + (carriage.hands_m[index - 2] - *from) * smooth(*share);
            }
            Step::Swing { done, swing_s, from } => {
                *done = (*done + step_s / *swing_s).min(1.0);
                let left_s = (1.0 - *done) * *swing_s;
                let aim = carriage.later(index, left_s, stance_s);
                let (share, rise) = (smooth(*done), 16.0 * (*done * (1.0 - *done)).powi(2));
                paw.tip_m = *from + (aim - *from) * share;
                paw.tip_m.z = from.z + (TIP_HEIGHT_M[index] - from.z) * share + LIFT_M[index] * rise;
                if *done >= 1.0 {
                    paw.step = Step::Down;
                }
            }
        }
    }
}

impl Carriage {
    /// Where paw `index` should land in `left_s`, to stand for `stance_s` and be under its joint half way through.
    fn later(&self, index: usize, left_s: f64, stance_s: f64) -> Vector3<f64> {
        let ahead_s = left_s + stance_s / 2.0;
        let (sin, cos) = (self.turn_rad_per_s * ahead_s).clamp(-0.7, 0.7).sin_cos();
        let arm = self.natural_m[index] - self.pivot_m;
        let turned = Vector3::new(arm.x * cos - arm.y * sin, arm.x * sin + arm.y * cos, 0.0);
        let mut aim = self.pivot_m + turned + self.velocity * ahead_s;
        aim.z = TIP_HEIGHT_M[index];
        aim
    }
}

/// 0 to 1 with no speed at either end.
pub(crate) fn smooth(share: f64) -> f64 {
    share * share * share * (10.0 + share * (6.0 * share - 15.0))
}
