//! How the recorder is doing, for the panel and the supervisor: atomics written by its threads, read by anyone.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Sealed bytes of a byte of journal, at most; samples take 0.62.
const SEALED_SHARE: f64 = 0.75;

/// State of the disk as the recorder meets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum DiskState {
    /// Writes and syncs keep up.
    #[default]
    Normal = 0,
    /// A write or a sync took longer than five flush intervals, or half of the buffers wait: more than the promised interval
    /// may be lost in a power cut, and when the buffers are full, lanes lose data and declare it.
    Slow = 1,
    /// Less is free than the margin and the sealing of the open part need: stop the recording, it still seals.
    NearlyFull = 2,
    /// The system refused to write for want of space. Data waits in memory until its bound.
    Full = 3,
    /// The system reported an input/output error. Writing is tried again; data waits in memory until its bound. A hiccup passes;
    /// after [`FAILING_MAX`](RecorderHealth::FAILING_MAX) stop the recording.
    Failing = 4,
}

impl DiskState {
    const ALL: [Self; 5] = [Self::Normal, Self::Slow, Self::NearlyFull, Self::Full, Self::Failing];

    pub(super) fn of_error(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Failing,
        }
    }
}

/// One camera's video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VideoHealth {
    /// Frames given to the encoder.
    pub frames: u64,
    /// Frames that are not in the video.
    pub refused: u64,
    /// Encoders that died and were replaced.
    pub deaths: u64,
}

/// One producing thread's way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneHealth {
    /// Name of the lane.
    pub name: String,
    /// Items taken.
    pub taken: u64,
    /// Items lost because the lane was full; every one is declared.
    pub lost: u64,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecorderHealth {
    /// The disk.
    pub disk: DiskState,
    /// Bytes free where the recording lies.
    pub free_bytes: u64,
    /// How fast the disk fills.
    pub bytes_per_second: f64,
    /// Seconds until only the margin is left, when the disk fills at all.
    pub seconds_left: Option<f64>,
    /// One entry a lane.
    pub lanes: Vec<LaneHealth>,
    /// Bytes of journal written.
    pub journal_bytes: u64,
    /// Megabyte buffers that wait for the disk.
    pub buffers_waiting: u64,
    /// How long the disk has refused to write or to sync by now, without a success between.
    pub refused_for: Duration,
    /// Longest sync so far, ms.
    pub sync_millis_max: f64,
    /// Epochs sealed in this run.
    pub epochs_sealed: u64,
    /// The disk refused a sealed part, which is tried again; the journal keeps everything meanwhile.
    pub sealing_stopped: bool,
    /// One entry a camera that has a video.
    pub videos: Vec<VideoHealth>,
}

impl RecorderHealth {
    /// Input/output errors that last so long are no hiccup. What comes meanwhile (31 MB from two arrays of 128 channels) fits
    /// twice into the default `record.journal_buffer_mib`.
    pub const FAILING_MAX: Duration = Duration::from_secs(2);

    /// Whether the recording should be stopped now, while it can still be sealed.
    pub fn asks_to_stop(&self) -> bool {
        match self.disk {
            DiskState::Normal | DiskState::Slow => false,
            DiskState::NearlyFull | DiskState::Full => true,
            DiskState::Failing => self.refused_for >= Self::FAILING_MAX,
        }
    }

    /// Items lost by all lanes.
    pub fn lost(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.lost).sum()
    }
}

/// What the threads publish.
#[derive(Debug, Default)]
pub(super) struct Shared {
    write_state: AtomicU8,
    sync_state: AtomicU8,
    space_state: AtomicU8,
    pub(super) free_bytes: AtomicU64,
    pub(super) fill_bytes_per_second: AtomicU64,
    pub(super) journal_bytes: AtomicU64,
    /// Journal that is not sealed yet: sealing it needs room beside it.
    pub(super) unsealed_bytes: AtomicU64,
    pub(super) buffers_waiting: AtomicU64,
    pub(super) write_refused_nanos: AtomicU64,
    pub(super) sync_refused_nanos: AtomicU64,
    pub(super) sync_nanos_max: AtomicU64,
    pub(super) epochs_sealed: AtomicU64,
    pub(super) sealing_stopped: AtomicBool,
    pub(super) videos: Vec<VideoShared>,
}

/// What is published of one camera's video.
#[derive(Debug, Default)]
pub(super) struct VideoShared {
    pub(super) frames: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) deaths: AtomicU64,
}

impl Shared {
    pub(super) fn new(cameras: usize) -> Self {
        Self { videos: (0..cameras).map(|_| VideoShared::default()).collect(), ..Self::default() }
    }

    pub(super) fn set_write_state(&self, state: DiskState) {
        self.write_state.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn set_sync_state(&self, state: DiskState) {
        self.sync_state.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn set_space_state(&self, state: DiskState) {
        self.space_state.store(state as u8, Ordering::Relaxed);
    }

    /// The worst of what writing, syncing and watching the space have met.
    pub(super) fn disk(&self) -> DiskState {
        let states = [&self.write_state, &self.sync_state, &self.space_state];
        let worst = states.iter().map(|state| state.load(Ordering::Relaxed)).max().unwrap_or(0);
        DiskState::ALL[usize::from(worst).min(DiskState::ALL.len() - 1)]
    }

    /// Bytes that must be free for the recording to be sealed and the margin to be left.
    pub(super) fn needed_bytes(&self, margin_bytes: u64) -> u64 {
        margin_bytes + (self.unsealed_bytes.load(Ordering::Relaxed) as f64 * SEALED_SHARE) as u64
    }

    pub(super) fn snapshot(&self, lanes: Vec<LaneHealth>, margin_bytes: u64) -> RecorderHealth {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let free_bytes = load(&self.free_bytes);
        let bytes_per_second = load(&self.fill_bytes_per_second) as f64;
        let usable = free_bytes.saturating_sub(self.needed_bytes(margin_bytes)) as f64;
        let videos = self.videos.iter().map(|video| VideoHealth {
            frames: load(&video.frames),
            refused: load(&video.refused),
            deaths: load(&video.deaths),
        });
        RecorderHealth {
            disk: self.disk(),
            free_bytes,
            bytes_per_second,
            seconds_left: (bytes_per_second > 0.0).then(|| usable / bytes_per_second),
            lanes,
            journal_bytes: load(&self.journal_bytes),
            buffers_waiting: load(&self.buffers_waiting),
            refused_for: Duration::from_nanos(load(&self.write_refused_nanos).max(load(&self.sync_refused_nanos))),
            sync_millis_max: load(&self.sync_nanos_max) as f64 * 1e-6,
            epochs_sealed: load(&self.epochs_sealed),
            sealing_stopped: self.sealing_stopped.load(Ordering::Relaxed),
            videos: videos.collect(),
        }
    }
}
