//! Pixel formats of V4L2 and how their buffers become frames. Pure.

use mimicd_device::{FrameGeometry, PixelFormat};

/// How a device lays values out in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As in a frame: bytes or little-endian 16-bit words.
    Plain,
    /// MIPI: four 10-bit values in five bytes, the low bits of all four in the last.
    Mipi10,
    /// MIPI: two 12-bit values in three bytes, the low bits of both in the last.
    Mipi12,
}

/// One V4L2 format that becomes frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelCode {
    /// Four-character code.
    pub fourcc: [u8; 4],
    /// What it becomes.
    pub format: PixelFormat,
    /// How it is packed.
    pub packing: Packing,
}

const fn code(fourcc: &[u8; 4], format: PixelFormat, packing: Packing) -> PixelCode {
    PixelCode { fourcc: *fourcc, format, packing }
}

/// Every format that is taken, the better to copy first (linux/videodev2.h).
pub const CODES: [PixelCode; 32] = [
    code(b"GREY", PixelFormat::Mono8, Packing::Plain),
    code(b"Y10 ", PixelFormat::Mono10, Packing::Plain),
    code(b"Y12 ", PixelFormat::Mono12, Packing::Plain),
    code(b"Y16 ", PixelFormat::Mono16, Packing::Plain),
    code(b"Y14 ", PixelFormat::Mono16, Packing::Plain),
    code(b"Y10P", PixelFormat::Mono10, Packing::Mipi10),
    code(b"Y12P", PixelFormat::Mono12, Packing::Mipi12),
    code(b"RGGB", PixelFormat::BayerRg8, Packing::Plain),
    code(b"GBRG", PixelFormat::BayerGb8, Packing::Plain),
    code(b"GRBG", PixelFormat::BayerGr8, Packing::Plain),
    code(b"BA81", PixelFormat::BayerBg8, Packing::Plain),
    code(b"RG10", PixelFormat::BayerRg10, Packing::Plain),
    code(b"GB10", PixelFormat::BayerGb10, Packing::Plain),
    code(b"BA10", PixelFormat::BayerGr10, Packing::Plain),
    code(b"BG10", PixelFormat::BayerBg10, Packing::Plain),
    code(b"pRAA", PixelFormat::BayerRg10, Packing::Mipi10),
    code(b"pGAA", PixelFormat::BayerGb10, Packing::Mipi10),
    code(b"pgAA", PixelFormat::BayerGr10, Packing::Mipi10),
    code(b"pBAA", PixelFormat::BayerBg10, Packing::Mipi10),
    code(b"RG12", PixelFormat::BayerRg12, Packing::Plain),
    code(b"GB12", PixelFormat::BayerGb12, Packing::Plain),
    code(b"BA12", PixelFormat::BayerGr12, Packing::Plain),
    code(b"BG12", PixelFormat::BayerBg12, Packing::Plain),
    code(b"pRCC", PixelFormat::BayerRg12, Packing::Mipi12),
    code(b"pGCC", PixelFormat::BayerGb12, Packing::Mipi12),
    code(b"pgCC", PixelFormat::BayerGr12, Packing::Mipi12),
    code(b"pBCC", PixelFormat::BayerBg12, Packing::Mipi12),
    code(b"RG16", PixelFormat::BayerRg16, Packing::Plain),
    code(b"GB16", PixelFormat::BayerGb16, Packing::Plain),
    code(b"GR16", PixelFormat::BayerGr16, Packing::Plain),
    code(b"BYR2", PixelFormat::BayerBg16, Packing::Plain),
    code(b"YUYV", PixelFormat::Yuyv, Packing::Plain),
];

impl PixelCode {
    /// The format with this code, if it is taken.
    pub fn of(fourcc: [u8; 4]) -> Option<Self> {
        CODES.into_iter().find(|code| code.fourcc == fourcc)
    }

    /// Bytes of a row of `width_px` on the device, without padding.
    pub const fn row_bytes(self, width_px: u32) -> usize {
        let width = width_px as usize;
        match self.packing {
            Packing::Plain => width * self.format.bytes_per_pixel(),
            Packing::Mipi10 => (width * 5).div_ceil(4),
            Packing::Mipi12 => (width * 3).div_ceil(2),
        }
    }

    /// Whether a device's buffer with rows `stride` bytes apart is byte for byte a frame's pixels.
    pub fn is_as_in_a_frame(self, geometry: FrameGeometry, stride: usize) -> bool {
        self.packing == Packing::Plain && stride == self.row_bytes(geometry.width_px)
    }

    /// Copies a device's buffer with rows `stride` bytes apart into a frame's pixels; says whether it held the whole image.
    /// What it did not hold becomes black, so that no older image shows through.
    pub fn unpack(self, geometry: FrameGeometry, stride: usize, source: &[u8], into: &mut [u8]) -> bool {
        let (row, out) = (self.row_bytes(geometry.width_px), geometry.bytes() / geometry.height_px.max(1) as usize);
        if self.is_as_in_a_frame(geometry, stride) && source.len() >= into.len() {
            into.copy_from_slice(&source[..into.len()]);
            return true;
        }
        let mut whole = true;
        let mut rows = source.chunks(stride.max(1));
        for line in into.chunks_exact_mut(out) {
            match rows.next().and_then(|bytes| bytes.get(..row)) {
                Some(bytes) => self.unpack_row(bytes, line),
                None => {
                    whole = false;
                    line.fill(0);
                }
            }
        }
        whole
    }

    fn unpack_row(self, bytes: &[u8], line: &mut [u8]) {
        let words = line.as_chunks_mut::<2>().0;
        match self.packing {
            Packing::Plain => line.copy_from_slice(bytes),
            Packing::Mipi10 => {
                for (group, packed) in words.chunks_mut(4).zip(bytes.chunks(5)) {
                    let low = packed.last().copied().unwrap_or_default();
                    for (at, word) in group.iter_mut().enumerate() {
                        *word = (u16::from(packed[at]) << 2 | u16::from(low >> (2 * at) & 3)).to_le_bytes();
                    }
                }
            }
            Packing::Mipi12 => {
                for (group, packed) in words.chunks_mut(2).zip(bytes.chunks(3)) {
                    let low = packed.last().copied().unwrap_or_default();
                    for (at, word) in group.iter_mut().enumerate() {
                        *word = (u16::from(packed[at]) << 4 | u16::from(low >> (4 * at) & 15)).to_le_bytes();
                    }
                }
            }
        }
    }
}

/// A code as people write it.
pub fn fourcc_text(fourcc: [u8; 4]) -> String {
    String::from_utf8_lossy(&fourcc).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(width_px: u32, height_px: u32, format: PixelFormat) -> FrameGeometry {
        FrameGeometry { width_px, height_px, format }
    }

    fn taken(fourcc: &[u8; 4]) -> PixelCode {
        PixelCode::of(*fourcc).expect("a format that is taken")
    }

    #[test]
    fn every_code_stands_once_and_every_format_is_reachable() {
        let codes: std::collections::BTreeSet<[u8; 4]> = CODES.iter().map(|code| code.fourcc).collect();
        assert_eq!(codes.len(), CODES.len());
        for bits in [8, 10, 12, 16] {
            let mosaics = CODES.iter().filter(|c| c.format.is_bayer() && c.format.bits() == bits);
            let formats: std::collections::HashSet<PixelFormat> = mosaics.map(|c| c.format).collect();
            assert_eq!(formats.len(), 4, "four orders at {bits} bits");
            assert!(CODES.iter().any(|c| c.format.is_mono() && c.format.bits() == bits), "grey at {bits} bits");
        }
        assert!(PixelCode::of(*b"MJPG").is_none());
    }

    #[test]
    fn padded_rows_are_tightened() {
        let mut into = vec![0xEE; 6];
        let source = [1, 2, 3, 99, 4, 5, 6, 99];
        assert!(taken(b"GREY").unpack(geometry(3, 2, PixelFormat::Mono8), 4, &source, &mut into));
        assert_eq!(into, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_short_buffer_is_black_where_it_ends_and_says_so() {
        for stride in [3, 4] {
            let mut into = vec![0xEE; 9];
            let source: Vec<u8> = (1..=8).collect();
            let short = &source[..stride + 2];
            assert!(!taken(b"GREY").unpack(geometry(3, 3, PixelFormat::Mono8), stride, short, &mut into));
            assert_eq!(into[..3], [1, 2, 3]);
            assert!(into[3..].iter().all(|&pixel| pixel == 0), "{into:?}");
        }
    }

    #[test]
    fn mipi_rows_become_words() {
        let values =
            |into: &[u8]| -> Vec<u16> { into.as_chunks::<2>().0.iter().map(|w| u16::from_le_bytes(*w)).collect() };
        let mut into = vec![0; 8];
        let packed = [0xFF, 0x00, 0x80, 0x01, 0b10_01_00_11];
        assert!(taken(b"Y10P").unpack(geometry(4, 1, PixelFormat::Mono10), 5, &packed, &mut into));
        assert_eq!(values(&into), [0x3FF, 0x000, 0x201, 0x006]);
        let mut into = vec![0; 4];
        assert!(taken(b"Y12P").unpack(geometry(2, 1, PixelFormat::Mono12), 3, &[0xAB, 0x12, 0x9C], &mut into));
        assert_eq!(values(&into), [0xABC, 0x129]);
    }

    #[test]
    fn plain_words_keep_their_bytes() {
        let source: Vec<u8> = (0..24).collect();
        let mut into = vec![0; 24];
        assert!(taken(b"RG12").unpack(geometry(4, 3, PixelFormat::BayerRg12), 8, &source, &mut into));
        assert_eq!(into, source);
    }
}
