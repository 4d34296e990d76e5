//! A recording as an array source: a reader thread ahead, a pace at the poller.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mimicd_device::{
    DeviceError, DeviceErrorKind, EphysSource, HostTime, Integrity, Polled, SampleBlock, SampleIndex, Span,
};

use super::{FileOptions, Pace, Recording, Window};
use crate::handoff::{Inlet, Outlet, handoff};

/// Samples that the reader keeps ahead, in seconds.
const AHEAD_SECS: f64 = 1.0;

/// Where the reader thread stands.
#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    /// Set after the last block has been given.
    ended: AtomicBool,
    failure: Mutex<Option<DeviceError>>,
}

/// A recording, replayed.
pub struct FileSource {
    options: FileOptions,
    /// The recording and the reader's end of the queue, until it starts.
    recording: Option<(Recording, Outlet)>,
    identity: String,
    channels: usize,
    rate_hz: f64,
    gain_uv_per_bit: f64,
    samples: u64,
    first: u64,
    inlet: Inlet,
    progress: Arc<Progress>,
    reader: Option<JoinHandle<()>>,
    /// A block that is not due yet.
    next: SampleBlock,
    has_next: bool,
    /// Host time of the recording's first sample.
    began: Option<HostTime>,
    over: bool,
}

impl FileSource {
    /// Opens the recording that `options` name.
    ///
    /// # Errors
    /// As [`super::open`]; `Unsupported` when it has fewer channels than asked.
    pub fn open(options: FileOptions) -> Result<Self, DeviceError> {
        let recording = super::open(&options.path)?;
        let left = recording.channels.saturating_sub(options.channel_first);
        let channels = options.channels.unwrap_or(left);
        if channels == 0 || channels > left {
            let context = format!(
                "{}: {channels} channels from {} on were asked; it has {}",
                recording.identity, options.channel_first, recording.channels
            );
            return Err(DeviceError::new(DeviceErrorKind::Unsupported, context));
        }
        let block = options.block_samples.max(1);
        let blocks = (AHEAD_SECS * recording.rate_hz / block as f64).ceil().max(8.0) as usize;
        let (outlet, inlet) = handoff(options.array, channels, block, blocks);
        Ok(Self {
            identity: recording.identity.clone(),
            rate_hz: recording.rate_hz,
            gain_uv_per_bit: recording.gain_uv_per_bit,
            samples: recording.samples(),
            first: recording.pieces.first().map_or(0, |piece| piece.first),
            inlet,
            progress: Arc::default(),
            reader: None,
            next: SampleBlock::with_capacity(options.array, channels, block),
            has_next: false,
            began: None,
            over: false,
            recording: Some((recording, outlet)),
            channels,
            options,
        })
    }

    /// Microvolts of one bit, as the recording says.
    pub fn gain_uv_per_bit(&self) -> f64 {
        self.gain_uv_per_bit
    }

    /// Samples per channel of the whole recording.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Sample index of the recording's first sample.
    pub fn first_sample(&self) -> u64 {
        self.first
    }

    /// Whether the last sample has been handed out.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// When the block in `next` may be handed out: when its last sample would have been taken.
    fn due(&self) -> Option<HostTime> {
        let began = self.began?;
        let samples = self.next.end().0 - self.first;
        Some(began + Span::from_secs_f64(samples as f64 / self.rate_hz))
    }

    fn end(&mut self) -> DeviceError {
        let failure = self.progress.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failure.unwrap_or_else(|| {
            self.over = true;
            let context = format!("{}: the recording has ended after {} samples", self.identity, self.samples);
            DeviceError::new(DeviceErrorKind::Disconnected, context)
        })
    }
}

impl EphysSource for FileSource {
    fn channels(&self) -> usize {
        self.channels
    }

    fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    fn block_samples_max(&self) -> usize {
        self.options.block_samples.max(1)
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn start(&mut self) -> Result<(), DeviceError> {
        let Some((recording, outlet)) = self.recording.take() else { return Ok(()) };
        let feed = Feed {
            recording,
            channel_first: self.options.channel_first,
            channels: self.channels,
            block: self.options.block_samples.max(1),
            outlet,
            progress: Arc::clone(&self.progress),
        };
        let thread = std::thread::Builder::new().name("file-reader".to_owned()).spawn(move || feed.run());
        let wrong =
            |error| DeviceError::new(DeviceErrorKind::Io, format!("{}: starting its reader: {error}", self.identity));
        self.reader = Some(thread.map_err(wrong)?);
        Ok(())
    }

    fn stop(&mut self) {
        self.progress.stop.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has no more to give; there is nothing to stop.
            reader.join().ok();
        }
    }

    fn poll(&mut self, now: HostTime, block: &mut SampleBlock) -> Result<Polled, DeviceError> {
        if !self.has_next {
            // Asked before taking: what was given before the end was set is still there.
            let ended = self.progress.ended.load(Ordering::Acquire);
            if !self.inlet.take(&mut self.next) {
                return if ended { Err(self.end()) } else { Ok(Polled::Nothing) };
            }
            self.has_next = true;
        }
        let mut arrival = now;
        if self.options.pace == Pace::RealTime {
            self.began.get_or_insert(now);
            arrival = self.due().unwrap_or(now);
            if arrival > now {
                return Ok(Polled::Nothing);
            }
        }
        std::mem::swap(&mut self.next, block);
        self.has_next = false;
        // When its last sample would have been taken, however late the poller is.
        block.arrival = arrival;
        Ok(Polled::Ready)
    }

    fn wait(&mut self, until: HostTime) {
        if !self.has_next {
            self.inlet.wait(until);
            return;
        }
        let until = self.due().map_or(until, |due| due.min(until));
        let left = until - crate::host_now();
        if left.nanos() > 0 {
            std::thread::sleep(left.to_duration());
        }
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        let context = format!("{}: the recording has ended; disarm and arm to replay it again", self.identity);
        Err(DeviceError::new(DeviceErrorKind::NotFound, context))
    }
}

impl Drop for FileSource {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The reader thread. It may wait for the disk and for the poller.
struct Feed {
    recording: Recording,
    channel_first: usize,
    channels: usize,
    block: usize,
    outlet: Outlet,
    progress: Arc<Progress>,
}

impl Feed {
    fn run(mut self) {
        let pieces = std::mem::take(&mut self.recording.pieces);
        for (index, piece) in pieces.iter().enumerate() {
            let mut done = 0;
            while done < piece.rows {
                let count = (piece.rows - done).min(self.block as u64) as usize;
                let Some(mut block) = self.lease() else { return };
                block.first = SampleIndex(piece.first + done);
                if done == 0 && index > 0 {
                    let falls_back = pieces[index - 1].first + pieces[index - 1].rows == piece.first;
                    let step = if falls_back { Integrity::CLOCK_STEP } else { Integrity::empty() };
                    block.integrity = Integrity::GAP_BEFORE | step;
                }
                let row = piece.row + done;
                let window = Window { row, count, channel_first: self.channel_first, channels: self.channels };
                let read = self.recording.read(window, &mut block);
                if let Err(error) = read {
                    *self.progress.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    self.progress.ended.store(true, Ordering::Release);
                    return;
                }
                self.outlet.give(block);
                done += count as u64;
            }
        }
        self.progress.ended.store(true, Ordering::Release);
    }

    fn lease(&mut self) -> Option<Box<SampleBlock>> {
        loop {
            if self.progress.stop.load(Ordering::Acquire) {
                return None;
            }
            if let Some(block) = self.outlet.lease() {
                return Some(block);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
