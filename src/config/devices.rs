//! Cameras, arrays and the sync board.

use std::collections::BTreeMap;

use mimicd_device::{ArrayIndex, DeviceError, PixelFormat, Span};
use mimicd_hw::controls::ControlValue;
use mimicd_hw::rhx::RhxOptions;
use mimicd_hw::serial::find::UsbId;
use serde::{Deserialize, Serialize};

use super::{ConfigError, check};

/// Where a camera's frames come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CameraBackend {
    /// The simulated rig.
    Twin,
    /// A V4L2 device.
    V4l2,
    /// An ordinary webcam.
    Uvc,
    /// GigE Vision or USB3 Vision.
    Genicam,
}

/// One camera.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraConfig {
    /// Name; also its video file's name and its name in the calibration.
    pub name: String,
    /// Where frames come from.
    pub backend: CameraBackend,
    /// Bus address, serial number or path; unused by the twin.
    #[serde(default)]
    pub device: String,
    /// Pixels across.
    pub width_px: u32,
    /// Pixels down.
    pub height_px: u32,
    /// Pixel layout.
    #[serde(default = "default_format")]
    pub format: PixelFormat,
    /// Exposure time.
    #[serde(default = "default_exposure_micros")]
    pub exposure_micros: u32,
    /// Frames that the driver may be ahead of the daemon; unused by the twin.
    #[serde(default = "default_buffers")]
    pub buffers: u32,
    /// Settings of the device by its own names (`mimicd devices` lists them): gain, trigger mode, flips; unused by the twin.
    #[serde(default)]
    pub controls: BTreeMap<String, ControlValue>,
}

const fn default_buffers() -> u32 {
    8
}

const fn default_format() -> PixelFormat {
    PixelFormat::Mono8
}

const fn default_exposure_micros() -> u32 {
    2_000
}

/// Where an array's samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArrayBackend {
    /// The simulated rig.
    Twin,
    /// Intan RHX over TCP.
    Rhx,
    /// A front end of our own, in blocks of a millisecond.
    Direct,
    /// A recording of another program, replayed in real time.
    File,
}

/// One electrode array.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayConfig {
    /// Name; its table is `ephys_<name>`.
    pub name: String,
    /// Where samples come from.
    pub backend: ArrayBackend,
    /// RHX: `host`, `host:port` or `host:port/PORTS`. Direct: `/dev/…` or `tcp://host:port`. File: a path, relative to the
    /// config. Unused by the twin.
    #[serde(default)]
    pub device: String,
    /// Channels; four to a tetrode.
    pub channels: usize,
    /// First channel of a replayed recording.
    #[serde(default)]
    pub channel_first: usize,
    /// Samples of a block of a replayed recording.
    #[serde(default = "default_block_samples")]
    pub block_samples: usize,
    /// Nominal sample rate.
    #[serde(default = "default_rate_hz")]
    pub rate_hz: f64,
    /// Microvolts of one bit.
    #[serde(default = "default_gain_uv_per_bit")]
    pub gain_uv_per_bit: f64,
    /// Bit of the digital word that carries the camera trigger line.
    #[serde(default)]
    pub trigger_bit: u8,
    /// Bits of the digital word that carry the cameras' exposure lines, in camera order.
    #[serde(default)]
    pub exposure_bits: Vec<u8>,
}

impl ArrayConfig {
    /// An array of `channels` channels with everything else as it is by default.
    pub fn new(name: &str, backend: ArrayBackend, channels: usize) -> Self {
        Self {
            name: name.to_owned(),
            backend,
            device: String::new(),
            channels,
            channel_first: 0,
            block_samples: default_block_samples(),
            rate_hz: default_rate_hz(),
            gain_uv_per_bit: default_gain_uv_per_bit(),
            trigger_bit: 0,
            exposure_bits: Vec::new(),
        }
    }

    pub(super) fn resolve_paths(&mut self, folder: &std::path::Path) {
        if self.backend == ArrayBackend::File && !self.device.is_empty() {
            self.device = folder.join(&self.device).to_string_lossy().into_owned();
        }
    }
}

const fn default_block_samples() -> usize {
    30
}

const fn default_rate_hz() -> f64 {
    30_000.0
}

const fn default_gain_uv_per_bit() -> f64 {
    0.195
}

/// Where the board is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoardBackend {
    /// The simulated rig.
    Twin,
    /// A real board on a serial port.
    Serial,
}

/// The sync board and its trigger train.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardConfig {
    /// Where the board is.
    pub backend: BoardBackend,
    /// USB serial number, port (`/dev/…`), or an emulated board (`tcp:host:port`, `unix:path`); empty = the only board
    /// that has the USB id.
    #[serde(default)]
    pub device: String,
    /// USB id of the board, `vvvv:pppp` in hexadecimal.
    #[serde(default = "default_usb_id")]
    pub usb_id: String,
    /// Bits a second; means something on a UART only.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// Width of a camera trigger pulse.
    #[serde(default = "default_trigger_width_micros")]
    pub trigger_width_micros: u32,
    /// Extra time of a stretched trigger period (the identity code).
    #[serde(default = "default_stretch_micros")]
    pub stretch_micros: u32,
    /// Mean triggers between stretched periods.
    #[serde(default = "default_stretch_every")]
    pub stretch_every: u32,
    /// Seed of the stretch positions.
    #[serde(default)]
    pub code_seed: u32,
    /// How often the host pings the board for its clock map.
    #[serde(default = "default_ping_millis")]
    pub ping_millis: u32,
    /// Time between barcodes on the board's barcode output, for equipment that has no other way to learn the time; 0 = none.
    #[serde(default)]
    pub barcode_secs: f64,
}

impl BoardConfig {
    /// Time between pings.
    pub fn ping_every(&self) -> Span {
        Span::from_millis(i64::from(self.ping_millis))
    }

    /// Time between barcodes, where they are wanted.
    pub fn barcode_every(&self) -> Option<Span> {
        (self.barcode_secs > 0.0).then(|| Span::from_secs_f64(self.barcode_secs))
    }
}

fn default_usb_id() -> String {
    UsbId::SYNC_BOARD.to_string()
}

const fn default_baud() -> u32 {
    1_000_000
}

const fn default_trigger_width_micros() -> u32 {
    1_000
}

const fn default_stretch_micros() -> u32 {
    2_000
}

const fn default_stretch_every() -> u32 {
    150
}

const fn default_ping_millis() -> u32 {
    50
}

/// Rules over all devices.
pub(super) fn check(
    cameras: &[CameraConfig],
    arrays: &[ArrayConfig],
    board: &BoardConfig,
    errors: &mut Vec<ConfigError>,
) {
    if !(1..=32).contains(&cameras.len()) {
        errors.push(ConfigError::value("camera", format!("{} cameras", cameras.len()), "1 to 32 [[camera]] sections"));
    }
    if arrays.len() > 8 {
        errors.push(ConfigError::value("array", format!("{} arrays", arrays.len()), "at most 8 [[array]] sections"));
    }
    check::distinct("camera.name", cameras.iter().map(|c| c.name.as_str()), errors);
    check::distinct("array.name", arrays.iter().map(|a| a.name.as_str()), errors);
    for camera in cameras {
        check_camera(camera, errors);
    }
    for array in arrays {
        check_array(array, cameras.len(), errors);
    }
    check_rhx_clients(arrays, errors);
    check::within("board.stretch_micros", f64::from(board.stretch_micros), 200.0..=10_000.0, errors);
    check::within("board.stretch_every", f64::from(board.stretch_every), 4.0..=100_000.0, errors);
    check::within("board.trigger_width_micros", f64::from(board.trigger_width_micros), 1.0..=20_000.0, errors);
    check::within("board.ping_millis", f64::from(board.ping_millis), 5.0..=1_000.0, errors);
    if board.barcode_secs != 0.0 {
        // Two barcodes must not touch: all ones last 0.16 s.
        check::within("board.barcode_secs", board.barcode_secs, 0.32..=3_600.0, errors);
    }
    check::within("board.baud", f64::from(board.baud), 9_600.0..=12_000_000.0, errors);
    if UsbId::parse(&board.usb_id).is_none() {
        errors.push(ConfigError::value("board.usb_id", &board.usb_id, "vvvv:pppp in hexadecimal, as lsusb shows it"));
    }
}

fn check_camera(camera: &CameraConfig, errors: &mut Vec<ConfigError>) {
    let key = |field: &str| format!("camera.{}.{field}", camera.name);
    check::slug("camera.name", &camera.name, errors);
    check::within(&key("width_px"), f64::from(camera.width_px), 16.0..=16_384.0, errors);
    check::within(&key("height_px"), f64::from(camera.height_px), 16.0..=16_384.0, errors);
    check::within(&key("exposure_micros"), f64::from(camera.exposure_micros), 10.0..=1_000_000.0, errors);
    check::within(&key("buffers"), f64::from(camera.buffers), 2.0..=32.0, errors);
    if camera.backend == CameraBackend::Twin && !camera.controls.is_empty() {
        let names: Vec<&str> = camera.controls.keys().map(String::as_str).collect();
        errors.push(ConfigError::value(key("controls"), names.join(", "), "none: the twin's cameras have no controls"));
    }
    if camera.backend != CameraBackend::Twin && camera.device.is_empty() {
        errors.push(ConfigError::value(
            key("device"),
            "\"\"",
            "a bus address, serial number or path (`mimicd devices` lists them)",
        ));
    }
}

/// RHX takes one client: two arrays of one controller cannot be read beside each other.
fn check_rhx_clients(arrays: &[ArrayConfig], errors: &mut Vec<ConfigError>) {
    let rhx = arrays.iter().filter(|array| array.backend == ArrayBackend::Rhx);
    let of_array = |array| Some((array, rhx_options(array).ok()?));
    let places: Vec<(&ArrayConfig, RhxOptions)> = rhx.filter_map(of_array).collect();
    for (index, (array, place)) in places.iter().enumerate() {
        let is_same = |other: &RhxOptions| (&other.host, other.command_port) == (&place.host, place.command_port);
        if let Some((first, _)) = places[..index].iter().find(|(_, other)| is_same(other)) {
            let expected = format!(
                "another RHX than that of array {}: RHX takes one client; make one array of all its channels",
                first.name
            );
            errors.push(ConfigError::value(format!("array.{}.device", array.name), &array.device, expected));
        }
    }
}

fn rhx_options(array: &ArrayConfig) -> Result<RhxOptions, DeviceError> {
    RhxOptions::parse(&array.device, ArrayIndex(0), array.channels)
}

fn check_array(array: &ArrayConfig, cameras: usize, errors: &mut Vec<ConfigError>) {
    let key = |field: &str| format!("array.{}.{field}", array.name);
    check::slug("array.name", &array.name, errors);
    check::within(&key("rate_hz"), array.rate_hz, 1_000.0..=100_000.0, errors);
    check::within(&key("gain_uv_per_bit"), array.gain_uv_per_bit, 1e-3..=100.0, errors);
    check::within(&key("trigger_bit"), f64::from(array.trigger_bit), 0.0..=15.0, errors);
    check::within(&key("block_samples"), array.block_samples as f64, 1.0..=4_096.0, errors);
    if array.channels == 0 || array.channels > 4_096 || !array.channels.is_multiple_of(4) {
        errors.push(ConfigError::value(key("channels"), array.channels, "a multiple of 4 (tetrodes) from 4 to 4096"));
    }
    if !array.exposure_bits.is_empty() && array.exposure_bits.len() != cameras {
        errors.push(ConfigError::value(
            key("exposure_bits"),
            format!("{:?}", array.exposure_bits),
            format!("one bit for each of the {cameras} cameras, or none"),
        ));
    }
    let mut lines = [&[array.trigger_bit][..], &array.exposure_bits].concat();
    lines.sort_unstable();
    if array.exposure_bits.iter().any(|bit| *bit > 15) || lines.windows(2).any(|pair| pair[0] == pair[1]) {
        errors.push(ConfigError::value(
            key("exposure_bits"),
            format!("{:?}", array.exposure_bits),
            format!("bits 0 to 15, each once and none of them the trigger's ({})", array.trigger_bit),
        ));
    }
    if array.backend != ArrayBackend::Twin && array.device.is_empty() {
        errors.push(ConfigError::value(key("device"), "\"\"", "an address or a path"));
    } else if array.backend == ArrayBackend::Rhx && rhx_options(array).is_err() {
        let expected = "host, host:port or host:port/PORTS (letters A to H), for example 10.0.0.7:5000/ABCD";
        errors.push(ConfigError::value(key("device"), &array.device, expected));
    }
}
