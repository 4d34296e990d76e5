//! What registration does with a recording: closeness, quietness, lag, and how it bears missing keypoints.

use mimicd_rat::{QPOS_LEN, RatModel};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::body::math::{Vec3, dot, length, minus};
use crate::body::{BodyError, BodyFlags, BodyState, Registrar, Subject, Tuning};
use crate::pose::Keypoint;

/// Frames to each side over which a keypoint's velocity is taken.
const VELOCITY_FRAMES: usize = 3;
/// Smoothing factors of the jitter-against-lag curve; 1 is the default.
const SMOOTHING: [f64; 9] = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0];
/// Shares of missing keypoints.
const MISSING: [f64; 5] = [0.0, 0.05, 0.2, 0.35, 0.5];
/// Length of the gap of one limb, seconds.
const GAP_S: f64 = 1.0;

/// A recording to measure on.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The body of the subject.
    pub rat: &'a RatModel,
    /// The animal.
    pub subject: &'a Subject,
    /// Names of the keypoints.
    pub names: &'a [String],
    /// Frames, metres, z up.
    pub frames: &'a [Vec<Keypoint>],
    /// Frames a second.
    pub rate_hz: f64,
}

/// What one pass of registration scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Mean distance of all keypoints of the recording to the body, metres.
    pub mean_m: f64,
    /// The same for each keypoint; NaN where it was never seen.
    pub keypoint_m: Vec<f64>,
    /// Root mean square of the hinges' steps, radians a frame.
    pub step_rms_rad: f64,
    /// Largest step of a hinge after the first ten frames, radians.
    pub step_max_rad: f64,
    /// How often each hinge was at a limit, 0 to 1.
    pub at_limit: Vec<f64>,
    /// How far the body trails behind the keypoints, seconds.
    pub lag_s: f64,
    /// Frames with each flag.
    pub flags: Vec<(&'static str, usize)>,
}

/// One point of the jitter-against-lag curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Smoothness {
    /// Factor on the default smoothing.
    pub smoothing: f64,
    /// What came of it.
    pub score: Score,
}

/// One point of the missing-keypoint curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    /// Share of keypoints hidden, at random.
    pub share: f64,
    /// Scored on all keypoints, the hidden ones too.
    pub score: Score,
}

/// A limb hidden for a second.
#[derive(Clone, Debug, PartialEq)]
pub struct LimbGap {
    /// Keypoints hidden.
    pub limb: Vec<String>,
    /// Largest step of a hinge from the loss until a second after the return, radians a frame.
    pub step_max_rad: f64,
    /// Mean distance of the hidden keypoints while they were hidden, metres.
    pub hidden_m: f64,
    /// Their mean distance half a second after the return and later, metres.
    pub after_m: f64,
}

impl Case<'_> {
    /// The states of all frames.
    ///
    /// # Errors
    /// Keypoints that do not fit the subject.
    pub fn register(&self, frames: &[Vec<Keypoint>], tuning: Tuning) -> Result<Vec<BodyState>, BodyError> {
        let mut registrar = Registrar::new(self.rat, self.subject, self.names, self.rate_hz, tuning)?;
        let mut state = BodyState::new(self.names.len());
        let mut one = |frame: &Vec<Keypoint>| {
            registrar.register(frame, &mut state);
            state.clone()
        };
        Ok(frames.iter().map(&mut one).collect())
    }

    /// Registers `seen` and scores it against the case's own frames.
    ///
    /// # Errors
    /// As [`Case::register`].
    pub fn score(&self, seen: &[Vec<Keypoint>], tuning: Tuning) -> Result<Score, BodyError> {
        let states = self.register(seen, tuning)?;
        let keypoint_m = self.keypoint_means(&states);
        let all: Vec<f64> = keypoint_m.iter().copied().filter(|value| value.is_finite()).collect();
        let steps = || states.windows(2).flat_map(|pair| (7..QPOS_LEN).map(|i| pair[1].qpos[i] - pair[0].qpos[i]));
        let settled = states.get(10..).unwrap_or_default();
        Ok(Score {
            mean_m: all.iter().sum::<f64>() / all.len().max(1) as f64,
            keypoint_m,
            step_rms_rad: (steps().map(|step| step * step).sum::<f64>() / steps().count().max(1) as f64).sqrt(),
            step_max_rad: settled.windows(2).map(|pair| step_max(&pair[0], &pair[1])).fold(0.0, f64::max),
            at_limit: at_limit(&states),
            lag_s: self.lag_s(&states),
            flags: flag_counts(&states),
        })
    }

    fn keypoint_means(&self, states: &[BodyState]) -> Vec<f64> {
        let of = |index: usize| mean(states.iter().zip(self.frames).filter_map(|(s, f)| distance(s, f, index)));
        (0..self.names.len()).map(of).collect()
    }

    /// The delay that explains the distances best: site(t) = keypoint(t) - delay x velocity.
    fn lag_s(&self, states: &[BodyState]) -> f64 {
        let (mut along, mut squared) = (0.0, 0.0);
        for at in VELOCITY_FRAMES..states.len().saturating_sub(VELOCITY_FRAMES) {
            for index in 0..self.names.len() {
                let place = |frame: usize| known(&self.frames[frame], index);
                let (Some(before), Some(now), Some(after)) =
                    (place(at - VELOCITY_FRAMES), place(at), place(at + VELOCITY_FRAMES))
                else {
                    continue;
                };
                let velocity = minus(after, before).map(|value| value * self.rate_hz / (2.0 * VELOCITY_FRAMES as f64));
                along += dot(minus(now, states[at].sites_m[index]), velocity);
                squared += dot(velocity, velocity);
            }
        }
        along / squared.max(f64::MIN_POSITIVE)
    }

    /// Jitter and lag for a range of smoothing.
    ///
    /// # Errors
    /// As [`Case::register`].
    pub fn smoothness(&self, mut progress: impl FnMut()) -> Result<Vec<Smoothness>, BodyError> {
        let mut one = |smoothing: f64| {
            let mut tuning = Tuning::default();
            tuning.smooth(smoothing);
            progress();
            Ok(Smoothness { smoothing, score: self.score(self.frames, tuning)? })
        };
        SMOOTHING.into_iter().map(&mut one).collect()
    }

    /// What hiding keypoints at random costs.
    ///
    /// # Errors
    /// As [`Case::register`].
    pub fn missing(&self, mut progress: impl FnMut()) -> Result<Vec<Missing>, BodyError> {
        let mut one = |share: f64| {
            let mut random = ChaCha8Rng::seed_from_u64(1);
            let mut seen = self.frames.to_vec();
            let hide = |_: &&mut Keypoint| random.random::<f64>() < share;
            seen.iter_mut().flatten().filter(hide).for_each(|keypoint| *keypoint = Keypoint::MISSING);
            progress();
            Ok(Missing { share, score: self.score(&seen, Tuning::default())? })
        };
        MISSING.into_iter().map(&mut one).collect()
    }

    /// Hides each limb for a second in the middle of the recording: keypoints on the same chain beyond the trunk.
    ///
    /// # Errors
    /// As [`Case::register`].
    pub fn limb_gaps(&self) -> Result<Vec<LimbGap>, BodyError> {
        let gap = (GAP_S * self.rate_hz).round() as usize;
        if self.frames.len() < 4 * gap {
            return Ok(Vec::new());
        }
        self.limbs().into_iter().map(|limb| self.limb_gap(limb, gap)).collect()
    }

    fn limb_gap(&self, limb: Vec<usize>, gap: usize) -> Result<LimbGap, BodyError> {
        let start = (self.frames.len() / 2).min(self.frames.len() - 3 * gap);
        let first = start.saturating_sub(2 * gap);
        let mut seen = self.frames[first..start + 3 * gap].to_vec();
        let hidden = start - first..start - first + gap;
        for frame in &mut seen[hidden.clone()] {
            limb.iter().for_each(|&index| frame[index] = Keypoint::MISSING);
        }
        let states = self.register(&seen, Tuning::default())?;
        let far = |range: std::ops::Range<usize>| {
            mean(range.flat_map(|at| {
                let (state, frame) = (&states[at], &self.frames[first + at]);
                limb.iter().filter_map(move |&index| distance(state, frame, index))
            }))
        };
        let watched = &states[hidden.start.saturating_sub(1)..];
        Ok(LimbGap {
            limb: limb.iter().map(|&index| self.names[index].clone()).collect(),
            step_max_rad: watched.windows(2).map(|pair| step_max(&pair[0], &pair[1])).fold(0.0, f64::max),
            hidden_m: far(hidden.clone()),
            after_m: far(hidden.end + gap / 2..states.len()),
        })
    }

    /// Keypoints by limb: those whose bodies hang from the same body next to the trunk.
    fn limbs(&self) -> Vec<Vec<usize>> {
        let bodies = self.rat.bodies();
        let is_trunk = |name: &str| ["torso", "pelvis", "vertebra_"].iter().any(|part| name.starts_with(part));
        let mut limbs: Vec<(usize, Vec<usize>)> = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            let own = self.subject.index(name).map(|keypoint| &self.subject.keypoint[keypoint]);
            let Some(mut body) = own.and_then(|keypoint| self.rat.body_id(&keypoint.body)) else { continue };
            if is_trunk(&bodies[body].name) {
                continue;
            }
            while body > 1 && !is_trunk(&bodies[bodies[body].parent].name) {
                body = bodies[body].parent;
            }
            match limbs.iter_mut().find(|(root, _)| *root == body) {
                Some((_, limb)) => limb.push(index),
                None => limbs.push((body, vec![index])),
            }
        }
        limbs.into_iter().map(|(_, limb)| limb).collect()
    }
}

fn known(frame: &[Keypoint], index: usize) -> Option<Vec3> {
    frame.get(index).filter(|keypoint| keypoint.confidence > 0.0).map(|keypoint| keypoint.xyz_m)
}

fn distance(state: &BodyState, frame: &[Keypoint], index: usize) -> Option<f64> {
    known(frame, index).map(|place| length(minus(place, state.sites_m[index])))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { f64::NAN } else { sum / f64::from(count) }
}

fn step_max(before: &BodyState, after: &BodyState) -> f64 {
    (7..QPOS_LEN).map(|i| (after.qpos[i] - before.qpos[i]).abs()).fold(0.0, f64::max)
}

fn at_limit(states: &[BodyState]) -> Vec<f64> {
    let count = states.len().max(1) as f64;
    let of = |hinge: usize| states.iter().filter(|state| state.limits_hit >> hinge & 1 == 1).count() as f64 / count;
    (0..QPOS_LEN - 7).map(of).collect()
}

fn flag_counts(states: &[BodyState]) -> Vec<(&'static str, usize)> {
    let count = |flag: BodyFlags| states.iter().filter(|state| state.flags.contains(flag)).count();
    BodyFlags::all().iter_names().map(|(name, flag)| (name, count(flag))).collect()
}
