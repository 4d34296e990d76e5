//! The recorder and its threads.
//!
//! ```text
//!  lanes ──► collector ──► journal ──► sealer        sync: fdatasync each flush interval, watches the free space
//!               └─► one feeder a camera ──► encoder process
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam::channel::{Receiver, Sender, unbounded};
use mimicd_device::Span;
use serde::Serialize;
use serde_json::Value;

use super::catalog::{ArrayInfo, CameraInfo, Catalog, TableId};
use super::collect::{BUFFER_BYTES, CollectState, Collector, Command, Start};
use super::disk::{Disk, OsDisk, RecordDisk};
use super::error::RecordError;
use super::forecast::{self, Forecast};
use super::health::{DiskState, LaneHealth, RecorderHealth, Shared};
use super::journal::{JournalFiles, JournalReady, JournalStep, Unsynced, journal_folder, remove_journal_folder};
use super::lane::{LaneShared, RecordLane, StreamNames, lane};
use super::lock::FolderLock;
use super::manifest::{MANIFEST, Manifest, RecordingInfo, RunEntry, Stage};
use super::origin::{ArrayOrigin, Origin};
use super::recover::{newest_ns, newest_trigger, recover_held, seal_rest};
use super::schema::TableSchema;
use super::seal::lock;
use super::seal_loop::SealLoop;
use super::video::{Feeder, keep_durable};
use super::workers::{self, Task};
use crate::config::{RecordConfig, VideoCodec};

/// Pause before a refused write is tried again.
const RETRY: Duration = Duration::from_millis(20);
/// How long the end of a recording waits for a disk that refuses to write.
const GIVE_UP: Duration = Duration::from_secs(20);
/// How often the free space is looked at.
const SPACE_EVERY: Duration = Duration::from_secs(1);

/// A running recording. Make lanes, hand them to the producing threads, drop them, then [`seal`](Self::seal).
pub struct Recorder {
    config: RecordConfig,
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    catalog: Arc<Catalog>,
    names: Arc<StreamNames>,
    origin: Arc<Origin>,
    manifest: Arc<Mutex<Manifest>>,
    health: Arc<Shared>,
    disk_stalled: Arc<AtomicBool>,
    lanes: Vec<Arc<LaneShared>>,
    commands: Sender<Command>,
    threads: Threads,
    _held: FolderLock,
}

struct Threads {
    collector: Task<Result<(), RecordError>>,
    journal: Task<Result<(), RecordError>>,
    sealer: Task<Option<SealLoop>>,
    /// Dropped: the sealer hands its work over.
    polite: Sender<()>,
    sync: Task<()>,
    videos: Option<JoinHandle<()>>,
    stop: Arc<Stop>,
}

/// Tells threads that wait for the disk that the end has come.
#[derive(Default)]
struct Stop {
    sync: AtomicBool,
    videos: Arc<AtomicBool>,
    give_up: AtomicBool,
}

/// What sealing left behind.
#[derive(Clone, Debug, Serialize)]
pub struct SealReport {
    /// The recording.
    pub folder: PathBuf,
    /// Rows of every table.
    pub rows: Vec<(String, u64)>,
    /// Samples of every array.
    pub samples: Vec<(String, u64)>,
    /// Frames in every video.
    pub video_frames: Vec<(String, u64)>,
    /// Gaps declared.
    pub gaps: usize,
    /// Items that lanes lost (all of them declared).
    pub lost: u64,
    /// Time from the call to the sealed manifest.
    pub seal_seconds: f64,
}

impl Recorder {
    /// How long the disk would last, before a recording begins.
    ///
    /// # Errors
    /// When tables clash or the disk does not say how much is free.
    pub fn forecast(
        config: &RecordConfig,
        tables: Vec<TableSchema>,
        cameras: Vec<CameraInfo>,
        arrays: Vec<ArrayInfo>,
    ) -> Result<Forecast, RecordError> {
        forecast::on_disk(&OsDisk, config, &Catalog::new(tables, cameras, arrays)?)
    }

    /// Begins a recording in a new folder under `config.folder`.
    ///
    /// `tables` are the caller's and [`standard_tables`](super::schema::standard_tables); the frames and gaps tables are
    /// added when missing.
    ///
    /// # Errors
    /// When the folder or its first files cannot be made, the disk is already within its margin, tables clash, or the
    /// encoder cannot be started.
    pub fn start(
        config: &RecordConfig,
        info: RecordingInfo,
        tables: Vec<TableSchema>,
        cameras: Vec<CameraInfo>,
        arrays: Vec<ArrayInfo>,
    ) -> Result<Self, RecordError> {
        Self::start_on(RecordDisk::system(), config, info, tables, cameras, arrays)
    }

    /// As [`start`](Self::start), on any disk.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_on(
        RecordDisk(disk): RecordDisk,
        config: &RecordConfig,
        info: RecordingInfo,
        tables: Vec<TableSchema>,
        cameras: Vec<CameraInfo>,
        arrays: Vec<ArrayInfo>,
    ) -> Result<Self, RecordError> {
        let catalog = Catalog::new(tables, cameras, arrays)?;
        let folder = config.folder.join(&info.recording);
        disk.create_folder(&folder).map_err(|error| RecordError::file(&folder, "create", error))?;
        let held = FolderLock::take(&folder)?;
        if folder.join(MANIFEST).exists() {
            return Err(RecordError::format(&folder, "holds a recording already, expected a new folder"));
        }
        Self::begin(config, folder, disk, Manifest::new(info, catalog), held)
    }

    /// Goes on in the recording in `folder`, whose writer died: recovers it, then begins another run in it. What is missing
    /// between the runs is declared.
    ///
    /// # Errors
    /// As for [`start`](Self::start) and [`recover`](super::recover), and when tables, cameras or arrays differ from
    /// those of the recording.
    pub fn resume(
        RecordDisk(disk): RecordDisk,
        config: &RecordConfig,
        folder: &Path,
        catalog: &Catalog,
    ) -> Result<Self, RecordError> {
        let held = FolderLock::take(folder)?;
        recover_held(&disk, folder)?;
        let mut manifest = Manifest::load(&*disk, folder)?;
        if manifest.catalog != *catalog {
            let reason = "has other tables, cameras or arrays, expected those of this config: start a new recording";
            return Err(RecordError::format(folder, reason));
        }
        manifest.stage = Stage::Recording;
        manifest.runs.push(RunEntry { first_epoch: manifest.sealed_epochs, ended: "running".to_owned() });
        Self::begin(config, folder.to_owned(), disk, manifest, held)
    }

    fn begin(
        config: &RecordConfig,
        folder: PathBuf,
        disk: Arc<dyn Disk>,
        manifest: Manifest,
        held: FolderLock,
    ) -> Result<Self, RecordError> {
        let start = Start { epoch: manifest.sealed_epochs, segment: 0, sequence: manifest.next_sequence };
        let free_bytes = disk.free_bytes(&folder).map_err(|error| RecordError::file(&folder, "read", error))?;
        if let Err(error) = has_room(&*disk, config, &folder, free_bytes, &manifest.catalog) {
            std::fs::remove_dir(&folder).ok(); // Only an empty one: a recording that goes on is not touched.
            return Err(error);
        }
        for part in [folder.clone(), journal_folder(&folder), folder.join("tables"), folder.join("video")] {
            disk.create_folder(&part).map_err(|error| RecordError::file(&part, "create", error))?;
        }
        manifest.store(&*disk, &folder)?;
        let above = folder.parent().unwrap_or(Path::new("."));
        disk.sync_folder(above).map_err(|error| RecordError::file(above, "sync", error))?;

        let catalog = Arc::new(manifest.catalog.clone());
        let names = Arc::new(StreamNames::new(&catalog));
        let info = manifest.info.clone();
        let feeders = start_feeders(config, &folder, &manifest)?;
        let health = Arc::new(Shared::new(catalog.cameras.len()));
        health.free_bytes.store(free_bytes, Ordering::Relaxed);
        let manifest = Arc::new(Mutex::new(manifest));
        let disk_stalled = Arc::new(AtomicBool::new(false));
        let (commands, orders) = unbounded();
        let (steps, todo) = unbounded();
        let (recycle, free) = unbounded();
        for _ in 0..config.journal_buffer_mib {
            recycle.send(Vec::with_capacity(BUFFER_BYTES)).expect("the receiver is here");
        }
        let collector = Collector {
            config: config.clone(),
            folder: folder.clone(),
            catalog: Arc::clone(&catalog),
            names: Arc::clone(&names),
            info,
            manifest: Arc::clone(&manifest),
            health: Arc::clone(&health),
            disk_stalled: Arc::clone(&disk_stalled),
            commands: orders,
            steps,
            free,
            feeders,
            state: CollectState::new(start, &catalog, Instant::now()),
        };
        let parts = Parts { config, folder: &folder, disk: &disk, manifest: &manifest, health: &health };
        let threads = parts.spawn(collector, todo, recycle)?;
        let config = config.clone();
        let lanes = Vec::new();
        Ok(Self {
            config,
            folder,
            disk,
            catalog,
            names,
            origin: Arc::default(),
            manifest,
            health,
            disk_stalled,
            lanes,
            commands,
            threads,
            _held: held,
        })
    }

    /// After [`resume`](Self::resume), for producers that count anew: lanes made from now on take `first_trigger` for the
    /// first trigger and rig time 0, and put both where the recording stands, `now` being their beginning.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn go_on(&mut self, now: SystemTime, first_trigger: u64, period: Span) -> Result<(), RecordError> {
        let manifest = lock(&self.manifest).clone();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let elapsed = since.as_nanos() as i64 - manifest.info.started_unix_ns;
        // The system's clock may have been set back: the recording's own never goes back.
        let newest = newest_ns(&manifest).unwrap_or(0);
        let time = elapsed.max(newest + period.nanos());
        let (last, last_ns) = newest_trigger(&self.folder, &manifest)?.unwrap_or((-1, time - period.nanos()));
        let missed = (time - last_ns) as f64 / period.nanos() as f64;
        let next = last + (missed.round() as i64).max(1);
        let arrays = self.catalog.arrays.iter().map(|array| {
            let known = manifest.arrays.get(&array.table()).copied().unwrap_or_default();
            ArrayOrigin::new(known.end as i64, known.end_ns)
        });
        let arrays = arrays.collect();
        self.origin = Arc::new(Origin { time: Span::from_nanos(time), triggers: next - first_trigger as i64, arrays });
        Ok(())
    }

    /// Where the recording lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The table called `name`, for [`RecordLane::row`].
    ///
    /// # Errors
    /// When there is none.
    pub fn table(&self, name: &str) -> Result<TableId, RecordError> {
        self.catalog.table(name)
    }

    /// Another way in, for one producing thread.
    pub fn lane(&mut self, name: &str) -> RecordLane {
        let row_bytes = self.config.lane_kib << 10;
        let (writer, reader) = lane(name, &self.catalog, &self.names, &self.origin, &self.disk_stalled, row_bytes);
        self.lanes.push(Arc::clone(&reader.shared));
        self.commands.send(Command::Lane(reader)).ok(); // A collector that is gone is reported by seal().
        writer
    }

    /// Adds a fact to the manifest: clock maps, real-time state, another layer's counters. Written at the next epoch.
    pub fn note(&self, key: &str, value: Value) {
        lock(&self.manifest).notes.insert(key.to_owned(), value);
    }

    /// How the recorder is doing.
    pub fn health(&self) -> RecorderHealth {
        let lanes = self.lanes.iter().map(|lane| LaneHealth {
            name: lane.name.clone(),
            taken: lane.taken.load(Ordering::Relaxed),
            lost: lane.lost.load(Ordering::Relaxed),
        });
        self.health.snapshot(lanes.collect(), self.config.disk_margin_bytes)
    }

    /// Ends the recording: empties the lanes, finishes the videos, seals what is left, writes the final manifest.
    ///
    /// # Errors
    /// When something could not be sealed. The journal is then still there and [`recover`](super::recover) goes on.
    pub fn seal(self) -> Result<SealReport, RecordError> {
        let began = Instant::now();
        let lost = self.health().lost();
        let Threads { collector, journal, sealer, polite, sync, videos, stop } = self.threads;
        self.commands.send(Command::Stop).ok(); // A collector that is gone is reported by its join.
        let sealer = hurry(sealer, polite)?;
        let collected = collector.join().map_err(|_| RecordError::ThreadEnded { thread: "collector" });
        stop.videos.store(true, Ordering::Release);
        let videos =
            videos.map_or(Ok(()), JoinHandle::join).map_err(|_| RecordError::ThreadEnded { thread: "video sync" });
        let deadline = Instant::now() + GIVE_UP;
        while !journal.is_finished() {
            if Instant::now() > deadline {
                stop.give_up.store(true, Ordering::Release);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let journaled = journal.join().map_err(|_| RecordError::ThreadEnded { thread: "journal" });
        let sealed = sealer.join().map_err(|_| RecordError::ThreadEnded { thread: "sealer" });
        stop.sync.store(true, Ordering::Release);
        let synced = sync.join().map_err(|_| RecordError::ThreadEnded { thread: "sync" });
        collected??;
        journaled??;
        synced?;
        videos?;
        // Whatever stopped the sealing may have passed: the journal has everything, so it is tried once more.
        if sealed?.is_err() {
            seal_rest(&self.disk, &self.folder, &self.manifest)?;
        }
        let mut manifest = lock(&self.manifest);
        manifest.stage = Stage::Sealed;
        if let Some(run) = manifest.runs.last_mut() {
            run.ended = "stopped".to_owned();
        }
        manifest.store(&*self.disk, &self.folder)?;
        remove_journal_folder(&self.folder);
        Ok(report(&manifest, self.folder.clone(), lost, began.elapsed()))
    }
}

/// Whether the disk may be begun on.
fn has_room(
    disk: &dyn Disk,
    config: &RecordConfig,
    folder: &Path,
    free_bytes: u64,
    catalog: &Catalog,
) -> Result<(), RecordError> {
    let (path, minutes) = (folder.to_owned(), config.refuse_below_minutes);
    if free_bytes <= config.disk_margin_bytes {
        return Err(RecordError::DiskFull { path, free_bytes, margin_bytes: config.disk_margin_bytes });
    }
    let forecast = forecast::on_disk(disk, config, catalog)?;
    if forecast.seconds() < 60.0 * f64::from(minutes) {
        return Err(RecordError::DiskBudget { path, forecast: forecast.to_string(), minutes });
    }
    Ok(())
}

fn report(manifest: &Manifest, folder: PathBuf, lost: u64, took: Duration) -> SealReport {
    SealReport {
        folder,
        rows: manifest.tables.iter().map(|(name, table)| (name.clone(), table.rows)).collect(),
        samples: manifest.arrays.iter().map(|(name, array)| (name.clone(), array.samples)).collect(),
        video_frames: manifest.videos.iter().map(|video| (video.file.clone(), video.counted)).collect(),
        gaps: manifest.gaps.len(),
        lost,
        seal_seconds: took.as_secs_f64(),
    }
}

fn start_feeders(
    config: &RecordConfig,
    folder: &Path,
    manifest: &Manifest,
) -> Result<Vec<Option<Feeder>>, RecordError> {
    let cameras = &manifest.catalog.cameras;
    if config.video == VideoCodec::None {
        return Ok(cameras.iter().map(|_| None).collect());
    }
    let first_part = |name: &str| {
        let parts = manifest.videos.iter().filter(|video| video.camera == name);
        parts.map(|video| video.part + 1).max().unwrap_or(0)
    };
    let start =
        |camera: &CameraInfo| Feeder::start(config, folder.to_owned(), camera, first_part(&camera.name)).map(Some);
    cameras.iter().map(start).collect()
}

/// What the threads are made of.
struct Parts<'a> {
    config: &'a RecordConfig,
    folder: &'a Path,
    disk: &'a Arc<dyn Disk>,
    manifest: &'a Arc<Mutex<Manifest>>,
    health: &'a Arc<Shared>,
}

impl Parts<'_> {
    fn flush(&self) -> Duration {
        Duration::from_millis(u64::from(self.config.flush_millis))
    }

    fn spawn(
        &self,
        collector: Collector,
        todo: Receiver<JournalStep>,
        recycle: Sender<Vec<u8>>,
    ) -> Result<Threads, RecordError> {
        let stop = Arc::new(Stop::default());
        let (ready, sealing) = unbounded();
        let reserve_bytes = 16 << 20;
        let files = JournalFiles::new(Arc::clone(self.disk), self.folder, reserve_bytes);
        let unsynced = files.unsynced();

        let (health, halt) = (Arc::clone(self.health), Arc::clone(&stop));
        let pace = Pace { slow: 5 * self.flush(), backlog: self.config.journal_buffer_mib / 2 };
        let folder = self.folder.to_owned();
        let journal = spawn("rec-journal", move || {
            run_journal(files, &todo, &recycle, &ready, &health, &halt, pace)
                .map_err(|error| RecordError::file(&journal_folder(&folder), "write", error))
        })?;
        let (polite, until) = unbounded();
        let (disk, manifest) = (Arc::clone(self.disk), Arc::clone(self.manifest));
        let sealing = SealLoop::new(disk, self.folder.to_owned(), manifest, Arc::clone(self.health), sealing);
        let sealer = spawn("rec-sealer", move || sealing.run_politely(&until))?;
        let watch = Watch {
            disk: Arc::clone(self.disk),
            folder: self.folder.to_owned(),
            health: Arc::clone(self.health),
            flush: self.flush(),
            margin_bytes: self.config.disk_margin_bytes,
        };
        let halt = Arc::clone(&stop);
        let sync = spawn("rec-sync", move || watch.run(&unsynced, &halt))?;
        let collector = spawn("rec-collector", move || collector.run())?;
        let has_videos = self.config.video != VideoCodec::None;
        let videos = has_videos.then(|| keep_durable(self.folder, &stop.videos)).transpose()?;
        Ok(Threads { collector, journal, sealer, polite, sync, videos, stop })
    }
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<Task<T>, RecordError> {
    workers::start(name, body).map_err(|error| RecordError::file(Path::new(name), "start thread", error))
}

/// When writing counts as slow.
#[derive(Clone, Copy)]
struct Pace {
    /// One write took longer.
    slow: Duration,
    /// More buffers wait.
    backlog: usize,
}

/// Writes what the collector hands over; a refused write is tried again until it succeeds or the recording gives up.
///
/// # Errors
/// What the system said last, when the recording gave up: what still waited is lost, and recovery declares it.
fn run_journal(
    mut files: JournalFiles,
    todo: &Receiver<JournalStep>,
    recycle: &Sender<Vec<u8>>,
    ready: &Sender<JournalReady>,
    health: &Shared,
    stop: &Stop,
    pace: Pace,
) -> std::io::Result<()> {
    let mut done = Vec::new();
    for step in todo {
        let began = Instant::now();
        while let Err(error) = files.step(&step, &mut done) {
            health.set_write_state(DiskState::of_error(&error));
            health.write_refused_nanos.store(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
            if stop.give_up.load(Ordering::Acquire) {
                return Err(error);
            }
            std::thread::sleep(RETRY);
        }
        health.write_refused_nanos.store(0, Ordering::Relaxed);
        let is_slow = began.elapsed() > pace.slow || todo.len() > pace.backlog;
        health.set_write_state(if is_slow { DiskState::Slow } else { DiskState::Normal });
        for item in done.drain(..) {
            ready.send(item).ok(); // The sealer may have stopped; the segments stay for recovery.
        }
        if let JournalStep::Write(mut buffer) = step {
            health.journal_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            health.unsealed_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            buffer.clear();
            recycle.send(buffer).ok(); // The collector may already have ended.
        }
    }
    Ok(())
}

/// Lets a thread of ordinary priority go on with the sealing: now someone waits for it. A thread cannot raise its own priority
/// again without privileges.
fn hurry(sealer: Task<Option<SealLoop>>, polite: Sender<()>) -> Result<Task<Result<(), RecordError>>, RecordError> {
    drop(polite);
    let rest = sealer.join().map_err(|_| RecordError::ThreadEnded { thread: "sealer" })?;
    spawn("rec-seal-end", move || rest.map_or(Ok(()), SealLoop::run))
}

/// Syncs the journal and watches the free space.
struct Watch {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    health: Arc<Shared>,
    flush: Duration,
    margin_bytes: u64,
}

impl Watch {
    fn run(&self, unsynced: &Unsynced, stop: &Stop) {
        let began = Instant::now();
        let free_at_start = self.health.free_bytes.load(Ordering::Relaxed);
        let mut looked = began;
        let mut synced = began;
        loop {
            let now = Instant::now();
            let is_last = stop.sync.load(Ordering::Acquire);
            self.sync(unsynced, now, &mut synced);
            if now.duration_since(looked) >= SPACE_EVERY {
                looked = now;
                self.look_at_space(free_at_start, now.duration_since(began));
            }
            if is_last {
                return;
            }
            std::thread::sleep(self.flush.saturating_sub(now.elapsed()).max(Duration::from_millis(1)));
        }
    }

    fn sync(&self, unsynced: &Unsynced, began: Instant, last: &mut Instant) {
        let result = unsynced.sync(&*self.disk, &self.folder);
        let took = began.elapsed();
        if result.is_ok() {
            *last = Instant::now();
        }
        let refused = if result.is_err() { last.elapsed() } else { Duration::ZERO };
        self.health.sync_refused_nanos.store(refused.as_nanos() as u64, Ordering::Relaxed);
        self.health.sync_nanos_max.fetch_max(took.as_nanos() as u64, Ordering::Relaxed);
        self.health.set_sync_state(match result {
            Err(error) => DiskState::of_error(&error),
            Ok(()) if took > 5 * self.flush => DiskState::Slow,
            Ok(()) => DiskState::Normal,
        });
    }

    fn look_at_space(&self, free_at_start: u64, elapsed: Duration) {
        let Ok(free) = self.disk.free_bytes(&self.folder) else { return };
        self.health.free_bytes.store(free, Ordering::Relaxed);
        let filled = free_at_start.saturating_sub(free) as f64;
        self.health.fill_bytes_per_second.store((filled / elapsed.as_secs_f64()) as u64, Ordering::Relaxed);
        let is_low = free <= self.health.needed_bytes(self.margin_bytes);
        self.health.set_space_state(if is_low { DiskState::NearlyFull } else { DiskState::Normal });
    }
}
