//! Where the animal is expected next.

use nalgebra::Vector3;

use super::TrackState;

/// Frame sets without the animal after which its place counts as unknown: 0.1 s at 50 Hz.
const MISSES_MAX: u32 = 5;
/// Share of a new centre's surprise that goes into the position and into the velocity.
const POSITION_GAIN: f64 = 0.85;
const VELOCITY_GAIN: f64 = 0.35;
/// No rat moves its centre further between two frame sets; keeps a wrong lock from flying off.
const STEP_MAX_M: f64 = 0.06;

/// Follows the animal's centre with constant velocity between frame sets.
///
/// ```text
///              seen                     missed (up to MISSES_MAX)
/// Searching ─────────► Tracking ─────────────────────────► Coasting
///     ▲                    ▲──────────── seen ────────────────┘ │
///     └──────────────────────── missed again ──────────────────┘
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tracker {
    centre_m: Vector3<f64>,
    step_m: Vector3<f64>,
    misses: u32,
    state: TrackState,
}

impl Tracker {
    pub(super) fn state(&self) -> TrackState {
        self.state
    }

    /// The centre to look at in the next frame set.
    pub(super) fn predicted_m(&self) -> Option<Vector3<f64>> {
        (self.state != TrackState::Searching).then(|| self.centre_m + self.step_m)
    }

    /// Starts at a centre from the coarse finder.
    pub(super) fn start(&mut self, centre_m: Vector3<f64>) {
        *self = Self { centre_m, step_m: Vector3::zeros(), misses: 0, state: TrackState::Coasting };
    }

    /// The animal was seen at `centre_m`.
    pub(super) fn seen(&mut self, centre_m: Vector3<f64>) {
        let surprise = centre_m - (self.centre_m + self.step_m);
        self.centre_m += self.step_m + surprise * POSITION_GAIN;
        self.step_m += surprise * VELOCITY_GAIN;
        let length = self.step_m.norm();
        if length > STEP_MAX_M {
            self.step_m *= STEP_MAX_M / length;
        }
        self.misses = 0;
        self.state = TrackState::Tracking;
    }

    /// The animal was not seen in this frame set.
    pub(super) fn missed(&mut self) {
        self.misses += 1;
        self.centre_m += self.step_m;
        // An animal out of sight is no longer known to move.
        self.step_m *= 0.7;
        self.state = if self.misses > MISSES_MAX { TrackState::Searching } else { TrackState::Coasting };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_running_animal_and_gives_up_in_time() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.predicted_m(), None);
        tracker.start(Vector3::zeros());
        for frame in 1..100 {
            // 1 m/s at 50 Hz.
            let truth = Vector3::new(0.02 * f64::from(frame), 0.0, 0.05);
            let ahead = tracker.predicted_m().unwrap() - truth;
            assert!(frame < 15 || ahead.norm() < 2e-3, "frame {frame}: off by {ahead}");
            tracker.seen(truth);
        }
        for _ in 0..MISSES_MAX {
            tracker.missed();
            assert_eq!(tracker.state(), TrackState::Coasting);
        }
        tracker.missed();
        assert_eq!(tracker.predicted_m(), None);
    }
}
