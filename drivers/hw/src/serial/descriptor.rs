//! The one place where a terminal's raw descriptor becomes a borrowed one.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use serialport::TTYPort;

/// The descriptor of `port`, which the port cannot close while it is borrowed.
#[expect(unsafe_code, reason = "serialport gives its descriptor only as a number")]
pub(super) fn of(port: &TTYPort) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to `port` and stays open until `port` is dropped, which the borrow outlives not.
    unsafe { BorrowedFd::borrow_raw(port.as_raw_fd()) }
}
