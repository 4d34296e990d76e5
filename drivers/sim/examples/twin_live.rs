//! Runs a twin in real time with one thread a device, as a rig would, and prints what it cost and how punctual it was.
//!
//! `cargo run --release -p mimicd-sim --example twin_live -- [seconds] [width] [height] [body.xml]`; without a body, test
//! pictures.

use std::time::Duration;

use mimicd_device::{
    ArrayIndex, BoardCommand, BoardEvent, CameraIndex, CameraSource, EphysSource, Frame, HostTime, Integrity, Polled,
    SampleBlock, Span, SyncBoard, TriggerPlan,
};
use mimicd_sim::{SceneOptions, SimArray, SimBoard, SimCamera, Twin, TwinArray, TwinCamera, TwinOptions};
use rustix::time::{ClockId, clock_gettime};

const PLAN: TriggerPlan = TriggerPlan {
    period: Span::from_millis(20),
    width: Span::from_millis(1),
    stretch: Span::from_millis(2),
    stretch_every: 150,
    code_seed: 7,
};

fn clock(id: ClockId) -> HostTime {
    let now = clock_gettime(id);
    HostTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

fn now() -> HostTime {
    clock(ClockId::Monotonic)
}

/// What one device's thread measured.
struct Report {
    name: String,
    items: usize,
    processor: Duration,
    latency: Vec<Span>,
    note: String,
}

impl Report {
    fn print(mut self, seconds: f64) {
        self.latency.sort_unstable();
        let at = |share: f64| {
            let index = ((self.latency.len().max(1) - 1) as f64 * share) as usize;
            self.latency.get(index).map_or(f64::NAN, |span| span.millis_f64())
        };
        println!(
            "{:<10} {:>6} items  {:>5.2} % of a core  p50 {:.3} p99 {:.3} max {:.3} ms  {}",
            self.name,
            self.items,
            self.processor.as_secs_f64() / seconds * 100.0,
            at(0.5),
            at(0.99),
            at(1.0),
            self.note
        );
    }
}

fn run_camera(mut camera: SimCamera, index: CameraIndex, twin: &mimicd_sim::TruthLog, end: HostTime) -> Report {
    let mut frame = Frame::blank(index, camera.geometry());
    camera.start().expect("a twin's camera starts");
    let mut damaged = 0;
    let mut report = report(format!("camera {}", index.0));
    while now() < end {
        while matches!(camera.poll(now(), &mut frame), Ok(Polled::Ready)) {
            let begun = twin.host_at_camera(index, frame.device_time.expect("twin cameras stamp"));
            report.items += 1;
            damaged += u32::from(frame.integrity.contains(Integrity::CORRUPT));
            report.latency.push(frame.arrival - begun);
        }
        camera.wait(end);
    }
    report.note = format!("{} images late, {damaged} frames without", camera.rendered_late());
    finish(report)
}

fn run_array(mut array: SimArray, index: ArrayIndex, twin: &mimicd_sim::TruthLog, end: HostTime) -> Report {
    let mut block = SampleBlock::with_capacity(index, array.channels(), array.block_samples_max());
    array.start().expect("a twin's array starts");
    let mut report = report(format!("array {}", index.0));
    while now() < end {
        while matches!(array.poll(now(), &mut block), Ok(Polled::Ready)) {
            report.items += 1;
            report.latency.push(block.arrival - twin.host_at_sample(index, block.end()));
        }
        array.wait(end);
    }
    report.note = format!("{} spikes", twin.spike_count(index));
    finish(report)
}

fn run_board(mut board: SimBoard, twin: &mimicd_sim::TruthLog, end: HostTime) -> Report {
    let mut report = report("board".to_owned());
    board.send(now(), BoardCommand::StartTriggers(PLAN)).expect("the link is up");
    let mut next_ping = now();
    while now() < end {
        while let Ok(Some((arrival, event))) = board.poll(now()) {
            report.items += 1;
            if let BoardEvent::Pong { at, .. } = event {
                report.latency.push(arrival - twin.host_at_board(1, at).expect("the board is in its first epoch"));
            }
        }
        if now() >= next_ping {
            board.send(now(), BoardCommand::Ping).expect("the link is up");
            next_ping += Span::from_millis(50);
        }
        board.wait(next_ping);
    }
    finish(report)
}

fn report(name: String) -> Report {
    Report { name, items: 0, processor: Duration::ZERO, latency: Vec::with_capacity(1 << 16), note: String::new() }
}

fn finish(mut report: Report) -> Report {
    report.processor = clock(ClockId::ThreadCPUTime).since(HostTime::ZERO).to_duration();
    report
}

/// One of six cameras around the arena, looking down at its centre.
fn camera(index: usize, width_px: u32, height_px: u32) -> TwinCamera {
    let (sin, cos) = (index as f64 / 6.0 * std::f64::consts::TAU).sin_cos();
    let (out, up) = (0.8, 0.6);
    // Forward looks at the origin, right is level, down completes them.
    let forward = [-out * cos, -out * sin, -up];
    let right = [-sin, cos, 0.0].map(|c: f64| -c);
    let down = [-up * cos, -up * sin, out].map(|c: f64| -c);
    let (width, height) = (f64::from(width_px), f64::from(height_px));
    TwinCamera {
        name: format!("cam{index}"),
        width_px,
        height_px,
        k: [[width * 0.9, 0.0, width / 2.0], [0.0, width * 0.9, height / 2.0], [0.0, 0.0, 1.0]],
        distortion: [0.0; 5],
        rotation: [right, down, forward],
        translation_m: [0.0, 0.0, 1.0],
    }
}

fn main() {
    let number =
        |place: usize, default: u32| std::env::args().nth(place).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seconds, width_px, height_px) = (number(1, 10), number(2, 640), number(3, 400));
    let body = std::env::args().nth(4);
    let options = TwinOptions {
        scene: body.map_or(SceneOptions::Pattern, |mjcf| SceneOptions::Rat { mjcf: mjcf.into() }),
        cameras: (0..6).map(|index| camera(index, width_px, height_px)).collect(),
        exposures: vec![Span::from_millis(2); 6],
        arrays: vec![TwinArray { exposure_bits: (1..=6).collect(), ..TwinArray::default() }; 2],
        ..TwinOptions::default()
    };
    let mut twin = Twin::new(options, now()).expect("these options are possible");
    let truth = &twin.truth();
    let board = twin.board();
    let cameras: Vec<_> = (0..6).map(|index| twin.camera(CameraIndex(index))).collect();
    let arrays: Vec<_> = (0..2).map(|index| twin.array(ArrayIndex(index))).collect();
    let end = now() + Span::from_millis(i64::from(seconds) * 1_000);
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let mut threads = vec![scope.spawn(move || run_board(board, truth, end))];
        for (index, camera) in cameras.into_iter().enumerate() {
            threads.push(scope.spawn(move || run_camera(camera, CameraIndex(index as u8), truth, end)));
        }
        for (index, array) in arrays.into_iter().enumerate() {
            threads.push(scope.spawn(move || run_array(array, ArrayIndex(index as u8), truth, end)));
        }
        threads.into_iter().map(|thread| thread.join().expect("no device panics")).collect()
    });
    for report in reports {
        report.print(f64::from(seconds));
    }
    println!(
        "all threads {:.2} % of a core",
        clock(ClockId::ProcessCPUTime).since(HostTime::ZERO).secs_f64() / f64::from(seconds) * 100.0
    );
}
