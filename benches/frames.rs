//! What frames cost on their way: from the source into the pool, matched, gathered, handed to the recorder, shrunk for the panel.
//!
//! `cargo bench --bench frames`: 6, 12 and 24 cameras of 1920x1200 mono8 at 50 Hz, drawn by the twin's pattern source, one thread, set
//! after set, each step timed by itself. In real time, with the memory: `cargo bench --bench frames_live`.
#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod frame_rig;

use std::time::{Duration, Instant};

use frame_rig::{Edge, FRAME_BYTES, HEIGHT_PX, PLAN, RATE_HZ, WIDTH_PX, median, recorder, twin};
use mimicd::pipeline::{Preview, shrink_to_preview};
use mimicd::stream::{FrameSet, Gatherer};
use mimicd_device::{BoardCommand, HostTime, Span, SyncBoard as _};

const SETS: usize = 400;
/// A preview is made of every fourth set: 12.5 a second.
const PREVIEW_EVERY: u64 = 4;

/// Microseconds of each step, a set at a time.
#[derive(Default)]
struct Costs {
    fill: Vec<f64>,
    hand_on: Vec<f64>,
    gather: Vec<f64>,
    preview: Vec<f64>,
    allocations: u64,
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

fn main() {
    println!(
        "{WIDTH_PX}x{HEIGHT_PX} mono8 at {RATE_HZ} Hz; {FRAME_BYTES} bytes a frame, written once (by the source), copied by nobody after it"
    );
    println!(
        "| cameras | MB/s | source writes a set, µs | match, gather, hand to recorder, µs a set | previews, µs a set | of one core without the source, % | allocations |"
    );
    println!("|---|---|---|---|---|---|---|");
    [6, 12, 24].into_iter().for_each(stepped);
}
