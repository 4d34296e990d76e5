//! Sample frames: what an acquisition front end of our own sends, a millisecond at a time.
//!
//! ```text
//! frame = magic u32 0x4D43_4453 ("SDCM" on the line), channels u16, rows u16, sequence u32, first u64,
//!         rows × channels × i16 (sample-major), rows × u16 digital words, checksum u32            (all little-endian)
//! ```
//!
//! Samples are binary, so no byte is reserved and nothing is stuffed (15 MB/s would pay for it): a receiver that has lost
//! its place looks for the next magic whose frame holds its checksum. The checksum is CRC-32 over everything before it,
//! magic included. `first` is the sample index of the first row; a jump of it says how many samples are missing.

use crate::bytes::{Reader, Writer};

/// First four bytes of each frame.
pub const SAMPLES_MAGIC: u32 = 0x4D43_4453;
/// Bytes before the samples.
pub const SAMPLES_HEADER: usize = 20;
/// Bytes after the digital words.
pub const SAMPLES_CHECKSUM: usize = 4;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplesHeader {
    /// Channels of a row.
    pub channels: u16,
    /// Rows.
    pub rows: u16,
    /// Counts frames; wraps.
    pub sequence: u32,
    /// Sample index of the first row.
    pub first: u64,
}

impl SamplesHeader {
    /// Bytes of samples and digital words.
    pub const fn body_bytes(&self) -> usize {
        self.rows as usize * (self.channels as usize + 1) * 2
    }

    /// Bytes of the whole frame.
    pub const fn frame_bytes(&self) -> usize {
        SAMPLES_HEADER + self.body_bytes() + SAMPLES_CHECKSUM
    }

    /// The header as it goes over the line.
    pub fn to_bytes(&self) -> [u8; SAMPLES_HEADER] {
        let mut bytes = [0; SAMPLES_HEADER];
        let mut writer = Writer::new(&mut bytes);
        writer.u32(SAMPLES_MAGIC);
        writer.u16(self.channels);
        writer.u16(self.rows);
        writer.u32(self.sequence);
        writer.u64(self.first);
        bytes
    }

    /// Reads a header from the front of `bytes`; `None` when there is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u32()? != SAMPLES_MAGIC {
            return None;
        }
        Some(Self { channels: reader.u16()?, rows: reader.u16()?, sequence: reader.u32()?, first: reader.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back() {
        let header = SamplesHeader { channels: 256, rows: 30, sequence: 7, first: 1 << 40 };
        assert_eq!(SamplesHeader::from_bytes(&header.to_bytes()), Some(header));
        assert_eq!(header.frame_bytes(), 20 + 30 * 257 * 2 + 4);
        let mut wrong = header.to_bytes();
        wrong[0] ^= 1;
        assert_eq!(SamplesHeader::from_bytes(&wrong), None);
        assert_eq!(SamplesHeader::from_bytes(&header.to_bytes()[..19]), None);
    }
}
