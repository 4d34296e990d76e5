//! Keypoint networks.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, check, resolve};

/// Where the networks run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The CPU provider.
    #[default]
    Cpu,
    /// CUDA; needs an ONNX Runtime library built with it.
    Cuda,
    /// TensorRT; needs an ONNX Runtime library built with it.
    Tensorrt,
}

/// The keypoint network and its execution.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoseConfig {
    /// Model manifest (TOML beside the ONNX file).
    pub model: PathBuf,
    /// Where it runs.
    #[serde(default)]
    pub provider: Provider,
    /// Threads inside one inference.
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// A view whose keypoint is further off than this, measured at the animal, is an outlier.
    #[serde(default = "default_outlier_m")]
    pub outlier_m: f64,
    /// Keypoints under this confidence are not used in a view.
    #[serde(default = "default_confidence_min")]
    pub confidence_min: f64,
    /// Whether a model's refiner corrects its keypoints; it knows the animal it was trained on and no other.
    #[serde(default = "default_refine")]
    pub refine: bool,
    /// Bits that 16-bit cameras really use.
    #[serde(default = "default_mono16_bits")]
    pub mono16_bits: u32,
}

const fn default_threads() -> usize {
    1
}

const fn default_outlier_m() -> f64 {
    0.02
}

const fn default_confidence_min() -> f64 {
    0.1
}

const fn default_refine() -> bool {
    true
}

const fn default_mono16_bits() -> u32 {
    12
}

impl PoseConfig {
    /// The defaults with a model.
    pub fn with_model(model: PathBuf) -> Self {
        Self {
            model,
            provider: Provider::default(),
            threads: default_threads(),
            outlier_m: default_outlier_m(),
            confidence_min: default_confidence_min(),
            refine: default_refine(),
            mono16_bits: default_mono16_bits(),
        }
    }

    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        resolve(folder, &mut self.model);
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::file("pose.model", &self.model, errors);
        check::within("pose.threads", self.threads as f64, 1.0..=64.0, errors);
        check::within("pose.outlier_m", self.outlier_m, 1e-4..=0.5, errors);
        check::within("pose.confidence_min", self.confidence_min, 0.0..=1.0, errors);
        check::within("pose.mono16_bits", f64::from(self.mono16_bits), 9.0..=16.0, errors);
    }
}
