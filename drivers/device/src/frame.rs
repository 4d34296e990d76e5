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

/// How pixels lie in [`Frame::pixels`]. Everything wider than 8 bits is one little-endian 16-bit word a pixel with the value
/// in its low bits; rows are tightly packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelFormat {
    /// 8-bit grey.
    Mono8,
    /// 10-bit grey.
    Mono10,
    /// 12-bit grey.
    Mono12,
    /// 16-bit grey; how many of the low bits are used the device does not say.
    Mono16,
    /// 8-bit Bayer mosaic, RGGB.
    BayerRg8,
    /// 8-bit Bayer mosaic, GBRG.
    BayerGb8,
    /// 8-bit Bayer mosaic, GRBG.
    BayerGr8,
    /// 8-bit Bayer mosaic, BGGR.
    BayerBg8,
    /// 10-bit Bayer mosaic, RGGB.
    BayerRg10,
    /// 10-bit Bayer mosaic, GBRG.
    BayerGb10,
    /// 10-bit Bayer mosaic, GRBG.
    BayerGr10,
    /// 10-bit Bayer mosaic, BGGR.
    BayerBg10,
    /// 12-bit Bayer mosaic, RGGB.
    BayerRg12,
    /// 12-bit Bayer mosaic, GBRG.
    BayerGb12,
    /// 12-bit Bayer mosaic, GRBG.
    BayerGr12,
    /// 12-bit Bayer mosaic, BGGR.
    BayerBg12,
    /// 16-bit Bayer mosaic, RGGB.
    BayerRg16,
    /// 16-bit Bayer mosaic, GBRG.
    BayerGb16,
    /// 16-bit Bayer mosaic, GRBG.
    BayerGr16,
    /// 16-bit Bayer mosaic, BGGR.
    BayerBg16,
    /// 4:2:2, bytes Y U Y V.
    Yuyv,
}

impl PixelFormat {
    /// Bytes of one pixel.
    pub const fn bytes_per_pixel(self) -> usize {
        if self.bits() > 8 || matches!(self, Self::Yuyv) { 2 } else { 1 }
    }

    /// Bits of one value (of the luma in [`PixelFormat::Yuyv`]).
    pub const fn bits(self) -> u32 {
        match self {
            Self::Mono8 | Self::Yuyv => 8,
            Self::BayerRg8 | Self::BayerGb8 | Self::BayerGr8 | Self::BayerBg8 => 8,
            Self::Mono10 | Self::BayerRg10 | Self::BayerGb10 | Self::BayerGr10 | Self::BayerBg10 => 10,
            Self::Mono12 | Self::BayerRg12 | Self::BayerGb12 | Self::BayerGr12 | Self::BayerBg12 => 12,
            Self::Mono16 | Self::BayerRg16 | Self::BayerGb16 | Self::BayerGr16 | Self::BayerBg16 => 16,
        }
    }

    /// Whether it is grey.
    pub const fn is_mono(self) -> bool {
        matches!(self, Self::Mono8 | Self::Mono10 | Self::Mono12 | Self::Mono16)
    }

    /// Whether it is a colour mosaic.
    pub const fn is_bayer(self) -> bool {
        !self.is_mono() && !matches!(self, Self::Yuyv)
    }

    /// Name as it stands in a config.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mono8 => "mono8",
            Self::Mono10 => "mono10",
            Self::Mono12 => "mono12",
            Self::Mono16 => "mono16",
            Self::BayerRg8 => "bayer_rg8",
            Self::BayerGb8 => "bayer_gb8",
            Self::BayerGr8 => "bayer_gr8",
            Self::BayerBg8 => "bayer_bg8",
            Self::BayerRg10 => "bayer_rg10",
            Self::BayerGb10 => "bayer_gb10",
            Self::BayerGr10 => "bayer_gr10",
            Self::BayerBg10 => "bayer_bg10",
            Self::BayerRg12 => "bayer_rg12",
            Self::BayerGb12 => "bayer_gb12",
            Self::BayerGr12 => "bayer_gr12",
            Self::BayerBg12 => "bayer_bg12",
            Self::BayerRg16 => "bayer_rg16",
            Self::BayerGb16 => "bayer_gb16",
            Self::BayerGr16 => "bayer_gr16",
            Self::BayerBg16 => "bayer_bg16",
            Self::Yuyv => "yuyv",
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

    /// Brightness of pixel `at` (row by row), 0 to 255: the value itself, its upper eight bits, or the luma; one colour's
    /// share in a mosaic. `None` outside the frame.
    pub fn brightness(&self, at: usize) -> Option<u8> {
        let format = self.geometry.format;
        match format.bytes_per_pixel() {
            1 => self.pixels.get(at).copied(),
            _ if format == PixelFormat::Yuyv => self.pixels.get(2 * at).copied(),
            _ => {
                let word = self.pixels.get(2 * at..2 * at + 2)?;
                let value = u16::from_le_bytes([word[0], word[1]]) >> (format.bits() - 8);
                Some(value.min(255) as u8)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_its_size_and_its_brightness() {
        for (format, bytes, pixel) in [
            (PixelFormat::Mono8, 1, &[200, 0][..]),
            (PixelFormat::Mono10, 2, &[0x20, 0x03]),
            (PixelFormat::BayerGb12, 2, &[0x80, 0x0C]),
            (PixelFormat::Mono16, 2, &[0x00, 200]),
            (PixelFormat::Yuyv, 2, &[200, 128]),
        ] {
            let geometry = FrameGeometry { width_px: 2, height_px: 2, format };
            let mut frame = Frame::blank(CameraIndex(0), geometry);
            assert_eq!(frame.pixels.len(), 4 * bytes, "{format:?}");
            frame.pixels[3 * bytes..4 * bytes].copy_from_slice(&pixel[..bytes]);
            assert_eq!(frame.brightness(3), Some(200), "{format:?}");
            assert_eq!(frame.brightness(2), Some(0), "{format:?}");
            assert_eq!(frame.brightness(4), None, "{format:?}");
        }
    }

    #[test]
    fn a_value_beyond_its_bits_is_white() {
        let geometry = FrameGeometry { width_px: 1, height_px: 1, format: PixelFormat::Mono10 };
        let mut frame = Frame::blank(CameraIndex(0), geometry);
        frame.pixels.fill(0xFF);
        assert_eq!(frame.brightness(0), Some(255));
    }

    #[test]
    fn names_are_those_of_the_config() {
        for format in [PixelFormat::Mono8, PixelFormat::BayerGr12, PixelFormat::BayerRg16, PixelFormat::Yuyv] {
            let json = serde_json::to_string(&format).expect("a unit variant");
            assert_eq!(json, format!("\"{}\"", format.name()));
        }
    }
}
