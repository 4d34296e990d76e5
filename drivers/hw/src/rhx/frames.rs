//! RHX's waveform stream, bytes to frames. Pure: no socket, no clock.
//!
//! ```text
//! block  = magic u32 0x2EF07A08, then 128 frames      (all little-endian)
//! frame  = timestamp u32, then `words` × u16
//! words  = enabled amplifier channels (offset binary), then one DIGITAL-IN word if any digital input is enabled
//! ```
//!
//! `words` is never sent. A block counts as understood when its magic is there **and** its timestamps rise by one: with a
//! wrong `words` they are noise. After a mismatch the parser searches for the next block that is understood, and tells
//! how many words the stream seems to have when that is not what was agreed.

/// First four bytes of each waveform block.
pub const WAVEFORM_MAGIC: u32 = 0x2EF0_7A08;
/// Frames of a waveform block.
pub const BLOCK_FRAMES: usize = 128;
/// Timestamp steps of a block that may differ from one: a loss inside a block is possible but not a habit.
const BAD_STEPS_MAX: usize = 4;
/// Words that a stream may plausibly have (8 ports of 128 channels, three bands, extras).
const WORDS_MAX: usize = 4_096;

/// Layout of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLayout {
    /// Amplifier channels.
    pub channels: usize,
    /// Whether a DIGITAL-IN word follows them.
    pub digital: bool,
}

impl StreamLayout {
    /// 16-bit words of a frame.
    pub const fn words(self) -> usize {
        self.channels + self.digital as usize
    }

    /// Bytes of a frame.
    pub const fn frame_bytes(self) -> usize {
        4 + 2 * self.words()
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        4 + BLOCK_FRAMES * self.frame_bytes()
    }
}

/// What the bytes at hand are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A block begins at the front of the bytes; consume [`StreamLayout::block_bytes`] after use.
    Block,
    /// More bytes are needed.
    Incomplete,
    /// The first `bytes` belong to no block that can be understood; drop them. `words` is what the stream seems to carry
    /// when that could be told.
    Garbage {
        /// Bytes to drop, at least one.
        bytes: usize,
        /// Words of a frame, from the distance of two blocks.
        words: Option<usize>,
    },
}

/// Looks at the front of `bytes`.
pub fn parse(layout: StreamLayout, bytes: &[u8]) -> Parsed {
    if bytes.len() < 4 {
        return Parsed::Incomplete;
    }
    if magic_at(bytes, 0) {
        if bytes.len() < layout.block_bytes() {
            // A stream of fewer words shows its next magic early; waiting would only delay the news.
            return match other_words(layout, bytes) {
                Some((words, next)) => Parsed::Garbage { bytes: next, words: Some(words) },
                None => Parsed::Incomplete,
            };
        }
        if bad_steps(bytes, layout.frame_bytes()) <= BAD_STEPS_MAX {
            return Parsed::Block;
        }
    }
    let next = (1..bytes.len() - 3).find(|&at| magic_at(bytes, at));
    let words = if magic_at(bytes, 0) { other_words(layout, bytes).map(|(words, _)| words) } else { None };
    Parsed::Garbage { bytes: next.unwrap_or(bytes.len() - 3), words }
}

/// Timestamp of frame `frame` of the block at the front of `bytes`.
pub fn timestamp(layout: StreamLayout, bytes: &[u8], frame: usize) -> u32 {
    word32(bytes, 4 + frame * layout.frame_bytes())
}

/// Appends frame `frame` to samples (signed, one per channel) and digital words.
pub fn append_frame(layout: StreamLayout, bytes: &[u8], frame: usize, samples: &mut Vec<i16>, digital: &mut Vec<u16>) {
    let start = 8 + frame * layout.frame_bytes();
    let (amplifier, rest) = bytes[start..start + 2 * layout.words()].split_at(2 * layout.channels);
    samples.extend(amplifier.chunks_exact(2).map(|b| (u16::from_le_bytes([b[0], b[1]]) ^ 0x8000) as i16));
    digital.push(if layout.digital { u16::from_le_bytes([rest[0], rest[1]]) } else { 0 });
}

fn magic_at(bytes: &[u8], at: usize) -> bool {
    word32(bytes, at) == WAVEFORM_MAGIC
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Timestamp steps inside a whole block that are not one.
fn bad_steps(bytes: &[u8], frame_bytes: usize) -> usize {
    let stamp = |frame: usize| word32(bytes, 4 + frame * frame_bytes);
    (1..BLOCK_FRAMES).filter(|&frame| stamp(frame) != stamp(frame - 1).wrapping_add(1)).count()
}

/// A word count other than the agreed one under which the front of `bytes` is a block followed by another magic.
fn other_words(layout: StreamLayout, bytes: &[u8]) -> Option<(usize, usize)> {
    (0..=WORDS_MAX).filter(|&words| words != layout.words()).find_map(|words| {
        let frame_bytes = 4 + 2 * words;
        let next = 4 + BLOCK_FRAMES * frame_bytes;
        let fits = bytes.len() >= next + 4 && magic_at(bytes, next) && bad_steps(bytes, frame_bytes) <= BAD_STEPS_MAX;
        fits.then_some((words, next))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: StreamLayout = StreamLayout { channels: 5, digital: true };

    fn block(layout: StreamLayout, first: u32) -> Vec<u8> {
        let mut bytes = WAVEFORM_MAGIC.to_le_bytes().to_vec();
        for frame in 0..BLOCK_FRAMES as u32 {
            bytes.extend(first.wrapping_add(frame).to_le_bytes());
            for word in 0..layout.words() as u32 {
                bytes.extend(((frame * 7 + word) as u16).to_le_bytes());
            }
        }
        bytes
    }

    #[test]
    fn the_papers_rig_has_518_bytes_a_frame() {
        assert_eq!(StreamLayout { channels: 256, digital: true }.frame_bytes(), 518);
    }

    #[test]
    fn reads_samples_and_digital_word() {
        let bytes = block(LAYOUT, 1_000);
        assert_eq!(parse(LAYOUT, &bytes), Parsed::Block);
        assert_eq!(timestamp(LAYOUT, &bytes, 127), 1_127);
        let (mut samples, mut digital) = (Vec::new(), Vec::new());
        append_frame(LAYOUT, &bytes, 2, &mut samples, &mut digital);
        assert_eq!(samples, [14, 15, 16, 17, 18].map(|x| (x - 32_768) as i16));
        assert_eq!(digital, [19]);
    }

    #[test]
    fn waits_for_every_split() {
        let bytes = block(LAYOUT, 77);
        for length in 0..bytes.len() {
            assert_eq!(parse(LAYOUT, &bytes[..length]), Parsed::Incomplete, "{length} bytes");
        }
    }

    #[test]
    fn finds_the_next_block_after_garbage() {
        let mut bytes = vec![1, 2, 3, 0x08, 0x7A, 9];
        bytes.extend(block(LAYOUT, 5));
        assert_eq!(parse(LAYOUT, &bytes), Parsed::Garbage { bytes: 6, words: None });
        assert_eq!(parse(LAYOUT, &bytes[6..]), Parsed::Block);
        assert_eq!(parse(LAYOUT, &[0; 64]), Parsed::Garbage { bytes: 61, words: None });
    }

    #[test]
    fn names_the_words_of_a_stream_that_changed() {
        for channels in [3, 9] {
            let other = StreamLayout { channels, digital: true };
            let mut bytes = block(other, 0);
            bytes.extend(block(other, 128));
            bytes.extend(block(other, 256));
            let Parsed::Garbage { words, .. } = parse(LAYOUT, &bytes) else { panic!("taken for a block") };
            assert_eq!(words, Some(channels + 1));
        }
    }

    #[test]
    fn a_jump_inside_a_block_is_still_a_block() {
        let mut bytes = block(LAYOUT, 0);
        for frame in 60..BLOCK_FRAMES {
            let at = 4 + frame * LAYOUT.frame_bytes();
            bytes[at..at + 4].copy_from_slice(&(1_000 + frame as u32).to_le_bytes());
        }
        assert_eq!(parse(LAYOUT, &bytes), Parsed::Block);
    }
}
