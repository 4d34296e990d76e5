//! A bounded ring of byte records between two threads, in safe code: the memory is atomic words.
//!
//! One writer, one reader (both are `&mut self`). A record is one head word (`tag`, byte count) and its bytes packed into
//! words. The writer stores words relaxed and then publishes `tail` with release; the reader loads `tail` with acquire
//! and gives space back by publishing `head` with release. Positions count words and never wrap in practice (2⁶⁴).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const WORD_BYTES: usize = 8;

#[derive(Debug)]
struct Shared {
    words: Box<[AtomicU64]>,
    head: AtomicU64,
    tail: AtomicU64,
}

impl Shared {
    fn word(&self, position: u64) -> &AtomicU64 {
        &self.words[position as usize & (self.words.len() - 1)]
    }
}

/// The writing end.
#[derive(Debug)]
pub(super) struct WordWriter {
    shared: Arc<Shared>,
    tail: u64,
}

/// The reading end.
#[derive(Debug)]
pub(super) struct WordReader {
    shared: Arc<Shared>,
    head: u64,
}

/// A ring with room for at least `bytes` bytes of records, heads included.
pub(super) fn words(bytes: usize) -> (WordWriter, WordReader) {
    let count = bytes.div_ceil(WORD_BYTES).next_power_of_two();
    let words: Box<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
    for word in &words {
        // Touches every page now, so that none faults on a producer's thread later.
        word.store(1, Ordering::Relaxed);
    }
    let shared = Arc::new(Shared { words, head: AtomicU64::new(0), tail: AtomicU64::new(0) });
    (WordWriter { shared: Arc::clone(&shared), tail: 0 }, WordReader { shared, head: 0 })
}

impl WordWriter {
    /// Whether a record of `bytes` bytes would be taken now.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let needed = 1 + bytes.div_ceil(WORD_BYTES) as u64;
        let used = self.tail - self.shared.head.load(Ordering::Acquire);
        used + needed <= self.shared.words.len() as u64
    }

    /// Puts a record in; `false` when there is no room for all of it.
    pub(super) fn push(&mut self, tag: u32, bytes: &[u8]) -> bool {
        let needed = 1 + bytes.len().div_ceil(WORD_BYTES) as u64;
        let used = self.tail - self.shared.head.load(Ordering::Acquire);
        if used + needed > self.shared.words.len() as u64 {
            return false;
        }
        let head = u64::from(tag) << 32 | bytes.len() as u64;
        self.shared.word(self.tail).store(head, Ordering::Relaxed);
        for (place, chunk) in (self.tail + 1..).zip(bytes.chunks(WORD_BYTES)) {
            let mut word = [0; WORD_BYTES];
            word[..chunk.len()].copy_from_slice(chunk);
            self.shared.word(place).store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        self.tail += needed;
        self.shared.tail.store(self.tail, Ordering::Release);
        true
    }
}

impl WordReader {
    /// Whether no record waits.
    pub(super) fn is_empty(&self) -> bool {
        self.shared.tail.load(Ordering::Acquire) == self.head
    }

    /// Takes the oldest record out into `bytes` and returns its tag.
    pub(super) fn pop(&mut self, bytes: &mut Vec<u8>) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let head = self.shared.word(self.head).load(Ordering::Relaxed);
        let len = head as u32 as usize;
        bytes.clear();
        for place in 0..len.div_ceil(WORD_BYTES) as u64 {
            let word = self.shared.word(self.head + 1 + place).load(Ordering::Relaxed);
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        self.head += 1 + len.div_ceil(WORD_BYTES) as u64;
        bytes.truncate(len);
        self.shared.head.store(self.head, Ordering::Release);
        Some((head >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_every_length_cross_threads_in_order() {
        let (mut writer, mut reader) = words(1 << 10);
        let count = if cfg!(miri) { 200 } else { 50_000 };
        let write = move || {
            for index in 0..count {
                let record = vec![index as u8; index as usize % 97];
                while !writer.push(index, &record) {
                    std::thread::yield_now();
                }
            }
        };
        let producer = std::thread::Builder::new().name("writer".to_owned()).spawn(write).unwrap();
        let mut bytes = Vec::new();
        for index in 0..count {
            let tag = loop {
                match reader.pop(&mut bytes) {
                    Some(tag) => break tag,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!((tag, bytes.len()), (index, index as usize % 97));
            assert!(bytes.iter().all(|&b| b == index as u8));
        }
        producer.join().unwrap();
        assert_eq!(reader.pop(&mut bytes), None);
    }

    #[test]
    fn a_full_ring_refuses_and_keeps_what_it_has() {
        let (mut writer, mut reader) = words(64);
        assert!(writer.push(1, &[7; 40]));
        assert!(!writer.push(2, &[8; 16]));
        assert!(writer.push(3, &[9; 8]));
        let mut bytes = Vec::new();
        assert_eq!((reader.pop(&mut bytes), bytes.as_slice()), (Some(1), &[7; 40][..]));
        assert_eq!(reader.pop(&mut bytes), Some(3));
        assert_eq!(reader.pop(&mut bytes), None);
    }
}
