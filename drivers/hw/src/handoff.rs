//! Sample blocks from a reader thread to the thread that polls: bounded, lock-free, and never in the reader's way.
//!
//! A fixed set of blocks goes round between two queues. When the poller is late the reader finds no free block and says
//! so; it never waits. The poller may sleep on an event descriptor.

use std::os::fd::OwnedFd;

use crossbeam::queue::ArrayQueue;
use mimicd_device::{ArrayIndex, HostTime, SampleBlock};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// The two queues and the wake-up.
pub(crate) struct Handoff {
    full: ArrayQueue<Box<SampleBlock>>,
    free: ArrayQueue<Box<SampleBlock>>,
    event: Option<OwnedFd>,
}

impl Handoff {
    /// `count` blocks of up to `samples` samples of `channels` channels.
    pub(crate) fn new(array: ArrayIndex, channels: usize, samples: usize, count: usize) -> Self {
        let free = ArrayQueue::new(count);
        for _ in 0..count {
            // The queue holds `count`, so every push succeeds.
            free.push(Box::new(SampleBlock::with_capacity(array, channels, samples))).ok();
        }
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).ok();
        Self { full: ArrayQueue::new(count), free, event }
    }

    /// Reader: an empty block, if the poller has left one.
    pub(crate) fn lease(&self) -> Option<Box<SampleBlock>> {
        let mut block = self.free.pop()?;
        block.clear();
        Some(block)
    }

    /// Reader: hands a filled block over.
    pub(crate) fn give(&self, block: Box<SampleBlock>) {
        // As many places as blocks: cannot be full.
        self.full.push(block).ok();
        if let Some(event) = &self.event {
            // A full counter means that the poller has been woken already.
            rustix::io::write(event, &1_u64.to_ne_bytes()).ok();
        }
    }

    /// Poller: swaps the oldest filled block into `block`; `false` when there is none.
    pub(crate) fn take(&self, block: &mut SampleBlock) -> bool {
        let Some(mut filled) = self.full.pop() else { return false };
        std::mem::swap(&mut *filled, block);
        // What the caller gave in exchange must hold a whole block later, without growing on the reader's thread.
        let capacity = block.digital.capacity();
        filled.clear();
        filled.samples.reserve(capacity * block.channels);
        filled.digital.reserve(capacity);
        filled.channels = block.channels;
        filled.array = block.array;
        self.free.push(filled).ok();
        true
    }

    /// Poller: whether a block waits.
    pub(crate) fn is_ready(&self) -> bool {
        !self.full.is_empty()
    }

    /// Poller: sleeps until a block is there or `until` has come.
    pub(crate) fn wait(&self, until: HostTime) {
        while !self.is_ready() {
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
