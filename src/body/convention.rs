//! Units and axes of a recording made elsewhere: told by the animal itself.
//!
//! The unit follows from lengths between keypoints on neighbouring bodies, up from the paws being below the trunk, and
//! a left-handed world from the body fitting its mirror image better than itself.

use std::fmt;

use mimicd_rat::RatModel;

use super::align;
use super::math::{Vec3, add, length, minus};
use super::registrar::arrange;
use super::tree::Tree;
use super::tuning::STOCK_SCALE;
use super::{BodyError, Subject};
use crate::pose::Keypoint;

/// Frames looked at.
const FRAMES_MAX: usize = 400;
/// A unit is believed when the animal comes out at this much of the subject's size, smallest and largest.
const SIZE: [f64; 2] = [0.45, 2.2];
/// Units that recordings come in, and their names.
const UNITS: [(f64, &str); 4] = [(1.0, "m"), (0.1, "dm"), (0.01, "cm"), (0.001, "mm")];
/// Keypoints nearer than this on the stock body say nothing about lengths, metres.
const PAIR_MIN_M: f64 = 0.008;
/// Part of the height of the trunk above the paws that must be along one axis.
const UP_MIN: f64 = 0.6;
/// The mirror image is believed when it fits this much better.
const MIRROR_MAX: f64 = 0.7;

/// Which way is up in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
pub enum Up {
    /// +x.
    #[value(name = "+x")]
    PlusX,
    /// -x.
    #[value(name = "-x")]
    MinusX,
    /// +y.
    #[value(name = "+y")]
    PlusY,
    /// -y (image coordinates carried into space).
    #[value(name = "-y")]
    MinusY,
    /// +z, as everywhere in this program.
    #[value(name = "+z")]
    PlusZ,
    /// -z.
    #[value(name = "-z")]
    MinusZ,
}

impl Up {
    const ALL: [Self; 6] = [Self::PlusX, Self::MinusX, Self::PlusY, Self::MinusY, Self::PlusZ, Self::MinusZ];

    /// The point with z up, by a rotation.
    fn turn(self, [x, y, z]: Vec3) -> Vec3 {
        match self {
            Self::PlusX => [-z, y, x],
            Self::MinusX => [z, y, -x],
            Self::PlusY => [x, -z, y],
            Self::MinusY => [x, z, -y],
            Self::PlusZ => [x, y, z],
            Self::MinusZ => [x, -y, -z],
        }
    }
}

impl fmt::Display for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlusX => "+x",
            Self::MinusX => "-x",
            Self::PlusY => "+y",
            Self::MinusY => "-y",
            Self::PlusZ => "+z",
            Self::MinusZ => "-z",
        })
    }
}

/// How a recording's numbers become metres in a right-handed world with z up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convention {
    /// Metres in one unit of the recording.
    pub unit_m: f64,
    /// Its upward axis.
    pub up: Up,
    /// Its world is left-handed: y is turned round (after `up`).
    pub mirrored: bool,
}

impl Convention {
    /// Nothing to change.
    pub const METRES: Self = Self { unit_m: 1.0, up: Up::PlusZ, mirrored: false };

    /// Converts all frames.
    pub fn apply(&self, frames: &mut [Vec<Keypoint>]) {
        for keypoint in frames.iter_mut().flatten() {
            let [x, y, z] = self.up.turn(keypoint.xyz_m.map(|value| value * self.unit_m));
            keypoint.xyz_m = [x, if self.mirrored { -y } else { y }, z];
        }
    }
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(unit_m, _)| (unit_m / self.unit_m - 1.0).abs() < 1e-6) {
            Some((_, name)) => write!(f, "unit {name}")?,
            None => write!(f, "unit {} m", self.unit_m)?,
        }
        write!(f, ", {} up, {}", self.up, if self.mirrored { "left-handed" } else { "right-handed" })
    }
}

/// What the caller knows already.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known {
    /// Metres in one unit.
    pub unit_m: Option<f64>,
    /// The upward axis.
    pub up: Option<Up>,
    /// Whether the world is left-handed.
    pub mirrored: Option<bool>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detected {
    /// Units and axes.
    pub convention: Convention,
    /// Size of the animal against the subject.
    pub size: f64,
    /// Height of the floor in the converted world, metres; `None` where no paw is seen.
    pub floor_m: Option<f64>,
}

/// Finds units and axes of `frames` (in the order of `names`) for an animal like `subject`.
///
/// # Errors
/// What cannot be told, with the option that tells it.
pub fn detect(
    rat: &RatModel,
    subject: &Subject,
    names: &[String],
    frames: &[Vec<Keypoint>],
    known: Known,
) -> Result<Detected, BodyError> {
    let model = Model::new(rat, subject, names)?;
    let stride = frames.len().div_ceil(FRAMES_MAX).max(1);
    let frames: Vec<&[Keypoint]> = frames.iter().step_by(stride).map(Vec::as_slice).collect();
    let size = model.size(&frames).ok_or_else(|| unclear("no two neighbouring keypoints are ever seen together"))?;
    let unit_m = match known.unit_m {
        Some(unit_m) => unit_m,
        None => unit(size)?,
    };
    let up = match known.up {
        Some(up) => up,
        None => model.up(&frames)?,
    };
    let upright = Convention { unit_m, up, mirrored: false };
    let mirrored = known.mirrored.unwrap_or_else(|| model.is_mirrored(&frames, upright));
    let convention = Convention { mirrored, ..upright };
    Ok(Detected { convention, size: size * unit_m, floor_m: model.floor_m(&frames, convention) })
}

fn unclear(reason: &str) -> BodyError {
    BodyError::Convention { reason: reason.to_owned() }
}

fn unit(size: f64) -> Result<f64, BodyError> {
    let believed = |unit_m: &f64| (SIZE[0]..=SIZE[1]).contains(&(size * unit_m));
    // Decimetres are rare: they count only where nothing else does.
    let plain = UNITS.iter().map(|(unit_m, _)| *unit_m).filter(|unit_m| *unit_m != 0.1);
    plain.clone().find(believed).or_else(|| Some(0.1).filter(believed)).ok_or_else(|| {
        let sizes: Vec<String> =
            UNITS.iter().map(|(unit_m, name)| format!("{:.3} in {name}", size * unit_m)).collect();
        unclear(&format!(
            "the unit cannot be told: the animal would be {} of the subject's size; give --unit-m, or a subject of this species",
            sizes.join(", ")
        ))
    })
}

/// The subject at rest, as far as it tells conventions.
struct Model {
    points: Vec<Vec3>,
    weights: Vec<f64>,
    /// Keypoints on the same or on neighbouring bodies, and how far apart they are.
    pairs: Vec<(usize, usize, f64)>,
    paws: Vec<usize>,
    trunk: Vec<usize>,
}

impl Model {
    fn new(rat: &RatModel, subject: &Subject, names: &[String]) -> Result<Self, BodyError> {
        let (sites, weights, trunk) = arrange(rat, subject, names)?;
        let tree = Tree::new(rat);
        let mut posture = tree.posture();
        tree.forward(&rat.reference_qpos(), &mut posture);
        let points: Vec<Vec3> = sites.iter().map(|site| posture.point_m(site.body, site.offset_m)).collect();
        let limb = |a: usize, b: usize| {
            let is = |limb: &&super::SubjectLimb| limb.between == [names[a].clone(), names[b].clone()];
            subject.limb.iter().find(is).map(|limb| limb.length_m)
        };
        let near = |a: usize, b: usize| {
            let parent = |body: usize| rat.bodies()[body].parent;
            a == b || parent(a) == b || parent(b) == a
        };
        let pair_min_m = PAIR_MIN_M * subject.scale / STOCK_SCALE;
        let used: Vec<usize> = (0..sites.len()).filter(|&index| weights[index] > 0.0).collect();
        let mut pairs = Vec::new();
        for &a in &used {
            for &b in used.iter().filter(|&&b| b > a) {
                let rest = length(minus(points[a], points[b]));
                let known = limb(a, b).or_else(|| limb(b, a));
                let near = near(sites[a].body, sites[b].body) && rest > pair_min_m;
                pairs.extend(known.or(near.then_some(rest)).map(|length_m| (a, b, length_m)));
            }
        }
        let is_paw = |index: &usize| {
            let body = &rat.bodies()[sites[*index].body].name;
            ["hand_", "finger_", "foot_", "toe_"].iter().any(|part| body.starts_with(part))
        };
        let paws = used.iter().copied().filter(is_paw).collect();
        let trunk = used.iter().copied().filter(|&index| trunk[index]).collect();
        Ok(Self { points, weights, pairs, paws, trunk })
    }

    /// Subject sizes per unit of the recording: the median over pairs of the median over frames.
    fn size(&self, frames: &[&[Keypoint]]) -> Option<f64> {
        let of_pair = |&(a, b, length_m): &(usize, usize, f64)| {
            median(frames.iter().filter_map(|frame| Some(length(minus(seen(frame, a)?, seen(frame, b)?)))))
                .map(|found| found / length_m)
        };
        median(self.pairs.iter().filter_map(of_pair))
    }

    fn up(&self, frames: &[&[Keypoint]]) -> Result<Up, BodyError> {
        let rise = frames
            .iter()
            .filter_map(|frame| Some(minus(mean(frame, &self.trunk)?, mean(frame, &self.paws)?)))
            .fold([0.0; 3], add);
        let share = |up: &Up| up.turn(rise)[2] / length(rise).max(f64::MIN_POSITIVE);
        Up::ALL
            .into_iter()
            .find(|up| share(up) > UP_MIN)
            .ok_or_else(|| unclear("up cannot be told: the trunk is not above the paws along one axis; give --up"))
    }

    fn is_mirrored(&self, frames: &[&[Keypoint]], upright: Convention) -> bool {
        let misfit = |convention: Convention| -> f64 {
            let mut frames: Vec<Vec<Keypoint>> = frames.iter().map(|frame| frame.to_vec()).collect();
            convention.apply(&mut frames);
            frames.iter().filter_map(|frame| self.misfit_m(frame)).sum()
        };
        misfit(Convention { mirrored: true, ..upright }) < MIRROR_MAX * misfit(upright)
    }

    /// Mean distance of a frame to the rigid body at rest, metres.
    fn misfit_m(&self, frame: &[Keypoint]) -> Option<f64> {
        let pairs = (0..self.points.len())
            .filter(|&index| self.weights[index] > 0.0)
            .filter_map(|index| Some((self.points[index], seen(frame, index)?, 1.0)));
        let (translation, quaternion) = align::rigid(pairs.clone())?;
        let rotation = super::math::matrix(quaternion);
        let far = |(from, to, _): (Vec3, Vec3, f64)| {
            length(minus(add(super::math::rotate(&rotation, from), translation), to))
        };
        let count = pairs.clone().count() as f64;
        Some(pairs.map(far).sum::<f64>() / count)
    }

    /// The height at which paws stop going lower.
    fn floor_m(&self, frames: &[&[Keypoint]], convention: Convention) -> Option<f64> {
        let mut heights: Vec<f64> = frames
            .iter()
            .filter_map(|frame| {
                let heights = self.paws.iter().filter_map(|&paw| Some(convention.up.turn(seen(frame, paw)?)[2]));
                heights.min_by(f64::total_cmp)
            })
            .collect();
        heights.sort_by(f64::total_cmp);
        heights.get(heights.len() / 50).map(|height| height * convention.unit_m)
    }
}

fn seen(frame: &[Keypoint], index: usize) -> Option<Vec3> {
    frame.get(index).filter(|keypoint| keypoint.confidence > 0.0).map(|keypoint| keypoint.xyz_m)
}

fn mean(frame: &[Keypoint], which: &[usize]) -> Option<Vec3> {
    let points: Vec<Vec3> = which.iter().filter_map(|&index| seen(frame, index)).collect();
    let sum = points.iter().copied().fold([0.0; 3], add);
    (2 * points.len() > which.len()).then(|| sum.map(|value| value / points.len() as f64))
}

pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::super::{Subject, testing};
    use super::*;
    use mimicd_rat::{Kinematics, RAT23, load};

    #[test]
    fn every_axis_and_unit_is_found() {
        let Some(path) = testing::file(".deps/rat/rodent.xml") else { return };
        let subject = Subject::rat23("t");
        let rat = load(&path, &subject.rat_options()).unwrap();
        let mut kinematics = Kinematics::new(&rat);
        let names: Vec<String> = RAT23.iter().map(|name| (*name).to_owned()).collect();
        let mut qpos = rat.reference_qpos();
        (qpos[0], qpos[1], qpos[3], qpos[6]) = (0.3, -0.2, 0.8, 0.6);
        kinematics.set(&qpos);
        let frame: Vec<Keypoint> =
            (0..names.len()).map(|index| Keypoint::recorded(kinematics.keypoint_m(index), 1.0)).collect();
        for up in Up::ALL {
            for mirrored in [false, true] {
                for (unit_m, _) in UNITS.into_iter().filter(|(unit_m, _)| *unit_m != 0.1) {
                    // A rotation from z-up to `up` is three turns of the opposite kind, or found by trying.
                    let back =
                        Up::ALL.into_iter().find(|other| up.turn(other.turn([1.0, 2.0, 3.0])) == [1.0, 2.0, 3.0]);
                    let Some(back) = back else { panic!("{up} has no inverse") };
                    let mut frames = vec![frame.clone(); 3];
                    for keypoint in frames.iter_mut().flatten() {
                        let [x, y, z] = keypoint.xyz_m;
                        let flipped = [x, if mirrored { -y } else { y }, z];
                        keypoint.xyz_m = back.turn(flipped).map(|value| value / unit_m);
                    }
                    let found = detect(&rat, &subject, &names, &frames, Known::default()).unwrap();
                    assert_eq!(found.convention, Convention { unit_m, up, mirrored });
                    assert!((found.size - 1.0).abs() < 1e-6, "{}", found.size);
                    found.convention.apply(&mut frames);
                    let apart = length(minus(frames[0][7].xyz_m, frame[7].xyz_m));
                    assert!(apart < 1e-9, "{up} {mirrored}: {apart}");
                }
            }
        }
    }
}
