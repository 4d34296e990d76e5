//! What frames cost on their way: from the source into the pool, matched, gathered, handed to the recorder, shrunk for the panel.
//!
//! `cargo bench --bench frames`: 6, 12 and 24 cameras of 1920x1200 mono8 at 50 Hz, drawn by the twin's pattern source. First one
//! thread, set after set, each step timed by itself; then (`-- --live`) one thread a camera in real time, the recorder holding
//! frames, the memory looked at.
#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mimicd::clock::{TriggerMatcher, host_now};
use mimicd::config::{RecordConfig, VideoCodec};
use mimicd::pipeline::{Preview, TableShapes, frame_pool_slots, schemas, shrink_to_preview};
use mimicd::record::{CameraInfo, FrameStamp, LANE_FRAMES, RecordLane, Recorder, RecordingInfo};
use mimicd::stream::{FrameSet, Gatherer, MatchedFrame, Pool, ring};
use mimicd_device::{
    BoardCommand, BoardEvent, CameraIndex, CameraSource, Frame, HostTime, Integrity, PixelFormat, Polled, RigTime,
    Span, SyncBoard as _, TriggerPlan,
};
use mimicd_sim::{SceneOptions, Twin, TwinCamera, TwinOptions};

const WIDTH_PX: u32 = 1920;
const HEIGHT_PX: u32 = 1200;
const FRAME_BYTES: usize = (WIDTH_PX * HEIGHT_PX) as usize;
const RATE_HZ: f64 = 50.0;
/// Queue of a camera's recorder in a rig: its lane and its encoder's.
const RECORDER_QUEUE: usize = LANE_FRAMES + 32;
const SETS: usize = 400;
/// A preview is made of every fourth set: 12.5 a second.
const PREVIEW_EVERY: u64 = 4;
const PLAN: TriggerPlan = TriggerPlan {
    period: Span::from_millis(20),
    width: Span::from_millis(1),
    stretch: Span::from_millis(2),
    stretch_every: 50,
    code_seed: 1,
};

fn twin(cameras: usize, stepped: bool, start: HostTime) -> Twin {
    let camera = |index: usize| TwinCamera {
        name: format!("cam{index}"),
        width_px: WIDTH_PX,
        height_px: HEIGHT_PX,
        k: [[1_500.0, 0.0, 960.0], [0.0, 1_500.0, 600.0], [0.0, 0.0, 1.0]],
        distortion: [0.0; 5],
        rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        translation_m: [0.0; 3],
    };
    let options = TwinOptions {
        scene: SceneOptions::Pattern,
        cameras: (0..cameras).map(camera).collect(),
        exposures: vec![Span::from_millis(2); cameras],
        stepped,
        ..TwinOptions::default()
    };
    Twin::new(options, start).unwrap()
}

fn recorder(home: &Path, cameras: usize) -> Recorder {
    let config = RecordConfig {
        folder: home.to_owned(),
        video: VideoCodec::None,
        disk_margin_bytes: 0,
        refuse_below_minutes: 0,
        ..RecordConfig::default()
    };
    let shapes = TableShapes { keypoints: 23, cameras, signals: Vec::new(), action_sd: false, encoding: false };
    let camera = |index: usize| CameraInfo {
        name: format!("cam{index}"),
        width_px: WIDTH_PX,
        height_px: HEIGHT_PX,
        format: PixelFormat::Mono8,
        rate_hz: RATE_HZ,
    };
    let info = RecordingInfo::new("bench", "bench", SystemTime::now(), serde_json::json!({}));
    Recorder::start(&config, info, schemas(&shapes), (0..cameras).map(camera).collect(), Vec::new()).unwrap()
}

/// One camera's edge: as `CameraEdge`, without a rig around it.
struct Edge {
    source: Box<dyn CameraSource>,
    pool: Pool<Frame>,
    matcher: TriggerMatcher,
    lane: RecordLane,
    unrecorded: u64,
}

impl Edge {
    fn new(twin: &Twin, index: usize, lane: RecordLane) -> Self {
        let mut source: Box<dyn CameraSource> = Box::new(twin.camera(CameraIndex(index as u8)));
        let geometry = source.geometry();
        source.start().unwrap();
        let pool = Pool::new(frame_pool_slots(RECORDER_QUEUE), || Frame::blank(CameraIndex(index as u8), geometry));
        Self { source, pool, matcher: TriggerMatcher::new(PLAN), lane, unrecorded: 0 }
    }

    /// The source writes a slot; the time that it took for itself.
    fn take(&mut self, now: HostTime) -> Option<(Arc<Frame>, Duration)> {
        let begun = Instant::now();
        let source = &mut self.source;
        let leased =
            self.pool.lease(|frame| Ok::<_, mimicd_device::DeviceError>(source.poll(now, frame)? == Polled::Ready));
        leased.unwrap().map(|frame| (frame, begun.elapsed()))
    }

    /// Matched and handed to the recorder: never copied.
    fn hand_on(&mut self, frame: Arc<Frame>) -> MatchedFrame {
        let found = self.matcher.on_frame(frame.counter, frame.device_time, frame.arrival);
        let integrity = frame.integrity | found.integrity;
        let at = RigTime::from_nanos(PLAN.offset(found.trigger).nanos());
        let stamp = FrameStamp { trigger_index: Some(found.trigger), at, uncertainty: Span::ZERO, integrity };
        self.unrecorded += u64::from(!self.lane.frame(Arc::clone(&frame), stamp));
        MatchedFrame { frame, trigger: found.trigger, integrity }
    }

    fn has_room(&self) -> bool {
        self.lane.has_room_for_frame()
    }
}

/// Microseconds of each step, a set at a time.
#[derive(Default)]
struct Costs {
    fill: Vec<f64>,
    hand_on: Vec<f64>,
    gather: Vec<f64>,
    preview: Vec<f64>,
    allocations: u64,
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The most memory that this process has had at once.
fn resident_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1.024e-3
}

/// Set after set on one thread.
fn stepped(cameras: usize) {
    let home = tempfile::tempdir().unwrap();
    let start = HostTime::from_nanos(1_000_000_000);
    let mut rig = twin(cameras, true, start);
    let mut board = rig.board();
    let mut recorder = recorder(home.path(), cameras);
    let mut edges: Vec<Edge> =
        (0..cameras).map(|index| Edge::new(&rig, index, recorder.lane(&format!("cam{index}")))).collect();
    let mut gatherer = Gatherer::new(cameras, Span::from_millis(4));
    let (mut set, mut preview) = (FrameSet::empty(cameras), vec![Preview::default(); cameras]);
    board.send(start, BoardCommand::StartTriggers(PLAN)).unwrap();
    let (mut costs, mut sets, mut now) = (Costs::default(), 0, start);
    let (mut fill, mut hand_on) = (0.0, 0.0);
    while sets < SETS {
        now += Span::from_millis(1);
        while board.poll(now).unwrap().is_some() {}
        for edge in &mut edges {
            while !edge.has_room() {
                std::thread::sleep(Duration::from_micros(200));
            }
            let Some((frame, took)) = edge.take(now) else { continue };
            let begun = Instant::now();
            let allocated = allocation_counter::measure(|| gatherer.push(edge.hand_on(frame), now));
            costs.allocations += allocated.count_total;
            fill += took.as_secs_f64() * 1e6;
            hand_on += begun.elapsed().as_secs_f64() * 1e6;
        }
        let begun = Instant::now();
        if !gatherer.pop(now, &mut set) {
            continue;
        }
        costs.gather.push(begun.elapsed().as_secs_f64() * 1e6);
        costs.fill.push(std::mem::take(&mut fill));
        costs.hand_on.push(std::mem::take(&mut hand_on));
        assert_eq!(set.present(), cameras, "a set of the stepped twin is complete");
        if set.trigger.is_multiple_of(PREVIEW_EVERY) {
            let begun = Instant::now();
            set.frames.iter().flatten().zip(&mut preview).for_each(|(frame, small)| shrink_to_preview(frame, small));
            costs.preview.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        sets += 1;
    }
    drop(edges);
    recorder.seal().unwrap();
    let [fill, hand_on, gather, preview] =
        [&mut costs.fill, &mut costs.hand_on, &mut costs.gather, &mut costs.preview].map(|values| median(values));
    println!(
        "| {cameras} | {:.0} | {fill:.0} | {:.1} | {:.0} | {:.2} | {} |",
        cameras as f64 * FRAME_BYTES as f64 * RATE_HZ * 1e-6,
        hand_on + gather,
        preview / PREVIEW_EVERY as f64,
        (hand_on + gather + preview / PREVIEW_EVERY as f64) * RATE_HZ * 1e-4,
        costs.allocations,
    );
}

/// One thread a camera in real time, a loop thread that gathers, and what came through.
fn live(cameras: usize, seconds: f64) {
    let home = tempfile::tempdir().unwrap();
    let mut recorder = recorder(home.path(), cameras);
    let start = host_now();
    let mut rig = twin(cameras, false, start);
    let mut board = rig.board();
    let end = start + Span::from_secs_f64(seconds + 1.0);
    let (mut frames, mut threads) = (Vec::new(), Vec::new());
    for index in 0..cameras {
        let mut edge = Edge::new(&rig, index, recorder.lane(&format!("cam{index}")));
        let (mut to_loop, from_edge) = ring::<MatchedFrame>(8);
        frames.push(from_edge);
        let run = move || {
            let (mut refused, mut damaged) = (0u64, 0u64);
            while host_now() < end {
                match edge.take(host_now()) {
                    Some((frame, _)) => {
                        damaged += u64::from(frame.integrity.contains(Integrity::CORRUPT));
                        refused += u64::from(to_loop.push(edge.hand_on(frame)).is_err());
                    }
                    None => edge.source.wait(end.min(host_now() + Span::from_millis(20))),
                }
            }
            (refused + edge.unrecorded, damaged)
        };
        threads.push(std::thread::Builder::new().name(format!("cam{index}")).spawn(run).unwrap());
    }
    std::thread::sleep(Duration::from_millis(200));
    board.send(host_now(), BoardCommand::StartTriggers(PLAN)).unwrap();
    let mut gatherer = Gatherer::new(cameras, Span::from_millis(15));
    let mut set = FrameSet::empty(cameras);
    let (mut triggers, mut lateness) = (0u64, Vec::new());
    while host_now() < end {
        while let Some((_, event)) = board.poll(host_now()).unwrap() {
            triggers += u64::from(matches!(event, BoardEvent::Trigger { .. }));
        }
        frames.iter_mut().for_each(|queue| {
            while let Some(frame) = queue.pop() {
                gatherer.push(frame, host_now());
            }
        });
        while gatherer.pop(host_now(), &mut set) {
            lateness.push((set.last_arrival - set.first_arrival).secs_f64() * 1e3);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    let lost = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let counts = gatherer.counts();
    set.clear();
    let bound_mb = (cameras * frame_pool_slots(RECORDER_QUEUE) * FRAME_BYTES) as f64 * 1e-6;
    let resident = resident_mb();
    recorder.seal().unwrap();
    println!(
        "| {cameras} | {triggers} | {} | {} | {} | {} | {} | {:.2} | {bound_mb:.0} | {resident:.0} |",
        counts.complete,
        counts.partial,
        counts.late,
        lost.0,
        lost.1,
        median(&mut lateness),
    );
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|word| word == "--live-one") {
        // A process of its own for each number of cameras, so that its memory is its own too.
        return live(words[at + 1].parse().unwrap(), 10.0);
    }
    println!(
        "{WIDTH_PX}x{HEIGHT_PX} mono8 at {RATE_HZ} Hz; {FRAME_BYTES} bytes a frame, written once (by the source), copied by nobody after it"
    );
    println!(
        "| cameras | MB/s | source writes a set, µs | match, gather, hand to recorder, µs a set | previews, µs a set | of one core without the source, % | allocations |"
    );
    println!("|---|---|---|---|---|---|---|");
    [6, 12, 24].into_iter().for_each(stepped);
    if words.iter().any(|word| word == "--live") {
        println!("\n10 s in real time, one thread a camera, patterns drawn ahead on threads of the twin's own");
        println!(
            "| cameras | triggers | complete sets | partial | late frames | refused by loop or recorder | drawn too late | spread in a set, ms (median) | bound of the pools, MB | most resident, MB |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for cameras in ["6", "12", "24"] {
            let child = Command::new(std::env::current_exe().unwrap()).args(["--live-one", cameras]).status().unwrap();
            assert!(child.success(), "{cameras} cameras in real time");
        }
    }
}
