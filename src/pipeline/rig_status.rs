//! What only the host of a rig knows of its health: threads that ended, the recording, the disk.

use std::time::{Duration, Instant};

use super::record_plan::streams;
use super::threads::Threads;
use super::view::HostStatus;
use super::{Degradation, RecordingProgress};
use crate::config::Config;
use crate::record::{DiskState, Recorder, RecorderHealth};

/// How often the disk is looked at while nothing is recorded.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the disk would hold, while nothing is recorded.
#[derive(Debug, Default)]
pub(super) struct Space {
    looked_at: Option<Instant>,
    free_bytes: u64,
    seconds_left: Option<f64>,
}

impl Space {
    /// Says what is free and how long it would last; tables are small beside samples and video and are left out.
    pub(super) fn look(&mut self, host: &mut HostStatus, config: &Config) {
        if self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            self.looked_at = Some(Instant::now());
            let (cameras, arrays) = streams(config);
            let forecast = Recorder::forecast(&config.record, Vec::new(), cameras, arrays).ok();
            self.free_bytes = forecast.map_or(0, |forecast| forecast.free_bytes);
            self.seconds_left = forecast.map(|forecast| forecast.seconds());
        }
        host.disk_free_bytes = self.free_bytes;
        host.disk_left_secs = self.seconds_left;
    }
}

/// Threads that ended, and real time that the system refused.
pub(super) fn of_threads(host: &mut HostStatus, threads: &Threads, wants_real_time: bool) {
    host.fault = threads.any_ended().map(|name| format!("thread {name} ended unexpectedly"));
    let refused = threads.real_time_refused();
    if refused > 0 && wants_real_time {
        let message = format!(
            "the system refused real-time priority or memory locking ({refused} times); latencies may jitter: raise LimitRTPRIO and LimitMEMLOCK"
        );
        host.degraded.push(Degradation { code: "realtime_refused".to_owned(), message });
    }
}

/// The recording in progress and its disk.
pub(super) fn of_recording(host: &mut HostStatus, name: &str, begun: Instant, recorder: &Recorder, margin_bytes: u64) {
    let health = recorder.health();
    host.recording = Some(RecordingProgress {
        name: name.to_owned(),
        elapsed_secs: begun.elapsed().as_secs_f64(),
        rows: health.lanes.iter().map(|lane| lane.taken).sum(),
        bytes: health.journal_bytes,
        dropped_rows: health.lost(),
    });
    host.disk_free_bytes = health.free_bytes;
    host.disk_left_secs = health.seconds_left;
    if health.disk != DiskState::Normal {
        let message = format!("disk: {:?}; the recording goes on from memory while it can", health.disk);
        host.degraded.push(Degradation { code: "disk".to_owned(), message });
    }
    host.must_stop = cause_to_stop(&health, margin_bytes);
}

/// Why the recording has to end while it can still be sealed.
fn cause_to_stop(health: &RecorderHealth, margin_bytes: u64) -> Option<String> {
    match health.disk {
        DiskState::Normal | DiskState::Slow => None,
        DiskState::NearlyFull => {
            let free = health.free_bytes;
            Some(format!(
                "the disk is nearly full: {free} bytes are free, the margin is {margin_bytes} and the open part is to be sealed"
            ))
        }
        DiskState::Full => Some(format!("the disk is full: a write was refused with {} bytes free", health.free_bytes)),
        DiskState::Failing => Some("the disk reports input/output errors; see the system's log".to_owned()),
    }
}
