//! The sealing thread: below everything else while data comes in, at ordinary priority once someone waits for its end.
//!
//! A disk that refuses costs time, not sealing: what has been fed since the last sealed epoch is remembered, and the epoch is
//! begun again from its segments, which go only when it is sealed.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, select};

use super::disk::Disk;
use super::error::RecordError;
use super::health::Shared;
use super::journal::JournalReady;
use super::manifest::Manifest;
use super::seal::Sealer;

/// Pause before an epoch that the disk refused is begun again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end of a recording goes on trying.
const GIVE_UP: Duration = Duration::from_secs(20);

/// Seals segments as they become complete.
pub(super) struct SealLoop {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    manifest: Arc<Mutex<Manifest>>,
    health: Arc<Shared>,
    ready: Receiver<JournalReady>,
    sealer: Sealer,
    /// Since the last sealed epoch; so many of them are done.
    fed: Vec<JournalReady>,
    done: usize,
    epoch_bytes: u64,
}

impl SealLoop {
    /// Of what comes out of `ready`.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        manifest: Arc<Mutex<Manifest>>,
        health: Arc<Shared>,
        ready: Receiver<JournalReady>,
    ) -> Self {
        let sealer = Sealer::new(Arc::clone(&disk), &folder, Arc::clone(&manifest));
        Self { disk, folder, manifest, health, ready, sealer, fed: Vec::new(), done: 0, epoch_bytes: 0 }
    }

    /// Until nobody is polite any more: the loop is then handed back. `None`: all is sealed.
    pub(super) fn run_politely(mut self, polite: &Receiver<()>) -> Option<Self> {
        // Below the threads that take data in; a refusal changes nothing but politeness.
        rustix::process::setpriority_process(Some(rustix::thread::gettid()), 5).ok();
        loop {
            select! {
                recv(self.ready) -> item => self.fed.push(item.ok()?),
                recv(polite) -> _ => return Some(self),
            }
            while self.advance().is_err() {
                self.begin_again();
                if polite.recv_timeout(RETRY) == Err(RecvTimeoutError::Disconnected) {
                    return Some(self);
                }
            }
        }
    }

    /// To the end.
    ///
    /// # Errors
    /// What the disk said last, when it refused for [`GIVE_UP`].
    pub(super) fn run(mut self) -> Result<(), RecordError> {
        self.insist()?;
        while let Ok(item) = self.ready.recv() {
            self.fed.push(item);
            self.insist()?;
        }
        Ok(())
    }

    fn insist(&mut self) -> Result<(), RecordError> {
        let began = Instant::now();
        while let Err(error) = self.advance() {
            self.begin_again();
            if began.elapsed() > GIVE_UP {
                return Err(error);
            }
            std::thread::sleep(RETRY);
        }
        Ok(())
    }

    fn begin_again(&mut self) {
        self.sealer = Sealer::new(Arc::clone(&self.disk), &self.folder, Arc::clone(&self.manifest));
        (self.done, self.epoch_bytes) = (0, 0);
    }

    /// Does what is fed and not done.
    fn advance(&mut self) -> Result<(), RecordError> {
        let result = self.try_advance();
        self.health.sealing_stopped.store(result.is_err(), Ordering::Relaxed);
        result
    }

    fn try_advance(&mut self) -> Result<(), RecordError> {
        while let Some(item) = self.fed.get(self.done) {
            match item {
                JournalReady::Segment(path) => {
                    self.epoch_bytes += std::fs::metadata(path).map(|metadata| metadata.len()).unwrap_or(0);
                    self.sealer.segment(path)?;
                    self.done += 1;
                }
                JournalReady::Epoch(epoch) => {
                    self.sealer.end_epoch(*epoch)?;
                    self.fed.drain(..=self.done);
                    self.done = 0;
                    self.health.epochs_sealed.fetch_add(1, Ordering::Relaxed);
                    self.health.unsealed_bytes.fetch_sub(std::mem::take(&mut self.epoch_bytes), Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }
}
