//! What is proved before the rig is armed.
//!
//! With no trigger running, no camera may deliver; after a burst of exactly [`BURST`] triggers each camera must have
//! delivered exactly that many frames. The device counter after the burst is then the anchor of trigger identity.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mimicd_device::{BoardCommand, Span, TriggerPlan};

use super::board_edge::BoardControl;
use super::camera_edge::EdgeControl;
use super::closed_loop::LoopControl;
use super::shared::{Shared, StreamStatus};
use super::threads::Threads;
use super::{ArrayLive, PreflightCheck, PreflightReport, Verdict};
use crate::spikes::ElectrodeFlags;

/// Triggers of the test burst.
pub const BURST: u32 = 5;

/// A whole second of signal must have been seen by then.
const ELECTRODES_MAX: Duration = Duration::from_millis(3_500);
/// How each trouble is called.
const ELECTRODE_WORDS: [(ElectrodeFlags, &str); 5] = [
    (ElectrodeFlags::DEAD, "dead"),
    (ElectrodeFlags::SHORTED, "shorted"),
    (ElectrodeFlags::SATURATED, "saturated"),
    (ElectrodeFlags::NOISY, "open or noisy"),
    (ElectrodeFlags::LINE, "full of mains hum"),
];

/// The checks, being made.
pub struct Preflight<'a> {
    cameras: &'a [String],
    arrays: &'a [String],
    plan: TriggerPlan,
    report: PreflightReport,
}

impl<'a> Preflight<'a> {
    /// Checks for the cameras and arrays of these names under `plan`.
    pub fn new(cameras: &'a [String], arrays: &'a [String], plan: TriggerPlan) -> Self {
        Self { cameras, arrays, plan, report: PreflightReport::default() }
    }

    /// What was found.
    pub fn into_report(self) -> PreflightReport {
        self.report
    }

    /// Makes all checks and, when none fails, starts the train.
    pub fn run(&mut self, threads: &mut Threads) {
        let linked = wait_until(Duration::from_secs(5), || threads.shared.board.locked.load(Ordering::Relaxed));
        let detail =
            if linked { "answers pings" } else { "no answer to a ping within 5 s; check cable, power and port" };
        self.note("board", linked, detail.to_owned());
        if !linked {
            return;
        }
        self.check_quiet(&threads.shared);
        self.check_burst(threads);
        self.check_arrays(&threads.shared);
        self.check_electrodes(&threads.shared);
        if self.report.passed() {
            self.start_train(threads);
        }
        let refused = threads.real_time_refused();
        let verdict = if refused == 0 { Verdict::Pass } else { Verdict::Warn };
        let detail = format!("{refused} refusals of real-time priority or memory locking");
        self.report.checks.push(PreflightCheck { name: "real_time".to_owned(), verdict, detail });
    }

    fn note(&mut self, name: &str, passed: bool, detail: String) {
        let verdict = if passed { Verdict::Pass } else { Verdict::Fail };
        self.report.checks.push(PreflightCheck { name: name.to_owned(), verdict, detail });
    }

    fn check_quiet(&mut self, shared: &Shared) {
        // Frames of an earlier train may still be on their way.
        std::thread::sleep(Duration::from_millis(100));
        let before = items(&shared.cameras);
        std::thread::sleep(Duration::from_millis(150));
        for ((name, before), now) in self.cameras.iter().zip(before).zip(items(&shared.cameras)) {
            let frames = now - before;
            if frames > 0 {
                let detail =
                    format!("free-runs: {frames} frames in 150 ms without a trigger; set its trigger mode to hardware");
                self.report.checks.push(PreflightCheck {
                    name: format!("camera.{name}"),
                    verdict: Verdict::Fail,
                    detail,
                });
            }
        }
    }

    fn check_burst(&mut self, threads: &mut Threads) {
        let before = items(&threads.shared.cameras);
        let burst = BoardControl::Send(BoardCommand::Burst { count: BURST, plan: self.plan });
        let sent = threads.controls.board.push(burst).is_ok();
        let length = Span::from_nanos(self.plan.period.nanos() * i64::from(BURST)).to_duration();
        let all = |shared: &Shared| {
            items(&shared.cameras).iter().zip(&before).all(|(now, before)| now - before >= u64::from(BURST))
        };
        wait_until(length + Duration::from_millis(1_000), || all(&threads.shared));
        // A camera that answers more often than asked needs a moment to show it.
        std::thread::sleep(length + Duration::from_millis(100));
        for ((name, before), now) in self.cameras.iter().zip(before).zip(items(&threads.shared.cameras)) {
            let frames = now - before;
            let detail = format!("answered {frames} of {BURST} test triggers");
            self.note(&format!("camera.{name}"), sent && frames == u64::from(BURST), detail);
        }
    }

    fn check_arrays(&mut self, shared: &Shared) {
        let before = items(&shared.arrays);
        std::thread::sleep(Duration::from_millis(250));
        for ((name, before), now) in self.arrays.iter().zip(before).zip(items(&shared.arrays)) {
            let samples = now - before;
            self.note(&format!("array.{name}"), samples > 0, format!("{samples} samples in 250 ms"));
        }
    }

    /// Electrodes that are dead, shorted, saturated, open or full of hum: named, never a reason not to record.
    fn check_electrodes(&mut self, shared: &Shared) {
        let seen = || shared.spikes.read(|view| view.arrays.iter().all(|array| array.health_seconds > 0));
        wait_until(ELECTRODES_MAX, seen);
        let checks =
            shared.spikes.read(|view| self.arrays.iter().zip(&view.arrays).map(electrodes).collect::<Vec<_>>());
        self.report.checks.extend(checks);
    }

    fn start_train(&mut self, threads: &mut Threads) {
        let counters: Vec<u64> =
            threads.shared.cameras.iter().map(|c| c.last_counter.load(Ordering::Relaxed) + 1).collect();
        let controls = &mut threads.controls;
        let mut told = true;
        for (edge, counter) in controls.cameras.iter_mut().zip(counters) {
            told &= edge.push(EdgeControl::Anchor { counter }).is_ok();
        }
        for edge in &mut controls.arrays {
            told &= edge.push(EdgeControl::Anchor { counter: 0 }).is_ok();
        }
        // The burst's frames have gone through the loop too; the train begins at trigger 0 again.
        told &= controls.closed_loop.push(LoopControl::NewTrain).is_ok();
        // Every thread wakes within its longest sleep and has obeyed before the first trigger can fire.
        std::thread::sleep(Duration::from_millis(60));
        told &= controls.board.push(BoardControl::KeepTrain(self.plan)).is_ok();
        let shared = &threads.shared;
        let before = shared.loop_sets.load(Ordering::Relaxed);
        let sets = || shared.loop_sets.load(Ordering::Relaxed) - before;
        let runs =
            told && wait_until(Duration::from_secs(3), || sets() >= 3 && shared.clock.latest_trigger() >= Some(3));
        let sets = sets();
        self.note("loop", runs, format!("{sets} frame sets through the loop"));
    }
}

/// The verdict on one array's electrodes.
fn electrodes((name, array): (&String, &ArrayLive)) -> PreflightCheck {
    let name = format!("electrodes.{name}");
    if array.health_seconds == 0 {
        let detail = format!("no whole second of signal within {ELECTRODES_MAX:?}");
        return PreflightCheck { name, verdict: Verdict::Warn, detail };
    }
    let mut detail = String::new();
    for (flag, word) in ELECTRODE_WORDS {
        let is_so = |flags: &u8| flags & flag.bits() != 0;
        let channels = array.channel_flags.iter().enumerate().filter(|(_, flags)| is_so(flags));
        let channels: Vec<String> = channels.map(|(channel, _)| channel.to_string()).collect();
        if !channels.is_empty() {
            let more = if channels.len() > 8 { ", ..." } else { "" };
            detail += &format!("{} {word} ({}{more}); ", channels.len(), channels[..channels.len().min(8)].join(", "));
        }
    }
    let verdict = if detail.is_empty() { Verdict::Pass } else { Verdict::Warn };
    let [hum_50, hum_60] = array.line_uv;
    let count = array.channel_flags.len();
    detail +=
        &format!("{count} channels, median noise {:.1} µV, 50 Hz {hum_50:.1} µV, 60 Hz {hum_60:.1} µV", array.noise_uv);
    PreflightCheck { name, verdict, detail }
}

fn items(streams: &[StreamStatus]) -> Vec<u64> {
    streams.iter().map(|stream| stream.items.load(Ordering::Relaxed)).collect()
}

/// Looks every 5 ms whether it is `done`, for `limit` at most; says whether it was.
pub(super) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
