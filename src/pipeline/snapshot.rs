//! What the rig shows of itself: plain numbers that the loop publishes and the panel draws.
//!
//! A [`Snapshot`] is made once, with room for everything ([`Snapshot::for_rig`]); the loop then overwrites it in place
//! about 20 times a second (`stream::Latest::publish`), so publishing neither allocates nor blocks. Readers copy it out.
//! What never changes while the daemon runs is in [`RigInfo`], served once.

use serde::Serialize;
use utoipa::ToSchema;

/// Upper edges of the camera-to-action histogram's buckets; the last bucket is open.
pub const LATENCY_EDGES_MICROS: [f32; 23] = [
    1_000.0, 2_000.0, 3_000.0, 4_000.0, 5_000.0, 6_000.0, 7_000.0, 8_000.0, 9_000.0, 10_000.0, 11_000.0, 12_000.0,
    14_000.0, 16_000.0, 18_000.0, 20_000.0, 25_000.0, 30_000.0, 40_000.0, 60_000.0, 100_000.0, 200_000.0, 500_000.0,
];

/// Spikes that a snapshot holds at most; older ones give way.
pub const RECENT_SPIKES_MAX: usize = 4_096;

/// Samples per channel of a displayed waveform.
pub const WAVEFORM_SAMPLES: usize = 32;

/// Everything about the rig that stays as it is while the daemon runs.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct RigInfo {
    /// Name of the rig, from the config.
    pub name: String,
    /// Whether any device is simulated.
    pub simulated: bool,
    /// Camera trigger rate.
    pub frame_rate_hz: f64,
    /// Cameras, in config order.
    pub cameras: Vec<CameraInfo>,
    /// Electrode arrays, in config order.
    pub arrays: Vec<ArrayInfo>,
    /// Keypoint names, in the order of every keypoint list.
    pub keypoints: Vec<String>,
    /// Pairs of keypoint indices that are drawn as bones.
    pub bones: Vec<[u16; 2]>,
    /// Shapes of the body model, drawn at the poses of their bodies.
    pub geoms: Vec<BodyGeom>,
    /// Inner radius of the arena; 0 for none.
    pub arena_radius_m: f32,
    /// Names of the latency ladder's stages, in the order of [`Snapshot::stages`]; the last is camera to action.
    pub stages: Vec<String>,
    /// Names of the clock maps, in the order of [`Snapshot::clocks`] (cameras, arrays, host).
    pub clocks: Vec<String>,
    /// Upper edges of [`Snapshot::latency_buckets`].
    pub latency_edges_micros: Vec<f32>,
    /// How the virtual rat sees the future: `delayed` or `forecast`.
    pub look_ahead: String,
    /// Names of the board's outputs that rules or operators may drive.
    pub outputs: Vec<String>,
}

/// One camera's fixed facts.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct CameraInfo {
    /// Name from the config.
    pub name: String,
    /// Pixels across, of the frames that keypoints refer to.
    pub width_px: u32,
    /// Pixels down.
    pub height_px: u32,
}

/// One array's fixed facts.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ArrayInfo {
    /// Name from the config.
    pub name: String,
    /// Channels; four to a tetrode.
    pub channels: usize,
    /// Nominal sample rate.
    pub rate_hz: f64,
}

/// Kind of a body shape, with the meaning of its `size_m` (`MuJoCo`'s own).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GeomKind {
    /// Radius.
    Sphere,
    /// Radius, half length along z.
    Capsule,
    /// Three semi-axes.
    Ellipsoid,
    /// Radius, half length along z.
    Cylinder,
    /// Three half sizes.
    Box,
}

/// One shape of the body model.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct BodyGeom {
    /// Shape.
    pub kind: GeomKind,
    /// Size; see [`GeomKind`].
    pub size_m: [f32; 3],
    /// Index of its body: into [`Rat::bodies`].
    pub body: u16,
    /// Centre in the body's frame.
    pub position_m: [f32; 3],
    /// Orientation in the body's frame, w first.
    pub quaternion: [f32; 4],
    /// Drawing hint, red, green, blue in 0..1 (for instance ears and tail); negative for none.
    pub tint: [f32; 3],
}

/// The rig now.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Snapshot {
    /// Counts publications; 0 = nothing published yet.
    pub sequence: u64,
    /// Frame sets through the loop.
    pub frame_sets: u64,
    /// Board time of the latest frame set's mid-exposure, in nanoseconds.
    pub board_nanos: i64,
    /// Cameras, in config order.
    pub cameras: Vec<CameraLive>,
    /// The latest 3D pose.
    pub pose: PoseLive,
    /// The registered body.
    pub real: Rat,
    /// The imitating body.
    pub imitation: ImitationLive,
    /// Electrode arrays, in config order.
    pub arrays: Vec<ArrayLive>,
    /// The latest spikes.
    pub spikes: SpikeRing,
    /// Latency of each stage over the last ten to twenty seconds, in [`RigInfo::stages`] order.
    pub stages: Vec<LatencyLive>,
    /// Camera-to-action counts of the last ten to twenty seconds, per bucket of [`RigInfo::latency_edges_micros`], plus one
    /// open bucket.
    pub latency_buckets: Vec<u64>,
    /// Clock maps, in [`RigInfo::clocks`] order.
    pub clocks: Vec<ClockLive>,
    /// Rules: decisions taken so far, all rules together.
    pub decisions: u64,
    /// Whether outputs may be driven.
    pub outputs_armed: bool,
}

/// One camera now.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct CameraLive {
    /// Whether the device delivers.
    pub connected: bool,
    /// Frames in the last second.
    pub rate_hz: f32,
    /// Frames received.
    pub frames: u64,
    /// Triggers without a frame (declared gaps).
    pub missing: u64,
    /// Frames after their set was closed.
    pub late: u64,
    /// Frames dropped by us, all causes.
    pub dropped: u64,
    /// Frames flagged damaged, frozen or unproved.
    pub flagged: u64,
    /// What the network looked at: left, top, width, height, in pixels; zeros for none.
    pub crop_px: [f32; 4],
    /// Keypoints as the network found them: x, y, confidence 0..1 (0 = none).
    pub keypoints_px: Vec<[f32; 3]>,
    /// The same points projected back from 3D: x, y; NaN (sent as null) for none.
    #[schema(value_type = Vec<Vec<Option<f32>>>)]
    pub reprojected_px: Vec<[f32; 2]>,
    /// Mean distance of the two over the seen points, in pixels.
    pub reprojection_px: f32,
}

/// The 3D pose now.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct PoseLive {
    /// Keypoints in the world frame: x, y, z; NaN (sent as null) for none.
    #[schema(value_type = Vec<Vec<Option<f32>>>)]
    pub keypoints_m: Vec<[f32; 3]>,
    /// Confidence 0..1 (0 = missing).
    pub confidence: Vec<f32>,
    /// Tracking state in words: `searching`, `tracking`, `held`.
    pub state: &'static str,
    /// Views that saw the rat.
    pub views: u32,
    /// Age of the pose when it was used, mid-exposure to now, in milliseconds.
    pub age_millis: f32,
}

/// A posed body.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Rat {
    /// Generalised coordinates (74: root position 3, quaternion wxyz 4, 67 hinges).
    pub qpos: Vec<f32>,
    /// World poses of the model's bodies, by body index: x, y, z, then quaternion wxyz.
    pub bodies: Vec<[f32; 7]>,
    /// Whether the values are of use (tracked, finite).
    pub valid: bool,
    /// Mean distance of keypoints to their sites, in millimetres (registered body only).
    pub residual_mm: f32,
    /// Keypoints extrapolated because they were missing (registered body only).
    pub extrapolated: u32,
}

/// The virtual rat now.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ImitationLive {
    /// Its pose.
    pub rat: Rat,
    /// Distance of its root to the reference's, in millimetres.
    pub root_error_mm: f32,
    /// Angle between its orientation and the reference's, in degrees.
    pub orientation_error_deg: f32,
    /// Mean absolute joint difference, in degrees.
    pub joint_error_deg: f32,
    /// Whether it has tracked long enough after a reset for outputs to depend on it.
    pub trusted: bool,
    /// Resets so far.
    pub resets: u64,
    /// Cause of the last reset, in words; empty for none.
    pub reset_reason: &'static str,
    /// How far the imitated instant lies behind the newest frame, in milliseconds.
    pub lag_millis: f32,
}

/// One array now.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ArrayLive {
    /// Whether the device delivers.
    pub connected: bool,
    /// Samples per channel in the last second.
    pub rate_hz: f32,
    /// Samples per channel received.
    pub samples: u64,
    /// Gaps declared.
    pub gaps: u64,
    /// Samples missing in those gaps.
    pub missing: u64,
    /// Noise (robust sigma), median over channels, in microvolts.
    pub noise_uv: f32,
    /// Spikes in the last second, all tetrodes.
    pub spikes_hz: f32,
    /// Median, 99th percentile and largest time from a block's arrival until its spikes are known, since the recording began
    /// (before one, since arming), in milliseconds.
    pub detection_ms: [f32; 3],
    /// The part of that which the spike thread spent working on the block, in milliseconds of its own processor time: median,
    /// 99th percentile, largest. The rest is waiting, for a processor or behind other blocks.
    pub detection_work_ms: [f32; 3],
    /// Rate of each unit (tetrode where spikes are not sorted), in Hz.
    pub unit_rates_hz: Vec<f32>,
    /// The latest waveform of each tetrode.
    pub waveforms: Vec<Waveform>,
    /// Detection threshold of each channel in microvolts, tetrode by tetrode; infinite (sent as null) for dead ones.
    #[schema(value_type = Vec<Option<f32>>)]
    pub thresholds_uv: Vec<f32>,
    /// Noise of each channel's spike band in microvolts, tetrode by tetrode.
    pub channel_noise_uv: Vec<f32>,
    /// What is wrong with each electrode: dead 1, shorted 2, saturated 4, mains hum 8, noisy 16, excluded 32.
    pub channel_flags: Vec<u8>,
    /// Amplitude at 50 and 60 Hz, median over channels, in microvolts.
    pub line_uv: [f32; 2],
    /// Seconds of signal that electrode health has looked at; 0 = nothing is known yet.
    pub health_seconds: u64,
    /// Units found, tetrode by tetrode.
    pub units: Vec<SortedUnit>,
}

/// One unit now.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct SortedUnit {
    /// Id within the array.
    pub id: u16,
    /// Tetrode within the array.
    pub tetrode: u16,
    /// Spikes so far.
    pub count: u64,
    /// Spikes in the last second.
    pub rate_hz: f32,
    /// Peak of its mean waveform over the noise.
    pub snr: f32,
    /// Part of its intervals shorter than 1.5 ms.
    pub violations: f32,
    /// How far it has wandered since it was found, in noise sigmas.
    pub drift_sigma: f32,
}

/// Units of one array that a snapshot has room for.
const UNITS_MAX: usize = 512;

/// The latest spike of one tetrode, four channels by [`WAVEFORM_SAMPLES`].
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Waveform {
    /// Counts spikes of this tetrode.
    pub count: u64,
    /// Unit; 0 = unsorted.
    pub unit: u16,
    /// Channel-major samples in microvolts; empty until the first spike.
    pub uv: Vec<i16>,
}

/// One spike, as a tick of the raster.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct SpikeTick {
    /// Board time in nanoseconds.
    pub board_nanos: i64,
    /// Array index.
    pub array: u8,
    /// Tetrode index within the array.
    pub tetrode: u16,
    /// Unit; 0 = unsorted.
    pub unit: u16,
}

/// The latest spikes: a ring that never grows.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct SpikeRing {
    /// Spikes so far; tick `i` (of all) sits at `i % capacity` while `i + capacity >= total`.
    pub total: u64,
    /// Storage.
    #[serde(skip)]
    ticks: Vec<SpikeTick>,
}

impl SpikeRing {
    /// A ring of `capacity` ticks.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { total: 0, ticks: vec![SpikeTick::default(); capacity] }
    }

    /// Adds a spike; the oldest gives way.
    pub fn push(&mut self, tick: SpikeTick) {
        let capacity = self.ticks.len() as u64;
        if capacity > 0 {
            self.ticks[(self.total % capacity) as usize] = tick;
        }
        self.total += 1;
    }

    /// The spikes from number `seen` on, as far as the ring still holds them, oldest first.
    pub fn since(&self, seen: u64) -> impl Iterator<Item = SpikeTick> + '_ {
        let capacity = self.ticks.len() as u64;
        let first = seen.max(self.total.saturating_sub(capacity)).min(self.total);
        (first..self.total).map(move |i| self.ticks[(i % capacity) as usize])
    }
}

/// Latency of one stage over the last few seconds.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct LatencyLive {
    /// Passes counted.
    pub count: u64,
    /// Median in microseconds.
    pub p50_micros: f32,
    /// 99th percentile in microseconds.
    pub p99_micros: f32,
    /// Largest in microseconds.
    pub max_micros: f32,
}

/// State of one clock map.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct ClockLive {
    /// Whether the map may be used.
    pub locked: bool,
    /// Latest residual of the fit, in microseconds.
    pub residual_micros: f32,
    /// 99th percentile of the absolute residual, in microseconds.
    pub residual_p99_micros: f32,
    /// Drift against the board, in parts per million.
    pub drift_ppm: f32,
    /// Steps and restarts seen.
    pub steps: u32,
}

impl Snapshot {
    /// An empty snapshot with room for everything this rig shows. `bodies` and `coordinates` are the body model's counts.
    pub fn for_rig(info: &RigInfo, bodies: usize, coordinates: usize) -> Self {
        let keypoints = info.keypoints.len();
        let rat = Rat { qpos: vec![0.0; coordinates], bodies: vec![[0.0; 7]; bodies], ..Rat::default() };
        let camera = CameraLive {
            keypoints_px: vec![[0.0; 3]; keypoints],
            reprojected_px: vec![[f32::NAN; 2]; keypoints],
            ..CameraLive::default()
        };
        Self {
            cameras: vec![camera; info.cameras.len()],
            pose: PoseLive {
                keypoints_m: vec![[f32::NAN; 3]; keypoints],
                confidence: vec![0.0; keypoints],
                state: "searching",
                ..PoseLive::default()
            },
            real: rat.clone(),
            imitation: ImitationLive { rat, ..ImitationLive::default() },
            arrays: info.arrays.iter().map(ArrayLive::for_array).collect(),
            spikes: SpikeRing::with_capacity(RECENT_SPIKES_MAX),
            stages: vec![LatencyLive::default(); info.stages.len()],
            latency_buckets: vec![0; LATENCY_EDGES_MICROS.len() + 1],
            clocks: vec![ClockLive::default(); info.clocks.len()],
            ..Self::default()
        }
    }
}

impl ArrayLive {
    fn for_array(info: &ArrayInfo) -> Self {
        let tetrodes = info.channels / 4;
        Self {
            unit_rates_hz: vec![0.0; tetrodes],
            // A clone of an empty Vec keeps no capacity, hence one by one.
            waveforms: (0..tetrodes)
                .map(|_| Waveform { uv: Vec::with_capacity(4 * WAVEFORM_SAMPLES), ..Waveform::default() })
                .collect(),
            thresholds_uv: vec![f32::INFINITY; info.channels],
            channel_noise_uv: vec![0.0; info.channels],
            channel_flags: vec![0; info.channels],
            units: Vec::with_capacity(UNITS_MAX),
            ..Self::default()
        }
    }
}

/// What was found in one frame, to be drawn on that same frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ViewMarks {
    /// What the network looked at; see [`CameraLive::crop_px`].
    pub crop_px: [f32; 4],
    /// Keypoints as found; see [`CameraLive::keypoints_px`].
    pub keypoints_px: Vec<[f32; 3]>,
    /// Keypoints projected back from 3D; NaN for none.
    pub reprojected_px: Vec<[f32; 2]>,
}

impl ViewMarks {
    /// Nothing found, with room for `keypoints`.
    pub fn with_keypoints(keypoints: usize) -> Self {
        Self {
            crop_px: [0.0; 4],
            keypoints_px: vec![[0.0; 3]; keypoints],
            reprojected_px: vec![[f32::NAN; 2]; keypoints],
        }
    }

    /// Back to nothing found, in place.
    pub fn clear(&mut self) {
        self.crop_px = [0.0; 4];
        self.keypoints_px.fill([0.0; 3]);
        self.reprojected_px.fill([f32::NAN; 2]);
    }
}

/// The latest downscaled image of one camera, made by a service thread at 10 to 15 Hz.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// Counts images of this camera; 0 = none yet.
    pub sequence: u64,
    /// Pixels across.
    pub width_px: u16,
    /// Pixels down.
    pub height_px: u16,
    /// Grey values, rows tightly packed.
    pub grey: Vec<u8>,
    /// What the network found in this very frame, in pixels of the frame (not of this image).
    pub marks: ViewMarks,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_ring_gives_each_spike_once_and_forgets_the_oldest() {
        let mut ring = SpikeRing::with_capacity(4);
        let tick = |n: i64| SpikeTick { board_nanos: n, ..SpikeTick::default() };
        (0..3).for_each(|n| ring.push(tick(n)));
        let times = |ring: &SpikeRing, seen| ring.since(seen).map(|t| t.board_nanos).collect::<Vec<_>>();
        assert_eq!(times(&ring, 0), [0, 1, 2]);
        (3..7).for_each(|n| ring.push(tick(n)));
        assert_eq!(times(&ring, 3), [3, 4, 5, 6]);
        assert_eq!(times(&ring, 0), [3, 4, 5, 6]);
        assert!(times(&ring, 7).is_empty());
    }

    #[test]
    fn a_snapshot_has_room_for_the_rig() {
        let info = RigInfo {
            cameras: vec![CameraInfo::default(); 6],
            arrays: vec![ArrayInfo { channels: 128, ..ArrayInfo::default() }; 2],
            keypoints: vec![String::new(); 23],
            ..RigInfo::default()
        };
        let snapshot = Snapshot::for_rig(&info, 66, 74);
        assert_eq!(snapshot.cameras[5].keypoints_px.len(), 23);
        assert_eq!(snapshot.arrays[1].waveforms.len(), 32);
        assert!(snapshot.arrays[1].waveforms[31].uv.capacity() >= 128);
        assert_eq!(snapshot.imitation.rat.bodies.len(), 66);
    }
}
