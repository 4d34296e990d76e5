//! Which disk a recording goes to.

use std::sync::Arc;

use super::{Disk, DiskFaults, FaultyDisk, OsDisk};

/// The disk that a recording is written to.
#[derive(Clone)]
pub struct RecordDisk(pub(in crate::record) Arc<dyn Disk>);

impl RecordDisk {
    /// The operating system's.
    pub fn system() -> Self {
        Self(Arc::new(OsDisk))
    }

    /// The operating system's, made slow, full or failing by a script: for rehearsals. Videos are not disturbed: their
    /// encoders write on their own.
    pub fn with_faults(faults: DiskFaults) -> Self {
        Self(Arc::new(FaultyDisk::new(faults)))
    }
}
