//! The report of a fit: one HTML file that says how well the animal is known and how registration behaves on its recording.

mod curves;
mod measure;
mod page;

use mimicd_rat::RatModel;

pub use measure::{Case, LimbGap, Missing, Score, Smoothness};

use self::curves::{Axes, Curve, plot, skeleton};
use self::page::{Bars, Page};
use super::fit::RoundResidual;
use super::{BodyError, Subject, Tuning};
use crate::pose::Keypoint;

/// The goals of the project for this stage.
const GOAL_MEAN_MM: f64 = 1.6;
const GOAL_STEP_DEG: f64 = 0.16;
const GOAL_RETURN_DEG: f64 = 5.0;
/// Frames drawn.
const PICTURES: usize = 3;

/// Everything that a report says.
#[derive(Clone, Debug)]
pub struct FitReport {
    /// Where the recording came from, and what its numbers were taken for.
    pub source: String,
    /// Frames of the recording, frames fitted to.
    pub frames: [usize; 2],
    /// Names of the keypoints of the recording.
    pub names: Vec<String>,
    /// The subject as fitted.
    pub subject: Subject,
    /// Rounds of the fit.
    pub rounds: Vec<RoundResidual>,
    /// Body scales tried, and the mean distance that each left, metres.
    pub sizes: Vec<(f64, f64)>,
    /// Registration of the recording before the fit and after it.
    pub scores: [Score; 2],
    /// Jitter against lag.
    pub smoothness: Vec<Smoothness>,
    /// Missing keypoints.
    pub missing: Vec<Missing>,
    /// Missing limbs.
    pub gaps: Vec<LimbGap>,
    /// Names of the hinges.
    pub hinges: Vec<String>,
    /// Drawings of some frames.
    pub pictures: Vec<String>,
}

impl FitReport {
    /// The report as text, for a terminal.
    pub fn summary(&self) -> String {
        let [before, after] = &self.scores;
        let mut lines = vec![
            format!("recording       {}", self.source),
            format!("frames          {} of {} fitted to, chosen for diversity", self.frames[1], self.frames[0]),
            format!("scale           {:.4}", self.subject.scale),
            format!(
                "residual        {:.2} mm before, {:.2} mm after (mean, causal, default smoothing)",
                mm(before.mean_m),
                mm(after.mean_m)
            ),
            format!("joint step      {:.3} deg RMS a frame, lag {:.1} ms", deg(after.step_rms_rad), 1e3 * after.lag_s),
        ];
        let gap = self.gaps.iter().max_by(|a, b| a.step_max_rad.total_cmp(&b.step_max_rad));
        lines.extend(gap.map(|gap| {
            format!("limb for 1 s    largest joint step {:.1} deg ({})", deg(gap.step_max_rad), gap.limb.join(" "))
        }));
        lines.join("\n") + "\n"
    }

    /// The report as one HTML file.
    pub fn html(&self) -> String {
        let lead = format!(
            "{}; {} frames, {} of them chosen for diversity and fitted to. Scale {:.4}.",
            self.source, self.frames[0], self.frames[1], self.subject.scale
        );
        let mut page = Page::new(&format!("Body fit: {}", self.subject.name), &lead);
        self.goals(&mut page);
        self.keypoints(&mut page);
        self.pictures(&mut page);
        self.smoothing(&mut page);
        self.damage(&mut page);
        self.limits(&mut page);
        self.convergence(&mut page);
        page.finish()
    }

    fn goals(&self, page: &mut Page) {
        let after = &self.scores[1];
        page.section(
            "In short",
            "Causal registration of the whole recording with the fitted subject and the default smoothing.",
        );
        let row = |name: &str, value: f64, goal: f64, unit: &str| {
            let verdict = if value <= goal { "within" } else { "beyond" };
            vec![name.to_owned(), format!("{value:.3} {unit}"), format!("{goal} {unit}"), verdict.to_owned()]
        };
        let mut rows = vec![
            row("mean distance of keypoints", mm(after.mean_m), GOAL_MEAN_MM, "mm"),
            row("joint step, RMS a frame", deg(after.step_rms_rad), GOAL_STEP_DEG, "deg"),
        ];
        let worst = self.gaps.iter().map(|gap| deg(gap.step_max_rad)).fold(f64::NAN, f64::max);
        if worst.is_finite() {
            rows.push(row("largest joint step around a limb's gap", worst, GOAL_RETURN_DEG, "deg"));
        }
        rows.push(vec![
            "lag behind the keypoints".into(),
            format!("{:.1} ms", 1e3 * after.lag_s),
            String::new(),
            String::new(),
        ]);
        page.table(&["", "measured", "goal (the reference animal's)", ""], &rows);
        let flags: Vec<Vec<String>> = after
            .flags
            .iter()
            .map(|(name, count)| vec![(*name).to_lowercase().replace('_', " "), count.to_string()])
            .collect();
        page.table(&["flag", "frames"], &flags);
    }

    fn keypoints(&self, page: &mut Page) {
        page.section(
            "Residual per keypoint",
            "Mean distance of each keypoint to its place on the registered body, before the fit and after it.",
        );
        let names = self.names.iter().cloned();
        let [before, after] = &self.scores;
        let rows: Vec<Bars> = names
            .zip(before.keypoint_m.iter().zip(&after.keypoint_m))
            .map(|(name, (before, after))| Bars { name, before: mm(*before), after: mm(*after) })
            .collect();
        page.bars("keypoint", "mm", &rows);
    }

    fn pictures(&self, page: &mut Page) {
        if self.pictures.is_empty() {
            return;
        }
        page.section(
            "Frames",
            "From the side (left) and from above (right), millimetres. Blue: keypoints; orange: their places on the body; black: between them.",
        );
        self.pictures.iter().for_each(|picture| page.svg(picture));
    }

    fn smoothing(&self, page: &mut Page) {
        page.section(
            "Jitter against lag",
            "Each point is one setting of body.smoothing. Right is later, up is noisier; the default is 1.",
        );
        let jitter = Curve {
            name: "smoothing".into(),
            points: self.smoothness.iter().map(|s| (1e3 * s.score.lag_s.max(0.0), deg(s.score.step_rms_rad))).collect(),
            labels: self
                .smoothness
                .iter()
                .map(|s| ((1e3 * s.score.lag_s.max(0.0), deg(s.score.step_rms_rad)), format!("{}", s.smoothing)))
                .collect(),
        };
        let goal = Some((GOAL_STEP_DEG, "goal 0.16 deg"));
        let axes = Axes { title: "Joint step against lag", x: "lag, ms", y: "joint step, deg RMS a frame", goal };
        page.svg(&plot(axes, &[jitter]));
        let rows: Vec<Vec<String>> = self
            .smoothness
            .iter()
            .map(|s| {
                let score = &s.score;
                vec![
                    format!("{}", s.smoothing),
                    format!("{:.1}", 1e3 * score.lag_s),
                    format!("{:.3}", deg(score.step_rms_rad)),
                    format!("{:.3}", mm(score.mean_m)),
                ]
            })
            .collect();
        page.table(&["smoothing", "lag, ms", "joint step, deg", "mean distance, mm"], &rows);
    }

    fn damage(&self, page: &mut Page) {
        page.section(
            "Missing keypoints",
            "Keypoints hidden at random in every frame; distances are those of all keypoints, the hidden ones too.",
        );
        let curve = |name: &str, of: &dyn Fn(&Score) -> f64| Curve {
            name: name.into(),
            points: self.missing.iter().map(|m| (100.0 * m.share, of(&m.score))).collect(),
            labels: Vec::new(),
        };
        let curves =
            [curve("mean distance, mm", &|s| mm(s.mean_m)), curve("largest joint step, deg", &|s| deg(s.step_max_rad))];
        page.svg(&plot(Axes { title: "Missing at random", x: "missing, %", y: "mm or deg", goal: None }, &curves));
        if self.gaps.is_empty() {
            return;
        }
        page.section(
            "A limb missing for a second",
            "Each limb hidden for one second; the body carries it until it is back.",
        );
        let rows: Vec<Vec<String>> = self
            .gaps
            .iter()
            .map(|gap| {
                vec![
                    gap.limb.join(" "),
                    format!("{:.2}", deg(gap.step_max_rad)),
                    format!("{:.2}", mm(gap.hidden_m)),
                    format!("{:.2}", mm(gap.after_m)),
                ]
            })
            .collect();
        page.table(&["limb", "largest step, deg", "while hidden, mm", "0.5 s after, mm"], &rows);
    }

    fn limits(&self, page: &mut Page) {
        page.section("Limit hits", "Share of frames in which a joint that keypoints can see is at its limit; joints that never are are left out.");
        let [before, after] = &self.scores;
        let mut rows: Vec<Bars> = self
            .hinges
            .iter()
            .zip(before.at_limit.iter().zip(&after.at_limit))
            .map(|(name, (before, after))| Bars { name: name.clone(), before: 100.0 * before, after: 100.0 * after })
            .filter(|row| row.before > 0.0 || row.after > 0.0)
            .collect();
        rows.sort_by(|a, b| b.after.total_cmp(&a.after));
        page.bars("joint", "%", &rows);
    }

    fn convergence(&self, page: &mut Page) {
        page.section(
            "The fit",
            "Mean distance over the chosen frames, each on its own, in every round of pose and parameter steps.",
        );
        let points = self.rounds.iter().enumerate().map(|(round, r)| (round as f64, mm(r.mean_m))).collect();
        let curve = Curve { name: String::new(), points, labels: Vec::new() };
        page.svg(&plot(Axes { title: "Rounds", x: "round", y: "mean distance, mm", goal: None }, &[curve]));
        if !self.sizes.is_empty() {
            let rows: Vec<Vec<String>> =
                self.sizes.iter().map(|(scale, m)| vec![format!("{scale:.4}"), format!("{:.3}", mm(*m))]).collect();
            page.table(&["scale tried", "mean distance after a short fit, mm"], &rows);
        }
        let segments = self.subject.segment.iter().filter(|segment| (segment.scale - 1.0).abs() > 1e-9);
        let rows: Vec<Vec<String>> =
            segments.map(|segment| vec![segment.bodies.join(" "), format!("{:.3}", segment.scale)]).collect();
        if !rows.is_empty() {
            page.table(&["segment", "length against the scaled stock body"], &rows);
        }
        let rows: Vec<Vec<String>> = self
            .subject
            .limb
            .iter()
            .map(|limb| vec![limb.between.join(" to "), format!("{:.1}", mm(limb.length_m))])
            .collect();
        page.table(&["limb", "median length, mm"], &rows);
    }
}

fn mm(metres: f64) -> f64 {
    1e3 * metres
}

fn deg(radians: f64) -> f64 {
    radians.to_degrees()
}

/// Draws a few frames that differ: registered with `subject`, keypoints beside their places.
///
/// # Errors
/// Keypoints that do not fit the subject.
pub fn pictures(case: &Case<'_>, chosen: &[usize]) -> Result<Vec<String>, BodyError> {
    let states = case.register(case.frames, Tuning::default())?;
    let bones = bones(case.rat, case.subject, case.names);
    let stride = (chosen.len() / PICTURES).max(1);
    let draw = |&frame: &usize| {
        let turned = |point: [f64; 3]| heading(&states[frame].qpos, point).map(mm);
        let seen = |keypoint: &Keypoint| {
            if keypoint.confidence > 0.0 { turned(keypoint.xyz_m) } else { [f64::NAN; 3] }
        };
        let seen: Vec<[f64; 3]> = case.frames[frame].iter().map(seen).collect();
        let fitted: Vec<[f64; 3]> = states[frame].sites_m.iter().map(|site| turned(*site)).collect();
        skeleton(&format!("frame {frame}"), &seen, &fitted, &bones)
    };
    Ok(chosen
        .iter()
        .skip(stride / 2)
        .step_by(stride)
        .take(PICTURES)
        .filter(|frame| **frame < states.len())
        .map(draw)
        .collect())
}

/// The point seen with the animal looking to the right.
fn heading(qpos: &[f64], point: [f64; 3]) -> [f64; 3] {
    let [w, x, y, z] = [qpos[3], qpos[4], qpos[5], qpos[6]];
    let angle = (2.0 * (x * y + w * z)).atan2(1.0 - 2.0 * (y * y + z * z));
    let (s, c) = angle.sin_cos();
    let [dx, dy] = [point[0] - qpos[0], point[1] - qpos[1]];
    [c * dx + s * dy, c * dy - s * dx, point[2]]
}

/// Lines to draw: each keypoint to one of its own body, else to the nearest up its chain, else to the trunk.
fn bones(rat: &RatModel, subject: &Subject, names: &[String]) -> Vec<(usize, usize)> {
    let body = |index: usize| {
        let keypoint = subject.index(&names[index]).map(|at| &subject.keypoint[at])?;
        rat.body_id(&keypoint.body)
    };
    // What hangs from the torso alone is drawn from the middle of the trunk.
    let trunk = subject.trunk.get(2).and_then(|name| names.iter().position(|other| other == name));
    let mut bones = Vec::new();
    for index in 0..names.len() {
        let Some(own) = body(index) else { continue };
        let same = (0..index).rev().find(|&other| body(other) == Some(own));
        let mut at = own;
        let mut above = None;
        while above.is_none() && at > 1 {
            at = rat.bodies()[at].parent;
            above = (0..names.len()).find(|&other| body(other) == Some(at));
        }
        bones.extend(same.or(above).or(trunk).filter(|other| *other != index).map(|other| (other, index)));
    }
    bones
}
