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
}

impl BodyConfig {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        resolve(folder, &mut self.mjcf);
        resolve(folder, &mut self.subject);
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::file("body.mjcf", &self.mjcf, errors);
        check::file("body.subject", &self.subject, errors);
    }
}
