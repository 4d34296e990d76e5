//! What went over the line, counted once and readable by anyone.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the driver was made.
#[derive(Debug, Default)]
pub struct LinkStats {
    /// Bytes from the board.
    pub bytes_in: AtomicU64,
    /// Bytes to the board.
    pub bytes_out: AtomicU64,
    /// Messages from the board.
    pub messages_in: AtomicU64,
    /// Commands to the board, repetitions included.
    pub messages_out: AtomicU64,
    /// Frames that were damaged on the line.
    pub damaged: AtomicU64,
    /// Whole frames of an unknown kind: the board speaks another version.
    pub unknown: AtomicU64,
    /// Messages that the sequence numbers say are missing.
    pub lost: AtomicU64,
    /// Messages that came twice.
    pub repeated: AtomicU64,
    /// Commands sent again because no acknowledgement came.
    pub resent: AtomicU64,
    /// Commands that were never answered.
    pub unanswered: AtomicU64,
    /// Commands refused to the caller because the outgoing queue was full.
    pub refused: AtomicU64,
    /// Times the line was opened.
    pub opened: AtomicU64,
    /// Shortest ping so far, in nanoseconds; 0 before the first.
    pub ping_nanos_min: AtomicU64,
}

impl LinkStats {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn note_ping(&self, nanos: u64) {
        let shortest = self.ping_nanos_min.load(Ordering::Relaxed);
        if shortest == 0 || nanos < shortest {
            self.ping_nanos_min.store(nanos, Ordering::Relaxed);
        }
    }

    /// One line for a log or a report.
    pub fn line(&self) -> String {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "in {} messages, {} bytes ({} damaged, {} unknown, {} lost, {} repeated); out {} messages, {} bytes \
             ({} sent again, {} unanswered, {} refused); opened {}; shortest ping {:.3} ms",
            get(&self.messages_in),
            get(&self.bytes_in),
            get(&self.damaged),
            get(&self.unknown),
            get(&self.lost),
            get(&self.repeated),
            get(&self.messages_out),
            get(&self.bytes_out),
            get(&self.resent),
            get(&self.unanswered),
            get(&self.refused),
            get(&self.opened),
            get(&self.ping_nanos_min) as f64 * 1e-6,
        )
    }
}
