//! The whole fit of one animal: size, offsets, limb lengths, and what the report says about it.

use std::path::PathBuf;

use mimicd_rat::load;

use super::convention::{Detected, median};
use super::fit::{FitOptions, RoundResidual, diverse, fit, try_scales};
use super::math::{length, minus};
use super::report::{Case, FitReport, pictures};
use super::{BodyError, FitRecord, Subject, SubjectLimb, Tuning};
use crate::pose::Keypoint;

/// Frames of the report's curves at most: enough to be steady, few enough to wait for.
const CURVE_FRAMES: usize = 3_000;
/// Steps of the progress bar besides the rounds: scales, the two scores, the curves.
const OTHER_STEPS: u64 = 5 + 2 + 9 + 5 + 1;
/// A floor nearer than this to the world's is taken to be there, metres.
const FLOOR_NEAR_M: f64 = 0.02;
/// Paw keypoints sit this much above the ground they stand on, at the stock size, metres.
const PAW_HEIGHT_M: f64 = 0.007;
/// Distances that vary less than this against their median are limbs.
const LIMB_SPREAD_MAX: f64 = 0.15;

/// What to fit to, and how.
#[derive(Clone, Debug)]
pub struct FitCommand {
    /// The rat's MJCF.
    pub mjcf: PathBuf,
    /// Where the recording came from, for the report.
    pub source: String,
    /// Names of the keypoints.
    pub names: Vec<String>,
    /// Frames, metres, z up.
    pub frames: Vec<Vec<Keypoint>>,
    /// Frames a second.
    pub rate_hz: f64,
    /// What was found out about the recording.
    pub detected: Detected,
    /// Estimate the scale.
    pub fit_scale: bool,
    /// The fit itself.
    pub options: FitOptions,
}

impl FitCommand {
    /// Calls of `progress` that [`FitCommand::run`] makes.
    pub fn steps(&self) -> u64 {
        self.options.rounds as u64 + 1 + OTHER_STEPS
    }

    /// Fits `subject` and measures the result.
    ///
    /// # Errors
    /// Keypoints that do not fit the subject, or a body that cannot be loaded.
    pub fn run(&self, mut subject: Subject, mut progress: impl FnMut()) -> Result<FitReport, BodyError> {
        self.set_floor(&mut subject);
        let chosen = diverse(&self.frames, self.options.frames);
        let few: Vec<&[Keypoint]> = chosen.iter().map(|&index| self.frames[index].as_slice()).collect();
        let before = subject.clone();
        if self.fit_scale {
            subject.resize(self.detected.size);
        }
        let sizes = try_scales(&self.mjcf, &subject, &self.names, &few, &mut progress)?;
        let rounds = fit(&self.mjcf, &mut subject, &self.names, &few, &self.options, |_| progress())?;
        subject.limb = self.limbs(&subject);
        subject.fit = Some(FitRecord {
            source: self.source.clone(),
            frames: few.len(),
            rounds: self.options.rounds,
            residual_mm: [rounds.first(), rounds.last()].map(|round| 1e3 * round.map_or(f64::NAN, |r| r.mean_m)),
        });
        self.report(before, subject, rounds, sizes, &chosen, progress)
    }

    fn report(
        &self,
        before: Subject,
        subject: Subject,
        rounds: Vec<RoundResidual>,
        sizes: Vec<(f64, f64)>,
        chosen: &[usize],
        mut progress: impl FnMut(),
    ) -> Result<FitReport, BodyError> {
        let first = load(&self.mjcf, &before.rat_options())?;
        let rat = load(&self.mjcf, &subject.rat_options())?;
        let all =
            Case { rat: &rat, subject: &subject, names: &self.names, frames: &self.frames, rate_hz: self.rate_hz };
        let start = Case { rat: &first, subject: &before, ..all };
        let scores = [start.score(&self.frames, Tuning::default())?, all.score(&self.frames, Tuning::default())?];
        progress();
        progress();
        let curves = Case { frames: &self.frames[..self.frames.len().min(CURVE_FRAMES)], ..all };
        let smoothness = curves.smoothness(&mut progress)?;
        let missing = curves.missing(&mut progress)?;
        let gaps = curves.limb_gaps()?;
        progress();
        let pictures = pictures(&all, chosen)?;
        Ok(FitReport {
            source: self.source.clone(),
            frames: [self.frames.len(), chosen.len()],
            names: self.names.clone(),
            rounds,
            sizes,
            scores,
            smoothness,
            missing,
            gaps,
            hinges: rat.joints()[1..].iter().map(|joint| joint.name.clone()).collect(),
            pictures,
            subject,
        })
    }

    /// The floor of the recording, where its paws say that it is not where the subject has it.
    fn set_floor(&self, subject: &mut Subject) {
        let Some(lowest) = self.detected.floor_m else { return };
        let floor = lowest - PAW_HEIGHT_M * self.detected.size;
        if (floor - subject.floor_m).abs() > FLOOR_NEAR_M * self.detected.size {
            subject.floor_m = floor;
        }
    }

    /// Distances between keypoints on neighbouring bodies that hardly change.
    fn limbs(&self, subject: &Subject) -> Vec<SubjectLimb> {
        let count = self.names.len();
        let mut limbs = Vec::new();
        for a in 0..count {
            for b in a + 1..count {
                if subject.index(&self.names[a]).is_none() || subject.index(&self.names[b]).is_none() {
                    continue;
                }
                let lengths = || self.frames.iter().filter_map(|frame| between(frame.get(a)?, frame.get(b)?));
                let Some(length_m) = median(lengths()) else { continue };
                let spread = median(lengths().map(|length_m_now| (length_m_now - length_m).abs())).unwrap_or(f64::MAX);
                if length_m > 1e-3 && spread < LIMB_SPREAD_MAX * length_m && self.are_neighbours(subject, a, b) {
                    limbs.push(SubjectLimb { between: [self.names[a].clone(), self.names[b].clone()], length_m });
                }
            }
        }
        limbs
    }

    /// Whether two keypoints are next to each other along a limb: the same name but for the part, or the same body.
    fn are_neighbours(&self, subject: &Subject, a: usize, b: usize) -> bool {
        let body = |index: usize| subject.index(&self.names[index]).map(|at| subject.keypoint[at].body.as_str());
        const LINKS: [[&str; 2]; 8] = [
            ["scapula", "upper_arm"],
            ["upper_arm", "lower_arm"],
            ["lower_arm", "hand"],
            ["pelvis", "upper_leg"],
            ["upper_leg", "lower_leg"],
            ["lower_leg", "foot"],
            ["pelvis", "pelvis"],
            ["skull", "skull"],
        ];
        let (Some(a), Some(b)) = (body(a), body(b)) else { return false };
        let side = |name: &str| name.rsplit_once('_').map(|(_, side)| side.to_owned()).filter(|side| side.len() == 1);
        let same_side = match (side(a), side(b)) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        let stem = |name: &str| name.trim_end_matches("_L").trim_end_matches("_R").to_owned();
        let (a, b) = (stem(a), stem(b));
        same_side && LINKS.iter().any(|[x, y]| (*x == a && *y == b) || (*x == b && *y == a))
    }
}

fn between(a: &Keypoint, b: &Keypoint) -> Option<f64> {
    (a.confidence > 0.0 && b.confidence > 0.0).then(|| length(minus(a.xyz_m, b.xyz_m)))
}
