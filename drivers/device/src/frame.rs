//! One camera image with everything that is known about when it was taken.

use crate::{CameraTime, HostTime, Integrity, Moment};

/// Index of a camera in the checked config (0-based).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CameraIndex(pub u8);

impl CameraIndex {
    /// The index as an array subscript.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// How pixels lie in [`Frame::pixels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelFormat {
    /// 8-bit grey, one byte a pixel, rows tightly packed.
    Mono8,
    /// 16-bit grey, little-endian, low bits used.
    Mono16,
    /// 8-bit Bayer mosaic, RGGB.
    BayerRg8,
    /// 8-bit Bayer mosaic, GBRG.
    BayerGb8,
    /// 8-bit Bayer mosaic, GRBG.
    BayerGr8,
    /// 8-bit Bayer mosaic, BGGR.
    BayerBg8,
    /// 4:2:2, bytes Y U Y V.
    Yuyv,
}

impl PixelFormat {
    /// Bytes of one pixel.
    pub const fn bytes_per_pixel(self) -> usize {
        match self {
            Self::Mono16 | Self::Yuyv => 2,
            Self::Mono8 | Self::BayerRg8 | Self::BayerGb8 | Self::BayerGr8 | Self::BayerBg8 => 1,
        }
    }
}

/// Size and format of a camera's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameGeometry {
    /// Pixels across.
    pub width_px: u32,
    /// Pixels down.
    pub height_px: u32,
    /// Layout of the bytes.
    pub format: PixelFormat,
}

impl FrameGeometry {
    /// Bytes of one frame.
    pub const fn bytes(self) -> usize {
        self.width_px as usize * self.height_px as usize * self.format.bytes_per_pixel()
    }
}

/// One camera image. Lives in a pool; a source fills it in place.
///
/// Counter, device time, host arrival and (later) trigger index stay four separate facts: none is repaired from another.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Which camera.
    pub camera: CameraIndex,
    /// The device's own frame counter, extended to 64 bit by the driver; starts anywhere.
    pub counter: u64,
    /// The device's own time stamp, where it has one.
    pub device_time: Option<CameraTime>,
    /// Which moment `device_time` marks.
    pub moment: Moment,
    /// When the host first held the frame.
    pub arrival: HostTime,
    /// What is known to be wrong with it.
    pub integrity: Integrity,
    /// Size and layout.
    pub geometry: FrameGeometry,
    /// The pixels: exactly `geometry.bytes()` bytes.
    pub pixels: Box<[u8]>,
}

impl Frame {
    /// A black frame of `camera` with room for `geometry`.
    pub fn blank(camera: CameraIndex, geometry: FrameGeometry) -> Self {
        Self {
            camera,
            counter: 0,
            device_time: None,
            moment: Moment::Unknown,
            arrival: HostTime::ZERO,
            integrity: Integrity::empty(),
            geometry,
            pixels: vec![0; geometry.bytes()].into_boxed_slice(),
        }
    }
}
