//! How large an animal is and where its keypoints sit on the body, from a recording.
//!
//! Pose steps and parameter steps alternate over frames chosen for their diversity. The pose step fits each frame to the
//! subject as it is; the parameter steps are closed: each offset is the mean of its keypoint in its body's frame, pulled
//! towards its start where the subject says, and lengths (the whole animal's and those of its segments) are a small linear
//! system, pulled towards the start too.

mod groups;
mod poses;
mod select;
mod size;

use std::path::Path;

use mimicd_rat::load;

pub use select::diverse;
pub use size::try_scales;

use self::poses::{Poses, RoundSums};
use super::math::{length, minus};
use super::tuning::STOCK_SCALE;
use super::{BodyError, Subject, Tuning};
use crate::pose::Keypoint;

/// How a subject is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// Rounds of pose and parameter steps.
    pub rounds: usize,
    /// Frames used at most, chosen for diversity.
    pub frames: usize,
    /// Farthest that an offset may get from its start, metres.
    pub reach_m: f64,
    /// Fit the proportions of the subject's segments.
    pub proportions: bool,
    /// Pull of each segment's length towards its start, against what keypoints say.
    pub proportions_hold: f64,
    /// Pull of every joint towards rest, m²/rad².
    pub rest_pull: f64,
    /// The fit of each frame.
    pub tuning: Tuning,
}

impl Default for FitOptions {
    fn default() -> Self {
        let tuning = Tuning { iterations_max: 6, outlier_m: 0.2, ..Tuning::default() };
        Self {
            rounds: 40,
            frames: 1_000,
            reach_m: 0.04,
            proportions: false,
            proportions_hold: 0.02,
            rest_pull: 1e-6,
            tuning,
        }
    }
}

/// How far the keypoints were from the body in one round.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundResidual {
    /// Mean over frames and keypoints, metres.
    pub mean_m: f64,
    /// Mean over frames for each keypoint of the recording, metres; NaN where it was never seen.
    pub keypoint_m: Vec<f64>,
    /// How often each hinge was at a limit, 0 to 1.
    pub at_limit: Vec<f64>,
}

/// Rounds before lengths move: until then offsets take up what they can.
const LENGTHS_FROM: usize = 4;
/// Part of an offset's last step that is done again: alternation alone takes five times as many rounds.
const MOMENTUM: f64 = 0.8;
/// Last rounds, without momentum.
const SETTLING: usize = 3;

/// Fits `subject` to `frames` (metres, in the order of `names`); gives the residuals before each round and after the last.
/// `progress` is called with the rounds done.
///
/// # Errors
/// Keypoints that do not fit the subject, or a body that cannot be loaded.
pub fn fit(
    mjcf: &Path,
    subject: &mut Subject,
    names: &[String],
    frames: &[&[Keypoint]],
    options: &FitOptions,
    mut progress: impl FnMut(usize),
) -> Result<Vec<RoundResidual>, BodyError> {
    let start = subject.clone();
    let mut before: Vec<[f64; 3]> = start.keypoint.iter().map(|keypoint| keypoint.offset_m).collect();
    let mut poses = Poses::new(frames.len());
    let mut rounds = Vec::with_capacity(options.rounds + 1);
    for round in 0..=options.rounds {
        let rat = load(mjcf, &subject.rat_options())?;
        let sums = poses.step(&rat, subject, names, frames, options)?;
        rounds.push(residuals(&sums, frames.len()));
        if round < options.rounds {
            if options.proportions && round >= LENGTHS_FROM && round % 2 == 0 {
                length_step(subject, &start, &sums, options);
            }
            let momentum = if round + SETTLING < options.rounds { MOMENTUM } else { 0.0 };
            let reach_m = options.reach_m * subject.scale / STOCK_SCALE;
            offset_step(subject, &start, names, &sums, Stride { reach_m, momentum }, &mut before);
        }
        progress(round);
    }
    Ok(rounds)
}

/// How far an offset step goes.
#[derive(Clone, Copy, Debug)]
struct Stride {
    /// Farthest from the start, metres.
    reach_m: f64,
    /// Part of the last step that is done again.
    momentum: f64,
}

fn offset_step(
    subject: &mut Subject,
    start: &Subject,
    names: &[String],
    sums: &RoundSums,
    stride: Stride,
    before: &mut [[f64; 3]],
) {
    for (name, sum) in names.iter().zip(&sums.keypoints) {
        let Some(index) = subject.index(name) else { continue };
        let first = start.keypoint[index].offset_m;
        let hold = start.keypoint[index].hold;
        if sum.weight + hold <= 0.0 {
            continue;
        }
        let mean = [0, 1, 2].map(|axis| (sum.local_m[axis] + hold * first[axis]) / (sum.weight + hold));
        let away = minus(mean, first);
        let far = length(away);
        let keep = if far > stride.reach_m { stride.reach_m / far } else { 1.0 };
        let now = [0, 1, 2].map(|axis| first[axis] + keep * away[axis]);
        let last = std::mem::replace(&mut before[index], now);
        subject.keypoint[index].offset_m = [0, 1, 2].map(|axis| now[axis] + stride.momentum * (now[axis] - last[axis]));
    }
}

/// The relative changes of length that bring the keypoints nearest, with all poses and offsets held.
fn length_step(subject: &mut Subject, start: &Subject, sums: &RoundSums, options: &FitOptions) {
    let groups = subject.segment.len();
    let mut system = sums.lengths.view((0, 0), (groups, groups)).into_owned();
    let mut pushes = sums.pushes.rows(0, groups).into_owned();
    for group in 0..groups {
        let hold = options.proportions_hold * system[(group, group)];
        let apart = (subject.segment[group].scale / start.segment[group].scale).ln();
        system[(group, group)] += hold + f64::MIN_POSITIVE;
        pushes[group] -= hold * apart;
    }
    let Some(step) = system.cholesky().map(|factors| factors.solve(&pushes)) else { return };
    for (group, segment) in subject.segment.iter_mut().enumerate() {
        segment.scale *= step[group].clamp(-0.1, 0.1).exp();
        segment.scale = segment.scale.clamp(0.5 * start.segment[group].scale, 2.0 * start.segment[group].scale);
    }
}

fn residuals(sums: &RoundSums, frames: usize) -> RoundResidual {
    let share = 1.0 / frames.max(1) as f64;
    RoundResidual {
        mean_m: sums.mean_m(),
        keypoint_m: sums.keypoint_m(),
        at_limit: sums.at_limit.iter().map(|count| share * count).collect(),
    }
}
