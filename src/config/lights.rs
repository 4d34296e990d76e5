//! Lights to be watched in camera images.

use serde::{Deserialize, Serialize};

use super::{CameraConfig, ConfigError, check};

/// A spot in one camera's image whose brightness rules may look at as `light.<name>.level`, 0 to 255.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightConfig {
    /// Name of the light.
    pub name: String,
    /// Camera that sees it.
    pub camera: String,
    /// Column of its middle.
    pub x_px: u32,
    /// Row of its middle.
    pub y_px: u32,
    /// The mean is taken over a square that reaches so far from the middle.
    #[serde(default = "default_radius_px")]
    pub radius_px: u32,
    /// Output of the board that lights it on the simulated rig.
    #[serde(default)]
    pub twin_output: Option<u8>,
}

const fn default_radius_px() -> u32 {
    4
}

/// Rules over all lights.
pub(super) fn check(lights: &[LightConfig], cameras: &[CameraConfig], errors: &mut Vec<ConfigError>) {
    check::distinct("light.name", lights.iter().map(|light| light.name.as_str()), errors);
    for light in lights {
        check::slug("light.name", &light.name, errors);
        let key = |field: &str| format!("light.{}.{field}", light.name);
        check::within(&key("radius_px"), f64::from(light.radius_px), 0.0..=100.0, errors);
        if let Some(output) = light.twin_output {
            check::within(&key("twin_output"), f64::from(output), 0.0..=7.0, errors);
        }
        let Some(camera) = cameras.iter().find(|camera| camera.name == light.camera) else {
            let names: Vec<&str> = cameras.iter().map(|camera| camera.name.as_str()).collect();
            errors.push(ConfigError::value(key("camera"), &light.camera, format!("one of {}", names.join(", "))));
            continue;
        };
        check::within(&key("x_px"), f64::from(light.x_px), 0.0..=f64::from(camera.width_px.max(1) - 1), errors);
        check::within(&key("y_px"), f64::from(light.y_px), 0.0..=f64::from(camera.height_px.max(1) - 1), errors);
    }
}
