//! The few file-system operations that a recording's safety rests on, behind a trait, so that tests can lose power.
//!
//! Rules the recorder keeps, and the model in the tests enforces: data not followed by [`DiskFile::sync`] may be lost,
//! torn or reordered; a file's *name* is not safe before [`Disk::sync_folder`] of its folder; a rename is atomic but
//! not durable before the folder's sync.

mod choice;
mod faulty;
mod os;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use choice::RecordDisk;
use faulty::FaultyDisk;
pub use faulty::{DiskFault, DiskFaults};
pub(super) use os::OsDisk;

/// A file open for writing. Shared between the thread that writes and the one that syncs.
pub(super) trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`. Repeating a failed write at the same offset is safe.
    ///
    /// # Errors
    /// Whatever the system says; part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// Whatever the system says; nothing written since the last sync may then be trusted.
    fn sync(&self) -> io::Result<()>;

    /// Gives back room that was reserved behind the first `bytes`. It may fail silently: only space is at stake.
    fn give_back(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// A file system.
pub(super) trait Disk: Send + Sync {
    /// Creates (or empties) a file, with room for `reserve_bytes` where the system can reserve.
    ///
    /// # Errors
    /// Whatever the system says.
    fn create(&self, path: &Path, reserve_bytes: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// All bytes of a file.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Renames a file over whatever stands at `to`, atomically.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; one that is not there is no failure.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder and those above it.
    ///
    /// # Errors
    /// Whatever the system says.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Files directly in a folder, sorted by name; none when the folder is not there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Folders directly in a folder, sorted by name; none when the folder is not there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn list_folders(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Bytes that may still be written under `path`.
    ///
    /// # Errors
    /// Whatever the system says.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// Writes a whole small file so that a reader finds the old bytes or the new ones, never a mixture.
///
/// # Errors
/// Whatever the system says; the old file is then still there.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    let file = disk.create(&temporary, 0)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(&temporary, path)?;
    disk.sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Name of a file that is being written: the final name and `.tmp`. Recovery removes such files.
pub(super) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
