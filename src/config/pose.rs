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
}

const fn default_threads() -> usize {
    1
}

impl PoseConfig {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        resolve(folder, &mut self.model);
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::file("pose.model", &self.model, errors);
        check::within("pose.threads", self.threads as f64, 1.0..=64.0, errors);
    }
}
