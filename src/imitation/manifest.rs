//! The policy manifest: what a network takes, gives, and was trained on.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ImitationError;

/// Version of the manifest's format.
const SCHEMA: u32 = 1;

/// A policy: an ONNX graph and everything needed to run it beside a rat. Lives beside the graph as TOML.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyManifest {
    /// Version of this format; 1.
    pub schema: u32,
    /// Name; written with every recording.
    pub name: String,
    /// One line for the panel.
    #[serde(default)]
    pub description: String,
    /// The graph.
    pub network: NetworkSpec,
    /// How often it acts and how physics steps between.
    pub control: ControlSpec,
    /// The body it drives.
    pub body: BodySpec,
    /// What it sees.
    pub observation: ObservationSpec,
    /// Its latent, if it has one that the host draws.
    #[serde(default)]
    pub latent: Option<LatentSpec>,
    /// Everything inside that is worth recording.
    #[serde(default)]
    pub signal: Vec<SignalSpec>,
    /// Many latents at once: how variable the next action is.
    #[serde(default)]
    pub resample: Option<ResampleSpec>,
}

/// The graph and its main tensors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// ONNX file, relative to the manifest.
    pub file: PathBuf,
    /// Input that takes the observation, `[1, n]`.
    pub input: String,
    /// Output whose first 38 values are the action.
    pub action: String,
    /// What is done to the action before it drives the body.
    #[serde(default)]
    pub squash: Squash,
}

/// What is done to an action before it drives the body; the result is always clipped to [-1, 1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Squash {
    /// Nothing: the graph gives the final action.
    #[default]
    None,
    /// Hyperbolic tangent: the graph gives the mean of a tanh-normal distribution.
    Tanh,
}

/// Rates.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSpec {
    /// Actions per second.
    pub rate_hz: f64,
    /// Physics step, seconds.
    pub timestep_s: f64,
}

/// The body a policy was trained on.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodySpec {
    /// Length against the stock body.
    pub scale: f64,
    /// What an action means.
    pub actuators: ActuatorKind,
}

/// What an action means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActuatorKind {
    /// A set point between the joint limits.
    Servo,
    /// A fraction of the largest force.
    Torque,
}

/// What a policy sees, in the order of its input.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservationSpec {
    /// Blocks, in order.
    pub fields: Vec<Field>,
    /// Reference frames ahead of now.
    #[serde(default)]
    pub future_frames: usize,
    /// Spacing of those frames.
    #[serde(default = "default_frame_rate_hz")]
    pub frame_rate_hz: f64,
    /// Which way world vectors are turned into the animal's frame.
    #[serde(default)]
    pub egocentric: Egocentric,
    /// Bodies of the `reference_bodies` block.
    #[serde(default)]
    pub bodies: Vec<String>,
    /// Bodies of the `appendages` block.
    #[serde(default)]
    pub appendages: Vec<String>,
}

const fn default_frame_rate_hz() -> f64 {
    50.0
}

/// Which way world vectors are turned into the animal's frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Egocentric {
    /// By the inverse of the root's rotation: the right way.
    #[default]
    Inverse,
    /// By the root's rotation itself, as published weights of the track-mjx line were trained.
    Forward,
}

/// One block of the observation. Blocks of the reference repeat for each future frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Future root minus root now, root frame, metres (3 a frame).
    ReferenceRootPosition,
    /// Rotation from root now to future root, w >= 0 (4 a frame).
    ReferenceRootRotation,
    /// Future hinges minus hinges now, radians (67 a frame).
    ReferenceJoints,
    /// Future body positions minus those now, root frame, metres (3 per body a frame).
    ReferenceBodies,
    /// 1 where the frame was seen, 0 where it was predicted (1 a frame).
    ReferenceMask,
    /// Hinges, radians (67).
    Joints,
    /// Hinge rates, rad/s (67).
    JointVelocities,
    /// Generalised actuator forces (73).
    ActuatorForces,
    /// Height of the torso, metres (1).
    TorsoHeight,
    /// World's up in the torso frame (3).
    WorldUp,
    /// Appendages in the torso frame, metres (3 each).
    Appendages,
    /// The last action (38).
    PreviousAction,
    /// Head accelerometer, m/s² (3).
    Accelerometer,
    /// Head velocimeter, m/s (3).
    Velocimeter,
    /// Head gyroscope, rad/s (3).
    Gyro,
    /// Palm left, palm right, sole left, sole right, newtons (4).
    Touch,
    /// Root velocity in the root frame, m/s (3).
    RootLinearVelocity,
    /// Root angular velocity in the root frame, rad/s (3).
    RootAngularVelocity,
    /// All coordinates (74).
    Qpos,
    /// All velocities (73).
    Qvel,
    /// The latent that the host draws from its prior (`latent.size`).
    Latent,
}

/// The latent of a policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentSpec {
    /// Dimensions.
    pub size: usize,
    /// Input of the graph that takes standard normal noise, `[1, size]`; without it the host draws the whole latent
    /// from the prior.
    #[serde(default)]
    pub noise: Option<String>,
    /// Correlation of the autoregressive prior between control steps.
    #[serde(default = "default_correlation")]
    pub correlation: f64,
}

const fn default_correlation() -> f64 {
    0.95
}

/// One recorded signal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalSpec {
    /// Name in the recording.
    pub name: String,
    /// Output of the graph.
    pub output: String,
    /// Values.
    pub length: usize,
}

/// The graph that turns many latents into many actions at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResampleSpec {
    /// ONNX file, relative to the manifest. Inputs: `observation [1, n]`, `loc [1, z]`, `scale [1, z]`, `noise [samples, z]`;
    /// output: `action [samples, 38]`.
    pub file: PathBuf,
    /// Latents drawn a step.
    pub samples: usize,
    /// Signal that holds the latent's mean.
    pub loc: String,
    /// Signal that holds the latent's standard deviation.
    pub scale: String,
}

impl PolicyManifest {
    /// Reads and checks the manifest; paths in it become relative to its folder.
    ///
    /// # Errors
    /// An unreadable file, or the first key that is wrong.
    pub fn load(path: &Path) -> Result<Self, ImitationError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ImitationError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
        let mut manifest: Self = toml::from_str(&text)
            .map_err(|error| ImitationError::manifest(path, "TOML", error.to_string().trim_end()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        manifest.network.file = folder.join(&manifest.network.file);
        if let Some(resample) = &mut manifest.resample {
            resample.file = folder.join(&resample.file);
        }
        manifest.check(path)?;
        Ok(manifest)
    }

    /// Physics steps of one action.
    pub fn substeps(&self) -> usize {
        (1.0 / (self.control.rate_hz * self.control.timestep_s)).round().max(1.0) as usize
    }

    fn check(&self, path: &Path) -> Result<(), ImitationError> {
        let fail = |place: &str, reason: String| Err(ImitationError::manifest(path, place, reason));
        if self.schema != SCHEMA {
            return fail("schema", format!("{}; this build reads {SCHEMA}", self.schema));
        }
        if !(10.0..=1_000.0).contains(&self.control.rate_hz) {
            return fail("control.rate_hz", format!("{}; expected 10 to 1000", self.control.rate_hz));
        }
        let substeps = 1.0 / (self.control.rate_hz * self.control.timestep_s);
        if !(0.999..=1_000.0).contains(&substeps) || (substeps - substeps.round()).abs() > 1e-6 {
            let reason = format!("{}; expected a whole fraction of the control period", self.control.timestep_s);
            return fail("control.timestep_s", reason);
        }
        if !(1.0..=1_000.0).contains(&self.observation.frame_rate_hz) {
            return fail(
                "observation.frame_rate_hz",
                format!("{}; expected 1 to 1000", self.observation.frame_rate_hz),
            );
        }
        if self.observation.future_frames > 50 {
            let reason = format!("{}; expected at most 50", self.observation.future_frames);
            return fail("observation.future_frames", reason);
        }
        if self.observation.fields.is_empty() {
            return fail("observation.fields", "empty; a policy sees something".to_owned());
        }
        self.check_latent(path)
    }

    fn check_latent(&self, path: &Path) -> Result<(), ImitationError> {
        let fail = |place: &str, reason: String| Err(ImitationError::manifest(path, place, reason));
        let from_prior = self.observation.fields.contains(&Field::Latent);
        match &self.latent {
            None if from_prior => fail("latent", "missing; the observation has a latent block".to_owned()),
            Some(latent) if !(1..=4_096).contains(&latent.size) => {
                fail("latent.size", format!("{}; expected 1 to 4096", latent.size))
            }
            Some(latent) if !(0.0..1.0).contains(&latent.correlation) => {
                fail("latent.correlation", format!("{}; expected 0 to less than 1", latent.correlation))
            }
            _ => match &self.resample {
                Some(resample) if !(2..=1_000).contains(&resample.samples) => {
                    fail("resample.samples", format!("{}; expected 2 to 1000", resample.samples))
                }
                _ => Ok(()),
            },
        }
    }
}
