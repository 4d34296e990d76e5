//! What the threads of one rig share: atomics and latest-value slots, nothing that anyone waits for.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mimicd_device::{Board, BoardTime, Frame, Host, RigTime, Span, TriggerPlan};

use super::{ArrayLive, CameraLive, EncodingLive, Notice, Snapshot, SpikeRing, ViewMarks};
use crate::clock::ClockMap;
use crate::record::{Gap, GapCause, GapUnit};
use crate::stream::Latest;
use crate::telemetry::Counters;

/// Not known yet, in an atomic instant or index.
const UNKNOWN: i64 = i64::MIN;

/// Where the trigger train and the recording stand on the board's clock.
///
/// *Train time* is nanoseconds since trigger 0 on the board's clock: every device that sees the train can be put on it
/// without knowing when the board was switched on. Rig time (`t_ns`) is train time less that of the recording's first trigger.
#[derive(Debug)]
pub struct RigClock {
    plan: TriggerPlan,
    trigger_zero_board: AtomicI64,
    recording_from: AtomicI64,
    latest_trigger: AtomicI64,
}

impl RigClock {
    /// A clock for `plan` whose train has not started.
    pub fn new(plan: TriggerPlan) -> Self {
        let unknown = || AtomicI64::new(UNKNOWN);
        Self { plan, trigger_zero_board: unknown(), recording_from: unknown(), latest_trigger: unknown() }
    }

    /// The trigger train.
    pub fn plan(&self) -> TriggerPlan {
        self.plan
    }

    /// Trigger 0 fired at `at`; `None` while no train runs.
    pub fn set_train_start(&self, at: Option<BoardTime>) {
        self.trigger_zero_board.store(at.map_or(UNKNOWN, BoardTime::nanos), Ordering::Release);
        if at.is_none() {
            self.latest_trigger.store(UNKNOWN, Ordering::Release);
        }
    }

    /// When trigger 0 fired.
    pub fn train_start(&self) -> Option<BoardTime> {
        known(self.trigger_zero_board.load(Ordering::Acquire)).map(BoardTime::from_nanos)
    }

    /// Trigger `index` has fired.
    pub fn set_latest_trigger(&self, index: u64) {
        self.latest_trigger.store(index as i64, Ordering::Release);
    }

    /// The newest trigger that is known to have fired.
    pub fn latest_trigger(&self) -> Option<u64> {
        known(self.latest_trigger.load(Ordering::Acquire)).map(|index| index as u64)
    }

    /// The recording's first trigger; `None` when nothing is recorded.
    pub fn set_recording_from(&self, index: Option<u64>) {
        self.recording_from.store(index.map_or(UNKNOWN, |index| index as i64), Ordering::Release);
    }

    /// Board time of trigger `index`.
    pub fn board_of_trigger(&self, index: u64) -> Option<BoardTime> {
        Some(self.train_start()? + self.plan.offset(index))
    }

    /// Whether something is recorded.
    pub fn is_recording(&self) -> bool {
        known(self.recording_from.load(Ordering::Acquire)).is_some()
    }

    /// The recording's first trigger.
    pub fn recording_from(&self) -> Option<u64> {
        known(self.recording_from.load(Ordering::Acquire)).map(|index| index as u64)
    }

    /// Board time of the recording's first trigger.
    pub fn recording_start(&self) -> Option<BoardTime> {
        self.board_of_trigger(self.recording_from()?)
    }

    /// Rig time of an instant in train time; counted from trigger 0 while nothing is recorded.
    pub fn rig_of_train(&self, train: Span) -> RigTime {
        let from =
            known(self.recording_from.load(Ordering::Acquire)).map_or(Span::ZERO, |i| self.plan.offset(i as u64));
        RigTime::from_nanos((train - from).nanos())
    }

    /// The gap of `stream` that declares `triggers` missing; what they stand for comes `after` each of them.
    pub fn missing_triggers<'a>(&self, stream: &'a str, triggers: Range<u64>, after: Span, cause: GapCause) -> Gap<'a> {
        let at = |index: u64| self.rig_of_train(self.plan.offset(index) + after);
        let Range { start, end } = triggers;
        Gap::range(stream, GapUnit::Triggers, start as i64, end as i64, at(start), cause).until(at(end))
    }

    /// Rig time of a board time, while a train runs.
    pub fn rig_of_board(&self, at: BoardTime) -> Option<RigTime> {
        Some(self.rig_of_train(at - self.train_start()?))
    }
}

fn known(value: i64) -> Option<i64> {
    (value != UNKNOWN).then_some(value)
}

/// What one edge thread shows of itself.
#[derive(Debug, Default)]
pub struct StreamStatus {
    /// Items taken from the device.
    pub items: AtomicU64,
    /// Items known to be missing.
    pub missing: AtomicU64,
    /// Gaps declared.
    pub gaps: AtomicU64,
    /// Items we dropped.
    pub dropped: AtomicU64,
    /// Items flagged damaged or unproved.
    pub flagged: AtomicU64,
    /// Items that came after their set.
    pub late: AtomicU64,
    /// Device counter of the newest item.
    pub last_counter: AtomicU64,
    /// Whether the device delivers at present.
    pub connected: AtomicBool,
    /// Whether the thread writes to a recording.
    pub recording: AtomicBool,
    /// Latest residual of its clock fit, in nanoseconds.
    pub residual_ns: AtomicI64,
    /// Running 99th percentile estimate of the absolute residual, in nanoseconds.
    pub residual_p99_ns: AtomicI64,
    /// Drift against the board, in parts per billion.
    pub drift_ppb: AtomicI64,
    /// Clock steps and restarts.
    pub steps: AtomicU64,
    /// Whether its clock map may be used.
    pub locked: AtomicBool,
    /// A camera: whether it no longer stands where its calibration says.
    pub moved: AtomicBool,
    /// An array: whether it delivers, but has lost the connection that it takes commands on.
    pub alarmed: AtomicBool,
}

impl StreamStatus {
    /// Notes a clock-fit residual. The percentile is tracked by asymmetric steps (up 99 parts, down 1), so it needs no memory.
    pub fn note_residual(&self, residual_ns: i64, slope_offset: f64) {
        self.residual_ns.store(residual_ns, Ordering::Relaxed);
        let old = self.residual_p99_ns.load(Ordering::Relaxed);
        let step = (old / 256).max(16);
        let next = if residual_ns.abs() > old { old + step * 99 / 10 } else { old - (step / 10).max(1) };
        self.residual_p99_ns.store(next.max(0), Ordering::Relaxed);
        self.drift_ppb.store((slope_offset * 1e9) as i64, Ordering::Relaxed);
        self.locked.store(true, Ordering::Relaxed);
    }
}

/// What the spike thread shows.
#[derive(Clone, Debug, Default)]
pub struct SpikeView {
    /// Arrays, in config order.
    pub arrays: Vec<ArrayLive>,
    /// The newest spikes.
    pub spikes: SpikeRing,
}

/// The newest frame of one camera with what was found in it, for previews.
#[derive(Clone, Debug, Default)]
pub struct NewestFrame {
    /// The frame; `None` before the first.
    pub frame: Option<Arc<Frame>>,
    /// What was found in that frame; nothing where its set was skipped.
    pub marks: ViewMarks,
}

/// Everything the threads of one rig share.
#[derive(Debug)]
pub struct Shared {
    /// Loss and damage by cause.
    pub counters: Counters,
    /// Train and recording on the board's clock.
    pub clock: RigClock,
    /// What the loop shows.
    pub snapshot: Latest<Snapshot>,
    /// What the spike thread shows.
    pub spikes: Latest<SpikeView>,
    /// What the encoding thread shows.
    pub encoding: Latest<EncodingLive>,
    /// Whether the encoding thread still holds a recording.
    pub encoding_busy: AtomicBool,
    /// The newest frames, held for previews.
    pub frames: Latest<Vec<NewestFrame>>,
    /// The present map from host to board time, for streams that know only the host's clock.
    pub host_map: Latest<Option<ClockMap<Host, Board>>>,
    /// One per camera.
    pub cameras: Vec<StreamStatus>,
    /// One per array.
    pub arrays: Vec<StreamStatus>,
    /// The board link.
    pub board: StreamStatus,
    /// Frame sets through the loop.
    pub loop_sets: AtomicU64,
    /// Whether rules and operators may drive outputs.
    pub outputs_armed: AtomicBool,
    /// Whether threads are to end.
    pub quit: AtomicBool,
    /// Notices of service and edge threads for the operator; edge threads only try the lock.
    notices: Mutex<Vec<Notice>>,
}

impl Shared {
    /// Shared state for a rig with `snapshot` as its first view.
    pub fn new(plan: TriggerPlan, snapshot: Snapshot) -> Arc<Self> {
        let view = SpikeView { arrays: snapshot.arrays.clone(), spikes: snapshot.spikes.clone() };
        let streams = |count: usize| (0..count).map(|_| StreamStatus::default()).collect();
        Arc::new(Self {
            counters: Counters::default(),
            clock: RigClock::new(plan),
            cameras: streams(snapshot.cameras.len()),
            arrays: streams(snapshot.arrays.len()),
            frames: Latest::new(snapshot.cameras.iter().map(newest_frame).collect()),
            host_map: Latest::default(),
            spikes: Latest::new(view),
            encoding: Latest::new(EncodingLive::default()),
            encoding_busy: AtomicBool::new(false),
            snapshot: Latest::new(snapshot),
            board: StreamStatus::default(),
            loop_sets: AtomicU64::new(0),
            outputs_armed: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            notices: Mutex::new(Vec::new()),
        })
    }

    /// Leaves a notice for the operator. Only for rare events: it allocates.
    pub fn notice(&self, notice: Notice) {
        if let Ok(mut notices) = self.notices.try_lock() {
            notices.push(notice);
        }
    }

    /// Takes the notices left so far.
    pub fn take_notices(&self, into: &mut Vec<Notice>) {
        if let Ok(mut notices) = self.notices.lock() {
            into.append(&mut notices);
        }
    }

    /// Whether threads are to end.
    pub fn quits(&self) -> bool {
        self.quit.load(Ordering::Acquire)
    }
}

fn newest_frame(camera: &CameraLive) -> NewestFrame {
    NewestFrame { frame: None, marks: ViewMarks::with_keypoints(camera.keypoints_px.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: TriggerPlan = TriggerPlan {
        period: Span::from_millis(20),
        width: Span::from_millis(1),
        stretch: Span::from_millis(2),
        stretch_every: 50,
        code_seed: 0,
    };

    #[test]
    fn rig_time_counts_from_the_recordings_first_trigger() {
        let clock = RigClock::new(PLAN);
        assert_eq!(clock.board_of_trigger(3), None);
        clock.set_train_start(Some(BoardTime::from_nanos(500)));
        clock.set_recording_from(Some(100));
        let at = clock.board_of_trigger(101).expect("the train runs");
        let between = PLAN.offset(101) - PLAN.offset(100);
        assert_eq!(clock.rig_of_board(at), Some(RigTime::from_nanos(between.nanos())));
        clock.set_train_start(None);
        assert_eq!(clock.latest_trigger(), None);
    }

    #[test]
    fn the_residual_percentile_settles_near_the_99th() {
        let status = StreamStatus::default();
        for round in 0..200_000_i64 {
            status.note_residual((round * 7_919) % 10_000, 0.0);
        }
        let p99 = status.residual_p99_ns.load(Ordering::Relaxed);
        assert!((9_500..10_600).contains(&p99), "{p99}");
    }
}
