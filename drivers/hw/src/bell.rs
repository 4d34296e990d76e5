//! Wakes a thread that waits on descriptors.

use std::os::fd::OwnedFd;

use mimicd_device::{HostTime, Wake};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// An event descriptor: readable once it was rung.
pub(crate) struct Bell {
    event: OwnedFd,
}

impl Bell {
    pub(crate) fn new() -> rustix::io::Result<Self> {
        Ok(Self { event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)? })
    }

    /// To wait on.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.event
    }

    /// Takes the ring back.
    pub(crate) fn quiet(&self) {
        // Not rung: nothing to take back.
        rustix::io::read(&self.event, &mut [0_u8; 8]).ok();
    }

    /// Sleeps until rung or until `until`.
    pub(crate) fn wait(&self, until: HostTime) {
        let left = (until - crate::host_now()).nanos().max(0);
        let timeout = Timespec { tv_sec: left / 1_000_000_000, tv_nsec: left % 1_000_000_000 };
        poll(&mut [PollFd::new(&self.event, PollFlags::IN)], Some(&timeout)).ok();
        self.quiet();
    }
}

impl Wake for Bell {
    fn wake(&self) {
        // A full counter means that it was rung already.
        rustix::io::write(&self.event, &1_u64.to_ne_bytes()).ok();
    }
}
