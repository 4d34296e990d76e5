//! The thread that feeds one camera's encoder.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mimicd_device::Frame;

use super::encoder::{Encoder, video_path};
use crate::config::RecordConfig;
use crate::record::catalog::CameraInfo;
use crate::record::error::RecordError;
use crate::stream;

/// How long a stopping encoder may take to finish its file.
const FINISH_PATIENCE: Duration = Duration::from_secs(30);
/// Encoders that died this often are not started again.
const PARTS_MAX: i32 = 100;
/// How long the feeder sleeps when nothing is there.
const IDLE: Duration = Duration::from_millis(20);

/// One numbered frame on its way to the encoder.
struct Numbered {
    frame: Arc<Frame>,
    part: i32,
}

/// What became of a frame that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum Offer {
    /// It will be this frame of this part.
    Taken {
        /// Which file.
        part: i32,
        /// Position in it.
        frame: i64,
    },
    /// The queue is full or there is no encoder any more.
    Refused,
}

/// One file, complete.
#[derive(Clone, Debug)]
pub(in crate::record) struct FinishedPart {
    pub(in crate::record) part: i32,
    pub(in crate::record) path: PathBuf,
    /// Whether the encoder ended before it was told to.
    pub(in crate::record) died: bool,
}

/// State that the feeding thread publishes.
#[derive(Debug, Default)]
struct Shared {
    /// Part that new frames belong to; negative: video has been given up.
    part: AtomicI32,
    stop: AtomicBool,
    written: AtomicU64,
    deaths: AtomicU64,
}

/// A camera's video.
pub(in crate::record) struct Feeder {
    queue: Option<stream::Producer<Numbered>>,
    doorbell: Arc<stream::Doorbell>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Vec<FinishedPart>>>,
    part: i32,
    next: i64,
    offered: Vec<u64>,
}

impl Feeder {
    /// Starts the encoder of part `first_part` and its thread.
    pub(in crate::record) fn start(
        config: &RecordConfig,
        folder: PathBuf,
        camera: &CameraInfo,
        first_part: i32,
    ) -> Result<Self, RecordError> {
        let doorbell = stream::Doorbell::new();
        let (queue, frames) = stream::ring_with_doorbell(config.video_queue_frames, &doorbell);
        let shared = Arc::new(Shared::default());
        shared.part.store(first_part, Ordering::Release);
        let encoder = Encoder::start(config, camera, &video_path(&folder, &camera.name, first_part, config.video))?;
        let worker = Worker {
            config: config.clone(),
            folder,
            camera: camera.clone(),
            frames,
            doorbell: Arc::clone(&doorbell),
            shared: Arc::clone(&shared),
            part: first_part,
            finished: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("video-{}", camera.name))
            .spawn(move || worker.run(encoder))
            .map_err(|reason| RecordError::Encoder { program: "thread".to_owned(), reason })?;
        let offered = vec![0; first_part as usize + 1];
        Ok(Self { queue: Some(queue), doorbell, shared, thread: Some(thread), part: first_part, next: 0, offered })
    }

    /// Offers a frame; never waits.
    pub(in crate::record) fn offer(&mut self, frame: &Arc<Frame>) -> Offer {
        let part = self.shared.part.load(Ordering::Acquire);
        let Some(queue) = self.queue.as_mut().filter(|_| part >= 0) else { return Offer::Refused };
        if part != self.part {
            (self.part, self.next) = (part, 0);
            self.offered.resize(part as usize + 1, 0);
        }
        if queue.push(Numbered { frame: Arc::clone(frame), part }).is_err() {
            return Offer::Refused;
        }
        let frame = self.next;
        self.next += 1;
        self.offered[part as usize] = self.next as u64;
        Offer::Taken { part, frame }
    }

    /// Frames numbered for `part`.
    pub(in crate::record) fn offered(&self, part: i32) -> u64 {
        self.offered.get(part as usize).copied().unwrap_or(0)
    }

    /// Frames written to encoders so far, and encoders that died.
    pub(in crate::record) fn progress(&self) -> (u64, u64) {
        (self.shared.written.load(Ordering::Relaxed), self.shared.deaths.load(Ordering::Relaxed))
    }

    /// Begins to stop: what is queued is still encoded. Returns at once, so that all cameras finish side by side.
    pub(in crate::record) fn stop(&mut self) {
        self.queue = None;
        self.shared.stop.store(true, Ordering::Release);
        self.doorbell.ring();
    }

    /// Waits until all files are complete.
    pub(in crate::record) fn finish(&mut self) -> Result<Vec<FinishedPart>, RecordError> {
        let Some(thread) = self.thread.take() else { return Ok(Vec::new()) };
        thread.join().map_err(|_| RecordError::ThreadEnded { thread: "video" })
    }
}

struct Worker {
    config: RecordConfig,
    folder: PathBuf,
    camera: CameraInfo,
    frames: stream::Consumer<Numbered>,
    doorbell: Arc<stream::Doorbell>,
    shared: Arc<Shared>,
    part: i32,
    finished: Vec<FinishedPart>,
}

impl Worker {
    fn run(mut self, first: Encoder) -> Vec<FinishedPart> {
        self.doorbell.listen();
        let mut encoder = Some(first);
        loop {
            while let Some(item) = self.frames.pop() {
                encoder = self.feed(encoder, &item);
            }
            if self.shared.stop.load(Ordering::Acquire) && self.frames.is_empty() {
                break;
            }
            self.doorbell.wait(IDLE);
        }
        if let Some(encoder) = encoder {
            let died = encoder.finish(FINISH_PATIENCE).is_err();
            self.close_part(died);
        }
        self.finished
    }

    /// Writes one frame. Frames numbered for a part that has ended are passed over: they are declared at the end.
    fn feed(&mut self, encoder: Option<Encoder>, item: &Numbered) -> Option<Encoder> {
        let mut encoder = encoder?;
        if item.part != self.part {
            return Some(encoder);
        }
        if encoder.write(&item.frame.pixels).is_ok() {
            self.shared.written.fetch_add(1, Ordering::Relaxed);
            return Some(encoder);
        }
        // The encoder has closed its input: it is dead or dying. Its file keeps what it had.
        self.shared.deaths.fetch_add(1, Ordering::Relaxed);
        encoder.finish(Duration::from_secs(1)).ok();
        self.close_part(true);
        self.part += 1;
        let path = video_path(&self.folder, &self.camera.name, self.part, self.config.video);
        let next = if self.part < PARTS_MAX { Encoder::start(&self.config, &self.camera, &path).ok() } else { None };
        self.shared.part.store(if next.is_some() { self.part } else { -1 }, Ordering::Release);
        next
    }

    fn close_part(&mut self, died: bool) {
        let path = video_path(&self.folder, &self.camera.name, self.part, self.config.video);
        self.finished.push(FinishedPart { part: self.part, path, died });
    }
}
