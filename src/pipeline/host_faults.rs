//! Faults that a twin's script lets the host itself suffer. They strike at the edges of the pipeline, which does not know.

use std::sync::Arc;

use mimicd_device::HostTime;
use mimicd_sim::TruthLog;

use crate::record::{DiskFault, RecordDisk};

/// The disk that a recording goes to: the system's, under the script where there is a twin. `clock` gives host time.
pub(super) fn disk(truth: Option<&TruthLog>, clock: impl Fn() -> HostTime + Send + Sync + 'static) -> RecordDisk {
    let Some(truth) = truth.filter(|truth| truth.host_faults().disk_ever_fails()).cloned() else {
        return RecordDisk::system();
    };
    RecordDisk::with_faults(Arc::new(move || {
        let universe = truth.universe(clock());
        let faults = truth.host_faults();
        if faults.disk_is_full(universe) {
            return Some(DiskFault::Full);
        }
        if faults.disk_is_failing(universe) {
            return Some(DiskFault::Failing);
        }
        faults.disk_bytes_per_s(universe).map(|rate| DiskFault::Slow { bytes_per_s: rate as f64 })
    }))
}

/// Whether the pose network's next answer is to be spoilt.
pub(super) fn network_is_nan(truth: &TruthLog, now: HostTime) -> bool {
    truth.host_faults().network_is_nan(truth.universe(now))
}
