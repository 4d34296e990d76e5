//! Opens a camera: the twin's or a real one.

use mimicd_device::{CameraIndex, CameraSource, DeviceError, FrameGeometry};
use mimicd_hw::camera::CameraOptions;
use mimicd_sim::Twin;

use super::open_error::{OpenError, unsupported};
use crate::config::{CameraBackend, CameraConfig};

/// Opens the camera that `camera` describes, for `rate_hz` triggers a second.
///
/// # Errors
/// Why it cannot be had, with what is there or offered instead.
pub fn open(
    camera: &CameraConfig,
    index: CameraIndex,
    rate_hz: f64,
    twin: Option<&Twin>,
) -> Result<Box<dyn CameraSource>, OpenError> {
    let name = format!("camera.{}", camera.name);
    if let (CameraBackend::Twin, Some(twin)) = (camera.backend, twin) {
        return Ok(Box::new(twin.camera(index)));
    }
    let options = CameraOptions {
        camera: index,
        device: camera.device.clone(),
        geometry: FrameGeometry { width_px: camera.width_px, height_px: camera.height_px, format: camera.format },
        rate_hz,
        exposure_micros: camera.exposure_micros,
        controls: camera.controls.clone(),
        buffers: camera.buffers,
    };
    match open_real(camera.backend, options) {
        Some(opened) => opened.map_err(|error| OpenError::Device { name, error }),
        None => Err(unsupported(&name, &format!("the {:?} backend", camera.backend))),
    }
}

/// `None` for a back end that this build does not have.
fn open_real(backend: CameraBackend, options: CameraOptions) -> Option<Result<Box<dyn CameraSource>, DeviceError>> {
    match backend {
        #[cfg(feature = "v4l")]
        CameraBackend::V4l2 => Some(boxed(mimicd_hw::v4l2::V4l2Camera::open(options))),
        #[cfg(feature = "aravis")]
        CameraBackend::Genicam => Some(boxed(mimicd_hw::genicam::GenicamCamera::open(options))),
        #[cfg(feature = "webcam")]
        CameraBackend::Uvc => Some(boxed(mimicd_hw::webcam::Webcam::open(options))),
        _ => {
            drop(options);
            None
        }
    }
}

#[cfg(any(feature = "v4l", feature = "aravis", feature = "webcam"))]
fn boxed(opened: Result<impl CameraSource + 'static, DeviceError>) -> Result<Box<dyn CameraSource>, DeviceError> {
    opened.map(|source| Box::new(source) as Box<dyn CameraSource>)
}
