//! The real file system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use super::{Disk, DiskFile};

/// Files are readable by the service's group, writable by the service alone.
const FILE_MODE: u32 = 0o640;

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::record) struct OsDisk;

impl DiskFile for File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn give_back(&self, bytes: u64) {
        // Also to the present length: the reserved blocks behind it go.
        self.set_len(bytes).ok();
    }
}

impl Disk for OsDisk {
    fn create(&self, path: &Path, reserve_bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
        if reserve_bytes > 0 {
            // Reserving is an optimisation; file systems without it (tmpfs variants, NFS) lose nothing but speed.
            rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, reserve_bytes).ok();
        }
        Ok(Arc::new(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        entries(path, std::fs::FileType::is_file)
    }

    fn list_folders(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        entries(path, std::fs::FileType::is_dir)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let space = rustix::fs::statvfs(path)?;
        Ok(space.f_bavail * space.f_frsize)
    }
}

fn entries(path: &Path, is_wanted: fn(&std::fs::FileType) -> bool) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if is_wanted(&entry.file_type()?) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn reserved_room_is_given_back() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("segment");
        let file = OsDisk.create(&path, 8 << 20).expect("made");
        file.write_at(0, &[7; 5_000]).expect("written");
        file.give_back(5_000);
        let metadata = std::fs::metadata(&path).expect("it is there");
        assert_eq!(metadata.len(), 5_000);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks of 512 B are still held", metadata.blocks());
        assert_eq!(std::fs::read(&path).expect("reads"), [7; 5_000]);
    }
}
