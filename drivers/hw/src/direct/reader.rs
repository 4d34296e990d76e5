//! The reader thread: line to blocks.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use mimicd_device::{HostTime, Integrity, SampleIndex, Span};
use mimicd_wire::samples::{SAMPLES_HEADER, SamplesHeader};

use super::parse::{FrameSearch, search};
use crate::handoff::Outlet;
use crate::host_now;

/// Bytes of the reassembly buffer: a quarter of a second of 256 channels.
const BUFFER_BYTES: usize = 4 << 20;

/// Live counts of one front end. All counters only rise.
#[derive(Debug, Default)]
pub struct DirectMonitor {
    /// Frames taken.
    pub frames: AtomicU64,
    /// Gaps in the sample index.
    pub gaps: AtomicU64,
    /// Samples missing in those gaps.
    pub missing: AtomicU64,
    /// Times that the sample index fell back.
    pub restarts: AtomicU64,
    /// Bytes that belonged to no whole frame.
    pub garbage_bytes: AtomicU64,
    /// Samples that our own queue had no room for; declared as a gap.
    pub dropped: AtomicU64,
    /// Channels of whole frames that were not wanted; 0 = none came.
    pub other_channels: AtomicU32,
    /// Whether the line has ended.
    pub closed: AtomicBool,
    /// Whether nothing has come for longer than the stall limit.
    pub stalled: AtomicBool,
}

/// Everything the thread owns.
pub(super) struct Reader {
    pub(super) line: Box<dyn Read + Send>,
    pub(super) channels: usize,
    pub(super) rows_max: usize,
    pub(super) outlet: Outlet,
    pub(super) monitor: Arc<DirectMonitor>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) stall: Span,
    /// Next expected index as the front end counts, and what is added to its count.
    pub(super) place: Place,
}

/// Where a stream stands; survives a reconnection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    next: Option<u64>,
    offset: u64,
    gap_pending: bool,
}

impl Place {
    /// The index of a frame that begins at `first`, and what is wrong before it.
    fn take(&mut self, first: u64, rows: u64, monitor: &DirectMonitor) -> (u64, Integrity) {
        let mut integrity = Integrity::empty();
        match self.next {
            Some(next) if first > next => {
                monitor.gaps.fetch_add(1, Ordering::Relaxed);
                monitor.missing.fetch_add(first - next, Ordering::Relaxed);
                integrity |= Integrity::GAP_BEFORE;
            }
            Some(next) if first < next => {
                monitor.restarts.fetch_add(1, Ordering::Relaxed);
                integrity |= Integrity::GAP_BEFORE | Integrity::CLOCK_STEP;
                self.offset += next - first;
            }
            _ => {}
        }
        self.next = Some(first + rows);
        if std::mem::take(&mut self.gap_pending) {
            integrity |= Integrity::GAP_BEFORE;
        }
        (first + self.offset, integrity)
    }
}

impl Reader {
    /// Reads until told to stop or the line ends; gives its place and its end of the queue back for the next connection.
    pub(super) fn run(mut self) -> (Place, Outlet) {
        let mut bytes = vec![0_u8; BUFFER_BYTES];
        let (mut start, mut end) = (0, 0);
        let mut last_byte = host_now();
        while !self.stop.load(Ordering::Acquire) {
            if start > BUFFER_BYTES / 2 {
                bytes.copy_within(start..end, 0);
                (start, end) = (0, end - start);
            }
            match self.line.read(&mut bytes[end..]) {
                Ok(0) => return self.close(),
                Ok(length) => {
                    last_byte = host_now();
                    end += length;
                    start += self.understand(&bytes[start..end], last_byte);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
                {
                    if host_now() - last_byte > self.stall {
                        self.monitor.stalled.store(true, Ordering::Release);
                    }
                }
                Err(_) => return self.close(),
            }
        }
        (self.place, self.outlet)
    }

    fn close(self) -> (Place, Outlet) {
        self.monitor.closed.store(true, Ordering::Release);
        (self.place, self.outlet)
    }

    /// Takes the frames at the front of `bytes`; returns how many bytes are done with.
    fn understand(&mut self, bytes: &[u8], now: HostTime) -> usize {
        let mut done = 0;
        loop {
            let rest = &bytes[done..];
            match search(rest, self.channels, self.rows_max) {
                FrameSearch::Incomplete => return done,
                FrameSearch::Frame(header) => {
                    self.monitor.stalled.store(false, Ordering::Release);
                    self.monitor.frames.fetch_add(1, Ordering::Relaxed);
                    self.give(&header, rest, now);
                    done += header.frame_bytes();
                }
                FrameSearch::Unwanted(header) => {
                    self.monitor.other_channels.store(u32::from(header.channels), Ordering::Release);
                    done += header.frame_bytes();
                }
                FrameSearch::Skip(skipped) => {
                    self.monitor.garbage_bytes.fetch_add(skipped as u64, Ordering::Relaxed);
                    done += skipped;
                }
            }
        }
    }

    fn give(&mut self, header: &SamplesHeader, frame: &[u8], now: HostTime) {
        let (index, integrity) = self.place.take(header.first, u64::from(header.rows), &self.monitor);
        let Some(mut block) = self.outlet.lease() else {
            self.monitor.dropped.fetch_add(u64::from(header.rows), Ordering::Relaxed);
            self.place.gap_pending = true;
            return;
        };
        let body = &frame[SAMPLES_HEADER..SAMPLES_HEADER + header.body_bytes()];
        let (samples, digital) = body.split_at(usize::from(header.rows) * self.channels * 2);
        block.first = SampleIndex(index);
        block.samples.extend(samples.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])));
        block.digital.extend(digital.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])));
        block.integrity = integrity;
        block.arrival = now;
        self.outlet.give(block);
    }
}
