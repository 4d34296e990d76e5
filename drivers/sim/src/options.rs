//! What a twin is made of.

use std::path::PathBuf;

use mimicd_device::{ButtonKind, CameraIndex, Span};

use crate::SimError;
use crate::fault::Fault;
use crate::render::TwinCamera;

/// What the cameras look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SceneOptions {
    /// The rat of this body file (MJCF).
    Rat {
        /// The body.
        mjcf: PathBuf,
    },
    /// Moving stripes with the trigger index in machine-readable squares: cheap at any size.
    Pattern,
}

/// One simulated array.
#[derive(Clone, Debug, PartialEq)]
pub struct TwinArray {
    /// Channels, four to a tetrode.
    pub channels: usize,
    /// Nominal sample rate.
    pub rate_hz: f64,
    /// Microvolts of one bit.
    pub gain_uv_per_bit: f64,
    /// Bit of the digital word that carries the trigger line.
    pub trigger_bit: u8,
    /// Bits that carry the exposure lines, in camera order; may be empty.
    pub exposure_bits: Vec<u8>,
    /// Samples of one block.
    pub block_samples: usize,
    /// Single units on the array.
    pub units: usize,
}

impl Default for TwinArray {
    /// 32 tetrodes at 30 kHz in blocks of 5 ms, with 40 units.
    fn default() -> Self {
        Self {
            channels: 128,
            rate_hz: 30_000.0,
            gain_uv_per_bit: 0.195,
            trigger_bit: 0,
            exposure_bits: Vec::new(),
            block_samples: 150,
            units: 40,
        }
    }
}

/// A press of a button of the lab panel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScriptedButton {
    /// Which.
    pub button: ButtonKind,
    /// When, in universe time.
    pub at: Span,
}

/// A light in a camera's view that an output of the board switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwinLight {
    /// Camera that sees it.
    pub camera: CameraIndex,
    /// Column of its middle.
    pub x_px: u32,
    /// Row of its middle.
    pub y_px: u32,
    /// It fills a square that reaches so far from the middle.
    pub radius_px: u32,
    /// Output that lights it.
    pub output: u8,
}

/// Everything a twin is made of.
#[derive(Clone, Debug)]
pub struct TwinOptions {
    /// Everything random follows from this number.
    pub seed: u64,
    /// What the cameras look at.
    pub scene: SceneOptions,
    /// The cameras.
    pub cameras: Vec<TwinCamera>,
    /// Exposure time of each camera.
    pub exposures: Vec<Span>,
    /// From the end of exposure to the frame in the host, without jitter.
    pub readout: Span,
    /// The arrays.
    pub arrays: Vec<TwinArray>,
    /// Largest error of a device's clock; each draws its own between 10 ppm and this.
    pub drift_ppm_max: f64,
    /// Largest delay of a message on the board's link; the smallest is 0.2 ms.
    pub link_latency_max: Span,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Lights that outputs switch.
    pub lights: Vec<TwinLight>,
    /// Button presses.
    pub buttons: Vec<ScriptedButton>,
    /// How long before its delivery a frame's image is begun to be rendered (real time only). Rendering runs on threads
    /// of the twin's own, at low priority; this chooses when in the frame period it takes the processor.
    pub render_ahead: Span,
    /// What a rendering thread does first, to take a priority below all that measures: it begins with that of the thread
    /// which polls its camera.
    pub render_thread: Option<fn()>,
    /// Stepped: arrival stamps are the instants at which data became available, since `now` advances in coarse steps.
    /// Otherwise they are the `now` of the poll that took the data.
    pub stepped: bool,
}

impl Default for TwinOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            scene: SceneOptions::Pattern,
            cameras: Vec::new(),
            exposures: Vec::new(),
            readout: Span::from_millis(3),
            arrays: Vec::new(),
            drift_ppm_max: 100.0,
            link_latency_max: Span::from_millis(2),
            faults: Vec::new(),
            lights: Vec::new(),
            buttons: Vec::new(),
            render_ahead: Span::from_millis(9),
            render_thread: None,
            stepped: false,
        }
    }
}

impl TwinOptions {
    /// Refuses what cannot be.
    pub(crate) fn check(&self) -> Result<(), SimError> {
        if self.exposures.len() != self.cameras.len() {
            let expected = format!("one for each of {} cameras", self.cameras.len());
            return Err(SimError::option("exposures", format!("{} values", self.exposures.len()), expected));
        }
        if !(0.0..=400.0).contains(&self.drift_ppm_max) {
            return Err(SimError::option("drift_ppm_max", self.drift_ppm_max, "0 to 400 ppm"));
        }
        if self.link_latency_max < Span::from_micros(200) {
            let value = format!("{} ms", self.link_latency_max.millis_f64());
            return Err(SimError::option("link_latency_max", value, "at least 0.2 ms"));
        }
        self.arrays.iter().enumerate().try_for_each(|(index, array)| array.check(index, self.cameras.len()))
    }
}

impl TwinArray {
    fn check(&self, index: usize, cameras: usize) -> Result<(), SimError> {
        let refuse = |key: &str, value: String, expected: &str| {
            Err(SimError::option(format!("array {index} {key}"), value, expected))
        };
        if self.channels == 0 || !self.channels.is_multiple_of(4) {
            return refuse("channels", self.channels.to_string(), "a multiple of 4");
        }
        if !(1_000.0..=100_000.0).contains(&self.rate_hz) {
            return refuse("rate_hz", self.rate_hz.to_string(), "1 to 100 kHz");
        }
        if !(1e-3..=100.0).contains(&self.gain_uv_per_bit) {
            return refuse("gain_uv_per_bit", self.gain_uv_per_bit.to_string(), "0.001 to 100 microvolts");
        }
        if !(8..=30_000).contains(&self.block_samples) {
            return refuse("block_samples", self.block_samples.to_string(), "8 to 30000");
        }
        if self.trigger_bit > 15 || self.exposure_bits.iter().any(|&bit| bit > 15) {
            return refuse("bits", format!("{} {:?}", self.trigger_bit, self.exposure_bits), "bits 0 to 15");
        }
        if !self.exposure_bits.is_empty() && self.exposure_bits.len() != cameras {
            return refuse("exposure_bits", format!("{:?}", self.exposure_bits), "one for each camera, or none");
        }
        Ok(())
    }
}
