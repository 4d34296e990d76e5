//! Spike detection and sorting.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{ConfigError, check};

/// Detection thresholds of the FAST detector (the lab's values as defaults).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpikesConfig {
    /// A tetrode's event begins when any channel passes this magnitude.
    pub threshold_uv: f64,
    /// It ends when all channels have stayed under this magnitude for 8 samples.
    pub return_uv: f64,
    /// Channels of one median-reference group (one amplifier chip).
    pub reference_group_channels: usize,
}

impl Default for SpikesConfig {
    fn default() -> Self {
        Self { threshold_uv: 48.75, return_uv: 19.5, reference_group_channels: 32 }
    }
}

impl SpikesConfig {
    pub(super) fn resolve_paths(&mut self, _folder: &Path) {}

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::within("spikes.threshold_uv", self.threshold_uv, 5.0..=1_000.0, errors);
        check::within("spikes.return_uv", self.return_uv, 0.0..=self.threshold_uv, errors);
        check::within("spikes.reference_group_channels", self.reference_group_channels as f64, 4.0..=512.0, errors);
    }
}
