//! One TOML file: read as typed, then checked as a whole, then never changed.
//!
//! [`Config::load`] is the only way to get a [`Config`], so later code never meets an unchecked value. It reports **all**
//! failures at once; each names the key, the value and what was expected. Paths in the file are relative to the file.
//! Every key that has a unit carries it in its name. Unknown keys are refused.

mod body;
mod check;
mod devices;
mod encoding;
mod error;
mod imitation;
mod lights;
mod panel;
mod pose;
mod record;
mod rules;
mod spikes;
mod twin;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use body::BodyConfig;
pub use devices::{ArrayBackend, ArrayConfig, BoardBackend, BoardConfig, CameraBackend, CameraConfig};
pub use encoding::EncodingConfig;
pub use error::{ConfigError, ConfigErrors};
pub use imitation::{ImitationConfig, LookAhead};
pub use lights::LightConfig;
pub use panel::PanelConfig;
pub use pose::{PoseConfig, Provider};
pub use record::{RecordConfig, VideoCodec};
pub use rules::RuleConfig;
pub use spikes::SpikesConfig;
pub use twin::{TwinConfig, TwinScene};

/// Whole-rig settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RigConfig {
    /// Name of the rig, written into manifests.
    pub name: String,
    /// Camera trigger rate; the loop runs once a frame set.
    #[serde(default = "default_frame_rate_hz")]
    pub frame_rate_hz: f64,
    /// Calibration of all cameras (our TOML, DANNCE/label3d `.mat`, anipose TOML).
    pub calibration: PathBuf,
    /// How long gathering waits for a late camera after the first frame of a set.
    #[serde(default = "default_gather_wait_micros")]
    pub gather_wait_micros: u64,
    /// Inner radius of the arena, drawn on the panel; 0 for none.
    #[serde(default = "default_arena_radius_m")]
    pub arena_radius_m: f64,
    /// Oldest pose (mid-exposure to now) that an output may be driven from.
    #[serde(default = "default_action_age_max_millis")]
    pub action_age_max_millis: u64,
    /// Ask for SCHED_FIFO and locked memory; refusal degrades, never fails.
    #[serde(default = "default_true")]
    pub real_time: bool,
}

const fn default_frame_rate_hz() -> f64 {
    50.0
}

const fn default_arena_radius_m() -> f64 {
    0.5
}

const fn default_gather_wait_micros() -> u64 {
    4_000
}

const fn default_action_age_max_millis() -> u64 {
    40
}

const fn default_true() -> bool {
    true
}

/// The file as typed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    rig: RigConfig,
    #[serde(default)]
    camera: Vec<CameraConfig>,
    #[serde(default)]
    array: Vec<ArrayConfig>,
    board: BoardConfig,
    pose: PoseConfig,
    body: BodyConfig,
    imitation: ImitationConfig,
    #[serde(default)]
    spikes: SpikesConfig,
    #[serde(default)]
    encoding: EncodingConfig,
    #[serde(default)]
    light: Vec<LightConfig>,
    #[serde(default)]
    rule: Vec<RuleConfig>,
    #[serde(default)]
    record: RecordConfig,
    #[serde(default)]
    panel: PanelConfig,
    #[serde(default)]
    twin: TwinConfig,
}

/// A checked configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// Whole-rig settings.
    pub rig: RigConfig,
    /// Cameras, in [`mimicd_device::CameraIndex`] order.
    pub cameras: Vec<CameraConfig>,
    /// Electrode arrays, in [`mimicd_device::ArrayIndex`] order.
    pub arrays: Vec<ArrayConfig>,
    /// The sync board.
    pub board: BoardConfig,
    /// Keypoint networks.
    pub pose: PoseConfig,
    /// Body model and registration.
    pub body: BodyConfig,
    /// Policy and physics.
    pub imitation: ImitationConfig,
    /// Spike detection and sorting.
    pub spikes: SpikesConfig,
    /// Neural encoding models.
    pub encoding: EncodingConfig,
    /// Lights watched in camera images.
    pub lights: Vec<LightConfig>,
    /// Closed-loop rules.
    pub rules: Vec<RuleConfig>,
    /// Recorder.
    pub record: RecordConfig,
    /// HTTP panel.
    pub panel: PanelConfig,
    /// The simulated rig, used by every device whose backend is `twin`.
    pub twin: TwinConfig,
}

impl Config {
    /// Reads, resolves and checks the file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with the file, at once.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigErrors::one(path, ConfigError::Unreadable { reason: error.to_string() }))?;
        Self::parse(&text, path)
    }

    /// Checks `text` as if it stood in the file `path` (paths in it are relative to that file's folder).
    ///
    /// # Errors
    /// Everything that is wrong with the text, at once.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigErrors> {
        let raw: RawConfig = toml::from_str(text).map_err(|error| {
            ConfigErrors::one(path, ConfigError::Syntax { reason: error.to_string().trim_end().to_owned() })
        })?;
        let mut config = Self {
            rig: raw.rig,
            cameras: raw.camera,
            arrays: raw.array,
            board: raw.board,
            pose: raw.pose,
            body: raw.body,
            imitation: raw.imitation,
            spikes: raw.spikes,
            encoding: raw.encoding,
            lights: raw.light,
            rules: raw.rule,
            record: raw.record,
            panel: raw.panel,
            twin: raw.twin,
        };
        config.resolve_paths(path.parent().unwrap_or(Path::new(".")));
        let errors = config.check();
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors::new(path, errors)) }
    }

    /// Whether any device is simulated.
    pub fn is_twin(&self) -> bool {
        self.board.backend == BoardBackend::Twin
            || self.cameras.iter().any(|camera| camera.backend == CameraBackend::Twin)
            || self.arrays.iter().any(|array| array.backend == ArrayBackend::Twin)
    }

    fn resolve_paths(&mut self, folder: &Path) {
        resolve(folder, &mut self.rig.calibration);
        self.arrays.iter_mut().for_each(|array| array.resolve_paths(folder));
        self.pose.resolve_paths(folder);
        self.body.resolve_paths(folder);
        self.imitation.resolve_paths(folder);
        self.spikes.resolve_paths(folder);
        self.encoding.resolve_paths(folder);
        self.record.resolve_paths(folder);
        self.panel.resolve_paths(folder);
    }

    fn check(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        self.check_rig(&mut errors);
        devices::check(&self.cameras, &self.arrays, &self.board, &mut errors);
        self.pose.check(&mut errors);
        self.body.check(&mut errors);
        self.imitation.check(&mut errors);
        self.spikes.check(&mut errors);
        self.encoding.check(&mut errors);
        lights::check(&self.lights, &self.cameras, &mut errors);
        rules::check(&self.rules, &mut errors);
        self.record.check(&mut errors);
        self.panel.check(&mut errors);
        self.twin.check(&mut errors);
        errors
    }

    fn check_rig(&self, errors: &mut Vec<ConfigError>) {
        check::slug("rig.name", &self.rig.name, errors);
        check::within("rig.frame_rate_hz", self.rig.frame_rate_hz, 1.0..=1_000.0, errors);
        check::file("rig.calibration", &self.rig.calibration, errors);
        let period_micros = 1e6 / self.rig.frame_rate_hz;
        check::within("rig.gather_wait_micros", self.rig.gather_wait_micros as f64, 0.0..=period_micros, errors);
        check::within("rig.arena_radius_m", self.rig.arena_radius_m, 0.0..=20.0, errors);
        check::within("rig.action_age_max_millis", self.rig.action_age_max_millis as f64, 1.0..=1_000.0, errors);
        for camera in &self.cameras {
            if f64::from(camera.exposure_micros) >= period_micros {
                errors.push(ConfigError::value(
                    format!("camera.{}.exposure_micros", camera.name),
                    camera.exposure_micros,
                    format!("less than one frame period ({period_micros:.0} µs at {} Hz)", self.rig.frame_rate_hz),
                ));
            }
        }
    }
}

/// Makes a relative `path` relative to `folder`.
fn resolve(folder: &Path, path: &mut PathBuf) {
    if path.is_relative() && !path.as_os_str().is_empty() {
        *path = folder.join(&*path);
    }
}
