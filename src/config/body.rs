//! Body model and registration.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, check, resolve};

/// Which body, which subject.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyConfig {
    /// The rat's MJCF (fetched by the set-up).
    pub mjcf: PathBuf,
    /// Subject file: scale and keypoint offsets (`mimicd body fit` writes it).
    pub subject: PathBuf,
    /// Most iterations of the solver in one frame.
    #[serde(default = "default_iterations_max")]
    pub iterations_max: u8,
    /// Smoothing against the measured default: 0 none, 1 the default, more for noisier keypoints.
    #[serde(default = "default_smoothing")]
    pub smoothing: f64,
    /// Keep the body above the floor.
    #[serde(default = "default_floor")]
    pub floor: bool,
    /// Keep refining the keypoint offsets while running.
    #[serde(default)]
    pub refine_offsets: bool,
    /// How far back the refinement remembers, seconds.
    #[serde(default = "default_refine_memory_s")]
    pub refine_memory_s: f64,
}

const fn default_iterations_max() -> u8 {
    3
}

const fn default_smoothing() -> f64 {
    1.0
}

const fn default_floor() -> bool {
    true
}

const fn default_refine_memory_s() -> f64 {
    300.0
}

impl BodyConfig {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        resolve(folder, &mut self.mjcf);
        resolve(folder, &mut self.subject);
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::file("body.mjcf", &self.mjcf, errors);
        check::file("body.subject", &self.subject, errors);
        check::within("body.iterations_max", f64::from(self.iterations_max), 1.0..=50.0, errors);
        check::within("body.smoothing", self.smoothing, 0.0..=100.0, errors);
        check::within("body.refine_memory_s", self.refine_memory_s, 10.0..=100_000.0, errors);
    }
}
