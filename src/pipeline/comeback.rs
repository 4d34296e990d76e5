//! A camera or an array that was lost: told of, left alone for a while, opened again.

use std::sync::atomic::Ordering;

use mimicd_device::{DeviceError, HostTime, Span};

use super::shared::{Shared, StreamStatus};
use super::{Level, Notice};
use crate::telemetry::Cause;

/// How long to wait before trying to open a lost device (again).
const REOPEN_AFTER: Span = Span::from_millis(500);

/// Whether one device is there, and when it is tried next while it is not.
#[derive(Debug)]
pub(super) struct Comeback {
    /// Where its notices come from: `camera.cam1`.
    source: String,
    reopen_at: Option<HostTime>,
}

impl Comeback {
    /// A device that is there; `source` is where its notices come from.
    pub(super) fn new(source: String) -> Self {
        Self { source, reopen_at: None }
    }

    /// Where the device's notices come from.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The device has gone.
    pub(super) fn lose(&mut self, error: &DeviceError, now: HostTime, status: &StreamStatus, shared: &Shared) {
        status.connected.store(false, Ordering::Relaxed);
        self.reopen_at = Some(now + REOPEN_AFTER);
        let text = format!("lost: {error}; the rest keeps recording, and it is opened again when it is back");
        shared.notice(Notice::new(Level::Error, self.source.as_str(), text));
    }

    /// Whether the device is there; when it was lost and it is time, `open` opens it again and `back` is told.
    pub(super) fn is_there(
        &mut self,
        now: HostTime,
        (status, shared): (&StreamStatus, &Shared),
        back: &str,
        open: impl FnOnce() -> Result<(), DeviceError>,
    ) -> bool {
        let Some(at) = self.reopen_at else { return true };
        if now < at {
            return false;
        }
        if open().is_err() {
            self.reopen_at = Some(now + REOPEN_AFTER);
            return false;
        }
        self.reopen_at = None;
        status.connected.store(true, Ordering::Relaxed);
        shared.counters.add(Cause::DeviceReopened, 1);
        shared.notice(Notice::new(Level::Warning, self.source.as_str(), back));
        true
    }
}
