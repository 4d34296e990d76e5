//! Encoding of journal records.

use mimicd_device::{RigTime, SampleBlock};

use crate::record::lane::BlockStamp;

/// Start of every record.
pub(super) const MAGIC: [u8; 4] = *b"MJR1";
/// Bytes before the payload.
pub(in crate::record) const RECORD_HEAD_BYTES: usize = 24;
/// Bytes of a block's payload before its samples.
pub(in crate::record) const BLOCK_HEAD_BYTES: usize = 48;
/// No payload is longer: a length above it is damage.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Header = 0,
    Row = 1,
    Block = 2,
}

impl Kind {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Header),
            1 => Some(Self::Row),
            2 => Some(Self::Block),
            _ => None,
        }
    }
}

/// Writes records one after the other and numbers them.
#[derive(Debug)]
pub(in crate::record) struct RecordEncoder {
    sequence: u64,
}

impl RecordEncoder {
    /// The next record gets `sequence`.
    pub(in crate::record) const fn new(sequence: u64) -> Self {
        Self { sequence }
    }

    /// Number of the next record.
    pub(in crate::record) const fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(in crate::record) fn header(&mut self, out: &mut Vec<u8>, json: &[u8]) {
        self.record(out, Kind::Header, 0, |out| out.extend_from_slice(json));
    }

    pub(in crate::record) fn row(&mut self, out: &mut Vec<u8>, table: u16, row: &[u8]) {
        self.record(out, Kind::Row, table, |out| out.extend_from_slice(row));
    }

    /// Samples whose first has the index `first` in the recording.
    pub(in crate::record) fn block(&mut self, out: &mut Vec<u8>, block: &SampleBlock, first: u64, stamp: &BlockStamp) {
        self.record(out, Kind::Block, u16::from(block.array.0), |out| block_payload(out, block, first, stamp));
    }

    fn record(&mut self, out: &mut Vec<u8>, kind: Kind, stream: u16, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&[kind as u8, 0]);
        out.extend_from_slice(&stream.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        payload(out);
        let length = out.len() - start - RECORD_HEAD_BYTES;
        assert!(length <= PAYLOAD_BYTES_MAX, "a journal payload of {length} bytes");
        out[start + 8..start + 12].copy_from_slice(&(length as u32).to_le_bytes());
        let crc = crc32fast::hash(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        self.sequence += 1;
    }
}

/// `first, at_ns, nanos_per_sample, arrival_ns, integrity, channels, samples, zero`, then samples, then digital words.
fn block_payload(out: &mut Vec<u8>, block: &SampleBlock, first: u64, stamp: &BlockStamp) {
    let integrity = block.integrity | stamp.integrity;
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&RigTime::nanos(stamp.at).to_le_bytes());
    out.extend_from_slice(&stamp.nanos_per_sample.to_le_bytes());
    out.extend_from_slice(&block.arrival.nanos().to_le_bytes());
    out.extend_from_slice(&integrity.bits().to_le_bytes());
    out.extend_from_slice(&(block.channels as u32).to_le_bytes());
    out.extend_from_slice(&(block.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let samples = out.len();
    out.resize(samples + 2 * (block.samples.len() + block.digital.len()), 0);
    let (sample_bytes, digital_bytes) = out[samples..].split_at_mut(2 * block.samples.len());
    for (bytes, sample) in sample_bytes.chunks_exact_mut(2).zip(&block.samples) {
        bytes.copy_from_slice(&sample.to_le_bytes());
    }
    for (bytes, word) in digital_bytes.chunks_exact_mut(2).zip(&block.digital) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
}
