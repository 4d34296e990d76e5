//! A rig made of formulas: for tests of panel and supervisor, and for looking at the page without devices.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::VecDeque;
use std::f32::consts::TAU;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mimicd::pipeline::{
    ArrayInfo, ArrayLive, BodyGeom, CameraInfo, CameraLive, ClockLive, Command, Counter, Degradation, GeomKind,
    LATENCY_EDGES_MICROS, LatencyLive, Notice, PreflightCheck, PreflightReport, Preview, Rat, RecordingProgress,
    RecordingStarted, Rig, RigError, RigInfo, RigStatus, RigView, SealSummary, Snapshot, SortedUnit, SpikeRing,
    SpikeTick, StartRequest, StreamProgress, Verdict, ViewMarks,
};

const FRAME_RATE_HZ: f64 = 50.0;
const KEYPOINTS: usize = 23;

/// What a test can do to the fake rig while it runs, and what the rig says it was told.
#[derive(Default)]
pub struct Levers {
    pub fail_arm: AtomicBool,
    pub fail_seal: AtomicBool,
    pub freeze_streams: AtomicBool,
    pub camera_lost: AtomicBool,
    pub outputs_armed: AtomicBool,
    pub recording: Mutex<Option<(String, Instant)>>,
    pub fault: Mutex<Option<String>>,
    pub must_stop: Mutex<Option<String>>,
    pub buttons: Mutex<VecDeque<Command>>,
    pub calls: Mutex<Vec<String>>,
    pub audit: Mutex<Vec<String>>,
    pub previews_wanted: AtomicBool,
    pub started: AtomicU64,
}

pub struct FakeView {
    info: RigInfo,
    begun: Instant,
    levers: Arc<Levers>,
}

pub struct FakeRig {
    levers: Arc<Levers>,
}

pub fn fake_rig() -> (Box<FakeRig>, Arc<FakeView>, Arc<Levers>) {
    let levers = Arc::new(Levers::default());
    let view = FakeView { info: info(), begun: Instant::now(), levers: levers.clone() };
    (Box::new(FakeRig { levers: levers.clone() }), Arc::new(view), levers)
}

impl FakeRig {
    fn log(&self, call: impl Into<String>) {
        self.levers.calls.lock().expect("lock").push(call.into());
    }
}

impl Rig for FakeRig {
    fn arm(&mut self) -> Result<PreflightReport, RigError> {
        self.log("arm");
        let failed = self.levers.fail_arm.load(Ordering::Relaxed);
        let check =
            |name: &str, verdict, detail: &str| PreflightCheck { name: name.into(), verdict, detail: detail.into() };
        let third = if failed { Verdict::Fail } else { Verdict::Pass };
        Ok(PreflightReport {
            checks: vec![
                check("board", Verdict::Pass, "answers in 0.4 ms, 20 of 20 burst triggers seen"),
                check("camera.Camera1", Verdict::Pass, "20 of 20 frames, 640x512, first after 3.1 ms"),
                check("camera.Camera3", third, "20 of 20 frames, 640x512, first after 3.3 ms"),
                check("disk", Verdict::Warn, "41 GB free: room for 9 h at 1.2 MB/s"),
            ],
        })
    }

    fn disarm(&mut self) {
        self.log("disarm");
    }

    fn start(&mut self, request: &StartRequest) -> Result<RecordingStarted, RigError> {
        let number = self.levers.started.fetch_add(1, Ordering::Relaxed);
        self.log(match &request.continues {
            Some(name) => format!("start {} continues {name}", request.subject),
            None => format!("start {}", request.subject),
        });
        let name = format!("20261124T0330{number:02}Z_{}", request.subject);
        *self.levers.recording.lock().expect("lock") = Some((name.clone(), Instant::now()));
        Ok(RecordingStarted { name })
    }

    fn stop(&mut self) -> Result<SealSummary, RigError> {
        self.log("stop");
        let (name, since) = self.levers.recording.lock().expect("lock").take().expect("recording");
        if self.levers.fail_seal.load(Ordering::Relaxed) {
            return Err(RigError("manifest.json: no space left on device".into()));
        }
        let seconds = since.elapsed().as_secs_f64();
        let rows = (seconds * 30_000.0) as u64;
        Ok(SealSummary { name, seconds, rows, bytes: rows * 600, reconciled: true, problems: Vec::new() })
    }

    fn mark(&mut self, text: &str) -> Result<(), RigError> {
        self.log(format!("mark {text}"));
        Ok(())
    }

    fn audit(&mut self, line: &str) {
        self.levers.audit.lock().expect("lock").push(line.to_owned());
    }

    fn set_outputs(&mut self, armed: bool) -> Result<(), RigError> {
        self.log(format!("outputs {armed}"));
        self.levers.outputs_armed.store(armed, Ordering::Relaxed);
        Ok(())
    }

    fn buttons(&mut self, commands: &mut Vec<Command>) {
        commands.extend(self.levers.buttons.lock().expect("lock").drain(..));
    }

    fn notices(&mut self, _: &mut Vec<Notice>) {}

    fn seal_time_max(&self) -> Duration {
        Duration::from_secs(5)
    }
}

impl FakeView {
    fn secs(&self) -> f64 {
        if self.levers.freeze_streams.load(Ordering::Relaxed) { 1.0 } else { self.begun.elapsed().as_secs_f64() }
    }
}

impl RigView for FakeView {
    fn info(&self) -> &RigInfo {
        &self.info
    }

    fn snapshot(&self, into: &mut Snapshot) {
        let secs = self.secs();
        let mut made = Snapshot::for_rig(&self.info, 13, 74);
        made.frame_sets = (secs * FRAME_RATE_HZ) as u64;
        made.sequence = made.frame_sets + 1;
        made.board_nanos = (secs * 1e9) as i64;
        made.outputs_armed = self.levers.outputs_armed.load(Ordering::Relaxed);
        made.real = rat(secs as f32);
        made.real.residual_mm = 1.4 + 0.3 * (secs as f32).sin();
        made.imitation.rat = rat(secs as f32 - 0.1);
        made.imitation.lag_millis = 100.0;
        made.imitation.root_error_mm = 7.0 + 2.0 * (secs as f32 * 0.7).sin();
        made.imitation.joint_error_deg = 6.0;
        made.imitation.trusted = secs > 2.0;
        self.cameras(&mut made, secs as f32);
        self.arrays(&mut made, secs);
        for (stage, base) in made.stages.iter_mut().zip([0.4_f32, 3.1, 0.05, 0.12, 0.9, 1.6, 0.03, 7.4]) {
            let p50 = base * 1000.0 * (1.0 + 0.02 * (secs as f32).sin());
            *stage =
                LatencyLive { count: made.frame_sets, p50_micros: p50, p99_micros: p50 * 1.6, max_micros: p50 * 2.9 };
        }
        for (bucket, count) in made.latency_buckets.iter_mut().enumerate() {
            let x = (bucket as f64 - 7.2) / 1.5;
            *count = (made.frame_sets as f64 * (-x * x).exp()) as u64 + u64::from(bucket == 16);
        }
        for (index, clock) in made.clocks.iter_mut().enumerate() {
            let wave = (secs as f32 * 0.3 + index as f32).sin();
            *clock = ClockLive {
                locked: true,
                residual_micros: 4.0 * wave,
                residual_p99_micros: 9.0 + index as f32 + 3.0 * wave,
                drift_ppm: -14.0 + 5.0 * index as f32,
                steps: 0,
            };
        }
        *into = made;
    }

    fn status(&self) -> RigStatus {
        let lost = self.levers.camera_lost.load(Ordering::Relaxed);
        let frames = (self.secs() * FRAME_RATE_HZ) as u64;
        let counter = |name: &str, place: &str, cause: &str, value, harm| Counter {
            name: name.into(),
            place: place.into(),
            cause: cause.into(),
            value,
            harm,
        };
        let recording = self.levers.recording.lock().expect("lock").as_ref().map(|(name, since)| {
            let elapsed_secs = since.elapsed().as_secs_f64();
            let rows = (elapsed_secs * 30_000.0) as u64;
            RecordingProgress { name: name.clone(), elapsed_secs, rows, bytes: rows * 600, dropped_rows: 0 }
        });
        RigStatus {
            counters: vec![
                counter("frames_received", "Camera1", "", frames, false),
                counter("frames_missing", "Camera4", "no_frame_for_trigger", 3, true),
                counter("queue_full", "record.frames", "slow_disk", 0, true),
            ],
            degraded: if lost {
                let message = "Camera3 has gone (USB 2-1.4): check its cable; it is reopened every second".into();
                vec![Degradation { code: "camera_lost.Camera3".into(), message }]
            } else {
                Vec::new()
            },
            recording,
            disk_free_bytes: 41_000_000_000,
            disk_left_secs: Some(33_000.0),
            streams: vec![
                StreamProgress { name: "Camera1".into(), count: frames, expected: true },
                StreamProgress { name: "Camera3".into(), count: if lost { 7 } else { frames }, expected: !lost },
            ],
            fault: self.levers.fault.lock().expect("lock").clone(),
            must_stop: self.levers.must_stop.lock().expect("lock").clone(),
        }
    }

    fn preview(&self, camera: usize, into: &mut Preview) -> bool {
        let secs = self.secs() as f32;
        let sequence = (secs * 12.0) as u64 + 1;
        if into.sequence == sequence {
            return false;
        }
        let [cx, cy] = centre_px(camera, secs).map(|v| v / 2.0);
        let grey = (0..320 * 256).map(|i| {
            let (x, y) = ((i % 320) as f32, (i / 320) as f32);
            let floor = 0.55 - 0.3 * (((x - 160.0) / 150.0).powi(2) + ((y - 128.0) / 110.0).powi(2)).min(1.2);
            let rat = (-((x - cx) / 26.0).powi(2) - ((y - cy) / 15.0).powi(2)).exp();
            ((floor + 0.4 * rat) * 255.0).clamp(4.0, 250.0) as u8
        });
        let mut made = Snapshot::for_rig(&self.info, 13, 74);
        self.cameras(&mut made, secs);
        let CameraLive { crop_px, keypoints_px, reprojected_px, .. } = made.cameras.swap_remove(camera);
        let marks = ViewMarks { crop_px, keypoints_px, reprojected_px };
        *into = Preview { sequence, width_px: 320, height_px: 256, grey: grey.collect(), marks };
        true
    }

    fn want_previews(&self, wanted: bool) {
        self.levers.previews_wanted.store(wanted, Ordering::Relaxed);
    }
}

impl FakeView {
    fn cameras(&self, made: &mut Snapshot, secs: f32) {
        let lost = self.levers.camera_lost.load(Ordering::Relaxed);
        for (index, camera) in made.cameras.iter_mut().enumerate() {
            camera.connected = !(lost && index == 2);
            camera.rate_hz = if camera.connected { 50.0 } else { 0.0 };
            camera.frames = made.frame_sets;
            camera.missing = u64::from(index == 3) * 3;
            camera.reprojection_px = 0.7 + 0.1 * index as f32;
            let [cx, cy] = centre_px(index, secs);
            camera.crop_px = [cx - 110.0, cy - 110.0, 220.0, 220.0];
            for k in 0..KEYPOINTS {
                let (along, across) = ((k as f32 / 22.0 - 0.5) * 120.0, 24.0 * ((k % 3) as f32 - 1.0));
                let jitter = (secs * 13.0 + k as f32).sin();
                camera.keypoints_px[k] = [cx + along + jitter, cy + across, 0.55 + 0.4 * (k as f32).cos().abs()];
                camera.reprojected_px[k] = [cx + along, cy + across + 0.8 * jitter];
            }
        }
        made.pose.state = "tracking";
        made.pose.views = if lost { 5 } else { 6 };
        let root = &made.real.qpos;
        for (k, point) in made.pose.keypoints_m.iter_mut().enumerate() {
            let along = (k as f32 / 22.0 - 0.5) * 0.2;
            *point = [root[0] + along, root[1] + 0.02 * ((k % 3) as f32 - 1.0), 0.05];
        }
        made.pose.keypoints_m[22] = [f32::NAN; 3];
    }

    fn arrays(&self, made: &mut Snapshot, secs: f64) {
        made.spikes = SpikeRing::with_capacity(2_048);
        let rates: Vec<f64> = (0..64).map(|unit: usize| 2.0 + (unit * 7 % 23) as f64).collect();
        // The last 1.5 s of spikes: positions are a function of unit and number, so that each call agrees with the last.
        let mut ticks = Vec::new();
        for (unit, rate) in rates.iter().enumerate() {
            for n in ((secs - 0.5).max(0.0) * rate) as u64..(secs * rate) as u64 {
                let jitter = ((n * 2_654_435_761 + unit as u64 * 97) % 1_000) as f64 / 1_000.0;
                ticks.push(((n as f64 + jitter * 0.9) / rate * 1e9, unit));
            }
        }
        ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let before: u64 = rates.iter().map(|rate| ((secs - 0.5).max(0.0) * rate) as u64).sum();
        made.spikes.total = before;
        for (nanos, unit) in ticks {
            let (array, tetrode) = ((unit / 32) as u8, (unit % 32) as u16);
            made.spikes.push(SpikeTick { board_nanos: nanos as i64, array, tetrode, unit: 1 });
        }
        for (index, array) in made.arrays.iter_mut().enumerate() {
            array.connected = true;
            array.rate_hz = 30_000.0;
            array.samples = (secs * 30_000.0) as u64;
            array.noise_uv = 11.2;
            array.spikes_hz = rates[index * 32..][..32].iter().sum::<f64>() as f32;
            for (tetrode, wave) in array.waveforms.iter_mut().enumerate() {
                array.unit_rates_hz[tetrode] = rates[index * 32 + tetrode] as f32;
                wave.uv = (0..128).map(|i| waveform_uv(tetrode, i / 32, i % 32)).collect();
                wave.count = (secs * rates[index * 32 + tetrode]) as u64;
                wave.unit = (tetrode * 2 + wave.count as usize % 2 + 1) as u16;
            }
            fake_electrodes(array);
        }
    }
}

fn fake_electrodes(array: &mut ArrayLive) {
    array.health_seconds = 3;
    array.line_uv = [14.2, 1.1];
    for (channel, noise) in array.channel_noise_uv.iter_mut().enumerate() {
        *noise = 9.0 + (channel * 7 % 11) as f32 * 0.4;
        array.thresholds_uv[channel] = 48.8;
    }
    array.channel_noise_uv[21] = 0.2;
    array.channel_flags[21] = 1;
    array.thresholds_uv[21] = f32::INFINITY;
    array.units.clear();
    array.units.extend((0..64_u16).map(|unit| SortedUnit {
        id: unit + 1,
        tetrode: unit / 2,
        count: 1_000 + u64::from(unit) * 17,
        rate_hz: 3.0 + f32::from(unit % 9),
        snr: 6.0 + f32::from(unit % 13),
        violations: 0.001 * f32::from(unit % 5),
        drift_sigma: 0.3 * f32::from(unit % 7),
    }));
}

fn waveform_uv(tetrode: usize, channel: usize, sample: usize) -> i16 {
    let size = 60.0 + 40.0 * ((tetrode * 5 + channel * 3) % 7) as f32;
    let t = (sample as f32 - 9.0) / 3.0;
    let after = (sample as f32 - 16.0) / 6.0;
    (-size * (-t * t).exp() + 0.35 * size * (-after * after).exp()) as i16
}

fn centre_px(camera: usize, secs: f32) -> [f32; 2] {
    let angle = secs * 0.35 + camera as f32;
    [320.0 + 150.0 * angle.cos(), 256.0 + 90.0 * angle.sin()]
}

/// A plain rat: trunk, head, tail of four, four legs of two.
fn rat(secs: f32) -> Rat {
    let angle = secs * 0.35;
    let (x, y) = (0.25 * angle.cos(), 0.25 * angle.sin());
    let heading = angle + TAU / 4.0;
    let place = |along: f32, across: f32, up: f32, pitch: f32, yaw: f32| -> [f32; 7] {
        let (c, s) = (heading.cos(), heading.sin());
        let (cy, sy) = (((heading + yaw) / 2.0).cos(), ((heading + yaw) / 2.0).sin());
        let (cp, sp) = ((pitch / 2.0).cos(), (pitch / 2.0).sin());
        [x + c * along - s * across, y + s * along + c * across, up, cy * cp, -sy * sp, cy * sp, sy * cp]
    };
    let sway = (secs * 2.5).sin();
    let mut bodies = vec![place(0.0, 0.0, 0.045, 0.1, 0.0), place(0.1, 0.0, 0.055, 0.3, 0.25 * sway)];
    for n in 0..3 {
        let bend = 0.16 * sway * n as f32;
        bodies.push(place(-0.10 - 0.05 * n as f32, 0.02 * bend, 0.03 - 0.008 * n as f32, 0.15, bend));
    }
    for (n, (along, across)) in [(0.06, 0.03), (0.06, -0.03), (-0.05, 0.035), (-0.05, -0.035)].into_iter().enumerate() {
        let step = (secs * 9.0 + n as f32 * TAU / 2.0 + if n > 1 { 1.5 } else { 0.0 }).sin();
        bodies.push(place(along + 0.012 * step, across, 0.03, TAU / 4.0 + 0.4 * step, 0.0));
        bodies.push(place(along + 0.02 * step + 0.012, across, 0.006 + 0.006 * step.max(0.0), 0.0, 0.0));
    }
    let mut qpos = vec![0.0; 74];
    qpos[..3].copy_from_slice(&[x, y, 0.045]);
    Rat { qpos, bodies, valid: true, ..Rat::default() }
}

fn info() -> RigInfo {
    const ALONG_X: [f32; 4] = [std::f32::consts::FRAC_1_SQRT_2, 0.0, std::f32::consts::FRAC_1_SQRT_2, 0.0];
    let geom = |body: u16, kind, size_m: [f32; 3], position_m: [f32; 3]| BodyGeom {
        kind,
        size_m,
        body,
        position_m,
        quaternion: ALONG_X,
        tint: [-1.0; 3],
    };
    let mut geoms = vec![
        geom(0, GeomKind::Ellipsoid, [0.032, 0.036, 0.075], [-0.03, 0.0, 0.0]),
        geom(0, GeomKind::Ellipsoid, [0.028, 0.03, 0.055], [0.05, 0.0, 0.003]),
        geom(1, GeomKind::Ellipsoid, [0.019, 0.02, 0.035], [0.01, 0.0, 0.0]),
        geom(1, GeomKind::Sphere, [0.009, 0.0, 0.0], [-0.008, 0.016, 0.016]),
        geom(1, GeomKind::Sphere, [0.009, 0.0, 0.0], [-0.008, -0.016, 0.016]),
    ];
    geoms.extend((2..5).map(|n| geom(n, GeomKind::Capsule, [0.0065 - 0.001 * f32::from(n), 0.024, 0.0], [0.0; 3])));
    for leg in 0..4 {
        geoms.push(geom(5 + 2 * leg, GeomKind::Capsule, [0.01, 0.014, 0.0], [0.0; 3]));
        geoms.push(geom(6 + 2 * leg, GeomKind::Capsule, [0.005, 0.01, 0.0], [0.0; 3]));
    }
    let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    RigInfo {
        name: "demo-rig".into(),
        simulated: true,
        frame_rate_hz: FRAME_RATE_HZ,
        cameras: (1..=6).map(|n| CameraInfo { name: format!("Camera{n}"), width_px: 640, height_px: 512 }).collect(),
        arrays: ["A", "B"].map(|name| ArrayInfo { name: name.into(), channels: 128, rate_hz: 30_000.0 }).to_vec(),
        keypoints: (0..KEYPOINTS).map(|n| format!("K{n}")).collect(),
        bones: (0..KEYPOINTS as u16 - 1).map(|n| [n, n + 1]).collect(),
        geoms,
        arena_radius_m: 0.5,
        stages: words(&["gather", "pose", "triangulate", "body", "policy", "physics", "rules", "camera → action"]),
        clocks: words(&["Camera1", "Camera2", "Camera3", "Camera4", "Camera5", "Camera6", "A", "B", "host"]),
        latency_edges_micros: LATENCY_EDGES_MICROS.to_vec(),
        look_ahead: "delayed".into(),
        outputs: words(&["reward", "laser"]),
    }
}
