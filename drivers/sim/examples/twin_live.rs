//! Runs a twin in real time with one thread a device, as a rig would, and prints what it cost and how punctual it was.
//!
//! `cargo run --release -p mimicd-sim --example twin_live -- [seconds] [width] [height]`

use std::time::Duration;

use mimicd_device::{
    ArrayIndex, BoardCommand, BoardEvent, CameraIndex, CameraSource, EphysSource, Frame, HostTime, Polled, SampleBlock,
    Span, SyncBoard, TriggerPlan,
};
use mimicd_sim::{SimArray, SimBoard, SimCamera, Twin, TwinArray, TwinCamera, TwinOptions};
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
    let mut report = report(format!("camera {}", index.0));
    while now() < end {
        while matches!(camera.poll(now(), &mut frame), Ok(Polled::Ready)) {
            let begun = twin.host_at_camera(index, frame.device_time.expect("twin cameras stamp"));
            report.items += 1;
            report.latency.push(frame.arrival - begun);
        }
        camera.wait(end);
    }
    report.note = format!("{} images late", camera.rendered_late());
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
    report.note = format!("{} spikes", twin.spikes(index, 0).len());
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

fn main() {
    let number =
        |place: usize, default: u32| std::env::args().nth(place).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seconds, width_px, height_px) = (number(1, 10), number(2, 640), number(3, 400));
    let camera = |index: usize| TwinCamera {
        name: format!("cam{index}"),
        width_px,
        height_px,
        k: [[600.0, 0.0, 320.0], [0.0, 600.0, 200.0], [0.0, 0.0, 1.0]],
        distortion: [0.0; 5],
        rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        translation_m: [0.0; 3],
    };
    let options = TwinOptions {
        cameras: (0..6).map(camera).collect(),
        exposures: vec![Span::from_millis(2); 6],
        arrays: vec![TwinArray { exposure_bits: (1..=6).collect(), ..TwinArray::default() }; 2],
        ..TwinOptions::default()
    };
    let mut twin = Twin::new(options, now()).expect("these options are possible");
    let end = now() + Span::from_millis(i64::from(seconds) * 1_000);
    let truth = twin.truth();
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let truth = &truth;
        let mut threads = Vec::new();
        let board = twin.board();
        threads.push(scope.spawn(move || run_board(board, truth, end)));
        for index in (0..6).map(CameraIndex) {
            let camera = twin.camera(index);
            threads.push(scope.spawn(move || run_camera(camera, index, truth, end)));
        }
        for index in (0..2).map(ArrayIndex) {
            let array = twin.array(index);
            threads.push(scope.spawn(move || run_array(array, index, truth, end)));
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
