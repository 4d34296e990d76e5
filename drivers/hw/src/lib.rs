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
//!
//! Webcams run on macOS and Windows, too; everything else on Linux only.

#![warn(clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod bell;
pub mod camera;
pub mod controls;
pub mod counter;
#[cfg(target_os = "linux")]
pub mod direct;
#[cfg(target_os = "linux")]
pub mod file;
#[cfg(all(target_os = "linux", feature = "aravis"))]
pub mod genicam;
#[cfg(target_os = "linux")]
mod handoff;
#[cfg(target_os = "linux")]
pub mod rhx;
#[cfg(target_os = "linux")]
pub mod serial;
#[cfg(all(target_os = "linux", feature = "v4l"))]
pub mod v4l2;
pub mod video;
#[cfg(feature = "webcam")]
pub mod webcam;

use mimicd_device::HostTime;

/// The host's clock, for arrival times.
#[cfg(unix)]
pub(crate) fn host_now() -> HostTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    HostTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

/// The host's clock, for arrival times; it begins with the first look at it.
#[cfg(not(unix))]
pub(crate) fn host_now() -> HostTime {
    static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let passed = BEGAN.get_or_init(std::time::Instant::now).elapsed();
    HostTime::from_nanos(i64::try_from(passed.as_nanos()).unwrap_or(i64::MAX))
}
