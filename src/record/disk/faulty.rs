//! A disk that a fault script makes slow, full or failing: for rehearsals on the twin and for the recorder's own tests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Disk, DiskFile, OsDisk};

/// `ENOSPC` of the kernel: no space is left on the device.
const ENOSPC: i32 = 28;
/// `EIO` of the kernel: an input/output error.
const EIO: i32 = 5;

/// How often a write that waits asks whether the disk is still slow.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longest wait for one write: a rate of nothing must not overflow the arithmetic of time.
const FOREVER: Duration = Duration::from_secs(3_600);

/// What ails a disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskFault {
    /// Every write is refused for want of space.
    Full,
    /// Every write is refused with an input/output error.
    Failing,
    /// Writes take as long as they would at this rate.
    Slow {
        /// Bytes a second, above zero.
        bytes_per_s: f64,
    },
}

/// What ails the disk now; asked before every write.
pub type DiskFaults = Arc<dyn Fn() -> Option<DiskFault> + Send + Sync>;

/// The operating system's disk under a fault script. Reading is never disturbed.
pub(in crate::record) struct FaultyDisk(Arc<Script>);

struct Script {
    faults: DiskFaults,
    /// When a slow disk has taken everything it was given so far.
    free_at: Mutex<Instant>,
}

impl FaultyDisk {
    pub(in crate::record) fn new(faults: DiskFaults) -> Self {
        Self(Arc::new(Script { faults, free_at: Mutex::new(Instant::now()) }))
    }
}

impl Script {
    fn suffer(&self, bytes: usize) -> io::Result<()> {
        match (self.faults)() {
            None => Ok(()),
            Some(DiskFault::Full) => Err(io::Error::from_raw_os_error(ENOSPC)),
            Some(DiskFault::Failing) => Err(io::Error::from_raw_os_error(EIO)),
            Some(DiskFault::Slow { bytes_per_s }) => {
                self.wait_for(bytes, bytes_per_s);
                Ok(())
            }
        }
    }

    /// Until a disk of this rate would have taken `bytes`, or the script says that it is slow no longer.
    fn wait_for(&self, bytes: usize, bytes_per_s: f64) {
        let takes = Duration::try_from_secs_f64(bytes as f64 / bytes_per_s).unwrap_or(FOREVER);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let until = (*free_at).max(Instant::now()) + takes.min(FOREVER);
        *free_at = until;
        drop(free_at);
        while Instant::now() < until && matches!((self.faults)(), Some(DiskFault::Slow { .. })) {
            std::thread::sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now())));
        }
        if Instant::now() < until {
            *self.free_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }
}

struct FaultyFile(Arc<dyn DiskFile>, Arc<Script>);

impl DiskFile for FaultyFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.1.suffer(bytes.len())?;
        self.0.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.suffer(0)?;
        self.0.sync()
    }

    fn give_back(&self, bytes: u64) {
        self.0.give_back(bytes);
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path, reserve_bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.0.suffer(0)?;
        Ok(Arc::new(FaultyFile(OsDisk.create(path, reserve_bytes)?, Arc::clone(&self.0))))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        OsDisk.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.suffer(0)?;
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.0.suffer(0)?;
        OsDisk.sync_folder(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.0.suffer(0)?;
        OsDisk.create_folder(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list(path)
    }

    fn list_folders(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list_folders(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        OsDisk.free_bytes(path)
    }
}
