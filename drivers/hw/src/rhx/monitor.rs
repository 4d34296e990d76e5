//! What the reader thread tells the rest of the program, as atomics.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Why the stream cannot be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFailure {
    /// RHX closed the waveform socket.
    Closed,
    /// No byte came for longer than the stall limit.
    Stalled,
    /// The stream carries another number of words than was agreed: channels were switched in RHX.
    ChannelsChanged {
        /// Words of a frame now.
        words: u32,
    },
}

/// Live counts of one RHX link. All counters only rise.
#[derive(Debug, Default)]
pub struct RhxMonitor {
    /// Alarm: RHX's command socket is gone. Data may flow on; RHX needs a click on its Connect button.
    pub command_lost: AtomicBool,
    /// Bytes received.
    pub bytes: AtomicU64,
    /// Waveform blocks understood.
    pub blocks: AtomicU64,
    /// Samples per channel handed over.
    pub samples: AtomicU64,
    /// Gaps found in the timestamps.
    pub gaps: AtomicU64,
    /// Samples missing in those gaps.
    pub missing: AtomicU64,
    /// Restarts of RHX's counter.
    pub restarts: AtomicU64,
    /// Bytes that belonged to no understood block.
    pub garbage_bytes: AtomicU64,
    /// Samples that our own queue had no room for (the poller was late); declared as a gap.
    pub dropped: AtomicU64,
    /// The reader's thread as the kernel numbers it (`/proc/self/task`), for whoever asks the kernel about its time.
    pub reader_thread: AtomicU32,
    /// Times that the reader went to wait for its socket: the only thing that it ever waits for.
    pub waits: AtomicU64,
    /// Longest time that the reader was away from the socket, in nanoseconds of the host's clock: its work, and what the
    /// machine took its processor away for.
    pub away_nanos_max: AtomicU64,
    /// Longest work between two looks at the socket, in nanoseconds of the reader's own processor time.
    pub work_nanos_max: AtomicU64,
    failure: AtomicU32,
}

const CLOSED: u32 = 1;
const STALLED: u32 = 2;
const CHANGED: u32 = 3;

impl RhxMonitor {
    /// What is wrong with the stream, if anything.
    pub fn failure(&self) -> Option<LinkFailure> {
        let code = self.failure.load(Ordering::Acquire);
        match code & 0xF {
            CLOSED => Some(LinkFailure::Closed),
            STALLED => Some(LinkFailure::Stalled),
            CHANGED => Some(LinkFailure::ChannelsChanged { words: code >> 4 }),
            _ => None,
        }
    }

    pub(super) fn set_failure(&self, failure: Option<LinkFailure>) {
        let code = match failure {
            None => 0,
            Some(LinkFailure::Closed) => CLOSED,
            Some(LinkFailure::Stalled) => STALLED,
            Some(LinkFailure::ChannelsChanged { words }) => CHANGED | words << 4,
        };
        self.failure.store(code, Ordering::Release);
    }

    pub(super) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
