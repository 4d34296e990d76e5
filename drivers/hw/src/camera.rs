//! What is asked of a camera, whoever makes it.

use std::collections::BTreeMap;

use mimicd_device::{CameraIndex, FrameGeometry};

use crate::controls::ControlValue;

/// What is asked of a camera.
#[derive(Clone, Debug)]
pub struct CameraOptions {
    /// Which camera of the rig it is.
    pub camera: CameraIndex,
    /// How the config names it: see the driver.
    pub device: String,
    /// Size and layout of its frames.
    pub geometry: FrameGeometry,
    /// Frames a second that it must reach.
    pub rate_hz: f64,
    /// Exposure time, set where the camera has a control for it.
    pub exposure_micros: u32,
    /// Further settings by the device's own names.
    pub controls: BTreeMap<String, ControlValue>,
    /// Images that the driver may be ahead of us.
    pub buffers: u32,
}
