//! Segment files: opened, written and handed on in the order that recovery relies on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{journal_folder, segment_path};
use crate::record::disk::{Disk, DiskFile};

/// What the journal is asked to do, in order.
#[derive(Debug)]
pub(in crate::record) enum JournalStep {
    /// Close the segment (if one is open) and open another.
    Open { epoch: u32, segment: u32 },
    /// Append to the open segment. The memory goes back to the one who filled it.
    Write(Vec<u8>),
    /// Close the segment; the epoch has no other.
    EndEpoch { epoch: u32 },
}

/// What has become ready for sealing.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::record) enum JournalReady {
    /// A segment is complete.
    Segment(PathBuf),
    /// All segments of an epoch have been named.
    Epoch(u32),
}

/// The open segment and those waiting for their sync.
pub(in crate::record) struct JournalFiles {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    reserve_bytes: u64,
    open: Option<OpenSegment>,
    unsynced: Arc<Unsynced>,
}

struct OpenSegment {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    offset: u64,
}

/// What the sync thread has still to do.
#[derive(Default)]
pub(in crate::record) struct Unsynced(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    files: Vec<Arc<dyn DiskFile>>,
    names: bool,
}

impl Unsynced {
    /// Makes everything written so far durable, names too. Called by the sync thread; waits for the disk.
    ///
    /// # Errors
    /// Whatever the system says; what could not be synced is tried again at the next call.
    pub(in crate::record) fn sync(&self, disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        let pending = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let result = Self::sync_all(&pending, disk, folder);
        if result.is_err() {
            let mut again = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            again.files.extend(pending.files);
            again.names |= pending.names;
        }
        result
    }

    fn sync_all(pending: &Pending, disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        for file in &pending.files {
            file.sync()?;
        }
        if pending.names { disk.sync_folder(&journal_folder(folder)) } else { Ok(()) }
    }

    fn wrote(&self, file: &Arc<dyn DiskFile>, is_new: bool) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.names |= is_new;
        if !pending.files.iter().any(|known| Arc::ptr_eq(known, file)) {
            pending.files.push(Arc::clone(file));
        }
    }
}

impl JournalFiles {
    /// Segments under `folder`, each with room reserved.
    pub(in crate::record) fn new(disk: Arc<dyn Disk>, folder: &Path, reserve_bytes: u64) -> Self {
        Self { disk, folder: folder.to_owned(), reserve_bytes, open: None, unsynced: Arc::default() }
    }

    /// What the sync thread needs.
    pub(in crate::record) fn unsynced(&self) -> Arc<Unsynced> {
        Arc::clone(&self.unsynced)
    }

    /// Does one step and adds what has become ready. After a failure the same step may be tried again.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(in crate::record) fn step(&mut self, step: &JournalStep, ready: &mut Vec<JournalReady>) -> io::Result<()> {
        match step {
            JournalStep::Open { epoch, segment } => {
                self.close(ready);
                self.open_segment(*epoch, *segment)
            }
            JournalStep::Write(bytes) => self.append(bytes),
            JournalStep::EndEpoch { epoch } => {
                self.close(ready);
                ready.push(JournalReady::Epoch(*epoch));
                Ok(())
            }
        }
    }

    fn close(&mut self, ready: &mut Vec<JournalReady>) {
        let Some(OpenSegment { path, file, offset }) = self.open.take() else { return };
        // A slow stream fills little of it, and what waits to be sealed must not hold more than it is.
        file.give_back(offset);
        ready.push(JournalReady::Segment(path));
    }

    fn open_segment(&mut self, epoch: u32, segment: u32) -> io::Result<()> {
        let path = segment_path(&self.folder, epoch, segment);
        let file = self.disk.create(&path, self.reserve_bytes)?;
        self.unsynced.wrote(&file, true);
        self.open = Some(OpenSegment { path, file, offset: 0 });
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let open = self.open.as_mut().expect("the collector opens a segment before it writes");
        open.file.write_at(open.offset, bytes)?;
        open.offset += bytes.len() as u64;
        self.unsynced.wrote(&open.file, false);
        Ok(())
    }
}
