//! Bytes to sample frames. Pure.

use mimicd_wire::samples::{SAMPLES_CHECKSUM, SAMPLES_HEADER, SAMPLES_MAGIC, SamplesHeader};

/// What stands at the front of the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSearch {
    /// A whole frame; consume [`SamplesHeader::frame_bytes`] after use.
    Frame(SamplesHeader),
    /// More bytes are needed.
    Incomplete,
    /// The first so many bytes belong to no frame.
    Skip(usize),
    /// A whole, undamaged frame, but of another number of channels or of too many rows.
    Unwanted(SamplesHeader),
}

/// Looks at the front of `bytes` for a frame of `channels` channels and at most `rows_max` rows.
pub fn search(bytes: &[u8], channels: usize, rows_max: usize) -> FrameSearch {
    if bytes.len() < SAMPLES_HEADER {
        return FrameSearch::Incomplete;
    }
    let Some(header) = SamplesHeader::from_bytes(bytes) else { return FrameSearch::Skip(to_next(bytes)) };
    let fits = usize::from(header.channels) == channels && usize::from(header.rows) <= rows_max;
    // A damaged header may announce up to 8 GB; nothing waits for more than the longest wanted frame twice over.
    let longest = 2 * (SAMPLES_HEADER + rows_max * (channels + 1) * 2 + SAMPLES_CHECKSUM);
    if header.rows == 0 || (!fits && header.frame_bytes() > longest) {
        return FrameSearch::Skip(to_next(bytes));
    }
    let Some(frame) = bytes.get(..header.frame_bytes()) else { return FrameSearch::Incomplete };
    let (body, sum) = frame.split_at(frame.len() - SAMPLES_CHECKSUM);
    if crc32fast::hash(body).to_le_bytes() != sum {
        return FrameSearch::Skip(to_next(bytes));
    }
    if fits { FrameSearch::Frame(header) } else { FrameSearch::Unwanted(header) }
}

/// Bytes to the next place where a frame may begin, at least one.
fn to_next(bytes: &[u8]) -> usize {
    let magic = SAMPLES_MAGIC.to_le_bytes();
    let next = bytes.windows(magic.len()).skip(1).position(|window| window == magic);
    next.map_or(bytes.len() - (magic.len() - 1), |at| at + 1)
}

/// Appends the frame of `samples` (sample-major) and `digital` words to `line`, as a front end sends it.
pub fn seal_frame(header: &SamplesHeader, samples: &[i16], digital: &[u16], line: &mut Vec<u8>) {
    let begin = line.len();
    line.extend(header.to_bytes());
    line.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    line.extend(digital.iter().flat_map(|word| word.to_le_bytes()));
    let sum = crc32fast::hash(&line[begin..]);
    line.extend(sum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(first: u64, rows: u16, channels: u16) -> (SamplesHeader, Vec<u8>) {
        let header = SamplesHeader { channels, rows, sequence: 3, first };
        let samples: Vec<i16> = (0..i32::from(rows) * i32::from(channels)).map(|i| (i * 77) as i16).collect();
        let mut line = Vec::new();
        seal_frame(&header, &samples, &vec![5; usize::from(rows)], &mut line);
        (header, line)
    }

    #[test]
    fn a_frame_of_other_channels_is_told_apart_from_damage() {
        let (header, line) = frame(9, 30, 8);
        assert_eq!(search(&line, 8, 30), FrameSearch::Frame(header));
        assert_eq!(search(&line[..line.len() - 1], 8, 30), FrameSearch::Incomplete);
        assert_eq!(search(&line, 12, 30), FrameSearch::Unwanted(header));
    }

    proptest! {
        /// Whatever is in front, the next whole frame is found and nothing else is.
        #[test]
        fn resynchronises(noise in proptest::collection::vec(any::<u8>(), 0..600), flip in 0_usize..500, cut in any::<bool>()) {
            let (header, good) = frame(1_000, 20, 8);
            let (_, mut bad) = frame(980, 20, 8);
            if cut { bad.truncate(flip % bad.len()) } else { let at = flip % bad.len(); bad[at] ^= 0x10; }
            let mut line = noise;
            line.extend(bad);
            line.extend(&good);
            // More of the stream, so that nothing is left waiting behind a damaged length.
            (0..4).for_each(|i| line.extend(frame(1_020 + 20 * i, 20, 8).1));
            let mut at = 0;
            let mut found = Vec::new();
            loop {
                match search(&line[at..], 8, 20) {
                    FrameSearch::Frame(header) => { found.push(header.first); at += header.frame_bytes(); }
                    FrameSearch::Skip(bytes) => { prop_assert!(bytes > 0); at += bytes; }
                    FrameSearch::Unwanted(header) => at += header.frame_bytes(),
                    FrameSearch::Incomplete => break,
                }
            }
            prop_assert_eq!(found, vec![header.first, 1_020, 1_040, 1_060, 1_080]);
        }
    }
}
