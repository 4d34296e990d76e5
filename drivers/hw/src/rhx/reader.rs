//! The reader thread: socket to blocks. It does nothing else, because a client that stops reading stops RHX's recording.
//!
//! Between two looks at the socket it takes no lock, allocates nothing, logs nothing and asks the system for nothing that
//! can block: the queue to the poller is wait-free (`handoff`), waking the poller is a write to a non-blocking event
//! descriptor, counts are atomics. `tests/rhx.rs` holds it to that by the kernel's count of the thread's own sleeps.

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mimicd_device::{Integrity, SampleIndex, Span};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use super::frames::{self, BLOCK_FRAMES, Parsed, StreamLayout};
use super::monitor::{LinkFailure, RhxMonitor};
use super::timeline::{Step, Timeline};
use crate::handoff::Outlet;
use crate::host_now;

/// Bytes of the reassembly buffer: about a quarter of a second of 256 channels.
const BUFFER_BYTES: usize = 4 << 20;
/// The most that is taken from the socket at once: about four blocks of 256 channels. After a pause the socket holds as much as
/// it may, and to understand all of that at one go would keep the reader from it for 20 ms on a slow machine.
const LOOK_BYTES: usize = 256 << 10;
/// The reader looks at its stop flag at least this often.
const POLL_NANOS: i64 = 20_000_000;

/// Everything the thread owns.
pub(super) struct Reader {
    pub(super) data: TcpStream,
    pub(super) layout: StreamLayout,
    pub(super) timeline: Timeline,
    pub(super) outlet: Outlet,
    pub(super) monitor: Arc<RhxMonitor>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) stall: Span,
    /// When the last block of an earlier connection came.
    pub(super) last_block: Instant,
    /// Sets the flag on the first block given after (re)connection or drops.
    pub(super) gap_pending: bool,
}

/// What one connection leaves to the next.
pub(super) struct Left {
    pub(super) timeline: Timeline,
    /// When the last block came.
    pub(super) last_block: Instant,
    pub(super) outlet: Outlet,
}

/// Bytes received and not yet understood.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; BUFFER_BYTES], start: 0, end: 0 }
    }

    fn held(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn room(&mut self) -> &mut [u8] {
        if self.start > BUFFER_BYTES / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let end = (self.end + LOOK_BYTES).min(BUFFER_BYTES);
        &mut self.bytes[self.end..end]
    }
}

impl Reader {
    /// Reads until told to stop or the socket ends; gives back what the next connection goes on with.
    pub(super) fn run(mut self) -> Left {
        let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        self.monitor.reader_thread.store(thread, Ordering::Release);
        let mut buffer = Buffer::new();
        let mut last_byte = host_now();
        while !self.stop.load(Ordering::Acquire) {
            self.wait();
            let (awake, worked) = (host_now(), own_time());
            match self.data.read(buffer.room()) {
                Ok(0) => {
                    self.monitor.set_failure(Some(LinkFailure::Closed));
                    break;
                }
                Ok(length) => {
                    last_byte = awake;
                    buffer.end += length;
                    RhxMonitor::add(&self.monitor.bytes, length as u64);
                    self.understand(&mut buffer);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    if awake - last_byte > self.stall && self.monitor.failure().is_none() {
                        self.monitor.set_failure(Some(LinkFailure::Stalled));
                    }
                }
                Err(_) => {
                    self.monitor.set_failure(Some(LinkFailure::Closed));
                    break;
                }
            }
            let away = (host_now() - awake).nanos().max(0) as u64;
            self.monitor.away_nanos_max.fetch_max(away, Ordering::Relaxed);
            let work = (own_time() - worked).nanos().max(0) as u64;
            self.monitor.work_nanos_max.fetch_max(work, Ordering::Relaxed);
        }
        Left { timeline: self.timeline, last_block: self.last_block, outlet: self.outlet }
    }

    /// Sleeps until data may be there.
    fn wait(&self) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: POLL_NANOS };
        RhxMonitor::add(&self.monitor.waits, 1);
        // Interrupted: the next read finds nothing, and it is waited again.
        poll(&mut [PollFd::new(&self.data, PollFlags::IN)], Some(&timeout)).ok();
    }

    fn understand(&mut self, buffer: &mut Buffer) {
        loop {
            match frames::parse(self.layout, buffer.held()) {
                Parsed::Incomplete => break,
                Parsed::Block => {
                    RhxMonitor::add(&self.monitor.blocks, 1);
                    self.monitor.set_failure(None);
                    self.block(buffer.held());
                    buffer.start += self.layout.block_bytes();
                }
                Parsed::Garbage { bytes, words } => {
                    RhxMonitor::add(&self.monitor.garbage_bytes, bytes as u64);
                    buffer.start += bytes;
                    if let Some(words) = words {
                        self.monitor.set_failure(Some(LinkFailure::ChannelsChanged { words: words as u32 }));
                    }
                }
            }
        }
        if buffer.start == buffer.end {
            (buffer.start, buffer.end) = (0, 0);
        }
    }

    /// Hands over one understood block, cut where its timestamps jump.
    fn block(&mut self, bytes: &[u8]) {
        let elapsed = self.last_block.elapsed().as_secs_f64();
        self.last_block = Instant::now();
        let mut from = 0;
        while from < BLOCK_FRAMES {
            let first = frames::timestamp(self.layout, bytes, from);
            let mut to = from + 1;
            while to < BLOCK_FRAMES
                && frames::timestamp(self.layout, bytes, to) == first.wrapping_add((to - from) as u32)
            {
                to += 1;
            }
            let (index, step) = self.timeline.take(first, elapsed);
            self.timeline.advance((to - from - 1) as u32);
            self.note(step);
            self.give(bytes, from..to, index, step);
            from = to;
        }
    }

    fn note(&self, step: Step) {
        match step {
            Step::First | Step::Next => {}
            Step::Gap(missing) => {
                RhxMonitor::add(&self.monitor.gaps, 1);
                RhxMonitor::add(&self.monitor.missing, missing);
            }
            Step::Restart => RhxMonitor::add(&self.monitor.restarts, 1),
        }
    }

    fn give(&mut self, bytes: &[u8], range: std::ops::Range<usize>, index: u64, step: Step) {
        let samples = range.len() as u64;
        let Some(mut block) = self.outlet.lease() else {
            RhxMonitor::add(&self.monitor.dropped, samples);
            self.gap_pending = true;
            return;
        };
        block.first = SampleIndex(index);
        for frame in range {
            frames::append_frame(self.layout, bytes, frame, &mut block.samples, &mut block.digital);
        }
        block.integrity = match step {
            Step::First | Step::Next => Integrity::empty(),
            Step::Gap(_) => Integrity::GAP_BEFORE,
            Step::Restart => Integrity::GAP_BEFORE | Integrity::CLOCK_STEP,
        };
        if std::mem::take(&mut self.gap_pending) {
            block.integrity |= Integrity::GAP_BEFORE;
        }
        block.arrival = host_now();
        RhxMonitor::add(&self.monitor.samples, samples);
        self.outlet.give(block);
    }
}

/// Processor time that the calling thread has used.
fn own_time() -> Span {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Span::from_nanos(used.tv_sec * 1_000_000_000 + used.tv_nsec)
}
