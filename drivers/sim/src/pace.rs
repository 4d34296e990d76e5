//! Waiting in real time. The only place where the twin meets the host's clock.

use std::sync::{Condvar, Mutex, PoisonError};

use mimicd_device::{HostTime, Wake};
use rustix::thread::{ClockId, Timespec, clock_nanosleep_absolute};

/// The host's clock now.
pub(crate) fn now() -> HostTime {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    HostTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

/// Sleeps until `until`; returns at once if it has come.
pub(crate) fn sleep_until(until: HostTime) {
    let nanos = until.nanos().max(0);
    let request = Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
    while clock_nanosleep_absolute(ClockId::Monotonic, &request) == Err(rustix::io::Errno::INTR) {}
}

/// A sleep that another thread can end.
#[derive(Debug, Default)]
pub(crate) struct Doze {
    woken: Mutex<bool>,
    bell: Condvar,
}

impl Doze {
    /// Sleeps until `until` or until woken.
    pub(crate) fn until(&self, until: HostTime) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        while !std::mem::take(&mut *woken) {
            let left = until - now();
            if left.nanos() <= 0 {
                return;
            }
            let slept = self.bell.wait_timeout(woken, left.to_duration());
            woken = slept.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Wake for Doze {
    fn wake(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_one();
    }
}
