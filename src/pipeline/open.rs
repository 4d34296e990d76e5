//! Opens the devices that the config names: real ones, the twin's, or some of each.

use mimicd_device::{ArrayIndex, CameraIndex, CameraSource, EphysSource, HostTime, Span, SyncBoard};
use mimicd_hw::serial::find::{Device as SerialDevice, UsbId};
use mimicd_hw::serial::{SerialBoard, SerialOptions};
use mimicd_sim::{SceneOptions, TruthLog, Twin, TwinArray, TwinCamera, TwinLight, TwinOptions};

use super::open_error::{OpenError, unsupported};
use super::priority::step_behind;
use crate::config::{ArrayConfig, BoardBackend, BoardConfig, Config, LightConfig, TwinScene};
use crate::geometry::{Calibration, CameraModel};

/// The devices of a rig.
pub struct Devices {
    /// In config order.
    pub cameras: Vec<Box<dyn CameraSource>>,
    /// In config order.
    pub arrays: Vec<Box<dyn EphysSource>>,
    /// The master clock.
    pub board: Box<dyn SyncBoard>,
    /// What is really so, when any device is simulated.
    pub truth: Option<TruthLog>,
}

/// Opens everything. `start` is the instant at which a twin's universe begins; `stepped` makes it follow `now` alone.
///
/// # Errors
/// The first device that cannot be opened.
pub fn open(config: &Config, calibration: &Calibration, start: HostTime, stepped: bool) -> Result<Devices, OpenError> {
    let mut twin =
        if config.is_twin() { Some(Twin::new(twin_options(config, calibration, stepped), start)?) } else { None };
    let mut cameras = Vec::new();
    for (index, camera) in config.cameras.iter().enumerate() {
        let rate_hz = config.rig.frame_rate_hz;
        cameras.push(super::open_camera::open(camera, CameraIndex(index as u8), rate_hz, twin.as_ref())?);
    }
    let mut arrays = Vec::new();
    for (index, array) in config.arrays.iter().enumerate() {
        arrays.push(super::open_array::open(array, ArrayIndex(index as u8), twin.as_ref())?);
    }
    let board: Box<dyn SyncBoard> = match (config.board.backend, twin.as_mut()) {
        (BoardBackend::Twin, Some(twin)) => Box::new(twin.board()),
        (BoardBackend::Twin, None) => return Err(unsupported("board", "a twin without a twin")),
        (BoardBackend::Serial, _) => Box::new(open_board(&config.board)?),
    };
    let truth = twin.map(|twin| twin.truth());
    Ok(Devices { cameras, arrays, board, truth })
}

/// Opens the config's board alone, a real one or the twin's.
///
/// # Errors
/// Why there is none that answers.
pub fn open_any_board(
    config: &Config,
    calibration: &Calibration,
    start: HostTime,
) -> Result<Box<dyn SyncBoard>, OpenError> {
    Ok(match config.board.backend {
        BoardBackend::Twin => Box::new(Twin::new(twin_options(config, calibration, false), start)?.board()),
        BoardBackend::Serial => Box::new(open_board(&config.board)?),
    })
}

/// Finds a real board and shakes hands with it.
///
/// # Errors
/// Why there is none that answers.
pub fn open_board(board: &BoardConfig) -> Result<SerialBoard, OpenError> {
    let options = SerialOptions {
        device: SerialDevice::parse(&board.device),
        usb_id: UsbId::parse(&board.usb_id).unwrap_or(UsbId::SYNC_BOARD),
        baud: board.baud,
    };
    SerialBoard::open(options).map_err(|error| OpenError::Device { name: "board".to_owned(), error })
}

fn twin_options(config: &Config, calibration: &Calibration, stepped: bool) -> TwinOptions {
    let micros = |value: u32| Span::from_micros(i64::from(value));
    TwinOptions {
        seed: config.twin.seed,
        scene: match config.twin.scene {
            TwinScene::Rat => SceneOptions::Rat { mjcf: config.body.mjcf.clone() },
            TwinScene::Pattern => SceneOptions::Pattern,
        },
        cameras: calibration.cameras.iter().map(twin_camera).collect(),
        exposures: config.cameras.iter().map(|camera| micros(camera.exposure_micros)).collect(),
        readout: micros(config.twin.readout_micros),
        arrays: config.arrays.iter().map(|array| twin_array(config, array)).collect(),
        lights: twin_lights(config),
        drift_ppm_max: config.twin.drift_ppm_max,
        link_latency_max: micros(config.twin.link_latency_micros_max),
        faults: config.twin.fault.clone(),
        render_ahead: micros(config.twin.render_ahead_micros),
        render_thread: config.rig.real_time.then_some(step_behind as fn()),
        stepped,
        ..TwinOptions::default()
    }
}

/// The lights that outputs switch on the simulated rig.
fn twin_lights(config: &Config) -> Vec<TwinLight> {
    let light = |light: &LightConfig| {
        let camera = config.cameras.iter().position(|camera| camera.name == light.camera)?;
        Some(TwinLight {
            camera: CameraIndex(camera as u8),
            x_px: light.x_px,
            y_px: light.y_px,
            radius_px: light.radius_px,
            output: light.twin_output?,
        })
    };
    config.lights.iter().filter_map(light).collect()
}

fn twin_camera(camera: &CameraModel) -> TwinCamera {
    let rows = |m: &nalgebra::Matrix3<f64>| [0, 1, 2].map(|row| [0, 1, 2].map(|column| m[(row, column)]));
    TwinCamera {
        name: camera.name.clone(),
        width_px: camera.width_px,
        height_px: camera.height_px,
        k: rows(&camera.k),
        distortion: camera.distortion,
        rotation: rows(&camera.cam_from_world.rotation),
        translation_m: camera.cam_from_world.translation_m.into(),
    }
}

fn twin_array(config: &Config, array: &ArrayConfig) -> TwinArray {
    TwinArray {
        channels: array.channels,
        rate_hz: array.rate_hz,
        gain_uv_per_bit: array.gain_uv_per_bit,
        trigger_bit: array.trigger_bit,
        exposure_bits: array.exposure_bits.clone(),
        block_samples: config.twin.block_samples,
        units: config.twin.units,
    }
}
