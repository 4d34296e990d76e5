//! A disk that does everything and writes it down.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::record::disk::{Disk, DiskFile, OsDisk};

/// One operation, complete. Paths are below the folder of the log.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create { file: usize, path: PathBuf },
    Write { file: usize, offset: u64, bytes: Vec<u8> },
    Sync { file: usize },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
    SyncFolder { path: PathBuf },
    CreateFolder { path: PathBuf },
}

#[derive(Default)]
struct Log {
    ops: Vec<Op>,
    files: usize,
}

/// The operating system's disk with a log.
pub(super) struct LogDisk {
    root: PathBuf,
    log: Arc<Mutex<Log>>,
}

impl LogDisk {
    pub(super) fn new(root: &Path) -> Arc<Self> {
        Arc::new(Self { root: root.to_owned(), log: Arc::default() })
    }

    /// What was done.
    pub(super) fn take(&self) -> Vec<Op> {
        std::mem::take(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner).ops)
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).expect("the recorder stays in its folder").to_owned()
    }

    /// Does and notes in one piece, so that the log is in the order of the effects.
    fn noted<T>(&self, op: Op, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act()?;
        log.ops.push(op);
        Ok(done)
    }
}

struct LogFile {
    inner: Arc<dyn DiskFile>,
    number: usize,
    log: Arc<Mutex<Log>>,
}

impl DiskFile for LogFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.write_at(offset, bytes)?;
        log.ops.push(Op::Write { file: self.number, offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.ops.push(Op::Sync { file: self.number });
        Ok(())
    }
}

impl Disk for LogDisk {
    fn create(&self, path: &Path, reserve_bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = OsDisk.create(path, reserve_bytes)?;
        let number = log.files;
        log.files += 1;
        log.ops.push(Op::Create { file: number, path: self.below(path) });
        Ok(Arc::new(LogFile { inner, number, log: Arc::clone(&self.log) }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        OsDisk.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.noted(Op::Rename { from: self.below(from), to: self.below(to) }, || OsDisk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.noted(Op::Remove { path: self.below(path) }, || OsDisk.remove(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // The folder above the first of the log is safe from the start.
        let Ok(below) = path.strip_prefix(&self.root) else { return Ok(()) };
        self.noted(Op::SyncFolder { path: below.to_owned() }, || Ok(()))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.noted(Op::CreateFolder { path: self.below(path) }, || OsDisk.create_folder(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list(path)
    }

    fn list_folders(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list_folders(path)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(1 << 40)
    }
}
