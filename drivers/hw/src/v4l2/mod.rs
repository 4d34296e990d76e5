//! V4L2 cameras.
//!
//! A driver that takes memory of ours writes images where a frame will have them, and nothing is copied. From others images come
//! through memory that driver and daemon share; each is copied once, into the pool slot that it is given, and unpacked on the
//! way where the device packs its values. The driver's sequence number is the counter that triggers are
//! matched by: what it skips is missing, by number. Threads: one edge thread owns a camera; `poll` never blocks and
//! allocates nothing.
//!
//! A camera is named by path, bus address (survives a restart), serial number (survives another socket) or name.

mod buffers;
mod control;
pub mod find;
mod format;
mod negotiate;
mod offers;
mod requests;
mod source;
mod stamp;

use std::io;
use std::path::Path;

use mimicd_device::{DeviceError, DeviceErrorKind, PixelFormat};
use v4l::Device;

pub use control::{Control, Kind};
pub use format::{CODES, Packing, PixelCode, fourcc_text};
pub use negotiate::{Offer, Size, Wanted, list};
pub use source::V4l2Camera;

/// What a camera offers.
#[derive(Clone, Debug)]
pub struct Abilities {
    /// Formats, sizes, rates.
    pub offers: Vec<Offer>,
    /// Controls that a config may name.
    pub controls: Vec<Control>,
}

/// Asks the camera at `path` what it can do.
///
/// # Errors
/// `NotFound`, `Busy`, `PermissionDenied`, `Io`.
pub fn abilities(path: &Path) -> Result<Abilities, DeviceError> {
    let device = Device::with_path(path).map_err(|error| error_of("opening it", &error))?;
    Ok(Abilities { offers: offers::read(&device), controls: requests::list(&device) })
}

/// The format, size and rate to propose of `offers`: grey before mosaics before YUYV, then the largest size.
pub fn proposal(offers: &[Offer]) -> Option<(PixelFormat, [u32; 2], Option<f64>)> {
    let rank = |format: PixelFormat| (!format.is_mono(), format == PixelFormat::Yuyv, format.bits());
    let taken = offers.iter().filter_map(|offer| Some((PixelCode::of(offer.fourcc)?.format, offer)));
    let (format, offer) = taken.min_by_key(|(format, _)| rank(*format))?;
    let sizes = offer.sizes.iter().map(|size| match size {
        Size::Exact { size_px, rates_hz } => (*size_px, rates_hz.iter().copied().max_by(f64::total_cmp)),
        Size::Range { max_px, .. } => (*max_px, None),
    });
    let (size, rate) = sizes.max_by_key(|([width, height], _)| u64::from(*width) * u64::from(*height))?;
    Some((format, size, rate))
}

/// What an error of the operating system means for a camera.
fn error_of(doing: &str, error: &io::Error) -> DeviceError {
    let (kind, hint) = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => (
            DeviceErrorKind::PermissionDenied,
            "; the user must be in the group that owns the node: sudo usermod -aG video $USER, then log in again",
        ),
        Some(libc::EBUSY) => (DeviceErrorKind::Busy, "; another program streams from it (`fuser -v` says which)"),
        Some(libc::ENOENT | libc::ENXIO) => (DeviceErrorKind::NotFound, "; `mimicd devices` lists what is there"),
        Some(libc::ENODEV | libc::EPIPE) => (DeviceErrorKind::Disconnected, ""),
        Some(libc::EINVAL | libc::ENOTTY) => (DeviceErrorKind::Unsupported, ""),
        Some(libc::ETIMEDOUT) => (DeviceErrorKind::TimedOut, ""),
        _ => (DeviceErrorKind::Io, ""),
    };
    DeviceError::new(kind, format!("{doing}: {error}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_and_the_largest_size_are_proposed() {
        let exact = |width, height| Size::Exact { size_px: [width, height], rates_hz: vec![30.0, 60.0] };
        let offer = |fourcc: &[u8; 4], sizes| Offer { fourcc: *fourcc, description: String::new(), sizes };
        let offers = [
            offer(b"MJPG", vec![exact(3840, 2160)]),
            offer(b"YUYV", vec![exact(1920, 1080)]),
            offer(b"Y16 ", vec![exact(1280, 720)]),
            offer(b"GREY", vec![exact(320, 240), exact(1280, 720)]),
        ];
        assert_eq!(proposal(&offers), Some((PixelFormat::Mono8, [1280, 720], Some(60.0))));
        assert_eq!(proposal(&offers[..2]), Some((PixelFormat::Yuyv, [1920, 1080], Some(60.0))));
        assert_eq!(proposal(&offers[..1]), None);
    }

    #[test]
    fn errors_of_the_system_say_what_to_do() {
        for (code, kind) in [
            (libc::EACCES, DeviceErrorKind::PermissionDenied),
            (libc::EBUSY, DeviceErrorKind::Busy),
            (libc::ENOENT, DeviceErrorKind::NotFound),
            (libc::ENODEV, DeviceErrorKind::Disconnected),
            (libc::EIO, DeviceErrorKind::Io),
        ] {
            assert_eq!(error_of("opening it", &io::Error::from_raw_os_error(code)).kind, kind);
        }
    }
}
