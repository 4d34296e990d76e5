//! Waiting in real time. The only place where the twin meets the host's clock.

use mimicd_device::HostTime;
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
