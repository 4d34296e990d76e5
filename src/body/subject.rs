//! The subject file: which animal, how large, and where its keypoints sit on the body.
//!
//! ```toml
//! name = "twin"
//! scale = 0.9
//! trunk = ["SpineF", "SpineM", "SpineL"]
//!
//! [[keypoint]]
//! name = "Snout"
//! body = "skull"
//! offset_m = [0.0, 0.0, 0.0]
//! ```

use std::path::{Path, PathBuf};

use mimicd_rat::{KeypointSite, RatOptions, SegmentScale, rat23_sites};
use serde::{Deserialize, Serialize};

use super::BodyError;

/// Keypoints that hardly move against each other, in rat23: they place the animal before its limbs are fitted.
pub const RAT23_TRUNK: [&str; 8] = ["SpineF", "SpineL", "SpineM", "HipL", "HipR", "ShoulderL", "ShoulderR", "TailBase"];

/// Keypoints of rat23 whose offsets fitting pulls towards their start.
const RAT23_HELD: [&str; 5] = ["HandL", "HandR", "SpineF", "SpineL", "SpineM"];

/// Groups of bodies whose proportions keypoints can tell: limbs by pairs, the parts of the trunk.
const SEGMENTS: [&[&str]; 8] = [
    &["torso"],
    &["vertebra_1", "vertebra_2", "vertebra_3", "vertebra_4", "vertebra_5", "vertebra_6"],
    &["pelvis"],
    &["scapula_L", "scapula_R"],
    &["upper_arm_L", "upper_arm_R"],
    &["lower_arm_L", "lower_arm_R"],
    &["upper_leg_L", "upper_leg_R"],
    &["lower_leg_L", "lower_leg_R"],
];

/// The stock proportions, as groups that fitting may change.
pub fn stock_segments() -> Vec<SubjectSegment> {
    let group =
        |bodies: &&[&str]| SubjectSegment { bodies: bodies.iter().map(|b| (*b).to_owned()).collect(), scale: 1.0 };
    SEGMENTS.iter().map(group).collect()
}

/// One keypoint on the body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectKeypoint {
    /// Name, as the pose network or the recording gives it.
    pub name: String,
    /// Body of the model that carries it.
    pub body: String,
    /// Where on that body, in its frame, metres.
    pub offset_m: [f64; 3],
    /// How much it counts against the others.
    #[serde(default = "one")]
    pub weight: f64,
    /// Pull of the offset towards its start when offsets are fitted, in frames; 0 lets it go anywhere.
    #[serde(default)]
    pub hold: f64,
}

fn one() -> f64 {
    1.0
}

/// Bodies whose proportions differ from the scaled stock body, all by the same factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectSegment {
    /// Bodies of the model; a left and a right one usually go together.
    pub bodies: Vec<String>,
    /// Length against the scaled stock body.
    pub scale: f64,
}

/// A length that hardly changes while the animal moves: what tells units and size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectLimb {
    /// The two keypoints.
    pub between: [String; 2],
    /// Median distance, metres.
    pub length_m: f64,
}

/// How a subject file was fitted; for the reader and for manifests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitRecord {
    /// File that the offsets were fitted to.
    pub source: String,
    /// Frames used.
    pub frames: usize,
    /// Rounds of pose and offset steps.
    pub rounds: usize,
    /// Mean distance of the keypoints before and after, millimetres.
    pub residual_mm: [f64; 2],
}

/// An animal: how large it is against the stock body, and where its keypoints are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Name of the animal.
    pub name: String,
    /// Length against the stock body.
    #[serde(default = "default_scale")]
    pub scale: f64,
    /// Height of the floor in the keypoints' world, metres.
    #[serde(default)]
    pub floor_m: f64,
    /// Keypoints that place the animal before its limbs are fitted; at least three.
    pub trunk: Vec<String>,
    /// Proportions of the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segment: Vec<SubjectSegment>,
    /// Limb lengths of the animal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limb: Vec<SubjectLimb>,
    /// All keypoints.
    pub keypoint: Vec<SubjectKeypoint>,
    /// How it was fitted; absent in files written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<FitRecord>,
}

fn default_scale() -> f64 {
    0.9
}

impl Subject {
    /// The rat23 set with its published starting offsets.
    pub fn rat23(name: &str) -> Self {
        let keypoint = rat23_sites()
            .into_iter()
            .map(|site| SubjectKeypoint {
                hold: if RAT23_HELD.contains(&site.name.as_str()) { 1.0 } else { 0.0 },
                name: site.name,
                body: site.body,
                offset_m: site.offset_m,
                weight: 1.0,
            })
            .collect();
        Self {
            name: name.to_owned(),
            scale: default_scale(),
            floor_m: 0.0,
            trunk: RAT23_TRUNK.iter().map(|name| (*name).to_owned()).collect(),
            segment: stock_segments(),
            limb: Vec::new(),
            keypoint,
            fit: None,
        }
    }

    /// Reads a subject file.
    ///
    /// # Errors
    /// A file that cannot be read, is not TOML of this form, or says something impossible.
    pub fn load(path: &Path) -> Result<Self, BodyError> {
        let bad = |reason: String| BodyError::Subject { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
        let subject: Self = toml::from_str(&text).map_err(|error| bad(error.to_string().trim_end().to_owned()))?;
        subject.check().map_err(bad)?;
        Ok(subject)
    }

    /// Writes a subject file.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn save(&self, path: &Path) -> Result<(), BodyError> {
        let bad = |reason: String| BodyError::Subject { path: path.to_owned(), reason };
        let text = toml::to_string(self).map_err(|error| bad(error.to_string()))?;
        std::fs::write(path, text).map_err(|error| bad(format!("cannot be written: {error}")))
    }

    fn check(&self) -> Result<(), String> {
        if !(0.05..=5.0).contains(&self.scale) {
            return Err(format!("scale = {}: expected 0.05 to 5", self.scale));
        }
        if !(-10.0..=10.0).contains(&self.floor_m) {
            return Err(format!("floor_m = {}: expected -10 to 10", self.floor_m));
        }
        for (index, keypoint) in self.keypoint.iter().enumerate() {
            let name = &keypoint.name;
            if self.keypoint[..index].iter().any(|other| other.name == *name) {
                return Err(format!("keypoint {name:?} is there twice"));
            }
            if !keypoint.offset_m.iter().all(|value| value.abs() <= 0.5) {
                return Err(format!("keypoint {name:?}: offset_m = {:?}: expected -0.5 to 0.5", keypoint.offset_m));
            }
            if !(0.0..=1e3).contains(&keypoint.weight) || !(0.0..=1e6).contains(&keypoint.hold) {
                return Err(format!(
                    "keypoint {name:?}: weight = {}, hold = {}: expected 0 to 1000 and 0 to 1000000",
                    keypoint.weight, keypoint.hold
                ));
            }
        }
        if let Some(name) = self.trunk.iter().find(|name| self.index(name).is_none()) {
            return Err(format!("trunk names {name:?}, which is not a keypoint of this file"));
        }
        self.check_lengths()?;
        if self.trunk.len() < 3 {
            return Err(format!("trunk has {} keypoints: expected at least 3", self.trunk.len()));
        }
        Ok(())
    }

    fn check_lengths(&self) -> Result<(), String> {
        for segment in &self.segment {
            if !(0.2..=5.0).contains(&segment.scale) {
                return Err(format!("segment {:?}: scale = {}: expected 0.2 to 5", segment.bodies, segment.scale));
            }
        }
        let mut bodies: Vec<&String> = self.segment.iter().flat_map(|segment| &segment.bodies).collect();
        bodies.sort();
        if let Some(twice) = bodies.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("body {:?} is in two segments", twice[0]));
        }
        for limb in &self.limb {
            if let Some(name) = limb.between.iter().find(|name| self.index(name).is_none()) {
                return Err(format!("limb {:?}: no keypoint {name:?} in this file", limb.between));
            }
            if !(1e-4..=2.0).contains(&limb.length_m) {
                return Err(format!("limb {:?}: length_m = {}: expected 0.0001 to 2", limb.between, limb.length_m));
            }
        }
        Ok(())
    }

    /// The body of this animal: scale, proportions, keypoints.
    pub fn rat_options(&self) -> RatOptions {
        let of = |segment: &SubjectSegment| {
            let factor = segment.scale;
            segment.bodies.iter().map(move |body| SegmentScale { body: body.clone(), factor }).collect::<Vec<_>>()
        };
        // A factor of 1 changes nothing.
        let segments = self.segment.iter().filter(|segment| segment.scale != 1.0).flat_map(of).collect();
        RatOptions { scale: self.scale, segments, sites: self.sites(), ..RatOptions::default() }
    }

    /// Makes the whole animal larger, its offsets with it.
    pub fn resize(&mut self, factor: f64) {
        self.scale *= factor;
        for keypoint in &mut self.keypoint {
            keypoint.offset_m = keypoint.offset_m.map(|value| value * factor);
        }
    }

    /// Which keypoint has this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.keypoint.iter().position(|keypoint| keypoint.name == name)
    }

    /// The keypoints as sites of the body.
    pub fn sites(&self) -> Vec<KeypointSite> {
        self.keypoint
            .iter()
            .map(|keypoint| KeypointSite {
                name: keypoint.name.clone(),
                body: keypoint.body.clone(),
                offset_m: keypoint.offset_m,
            })
            .collect()
    }
}

/// A path for messages about a subject that is not from a file.
pub(super) fn unnamed() -> PathBuf {
    PathBuf::from("subject")
}
