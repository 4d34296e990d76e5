//! Policy and physics.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, check, resolve};

/// Where the policy's future reference frames come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LookAhead {
    /// The virtual rat runs as many frames behind as the policy looks ahead: the paper's setting.
    Delayed,
    /// Future frames are predicted from the past.
    #[default]
    Forecast,
}

/// The policy and how it is fed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImitationConfig {
    /// Policy manifest (TOML beside the ONNX file).
    pub policy: PathBuf,
    /// Where future reference frames come from.
    #[serde(default)]
    pub look_ahead: LookAhead,
    /// Learned forecaster (ONNX) for `forecast`; without it the reference goes on at constant velocity.
    #[serde(default)]
    pub forecaster: Option<PathBuf>,
    /// How long the virtual rat must have tracked after a reset before outputs may depend on it.
    #[serde(default = "default_trust_after_millis")]
    pub trust_after_millis: u32,
    /// How long a missing reference is held before the virtual rat freezes; it is reset when the reference is back.
    #[serde(default = "default_hold_millis")]
    pub hold_millis: u32,
    /// Factor on the noise of the policy's latent: 0 takes its mean, 1 samples as in training.
    #[serde(default)]
    pub latent_noise: f64,
    /// Draw many latents a frame and record how variable the action is (policies with a resample graph).
    #[serde(default)]
    pub resample: bool,
    /// Most force of a helping hand on the virtual rat's root, in weights of the animal, for policies that cannot balance;
    /// 0 = none. Shown on the panel and kept in the manifest, because what the hand does the policy does not.
    #[serde(default)]
    pub assist_weights: f64,
    /// Seed of all random numbers of the policy.
    #[serde(default)]
    pub seed: u64,
}

const fn default_hold_millis() -> u32 {
    200
}

const fn default_trust_after_millis() -> u32 {
    500
}

impl ImitationConfig {
    /// The defaults with this policy manifest.
    pub fn for_policy(policy: &Path) -> Self {
        Self {
            policy: policy.to_owned(),
            look_ahead: LookAhead::default(),
            forecaster: None,
            trust_after_millis: default_trust_after_millis(),
            hold_millis: default_hold_millis(),
            latent_noise: 0.0,
            resample: false,
            assist_weights: 0.0,
            seed: 0,
        }
    }

    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        resolve(folder, &mut self.policy);
        if let Some(forecaster) = &mut self.forecaster {
            resolve(folder, forecaster);
        }
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::file("imitation.policy", &self.policy, errors);
        if let Some(forecaster) = &self.forecaster {
            check::file("imitation.forecaster", forecaster, errors);
        }
        check::within("imitation.trust_after_millis", f64::from(self.trust_after_millis), 0.0..=60_000.0, errors);
        check::within("imitation.hold_millis", f64::from(self.hold_millis), 0.0..=1_000.0, errors);
        check::within("imitation.assist_weights", self.assist_weights, 0.0..=10.0, errors);
        check::within("imitation.latent_noise", self.latent_noise, 0.0..=100.0, errors);
    }
}
