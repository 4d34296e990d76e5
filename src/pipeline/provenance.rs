//! Which files a recording was made with.

use std::path::Path;

use serde_json::{Value, json};

use super::snapshot::RigInfo;
use crate::config::Config;
use crate::geometry::Calibration;
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

/// What a reader of the dataset needs to know of the rig: names of the keypoints, bones, calibration.
///
/// Matrices are row-major; rotation and translation map the world into the camera.
pub fn rig(info: &RigInfo, calibration: &Calibration) -> Value {
    let cameras = calibration.cameras.iter().map(|camera| {
        let (k, rotation) = (camera.k.transpose(), camera.cam_from_world.rotation.transpose());
        json!({
            "name": camera.name,
            "width_px": camera.width_px,
            "height_px": camera.height_px,
            "k": k.as_slice(),
            "distortion": camera.distortion,
            "rotation": rotation.as_slice(),
            "translation_m": camera.cam_from_world.translation_m.as_slice(),
        })
    });
    json!({ "keypoints": info.keypoints, "bones": info.bones, "calibration": cameras.collect::<Vec<_>>() })
}
