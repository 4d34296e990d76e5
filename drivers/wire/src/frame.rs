//! Frames on the line: header, body, checksum, stuffed with COBS, ended by a zero byte.
//!
//! A zero byte stands nowhere but between frames. So whatever was lost or garbled, the receiver is in step again at the
//! next zero; a frame that was damaged fails its checksum and is counted, never guessed.

use crate::bytes::{Reader, Writer};
use crate::codec::{BodyDamage, Message, sealed};
use crate::crc::crc32;

/// Most bytes of a frame before stuffing.
pub const FRAME_MAX: usize = 56;
/// Most bytes of a frame on the line, with its ending zero. COBS adds one byte to fewer than 255.
pub const ENCODED_MAX: usize = FRAME_MAX + 2;
const HEADER: usize = 13;
const CHECKSUM: usize = 4;
const _: () = assert!(FRAME_MAX < 254, "COBS adds exactly one byte only below 254");

/// A message with what travels beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<M> {
    /// Counts the sender's messages; starts anywhere, wraps.
    pub sequence: u32,
    /// From the board: when it happened, in board time. From the host: its estimate of the board's time, 0 if it has none.
    pub time_ns: u64,
    /// The message.
    pub message: M,
}

/// Why bytes between two zeros are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Longer than any frame.
    TooLong,
    /// Shorter than any frame, or not stuffed.
    Malformed,
    /// The checksum is wrong.
    Checksum,
    /// A kind that this version does not know; the frame itself is whole.
    UnknownKind,
    /// A body that its kind does not allow; the frame itself is whole.
    BadBody,
}

/// Writes `packet` into `line` as it goes over the wire; returns its length.
pub fn encode<M: Message>(packet: &Packet<M>, line: &mut [u8; ENCODED_MAX]) -> usize {
    let mut frame = [0; FRAME_MAX];
    let mut body = sealed::Body(Writer::new(&mut frame));
    body.0.u8(packet.message.kind());
    body.0.u32(packet.sequence);
    body.0.u64(packet.time_ns);
    packet.message.write(&mut body);
    let checksum = crc32(body.0.written());
    body.0.u32(checksum);
    let len = body.0.len();
    let stuffed = cobs::encode(&frame[..len], &mut line[..ENCODED_MAX - 1]);
    line[stuffed] = 0;
    stuffed + 1
}

/// Reads the bytes between two zeros; unstuffs them in place.
///
/// # Errors
/// Why they are no message.
pub fn decode<M: Message>(line: &mut [u8]) -> Result<Packet<M>, Damage> {
    if line.len() < HEADER + CHECKSUM || line.contains(&0) {
        return Err(Damage::Malformed);
    }
    let len = cobs::decode_in_place(line).map_err(|_| Damage::Malformed)?;
    let frame = line.get(..len).ok_or(Damage::Malformed)?;
    let (content, checksum) = frame.split_last_chunk::<CHECKSUM>().ok_or(Damage::Malformed)?;
    if crc32(content) != u32::from_le_bytes(*checksum) {
        return Err(Damage::Checksum);
    }
    let mut source = sealed::Source(Reader::new(content));
    let header = (source.0.u8(), source.0.u32(), source.0.u64());
    let (Some(kind), Some(sequence), Some(time_ns)) = header else { return Err(Damage::Malformed) };
    let message = M::read(kind, &mut source).map_err(|damage| match damage {
        BodyDamage::Unknown => Damage::UnknownKind,
        BodyDamage::Malformed => Damage::BadBody,
    })?;
    if !source.0.is_empty() {
        return Err(Damage::BadBody);
    }
    Ok(Packet { sequence, time_ns, message })
}

/// Cuts the byte stream into frames.
#[derive(Clone, Debug)]
pub struct Deframer {
    buffer: [u8; ENCODED_MAX],
    len: usize,
    too_long: bool,
}

impl Default for Deframer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deframer {
    /// A receiver that has heard nothing.
    pub const fn new() -> Self {
        Self { buffer: [0; ENCODED_MAX], len: 0, too_long: false }
    }

    /// Takes one byte; at a zero, the message or the damage before it. Zeros that follow each other mean nothing.
    pub fn push<M: Message>(&mut self, byte: u8) -> Option<Result<Packet<M>, Damage>> {
        if byte != 0 {
            match self.buffer.get_mut(self.len) {
                Some(place) => {
                    *place = byte;
                    self.len += 1;
                }
                None => self.too_long = true,
            }
            return None;
        }
        let (len, too_long) = (self.len, self.too_long);
        (self.len, self.too_long) = (0, false);
        match (too_long, len) {
            (true, _) => Some(Err(Damage::TooLong)),
            (false, 0) => None,
            (false, _) => Some(decode(&mut self.buffer[..len])),
        }
    }
}

/// What a sequence number tells about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// New; this many before it were lost.
    Fresh {
        /// Messages lost before this one.
        lost: u32,
    },
    /// Not newer than the last one: a repetition, to be passed over.
    Repeated,
}

/// Follows the sender's sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    next: Option<u32>,
}

impl Sequence {
    /// Takes the next number. The first ever heard is [`Arrival::Fresh`] without loss.
    pub const fn take(&mut self, sequence: u32) -> Arrival {
        let ahead = match self.next {
            Some(next) => sequence.wrapping_sub(next),
            None => 0,
        };
        if ahead > u32::MAX / 2 {
            return Arrival::Repeated;
        }
        self.next = Some(sequence.wrapping_add(1));
        Arrival::Fresh { lost: ahead }
    }

    /// Forgets: the sender has started anew.
    pub const fn reset(&mut self) {
        self.next = None;
    }
}
