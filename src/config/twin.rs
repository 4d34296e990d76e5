//! The simulated rig.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Settings of the twin.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TwinConfig {
    /// Everything about the twin follows from this number.
    pub seed: u64,
}

impl TwinConfig {
    pub(super) fn check(&self, _errors: &mut Vec<ConfigError>) {}
}
