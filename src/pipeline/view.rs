//! The rig as the panel sees it: snapshots put together from what each thread shows.
//!
//! Tier: service. Forward kinematics for drawing is done here, never on the loop.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use mimicd_device::DeviceAlarm;
use mimicd_rat::{Kinematics, QPOS_LEN, RatModel};

use super::preview::Previews;
use super::shared::{Shared, StreamStatus};
use super::{
    ArrayLive, CameraLive, ClockLive, Counter, Degradation, EncodingLive, Preview, Rat, RecordingProgress, RigInfo,
    RigStatus, RigView, Snapshot, StreamProgress,
};
use crate::telemetry::Cause;

/// What the rig host keeps up to date for [`View::status`].
#[derive(Clone, Debug, Default)]
pub struct HostStatus {
    /// Conditions that the host knows of (real time refused, disk).
    pub degraded: Vec<Degradation>,
    /// Losses of the recording in progress, by place and cause.
    pub counters: Vec<Counter>,
    /// The recording in progress.
    pub recording: Option<RecordingProgress>,
    /// Free space where recordings go.
    pub disk_free_bytes: u64,
    /// Time until the disk margin is reached.
    pub disk_left_secs: Option<f64>,
    /// A thread has ended, or the like.
    pub fault: Option<String>,
    /// The recording has to end.
    pub must_stop: Option<String>,
}

/// Readers' side of a rig.
pub struct View {
    info: RigInfo,
    rat: Arc<RatModel>,
    shared: Mutex<Option<Arc<Shared>>>,
    host: Mutex<HostStatus>,
    previews: Arc<Previews>,
    blank: Snapshot,
    rates: Mutex<Rates>,
}

/// Frame and sample counts a while ago, for rates.
#[derive(Debug, Default)]
struct Rates {
    at_ns: i64,
    cameras: Vec<u64>,
    arrays: Vec<u64>,
    camera_hz: Vec<f32>,
    array_hz: Vec<f32>,
}

impl View {
    /// A view of a rig that is not armed.
    pub fn new(info: RigInfo, rat: Arc<RatModel>, previews: Arc<Previews>) -> Self {
        let blank = Snapshot::for_rig(&info, rat.bodies().len(), QPOS_LEN);
        let rates = Rates {
            cameras: vec![0; info.cameras.len()],
            arrays: vec![0; info.arrays.len()],
            camera_hz: vec![0.0; info.cameras.len()],
            array_hz: vec![0.0; info.arrays.len()],
            ..Rates::default()
        };
        Self {
            info,
            rat,
            shared: Mutex::new(None),
            host: Mutex::new(HostStatus::default()),
            previews,
            blank,
            rates: Mutex::new(rates),
        }
    }

    /// The threads that are to be shown; `None` while disarmed.
    pub fn set_shared(&self, shared: Option<Arc<Shared>>) {
        *lock(&self.shared) = shared;
    }

    /// Changes what the host reports.
    pub fn update_host(&self, update: impl FnOnce(&mut HostStatus)) {
        update(&mut lock(&self.host));
    }

    fn shared(&self) -> Option<Arc<Shared>> {
        lock(&self.shared).clone()
    }

    fn rates(&self, shared: &Shared, snapshot: &mut Snapshot) {
        let mut rates = lock(&self.rates);
        let now_ns = crate::clock::host_now().nanos();
        let seconds = (now_ns - rates.at_ns) as f64 * 1e-9;
        if seconds >= 1.0 {
            let Rates { cameras, arrays, camera_hz, array_hz, at_ns } = &mut *rates;
            renew(&shared.cameras, cameras, camera_hz, seconds);
            renew(&shared.arrays, arrays, array_hz, seconds);
            *at_ns = now_ns;
        }
        for (live, rate) in snapshot.cameras.iter_mut().zip(&rates.camera_hz) {
            live.rate_hz = *rate;
        }
        for (live, rate) in snapshot.arrays.iter_mut().zip(&rates.array_hz) {
            live.rate_hz = *rate;
        }
    }
}

fn renew(streams: &[StreamStatus], before: &mut [u64], rates_hz: &mut [f32], seconds: f64) {
    for ((stream, before), rate) in streams.iter().zip(before).zip(rates_hz) {
        let items = stream.items.load(Ordering::Relaxed);
        *rate = (items.saturating_sub(*before) as f64 / seconds) as f32;
        *before = items;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RigView for View {
    fn info(&self) -> &RigInfo {
        &self.info
    }

    fn snapshot(&self, into: &mut Snapshot) {
        let Some(shared) = self.shared() else {
            into.clone_from(&self.blank);
            return;
        };
        shared.snapshot.read(|snapshot| into.clone_from(snapshot));
        shared.spikes.read(|view| {
            into.arrays.clone_from(&view.arrays);
            into.spikes.clone_from(&view.spikes);
        });
        into.cameras.iter_mut().zip(&shared.cameras).for_each(|(live, status)| show_camera(live, status));
        into.arrays.iter_mut().zip(&shared.arrays).for_each(|(live, status)| show_array(live, status));
        let streams = shared.cameras.iter().chain(&shared.arrays).chain(std::iter::once(&shared.board));
        into.clocks.iter_mut().zip(streams).for_each(|(live, status)| *live = clock(status));
        self.rates(&shared, into);
        let mut kinematics = Kinematics::new(&self.rat);
        pose(&mut kinematics, &mut into.real);
        pose(&mut kinematics, &mut into.imitation.rat);
    }

    fn encoding(&self) -> EncodingLive {
        self.shared().map(|shared| shared.encoding.read(Clone::clone)).unwrap_or_default()
    }

    fn status(&self) -> RigStatus {
        let host = lock(&self.host).clone();
        let mut status = RigStatus {
            counters: host.counters,
            degraded: host.degraded,
            recording: host.recording,
            disk_free_bytes: host.disk_free_bytes,
            disk_left_secs: host.disk_left_secs,
            fault: host.fault,
            must_stop: host.must_stop,
            ..RigStatus::default()
        };
        if let Some(shared) = self.shared() {
            counters(&shared, &mut status.counters);
            degradations(&self.info, &shared, &mut status.degraded);
            streams(&self.info, &shared, &mut status.streams);
        }
        status
    }

    fn preview(&self, camera: usize, into: &mut Preview) -> bool {
        self.previews.read(camera, into)
    }

    fn want_previews(&self, wanted: bool) {
        self.previews.want(wanted);
    }
}

fn show_camera(live: &mut CameraLive, status: &StreamStatus) {
    live.connected = status.connected.load(Ordering::Relaxed);
    live.frames = status.items.load(Ordering::Relaxed);
    live.missing = status.missing.load(Ordering::Relaxed);
    live.dropped = status.dropped.load(Ordering::Relaxed);
    live.flagged = status.flagged.load(Ordering::Relaxed);
    live.late = status.late.load(Ordering::Relaxed);
}

fn show_array(live: &mut ArrayLive, status: &StreamStatus) {
    live.connected = status.connected.load(Ordering::Relaxed);
    live.samples = status.items.load(Ordering::Relaxed);
    live.gaps = status.gaps.load(Ordering::Relaxed);
    live.missing = status.missing.load(Ordering::Relaxed);
}

fn clock(status: &StreamStatus) -> ClockLive {
    ClockLive {
        locked: status.locked.load(Ordering::Relaxed),
        residual_micros: status.residual_ns.load(Ordering::Relaxed) as f32 * 1e-3,
        residual_p99_micros: status.residual_p99_ns.load(Ordering::Relaxed) as f32 * 1e-3,
        drift_ppm: status.drift_ppb.load(Ordering::Relaxed) as f32 * 1e-3,
        steps: status.steps.load(Ordering::Relaxed) as u32,
    }
}

fn pose(kinematics: &mut Kinematics<'_>, rat: &mut Rat) {
    let mut qpos = [0.0; QPOS_LEN];
    qpos.iter_mut().zip(&rat.qpos).for_each(|(to, from)| *to = f64::from(*from));
    if qpos[3..7].iter().all(|part| *part == 0.0) {
        return;
    }
    kinematics.set(&qpos);
    let places = kinematics.body_positions_m().iter().zip(kinematics.body_quaternions());
    for (body, (p, q)) in rat.bodies.iter_mut().zip(places) {
        *body = [p[0], p[1], p[2], q[0], q[1], q[2], q[3]].map(|value| value as f32);
    }
}

fn counters(shared: &Shared, into: &mut Vec<Counter>) {
    let harmless = [Cause::PolicyReset, Cause::ActionRefused, Cause::DeviceReopened];
    into.extend(Cause::ALL.into_iter().map(|cause| Counter {
        name: cause.name().to_owned(),
        place: String::new(),
        cause: String::new(),
        value: shared.counters.get(cause),
        harm: !harmless.contains(&cause),
    }));
}

fn degradations(info: &RigInfo, shared: &Shared, into: &mut Vec<Degradation>) {
    let lost = |status: &StreamStatus| !status.connected.load(Ordering::Relaxed);
    let mut note = |code: String, message: String| into.push(Degradation { code, message });
    for (camera, status) in info.cameras.iter().zip(&shared.cameras) {
        if lost(status) {
            note(
                format!("camera_lost.{}", camera.name),
                format!("camera {} does not deliver; check its cable and power, it is reopened by itself", camera.name),
            );
        }
    }
    for (camera, _) in info.cameras.iter().zip(&shared.cameras).filter(|(_, s)| s.moved.load(Ordering::Relaxed)) {
        let advice = "its view lies beside the others' pose; put it back or calibrate again";
        let code = format!("camera_moved.{}", camera.name);
        note(code, format!("camera {} no longer stands where its calibration says: {advice}", camera.name));
    }
    for (array, status) in info.arrays.iter().zip(&shared.arrays) {
        if lost(status) {
            note(
                format!("array_lost.{}", array.name),
                format!("array {} does not deliver; it is reopened by itself", array.name),
            );
        }
    }
    for (array, _) in info.arrays.iter().zip(&shared.arrays).filter(|(_, s)| s.alarmed.load(Ordering::Relaxed)) {
        let alarm = DeviceAlarm::CommandLost;
        let code = format!("array_command_lost.{}", array.name);
        note(code, format!("array {} {}; {}", array.name, alarm.words(), alarm.advice()));
    }
    if lost(&shared.board) {
        note("board_lost".to_owned(), "the sync board does not answer; nothing triggers until it is back".to_owned());
    }
}

fn streams(info: &RigInfo, shared: &Shared, into: &mut Vec<StreamProgress>) {
    let progress = |name: String, status: &StreamStatus| StreamProgress {
        name,
        count: status.items.load(Ordering::Relaxed),
        expected: status.connected.load(Ordering::Relaxed),
    };
    into.extend(info.cameras.iter().zip(&shared.cameras).map(|(c, s)| progress(format!("camera.{}", c.name), s)));
    into.extend(info.arrays.iter().zip(&shared.arrays).map(|(a, s)| progress(format!("array.{}", a.name), s)));
    into.push(progress("board".to_owned(), &shared.board));
    let count = shared.loop_sets.load(Ordering::Relaxed);
    into.push(StreamProgress { name: "loop".to_owned(), count, expected: shared.clock.train_start().is_some() });
}
