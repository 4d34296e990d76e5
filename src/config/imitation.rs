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
    /// How long the virtual rat must have tracked after a reset before outputs may depend on it.
    #[serde(default = "default_trust_after_millis")]
    pub trust_after_millis: u32,
}

const fn default_trust_after_millis() -> u32 {
    500
}

impl ImitationConfig {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        resolve(folder, &mut self.policy);
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::file("imitation.policy", &self.policy, errors);
        check::within("imitation.trust_after_millis", f64::from(self.trust_after_millis), 0.0..=60_000.0, errors);
    }
}
