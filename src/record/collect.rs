//! The collector: the one thread that empties the lanes. It never touches the disk.
//!
//! Rows and blocks become journal records in megabyte buffers; frames get their place in the video and go to the camera's
//! feeder. When the disk takes nothing and all buffers are full, it leaves the data in the lanes, which then declare what
//! they lose.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender};
use mimicd_device::RigTime;

use super::catalog::{Catalog, TableId};
use super::error::RecordError;
use super::gap::{Gap, GapCause, GapUnit};
use super::health::Shared;
use super::journal::{BLOCK_HEAD_BYTES, JournalStep, RECORD_HEAD_BYTES, RecordEncoder, SegmentHeader};
use super::lane::{BlockItem, FrameItem, LaneReader, StreamNames};
use super::manifest::{Manifest, RecordingInfo, VideoEntry};
use super::schema::{RowWriter, SCHEMA_VERSION};
use super::seal::lock;
use super::video::{Feeder, FinishedPart, Offer, count_frames};
use crate::config::RecordConfig;

/// Size of one buffer.
pub(super) const BUFFER_BYTES: usize = 1 << 20;
/// Pause between passes.
const PASS: Duration = Duration::from_millis(4);
/// A segment is closed at this size even before its time.
const SEGMENT_BYTES_MAX: usize = 64 << 20;
/// At stop, lanes are emptied, and a disk that takes nothing just now is waited for, for this long at most.
const DRAIN: Duration = Duration::from_secs(20);

/// What the owner tells the collector.
pub(super) enum Command {
    /// Another lane.
    Lane(LaneReader),
    /// Empty the lanes, finish the videos, end the epoch, end.
    Stop,
}

/// Where a run begins: zero, or where the run before it ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start {
    pub(super) epoch: u32,
    pub(super) segment: u32,
    pub(super) sequence: u64,
}

/// Frames of one camera that are not in its video, not yet declared.
#[derive(Clone, Copy)]
struct Refused {
    count: i64,
    at: RigTime,
    until: RigTime,
}

/// State of the collecting thread.
pub(super) struct Collector {
    pub(super) config: RecordConfig,
    pub(super) folder: PathBuf,
    pub(super) catalog: Arc<Catalog>,
    pub(super) names: Arc<StreamNames>,
    pub(super) info: RecordingInfo,
    pub(super) manifest: Arc<Mutex<Manifest>>,
    pub(super) health: Arc<Shared>,
    pub(super) disk_stalled: Arc<AtomicBool>,
    pub(super) commands: Receiver<Command>,
    pub(super) steps: Sender<JournalStep>,
    pub(super) free: Receiver<Vec<u8>>,
    pub(super) feeders: Vec<Option<Feeder>>,
    pub(super) state: CollectState,
}

/// What changes from pass to pass.
pub(super) struct CollectState {
    lanes: Vec<LaneReader>,
    encoder: RecordEncoder,
    buffer: Option<Vec<u8>>,
    row: Vec<u8>,
    refused: Vec<Option<Refused>>,
    epoch: u32,
    segment: u32,
    in_epoch: u32,
    segment_bytes: usize,
    segment_began: Option<Instant>,
    epoch_began: Instant,
}

impl CollectState {
    pub(super) fn new(start: Start, catalog: &Catalog, now: Instant) -> Self {
        Self {
            lanes: Vec::new(),
            encoder: RecordEncoder::new(start.sequence),
            buffer: None,
            row: Vec::with_capacity(catalog.row_bytes_max()),
            refused: vec![None; catalog.cameras.len()],
            epoch: start.epoch,
            segment: start.segment,
            in_epoch: 0,
            segment_bytes: 0,
            segment_began: None,
            epoch_began: now,
        }
    }
}

impl Collector {
    /// Runs until told to stop; returns the video files.
    pub(super) fn run(mut self) -> Result<(), RecordError> {
        loop {
            let now = Instant::now();
            let is_stopping = self.obey();
            self.pass(now);
            if is_stopping {
                return self.finish();
            }
            std::thread::sleep(PASS);
        }
    }

    fn obey(&mut self) -> bool {
        let mut is_stopping = false;
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Lane(lane) => self.state.lanes.push(lane),
                Command::Stop => is_stopping = true,
            }
        }
        is_stopping
    }

    /// Empties all lanes once, rotates, hands the buffer on. Returns whether anything was there.
    fn pass(&mut self, now: Instant) -> bool {
        let mut lanes = std::mem::take(&mut self.state.lanes);
        let mut found = false;
        for lane in &mut lanes {
            found |= self.empty(lane, now);
        }
        self.state.lanes = lanes;
        self.declare_refused();
        let waiting = self.steps.len() as u64;
        self.health.buffers_waiting.store(waiting, Ordering::Relaxed);
        if waiting == 0 {
            self.hand_over();
        }
        self.rotate(now);
        found
    }

    /// Blocks and frames before rows: a loss is declared by a row that is in the lane before the item that follows it, so
    /// the declaration never falls into a later epoch than the item.
    fn empty(&mut self, lane: &mut LaneReader, now: Instant) -> bool {
        let mut found = false;
        while self.has_room(now)
            && let Some(item) = lane.blocks.pop()
        {
            found = true;
            self.block(&item);
        }
        while self.has_room(now)
            && let Some(item) = lane.frames.pop()
        {
            found = true;
            self.frame(&item);
        }
        let mut row = std::mem::take(&mut self.state.row);
        while self.has_room(now)
            && let Some(table) = lane.row(&mut row)
        {
            found = true;
            self.put_row(table, &row);
        }
        self.state.row = row;
        found
    }

    /// Whether one more record may be written: a segment is open and there is a buffer with room.
    fn has_room(&mut self, now: Instant) -> bool {
        let block = self.catalog.arrays.iter().map(|a| a.channels).max().unwrap_or(0) * 2 * 4_096;
        let record = RECORD_HEAD_BYTES + BLOCK_HEAD_BYTES + block.max(self.catalog.row_bytes_max());
        if self.state.buffer.as_ref().is_some_and(|buffer| buffer.len() + record > BUFFER_BYTES.max(4 * record)) {
            self.hand_over();
        }
        if self.state.buffer.is_none() {
            let Ok(buffer) = self.free.try_recv() else {
                self.disk_stalled.store(true, Ordering::Relaxed);
                return false;
            };
            self.disk_stalled.store(false, Ordering::Relaxed);
            self.state.buffer = Some(buffer);
        }
        if self.state.segment_began.is_none() {
            self.open_segment(now);
        }
        true
    }

    fn open_segment(&mut self, now: Instant) {
        let state = &mut self.state;
        let header = SegmentHeader {
            schema_version: SCHEMA_VERSION,
            recording: self.info.recording.clone(),
            epoch: state.epoch,
            segment: state.segment,
            in_epoch: state.in_epoch,
            first_sequence: state.encoder.sequence(),
            catalog: (*self.catalog).clone(),
            info: self.info.clone(),
        };
        let json = serde_json::to_vec(&header).expect("plain data with string keys");
        let step = JournalStep::Open { epoch: state.epoch, segment: state.segment };
        self.steps.send(step).ok(); // The journal thread outlives this one unless it panicked; seal() then reports it.
        let buffer = state.buffer.as_mut().expect("a segment is opened with a buffer at hand");
        state.encoder.header(buffer, &json);
        state.segment_began = Some(now);
        state.segment_bytes = 0;
        state.segment += 1;
        state.in_epoch += 1;
    }

    /// Closes the segment, and the epoch, when their time has come.
    fn rotate(&mut self, now: Instant) {
        let Some(began) = self.state.segment_began else { return };
        let segment = Duration::from_millis(u64::from(self.config.segment_millis));
        let epoch = Duration::from_secs(u64::from(self.config.part_seconds));
        let epoch_is_over = now.duration_since(self.state.epoch_began) >= epoch;
        let segment_is_over = now.duration_since(began) >= segment || self.state.segment_bytes >= SEGMENT_BYTES_MAX;
        if epoch_is_over {
            self.end_epoch(now);
        } else if segment_is_over {
            self.hand_over();
            self.state.segment_began = None;
        }
    }

    fn end_epoch(&mut self, now: Instant) {
        self.hand_over();
        if self.state.in_epoch > 0 {
            self.steps.send(JournalStep::EndEpoch { epoch: self.state.epoch }).ok(); // As in open_segment.
            self.state.epoch += 1;
        }
        self.state.in_epoch = 0;
        self.state.segment_began = None;
        self.state.epoch_began = now;
    }

    fn hand_over(&mut self) {
        match self.state.buffer.take() {
            Some(buffer) if !buffer.is_empty() => {
                self.state.segment_bytes += buffer.len();
                self.steps.send(JournalStep::Write(buffer)).ok(); // As in open_segment.
            }
            kept => self.state.buffer = kept,
        }
    }

    fn put_row(&mut self, table: TableId, row: &[u8]) {
        let buffer = self.state.buffer.as_mut().expect("has_room() was asked");
        self.state.encoder.row(buffer, table.0, row);
    }

    fn block(&mut self, item: &BlockItem) {
        let buffer = self.state.buffer.as_mut().expect("has_room() was asked");
        self.state.encoder.block(buffer, &item.block, item.first, &item.stamp);
    }

    fn frame(&mut self, item: &FrameItem) {
        let (frame, stamp) = (&item.frame, &item.stamp);
        let camera = frame.camera.as_usize();
        let offer = match &mut self.feeders[camera] {
            Some(feeder) => feeder.offer(frame),
            None => Offer::Refused,
        };
        let has_video = self.feeders[camera].is_some();
        let (part, place) = match offer {
            Offer::Taken { part, frame } => (part, frame),
            Offer::Refused => (-1, -1),
        };
        if offer == Offer::Refused && has_video {
            self.refuse(camera, stamp.at);
        }
        let table = self.catalog.frames_table();
        let catalog = Arc::clone(&self.catalog);
        let mut bytes = std::mem::take(&mut self.state.row);
        let mut row = RowWriter::begin(&mut bytes, &catalog.tables[table.as_usize()], stamp.at.nanos());
        row.i16(i16::from(frame.camera.0));
        row.i64_or_absent(stamp.trigger_index.map(|index| index as i64));
        row.i64(frame.counter as i64);
        row.i64_or_absent(frame.device_time.map(|time| time.nanos()));
        row.i64(frame.arrival.nanos());
        row.f32(stamp.uncertainty.nanos() as f32);
        row.u32((frame.integrity | stamp.integrity).bits());
        row.i32(part);
        row.i64(place);
        row.end();
        self.put_row(table, &bytes);
        self.state.row = bytes;
    }

    fn refuse(&mut self, camera: usize, at: RigTime) {
        self.health.videos[camera].refused.fetch_add(1, Ordering::Relaxed);
        let run = self.state.refused[camera].get_or_insert(Refused { count: 0, at, until: at });
        run.count += 1;
        run.until = at;
    }

    /// Declares frames that the videos did not take since the last pass.
    fn declare_refused(&mut self) {
        for camera in 0..self.state.refused.len() {
            let Some(run) = self.state.refused[camera].take() else { continue };
            let names = Arc::clone(&self.names);
            self.put_gap(&Gap {
                stream: &names.videos[camera],
                unit: GapUnit::VideoFrames,
                first: None,
                end: None,
                count: Some(run.count),
                at: run.at,
                until: Some(run.until),
                cause: GapCause::VideoQueueFull,
            });
        }
        for (feeder, video) in self.feeders.iter().zip(&self.health.videos) {
            let Some((frames, deaths)) = feeder.as_ref().map(Feeder::progress) else { continue };
            video.frames.store(frames, Ordering::Relaxed);
            video.deaths.store(deaths, Ordering::Relaxed);
        }
    }

    fn put_gap(&mut self, gap: &Gap<'_>) {
        if !self.has_room(Instant::now()) {
            return;
        }
        let table = self.catalog.gaps_table();
        let catalog = Arc::clone(&self.catalog);
        let mut bytes = std::mem::take(&mut self.state.row);
        let mut row = RowWriter::begin(&mut bytes, &catalog.tables[table.as_usize()], gap.at.nanos());
        gap.write(&mut row);
        row.end();
        self.put_row(table, &bytes);
        self.state.row = bytes;
    }

    fn finish(mut self) -> Result<(), RecordError> {
        let until = Instant::now() + DRAIN;
        self.drain(until);
        self.declare_left_over(until);
        let mut feeders = std::mem::take(&mut self.feeders);
        for feeder in feeders.iter_mut().flatten() {
            feeder.stop();
        }
        for (camera, feeder) in feeders.iter_mut().enumerate() {
            let Some(feeder) = feeder else { continue };
            for part in feeder.finish()? {
                let offered = feeder.offered(part.part);
                self.close_video(camera, &part, offered, until)?;
            }
        }
        self.wait_for_room(until);
        self.end_epoch(Instant::now());
        Ok(())
    }

    /// Empties the lanes: what waits there is not lost yet, whether or not a pass found room for it.
    fn drain(&mut self, until: Instant) {
        while Instant::now() < until {
            let found = self.pass(Instant::now());
            if self.state.lanes.iter().all(LaneReader::is_empty) {
                return;
            }
            if !found {
                std::thread::sleep(PASS);
            }
        }
    }

    /// A disk that is slow at the end is given time: what is in the buffers must go first.
    fn wait_for_room(&mut self, until: Instant) {
        while !self.has_room(Instant::now()) && Instant::now() < until {
            std::thread::sleep(PASS);
        }
    }

    fn declare_left_over(&mut self, until: Instant) {
        let names = Arc::clone(&self.names);
        let shares: Vec<_> = self.state.lanes.iter().map(|lane| Arc::clone(&lane.shared)).collect();
        for share in shares {
            let left_over = share.left_over.lock().map(|mut losses| std::mem::take(&mut *losses)).unwrap_or_default();
            for loss in left_over {
                self.wait_for_room(until);
                self.put_gap(&loss.gap(&names));
            }
        }
    }

    /// Counts a finished file's frames and declares those that were numbered for it and are not there. An encoder that died
    /// before it made its file leaves nothing to enter.
    fn close_video(
        &mut self,
        camera: usize,
        part: &FinishedPart,
        offered: u64,
        until: Instant,
    ) -> Result<(), RecordError> {
        let counted = if part.path.exists() { self.enter_video(camera, part, offered)? } else { 0 };
        if counted < offered {
            let stream = format!("{}/part{}", self.names.videos[camera], part.part);
            let cause = if part.died { GapCause::EncoderDied } else { GapCause::Damaged };
            let (first, end) = (counted as i64, offered as i64);
            self.wait_for_room(until);
            self.put_gap(&Gap::range(&stream, GapUnit::VideoFrames, first, end, RigTime::ZERO, cause));
        }
        Ok(())
    }

    /// Enters a finished file into the manifest; returns how many frames it holds.
    fn enter_video(&self, camera: usize, part: &FinishedPart, offered: u64) -> Result<u64, RecordError> {
        let info = &self.catalog.cameras[camera];
        // The manifest will vouch for the file: it must be there after a power cut, too.
        let synced = std::fs::File::open(&part.path).and_then(|file| file.sync_all());
        synced.map_err(|error| RecordError::file(&part.path, "sync", error))?;
        let counted = count_frames(&self.config.ffprobe, &part.path, info)?;
        let entry = video_entry(&self.folder, &info.name, part, offered, counted);
        lock(&self.manifest).videos.push(entry);
        Ok(counted)
    }
}

fn video_entry(folder: &std::path::Path, camera: &str, part: &FinishedPart, offered: u64, counted: u64) -> VideoEntry {
    let (sha256, bytes) = super::hash::file(&part.path).unwrap_or_default();
    VideoEntry {
        camera: camera.to_owned(),
        part: part.part,
        file: part.path.strip_prefix(folder).unwrap_or(&part.path).to_string_lossy().into_owned(),
        offered,
        counted,
        bytes,
        sha256,
    }
}
