//! Frames in real time: one thread a camera, the recorder holding frames, and the memory that it takes.
//!
//! `cargo bench --bench frames_live`: 6, 12 and 24 cameras of 1920x1200 mono8 at 50 Hz, drawn by the twin's pattern source. Apart from
//! the other bench of frames because that one counts allocations: its allocator writes zeros into memory that the system gives
//! out as zeros, and every slot of every pool would be resident from the first.
#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod frame_rig;

use std::fs;
use std::process::Command;
use std::time::Duration;

use frame_rig::{Edge, FRAME_BYTES, PLAN, RECORDER_QUEUE, median, recorder, twin};
use mimicd::clock::host_now;
use mimicd::pipeline::frame_pool_slots;
use mimicd::stream::{FrameSet, Gatherer, MatchedFrame, ring};
use mimicd_device::{BoardCommand, BoardEvent, Integrity, Span, SyncBoard as _};

/// The most memory that this process has had at once.
fn resident_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1.024e-3
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
            (refused + edge.unrecorded, damaged, edge.pool.touched())
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
        .fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2.max(one.2)));
    let counts = gatherer.counts();
    set.clear();
    let bound_mb = (cameras * frame_pool_slots(RECORDER_QUEUE) * FRAME_BYTES) as f64 * 1e-6;
    let resident = resident_mb();
    recorder.seal().unwrap();
    println!(
        "| {cameras} | {triggers} | {} | {} | {} | {} | {} | {:.2} | {} of {} | {bound_mb:.0} | {resident:.0} |",
        counts.complete,
        counts.partial,
        counts.late,
        lost.0,
        lost.1,
        median(&mut lateness),
        lost.2,
        frame_pool_slots(RECORDER_QUEUE),
    );
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|word| word == "--live-one") {
        // A process of its own for each number of cameras, so that its memory is its own too.
        return live(words[at + 1].parse().unwrap(), 10.0);
    }
    println!("10 s in real time, one thread a camera, patterns drawn ahead on threads of the twin's own");
    println!(
        "| cameras | triggers | complete sets | partial | late frames | refused by loop or recorder | drawn too late | spread in a set, ms (median) | most slots held by a camera | bound of the pools, MB | most resident, MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for cameras in ["6", "12", "24"] {
        let child = Command::new(std::env::current_exe().unwrap()).args(["--live-one", cameras]).status().unwrap();
        assert!(child.success(), "{cameras} cameras in real time");
    }
}
