//! The simulated rig.

use mimicd_sim::Fault;
use serde::{Deserialize, Serialize};

use super::{ConfigError, check};

/// What the twin's cameras see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TwinScene {
    /// The rat.
    #[default]
    Rat,
    /// Test pictures that carry their number: cheap at any size, for throughput.
    Pattern,
}

/// Settings of the twin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TwinConfig {
    /// Everything about the twin follows from this number.
    pub seed: u64,
    /// What the cameras see.
    pub scene: TwinScene,
    /// Largest error of a device's clock, in parts per million; each device draws its own, 10 or more.
    pub drift_ppm_max: f64,
    /// From the end of an exposure to the frame in the host.
    pub readout_micros: u32,
    /// Longest delay of a message on the board's link; the shortest is 200 µs.
    pub link_latency_micros_max: u32,
    /// Samples of one block of an array.
    pub block_samples: usize,
    /// Single units on each array.
    pub units: usize,
    /// How long before its delivery a frame begins to be rendered.
    pub render_ahead_micros: u32,
    /// What goes wrong, and when (seconds after the twin's start).
    pub fault: Vec<Fault>,
}

impl Default for TwinConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            scene: TwinScene::Rat,
            drift_ppm_max: 100.0,
            readout_micros: 3_000,
            link_latency_micros_max: 2_000,
            block_samples: 150,
            units: 40,
            render_ahead_micros: 9_000,
            fault: Vec::new(),
        }
    }
}

impl TwinConfig {
    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::within("twin.drift_ppm_max", self.drift_ppm_max, 0.0..=400.0, errors);
        check::within("twin.readout_micros", f64::from(self.readout_micros), 0.0..=100_000.0, errors);
        check::within(
            "twin.link_latency_micros_max",
            f64::from(self.link_latency_micros_max),
            200.0..=100_000.0,
            errors,
        );
        check::within("twin.block_samples", self.block_samples as f64, 8.0..=30_000.0, errors);
        check::within("twin.units", self.units as f64, 0.0..=1_000.0, errors);
        check::within("twin.render_ahead_micros", f64::from(self.render_ahead_micros), 0.0..=1_000_000.0, errors);
    }
}
