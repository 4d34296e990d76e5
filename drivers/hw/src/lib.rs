//! Real devices. Each implements one of the traits of `mimicd-device`.
//!
//! | module | device |
//! |---|---|
//! | [`rhx`] | electrode arrays behind Intan RHX, over TCP |
//! | [`video`] | recorded video files, for replays |
//! | [`direct`] | electrode arrays on a front end of our own, in blocks of a millisecond |
//! | [`mod@file`] | recordings of other programs, replayed as an array |
//! | `v4l2` | cameras of the Linux video subsystem (feature `v4l`) |
//! | `genicam` | GigE Vision and USB3 Vision cameras (feature `aravis`) |
//! | `webcam` | ordinary webcams (feature `webcam`) |
//! | [`serial`] | the sync board on a serial line, or on a socket where it is emulated |

#![warn(clippy::unwrap_used)]

mod bell;
pub mod camera;
pub mod controls;
pub mod counter;
pub mod direct;
pub mod file;
#[cfg(feature = "aravis")]
pub mod genicam;
mod handoff;
pub mod rhx;
pub mod serial;
#[cfg(feature = "v4l")]
pub mod v4l2;
pub mod video;
#[cfg(feature = "webcam")]
pub mod webcam;

use mimicd_device::HostTime;

/// The host's clock, for arrival times.
pub(crate) fn host_now() -> HostTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    HostTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}
