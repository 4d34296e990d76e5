//! What a buffer's flags and stamp say. Pure.
//!
//! | flags | `device_time` | `moment` |
//! |---|---|---|
//! | monotonic, start of exposure | the driver's stamp | exposure start |
//! | monotonic, end of frame | the driver's stamp | transfer end |
//! | unknown clock, or copied from an output | none | unknown |

use mimicd_device::{CameraTime, Integrity, Moment};

/// linux/videodev2.h
const FLAG_ERROR: u32 = 0x0000_0040;
const TIMESTAMP_MASK: u32 = 0x0000_E000;
const TIMESTAMP_MONOTONIC: u32 = 0x0000_2000;
const SOURCE_MASK: u32 = 0x0007_0000;
const SOURCE_START_OF_EXPOSURE: u32 = 0x0001_0000;

/// Time, its meaning, and damage of one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The driver's stamp. Its clock is the host's `CLOCK_MONOTONIC`, kept as the camera's own: the driver may have
    /// mapped it from a clock in the device, so it is fitted like any camera clock.
    pub device_time: Option<CameraTime>,
    /// What it marks.
    pub moment: Moment,
    /// `CORRUPT` for a buffer that the driver calls damaged.
    pub integrity: Integrity,
}

impl Stamp {
    /// Reads a buffer's `flags` and stamp.
    pub fn of(flags: u32, seconds: i64, micros: i64) -> Self {
        let monotonic = flags & TIMESTAMP_MASK == TIMESTAMP_MONOTONIC;
        let device_time = monotonic.then(|| CameraTime::from_nanos(seconds * 1_000_000_000 + micros * 1_000));
        let moment = match (monotonic, flags & SOURCE_MASK) {
            (true, SOURCE_START_OF_EXPOSURE) => Moment::ExposureStart,
            (true, 0) => Moment::TransferEnd,
            _ => Moment::Unknown,
        };
        let integrity = if flags & FLAG_ERROR != 0 { Integrity::CORRUPT } else { Integrity::empty() };
        Self { device_time, moment, integrity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_clock_moment_and_damage() {
        let at = Some(CameraTime::from_nanos(5_000_007_000));
        for (flags, device_time, moment, integrity) in [
            (0x2001, at, Moment::TransferEnd, Integrity::empty()),
            (0x1_2001, at, Moment::ExposureStart, Integrity::empty()),
            (0x2041, at, Moment::TransferEnd, Integrity::CORRUPT),
            (0x0001, None, Moment::Unknown, Integrity::empty()),
            (0x4001, None, Moment::Unknown, Integrity::empty()),
            (0x7_2001, at, Moment::Unknown, Integrity::empty()),
        ] {
            assert_eq!(Stamp::of(flags, 5, 7), Stamp { device_time, moment, integrity }, "{flags:#x}");
        }
    }
}
