//! Clocks of GenICam cameras: one shared by all through PTP (IEEE 1588), or each camera's own, read by its latch.
//!
//! Names are those of the Standard Features Naming Convention (2.7, Transport Layer Control) and, after them, those that
//! GigE Vision cameras had before it.

use aravis::Camera;
use aravis::prelude::*;
use mimicd_device::{CameraTime, ClockReading};

use crate::host_now;

/// Names of the features by which a camera takes part in PTP.
struct Ptp {
    enable: &'static str,
    latch: &'static str,
    status: &'static str,
}

const PTP: [Ptp; 2] = [
    Ptp { enable: "PtpEnable", latch: "PtpDataSetLatch", status: "PtpStatus" },
    Ptp { enable: "GevIEEE1588", latch: "GevIEEE1588DataSetLatch", status: "GevIEEE1588Status" },
];

/// States of a camera that has its clock from another, or gives its own to the others.
const SETTLED: [&str; 2] = ["Slave", "Master"];

/// Names of the features by which a camera's clock is latched and read.
struct Latch {
    command: &'static str,
    value: &'static str,
    /// Ticks a second; without it the value is nanoseconds.
    rate: Option<&'static str>,
}

const LATCHES: [Latch; 2] = [
    Latch { command: "TimestampLatch", value: "TimestampLatchValue", rate: None },
    Latch { command: "GevTimestampControlLatch", value: "GevTimestampValue", rate: Some("GevTimestampTickFrequency") },
];

/// Readings of which the quickest counts: the others waited on their way.
const READINGS: usize = 8;

fn offers(camera: &Camera, feature: &str) -> bool {
    camera.is_feature_available(feature).unwrap_or(false)
}

fn ptp(camera: &Camera) -> Result<&'static Ptp, String> {
    let names = || PTP.each_ref().map(|ptp| ptp.enable).join(", ");
    PTP.iter().find(|ptp| offers(camera, ptp.enable)).ok_or_else(|| format!("ptp = true: it has none of {}", names()))
}

/// Makes the camera take part in PTP. One that does already is left alone: it might begin anew.
pub(super) fn share_clock(camera: &Camera) -> Result<(), String> {
    let ptp = ptp(camera)?;
    if camera.boolean(ptp.enable).is_ok_and(|on| on) {
        return Ok(());
    }
    camera.set_boolean(ptp.enable, true).map_err(|error| format!("ptp = true: feature {:?}: {error}", ptp.enable))
}

/// Whether the camera has the clock that all share; else what it says of itself.
pub(super) fn check_shared_clock(camera: &Camera) -> Result<(), String> {
    let ptp = ptp(camera)?;
    if offers(camera, ptp.latch) {
        camera.execute_command(ptp.latch).map_err(|error| format!("feature {:?}: {error}", ptp.latch))?;
    }
    let status = camera.string(ptp.status).map_err(|error| format!("feature {:?}: {error}", ptp.status))?;
    if SETTLED.iter().any(|settled| status == *settled) {
        return Ok(());
    }
    Err(format!(
        "ptp = true, and {} is {status}, expected Slave or Master; cameras settle some seconds after they are opened (arm again), and need \
         a clock on their link (`ptp4l -i <interface>`)",
        ptp.status
    ))
}

/// The camera's clock between two readings of the host's; `None` where it offers no latch, or one that stands still.
pub(super) fn read_clock(camera: &Camera) -> Option<ClockReading> {
    let latch = LATCHES.iter().find(|latch| offers(camera, latch.command) && offers(camera, latch.value))?;
    let rate_hz = match latch.rate {
        Some(name) => camera.integer(name).ok().filter(|rate| *rate > 0)? as f64,
        None => 1e9,
    };
    let read = || {
        let before = host_now();
        camera.execute_command(latch.command).ok()?;
        let after = host_now();
        let ticks = camera.integer(latch.value).ok()?;
        Some(ClockReading { before, device: CameraTime::from_nanos(nanos_of(ticks, rate_hz)), after })
    };
    // A camera that no longer answers is asked once.
    let readings: Vec<ClockReading> = (0..READINGS).map_while(|_| read()).collect();
    let first = readings.first()?.device;
    let moves = readings.iter().any(|reading| reading.device > first);
    readings.into_iter().filter(|_| moves).min_by_key(|reading| reading.after - reading.before)
}

fn nanos_of(ticks: i64, rate_hz: f64) -> i64 {
    // Nanoseconds since 1970 do not fit a float.
    if rate_hz == 1e9 { ticks } else { (ticks as f64 * (1e9 / rate_hz)).round() as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds_and_nanoseconds_stay() {
        assert_eq!(nanos_of(1_790_000_000_123_456_789, 1e9), 1_790_000_000_123_456_789);
        assert_eq!(nanos_of(125_000_000, 125e6), 1_000_000_000);
    }
}
