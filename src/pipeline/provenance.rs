//! Which files a recording was made with.

use std::path::Path;

use crate::config::Config;
use crate::record::SourceFile;

/// Models, calibration, body and subject, with their hashes.
pub fn files(config: &Config) -> Vec<SourceFile> {
    let of = |role: &str, path: &Path| SourceFile::hashed(role, path);
    vec![
        of("calibration", &config.rig.calibration),
        of("pose_model", &config.pose.model),
        of("body", &config.body.mjcf),
        of("subject", &config.body.subject),
        of("policy", &config.imitation.policy),
    ]
}
