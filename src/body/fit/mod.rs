//! Where an animal's keypoints sit on the body, from a recording.
//!
//! Pose steps and offset steps alternate. The pose step registers all frames with the offsets so far; the offset step is
//! closed: each offset is the mean of its keypoint in its body's frame, pulled towards its start where the subject says.

use mimicd_rat::RatModel;

use super::math::{Vec3, minus, rotate_back};
use super::{BodyError, BodyState, Registrar, Subject, Tuning};
use crate::pose::Keypoint;

/// How offsets are fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// Rounds of pose and offset steps.
    pub rounds: usize,
    /// Rate of the recording, Hz.
    pub rate_hz: f64,
    /// Farthest that an offset may get from its start, metres.
    pub reach_m: f64,
    /// The fit of each frame.
    pub tuning: Tuning,
}

impl FitOptions {
    /// What is good for a recording at this rate.
    pub fn at(rate_hz: f64) -> Self {
        let tuning = Tuning { iterations_max: 4, outlier_m: 0.2, ..Tuning::default() };
        Self { rounds: 40, rate_hz, reach_m: 0.04, tuning }
    }
}

/// How far the keypoints were from the body in one round.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundResidual {
    /// Mean over frames and keypoints, metres.
    pub mean_m: f64,
    /// Mean over frames for each keypoint of the recording, metres; NaN where it was never seen.
    pub keypoint_m: Vec<f64>,
}

/// Sums of one keypoint over frames.
#[derive(Clone, Copy, Debug, Default)]
struct OffsetSum {
    local_m: Vec3,
    weight: f64,
    residual_m: f64,
    count: f64,
}

/// Fits the offsets of `subject` to `frames` (metres, in the order of `names`); gives the residuals before each round and
/// after the last. `progress` is called with the rounds done.
///
/// # Errors
/// Keypoints that do not fit the subject.
pub fn fit_offsets(
    rat: &RatModel,
    subject: &mut Subject,
    names: &[String],
    frames: &[Vec<Keypoint>],
    options: &FitOptions,
    mut progress: impl FnMut(usize),
) -> Result<Vec<RoundResidual>, BodyError> {
    let start = subject.clone();
    let mut rounds = Vec::with_capacity(options.rounds + 1);
    for round in 0..=options.rounds {
        let sums = pose_step(rat, subject, names, frames, options)?;
        rounds.push(residuals(&sums));
        if round < options.rounds {
            offset_step(subject, &start, names, &sums, options.reach_m);
        }
        progress(round);
    }
    Ok(rounds)
}

fn pose_step(
    rat: &RatModel,
    subject: &Subject,
    names: &[String],
    frames: &[Vec<Keypoint>],
    options: &FitOptions,
) -> Result<Vec<OffsetSum>, BodyError> {
    let mut registrar = Registrar::new(rat, subject, names, options.rate_hz, options.tuning)?;
    let mut state = BodyState::new(names.len());
    let mut sums = vec![OffsetSum::default(); names.len()];
    for frame in frames {
        registrar.register(frame, &mut state);
        for (index, sum) in sums.iter_mut().enumerate() {
            let Some((local_m, weight)) = registrar.seen_on_body(index) else { continue };
            (0..3).for_each(|axis| sum.local_m[axis] += weight * local_m[axis]);
            sum.weight += weight;
            sum.residual_m += f64::from(state.residual_m[index]);
            sum.count += 1.0;
        }
    }
    Ok(sums)
}

fn offset_step(subject: &mut Subject, start: &Subject, names: &[String], sums: &[OffsetSum], reach_m: f64) {
    for (name, sum) in names.iter().zip(sums) {
        let Some(index) = subject.index(name) else { continue };
        let first = start.keypoint[index].offset_m;
        let hold = start.keypoint[index].hold;
        if sum.weight + hold <= 0.0 {
            continue;
        }
        let mean = [0, 1, 2].map(|axis| (sum.local_m[axis] + hold * first[axis]) / (sum.weight + hold));
        let away = minus(mean, first);
        let far = super::math::length(away);
        let keep = if far > reach_m { reach_m / far } else { 1.0 };
        subject.keypoint[index].offset_m = [0, 1, 2].map(|axis| first[axis] + keep * away[axis]);
    }
}

fn residuals(sums: &[OffsetSum]) -> RoundResidual {
    let (total, count) = sums.iter().fold((0.0, 0.0), |(a, b), sum| (a + sum.residual_m, b + sum.count));
    RoundResidual {
        mean_m: total / f64::max(count, 1.0),
        keypoint_m: sums
            .iter()
            .map(|sum| if sum.count > 0.0 { sum.residual_m / sum.count } else { f64::NAN })
            .collect(),
    }
}

impl Registrar {
    /// Keypoint `index` of the last frame in the frame of its body, metres, and its weight; `None` where it was not used.
    fn seen_on_body(&self, index: usize) -> Option<(Vec3, f64)> {
        let (target_m, weight) = self.target(index)?;
        let body = self.solver.sites[index].body;
        let posture = &self.solver.posture;
        Some((rotate_back(&posture.rotation[body], minus(target_m, posture.body_m[body])), weight))
    }
}
