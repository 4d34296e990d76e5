//! Reading segments, whatever happened to them.

use super::SegmentHeader;
use super::record::{BLOCK_HEAD_BYTES, Kind, MAGIC, PAYLOAD_BYTES_MAX, RECORD_HEAD_BYTES};
use crate::record::schema::RowReader;

/// One good record.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Record<'a> {
    /// Its number in the recording.
    pub(in crate::record) sequence: u64,
    /// What it holds.
    pub(in crate::record) content: Content<'a>,
}

/// What a record holds.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) enum Content<'a> {
    /// A segment's description (JSON).
    Header(&'a [u8]),
    /// A row of the table with this number.
    Row(u16, &'a [u8]),
    /// Samples of the array with this number.
    Block(u16, Block<'a>),
}

/// Samples as they stand in a record.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Block<'a> {
    pub(in crate::record) first: u64,
    pub(in crate::record) at_ns: i64,
    pub(in crate::record) nanos_per_sample: f64,
    pub(in crate::record) integrity: u32,
    pub(in crate::record) channels: usize,
    pub(in crate::record) len: usize,
    /// Sample-major, little-endian.
    pub(in crate::record) samples: &'a [u8],
    /// Little-endian words.
    pub(in crate::record) digital: &'a [u8],
}

impl<'a> Block<'a> {
    fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut reader = RowReader::new(payload);
        let first = u64::from_le_bytes(reader.array()?);
        let at_ns = reader.i64()?;
        let nanos_per_sample = f64::from_le_bytes(reader.array()?);
        let _arrival = reader.i64()?;
        let integrity = u32::from_le_bytes(reader.array()?);
        let channels = u32::from_le_bytes(reader.array()?) as usize;
        let len = u32::from_le_bytes(reader.array()?) as usize;
        reader.take(BLOCK_HEAD_BYTES - 44)?;
        let samples = reader.take(channels.checked_mul(len)?.checked_mul(2)?)?;
        let digital = reader.take(len * 2)?;
        reader.is_empty().then_some(Self { first, at_ns, nanos_per_sample, integrity, channels, len, samples, digital })
    }
}

/// Bytes that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) struct Hole {
    /// Where in the segment.
    pub(in crate::record) offset: usize,
    /// How many bytes.
    pub(in crate::record) bytes: usize,
}

/// A segment's bytes and the way through them.
pub(in crate::record) struct Segment<'a> {
    bytes: &'a [u8],
    offset: usize,
    holes: Vec<Hole>,
}

impl<'a> Segment<'a> {
    pub(in crate::record) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, holes: Vec::new() }
    }

    /// The description at the segment's start, if it can be read.
    pub(in crate::record) fn header(bytes: &[u8]) -> Option<SegmentHeader> {
        match parse(bytes)?.0.content {
            Content::Header(json) => serde_json::from_slice(json).ok(),
            _ => None,
        }
    }

    /// The next good record. Bytes that are none are passed over and kept as a hole.
    pub(in crate::record) fn next(&mut self) -> Option<Record<'a>> {
        let start = self.offset;
        while self.offset < self.bytes.len() {
            if let Some((record, bytes)) = parse(&self.bytes[self.offset..]) {
                self.note_hole(start);
                self.offset += bytes;
                return Some(record);
            }
            self.offset = self.next_magic().unwrap_or(self.bytes.len());
        }
        self.note_hole(start);
        None
    }

    /// What could not be read so far.
    pub(in crate::record) fn holes(&self) -> &[Hole] {
        &self.holes
    }

    fn note_hole(&mut self, start: usize) {
        if self.offset > start {
            self.holes.push(Hole { offset: start, bytes: self.offset - start });
        }
    }

    fn next_magic(&self) -> Option<usize> {
        let from = self.offset + 1;
        let rest = self.bytes.get(from..)?;
        rest.windows(MAGIC.len()).position(|window| window == MAGIC).map(|place| from + place)
    }
}

/// The record at the start of `bytes` and its length.
fn parse(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let mut reader = RowReader::new(bytes);
    if reader.array::<4>()? != MAGIC {
        return None;
    }
    let crc = u32::from_le_bytes(reader.array()?);
    let length = u32::from_le_bytes(reader.array()?) as usize;
    if length > PAYLOAD_BYTES_MAX {
        return None;
    }
    let [kind, _] = reader.array()?;
    let stream = u16::from_le_bytes(reader.array()?);
    let sequence = u64::from_le_bytes(reader.array()?);
    let payload = reader.take(length)?;
    let total = RECORD_HEAD_BYTES + length;
    if crc32fast::hash(&bytes[8..total]) != crc {
        return None;
    }
    let content = match Kind::from_byte(kind)? {
        Kind::Header => Content::Header(payload),
        Kind::Row => Content::Row(stream, payload),
        Kind::Block => Content::Block(stream, Block::parse(payload)?),
    };
    Some((Record { sequence, content }, total))
}

#[cfg(test)]
mod tests {
    use super::super::record::RecordEncoder;
    use super::*;

    fn three() -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = RecordEncoder::new(10);
        for row in [&b"first"[..], b"second MJR1 inside", b"third"] {
            encoder.row(&mut out, 3, row);
        }
        out
    }

    fn sequences(bytes: &[u8]) -> (Vec<u64>, usize) {
        let mut segment = Segment::new(bytes);
        let mut found = Vec::new();
        while let Some(record) = segment.next() {
            found.push(record.sequence);
        }
        let lost = segment.holes().iter().map(|h| h.bytes).sum();
        (found, lost)
    }

    #[test]
    fn every_truncation_keeps_the_records_before_it() {
        let bytes = three();
        for end in 0..bytes.len() {
            let (found, lost) = sequences(&bytes[..end]);
            let whole = [29, 71, 100].iter().filter(|&&e| e <= end).count();
            assert_eq!(found, (10..10 + whole as u64).collect::<Vec<_>>(), "cut at {end}");
            let kept: usize = [29, 42, 29][..whole].iter().sum();
            assert_eq!(lost, end - kept);
        }
    }

    #[test]
    fn every_flipped_byte_loses_one_record_at_most() {
        let bytes = three();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x55;
            let (found, lost) = sequences(&damaged);
            assert_eq!(found.len(), 2, "flip at {place}");
            assert!(lost == 29 || lost == 42);
        }
    }
}
