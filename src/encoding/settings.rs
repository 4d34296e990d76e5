//! How a recording is analysed.

use super::folds::Folds;
use super::glm::GlmSettings;
use super::store::Grid;
use crate::config::EncodingConfig;

/// Parts of a recording that are compared with each other for the noise ceiling.
pub const GROUPS: usize = 4;

/// A behaviour that is seen for less time than this is left out of similarity and variability.
const BEHAVIOUR_SECS_MIN: f64 = 4.0;
/// Bins that an array must have of a behaviour to compare it.
pub const BINS_MIN: f64 = 50.0;

/// Settings of an analysis.
#[derive(Clone, Debug)]
pub struct EncodingSettings {
    /// The grid.
    pub grid: Grid,
    /// Cross-validation blocks.
    pub folds: Folds,
    /// The GLM.
    pub glm: GlmSettings,
    /// Spikes that a unit must have.
    pub spikes_min: u64,
}

impl EncodingSettings {
    /// Whether a behaviour of so many bins is seen for long enough to be compared.
    pub fn is_frequent(&self, bins: f64) -> bool {
        bins * self.grid.bin_ns as f64 * 1e-9 >= BEHAVIOUR_SECS_MIN
    }
}

impl From<&EncodingConfig> for EncodingSettings {
    fn from(config: &EncodingConfig) -> Self {
        let block_bins = (config.block_secs * 1e3 / config.bin_millis).round().max(1.0) as usize;
        Self {
            grid: Grid::of_millis(config.bin_millis),
            folds: Folds::new(block_bins, config.folds),
            glm: GlmSettings {
                window_bins: config.window_bins,
                strength: config.strength,
                mixing: config.mixing,
                variance_share: config.variance_share,
                ..GlmSettings::default()
            },
            spikes_min: config.spikes_min,
        }
    }
}
