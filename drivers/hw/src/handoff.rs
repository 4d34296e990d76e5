//! Sample blocks from a reader thread to the thread that polls: bounded, wait-free, and never in the reader's way.
//!
//! A fixed set of blocks goes round between two rings, each of one producer and one consumer, so that every step on either
//! side ends after a fixed number of instructions whatever the other side is doing. When the poller is late the reader
//! finds no free block and says so; it never waits. The poller may sleep on an event descriptor.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use mimicd_device::{ArrayIndex, HostTime, SampleBlock};
use ringbuf::traits::{Consumer as _, Observer as _, Producer as _, Split as _};
use ringbuf::{HeapCons, HeapProd, HeapRb};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// The reader's end.
pub(crate) struct Outlet {
    full: HeapProd<Box<SampleBlock>>,
    free: HeapCons<Box<SampleBlock>>,
    event: Option<Arc<OwnedFd>>,
}

/// The poller's end.
pub(crate) struct Inlet {
    full: HeapCons<Box<SampleBlock>>,
    free: HeapProd<Box<SampleBlock>>,
    event: Option<Arc<OwnedFd>>,
}

/// Both ends, with `count` blocks of up to `samples` samples of `channels` channels between them.
pub(crate) fn handoff(array: ArrayIndex, channels: usize, samples: usize, count: usize) -> (Outlet, Inlet) {
    let (full_in, full_out) = HeapRb::new(count).split();
    let (mut free_in, free_out) = HeapRb::new(count).split();
    for _ in 0..count {
        // The ring holds `count`, so every push succeeds.
        free_in.try_push(Box::new(SampleBlock::with_capacity(array, channels, samples))).ok();
    }
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).ok().map(Arc::new);
    let outlet = Outlet { full: full_in, free: free_out, event: event.clone() };
    (outlet, Inlet { full: full_out, free: free_in, event })
}

impl Outlet {
    /// An empty block, if the poller has left one.
    pub(crate) fn lease(&mut self) -> Option<Box<SampleBlock>> {
        let mut block = self.free.try_pop()?;
        block.clear();
        Some(block)
    }

    /// Hands a filled block over.
    pub(crate) fn give(&mut self, block: Box<SampleBlock>) {
        // As many places as blocks: cannot be full.
        self.full.try_push(block).ok();
        if let Some(event) = &self.event {
            // A full counter means that the poller has been woken already.
            rustix::io::write(event, &1_u64.to_ne_bytes()).ok();
        }
    }
}

impl Inlet {
    /// Swaps the oldest filled block into `block`; `false` when there is none.
    pub(crate) fn take(&mut self, block: &mut SampleBlock) -> bool {
        let Some(mut filled) = self.full.try_pop() else { return false };
        std::mem::swap(&mut *filled, block);
        // What the caller gave in exchange must hold a whole block later, without growing on the reader's thread.
        let capacity = block.digital.capacity();
        filled.clear();
        filled.samples.reserve(capacity * block.channels);
        filled.digital.reserve(capacity);
        filled.channels = block.channels;
        filled.array = block.array;
        self.free.try_push(filled).ok();
        true
    }

    /// Sleeps until a block is there or `until` has come.
    pub(crate) fn wait(&self, until: HostTime) {
        while self.full.is_empty() {
            let left = until - crate::host_now();
            if left.nanos() <= 0 {
                return;
            }
            let Some(event) = &self.event else {
                std::thread::sleep(left.to_duration().min(std::time::Duration::from_millis(1)));
                continue;
            };
            let timeout = Timespec { tv_sec: left.nanos() / 1_000_000_000, tv_nsec: left.nanos() % 1_000_000_000 };
            poll(&mut [PollFd::new(event, PollFlags::IN)], Some(&timeout)).ok();
            let mut count = [0_u8; 8];
            rustix::io::read(event, &mut count).ok();
        }
    }
}
