//! Puts edges, loop and queues together: the one place that sees the whole data path.
//!
//! ```text
//! camera edges ──frames──► loop ──commands──► board edge
//!      │                    ▲  ▲────news─────────┘
//! array edges ──blocks──► spikes
//!      └── all of them ──rows, frames, blocks──► recorder lanes (while recording)
//! ```
//!
//! | queue | places | full |
//! |---|---|---|
//! | frames, per camera | 8 | refused, `loop_ring_full` |
//! | blocks, per array | 64 | refused, `spike_ring_full` |
//! | commands to the board | 64 | refused, the decision is recorded as refused |
//! | news and reports of the board | 256 | the newest is refused; maps come again every ping |
//! | spikes to the loop | 4,096 | refused; only live rates suffer |
//! | ticks to the encoding thread | 64 | refused, `encode_ring_full`: the bin is unknown to the live fit |
//! | spikes to the encoding thread | 16,384 | refused, `encode_ring_full` |
//! | controls, per thread | 16 | never: the supervisor sends a few a recording |

use std::sync::Arc;

use mimicd_device::{ArrayIndex, CameraIndex, CameraSource, EphysSource, Span, TriggerPlan};

use super::act::Actor;
use super::array_edge::{ArrayEdge, ArrayEdgeParts, SampleTiming};
use super::board_edge::{BoardControl, BoardEdge, BoardEdgeParts, BoardReport};
use super::camera_edge::{CameraEdge, CameraEdgeParts, EdgeControl};
use super::closed_loop::{ClosedLoop, LoopControl, LoopQueues, LoopSettings};
use super::encode_feed::EncodeFeed;
use super::encode_setup;
use super::encode_worker::{EncodeControl, EncodeWorker};
use super::open::Devices;
use super::shared::Shared;
use super::show::Show;
use super::spike_worker::{SpikeChannel, SpikeControl, SpikeWorker};
use super::stages::Stages;
use super::tables::TableShapes;
use super::{ArrayInfo, CameraInfo, LATENCY_EDGES_MICROS, Level, Notice, RigInfo, Snapshot};
use crate::clock::host_now;
use crate::config::{ArrayBackend, ArrayConfig, Config, LookAhead};
use crate::geometry::Calibration;
use crate::record::{LANE_BLOCKS, LANE_FRAMES};
use crate::spikes::{SpikeStage, SpikesError};
use crate::stream::{Consumer, Doorbell, MatchedFrame, Producer, ring, ring_with_doorbell};
use crate::telemetry::Stage;

const FRAMES_QUEUED: usize = 8;
const BLOCKS_QUEUED: usize = 64;
const COMMANDS_QUEUED: usize = 64;
const NEWS_QUEUED: usize = 256;
const SPIKES_QUEUED: usize = 4_096;
const CONTROLS_QUEUED: usize = 16;

/// Everything that runs, not yet running.
pub struct Assembly {
    /// One per camera.
    pub cameras: Vec<CameraEdge>,
    /// One per array.
    pub arrays: Vec<ArrayEdge>,
    /// The sync board.
    pub board: BoardEdge,
    /// The closed loop.
    pub closed_loop: ClosedLoop,
    /// Detection and sorting.
    pub spikes: SpikeWorker,
    /// Live encoding models, where they are wanted.
    pub encode: Option<EncodeWorker>,
    /// Wakes the loop.
    pub loop_bell: Arc<Doorbell>,
    /// Wakes the spike thread.
    pub spike_bell: Arc<Doorbell>,
    /// Ways to tell each thread something.
    pub controls: Controls,
    /// What they share.
    pub shared: Arc<Shared>,
    /// What the panel shows that never changes.
    pub info: RigInfo,
    /// Sizes of the tables.
    pub shapes: TableShapes,
}

/// The supervisor's ends of the control queues.
pub struct Controls {
    /// One per camera.
    pub cameras: Vec<Producer<EdgeControl>>,
    /// One per array.
    pub arrays: Vec<Producer<EdgeControl>>,
    /// The board edge.
    pub board: Producer<BoardControl>,
    /// What the board edge reports.
    pub reports: Consumer<BoardReport>,
    /// The closed loop.
    pub closed_loop: Producer<LoopControl>,
    /// The spike thread.
    pub spikes: Producer<SpikeControl>,
    /// The encoding thread, where there is one.
    pub encode: Option<Producer<EncodeControl>>,
}

/// The trigger train that the config asks for.
pub fn trigger_plan(config: &Config) -> TriggerPlan {
    TriggerPlan {
        period: Span::from_secs_f64(1.0 / config.rig.frame_rate_hz),
        width: Span::from_micros(i64::from(config.board.trigger_width_micros)),
        stretch: Span::from_micros(i64::from(config.board.stretch_micros)),
        stretch_every: config.board.stretch_every,
        code_seed: config.board.code_seed,
    }
}

/// Puts devices and stages together.
///
/// # Errors
/// A probe map or templates that the spike stage cannot use.
pub fn assemble(
    config: &Config,
    devices: Devices,
    stages: Stages,
    calibration: &Calibration,
    actor: Actor,
    info: RigInfo,
) -> Result<Assembly, SpikesError> {
    let keypoints = info.keypoints.len();
    let signals = stages.imitation.signals().iter().map(|signal| (signal.name.clone(), signal.range.len())).collect();
    let action_sd = !stages.imitation.make_step().action_variability.is_empty();
    let shapes =
        TableShapes { keypoints, cameras: config.cameras.len(), signals, action_sd, encoding: config.encoding.live };
    let snapshot = Snapshot::for_rig(&info, stages.body.rat().bodies().len(), mimicd_rat::QPOS_LEN);
    let shared = Shared::new(trigger_plan(config), snapshot);
    let (loop_bell, spike_bell) = (Doorbell::new(), Doorbell::new());

    let (cameras, frames, camera_controls) = camera_edges(config, devices.cameras, &shared, &loop_bell);
    let (arrays, channels, array_controls) = array_edges(config, devices.arrays, &shared, &spike_bell)?;

    let (to_board, from_loop) = ring(COMMANDS_QUEUED);
    let (news, board_news) = ring_with_doorbell(NEWS_QUEUED, &loop_bell);
    let (to_supervisor, reports) = ring(NEWS_QUEUED);
    let (board_control, control) = ring(CONTROLS_QUEUED);
    let parts = BoardEdgeParts {
        board: devices.board,
        control,
        from_loop,
        to_loop: news,
        to_supervisor,
        ping_every: config.board.ping_every(),
        barcode_every: config.board.barcode_every(),
    };
    let board = BoardEdge::new(parts, &shared);
    let (notes, spike_notes) = ring(SPIKES_QUEUED);
    let (spike_control, control) = ring(CONTROLS_QUEUED);
    let mut spikes = SpikeWorker::new(channels, notes, control, &shared);
    let (encode, feed, encode_control) = encode(config, &shapes, &shared, &mut spikes);

    let (loop_control, control) = ring(CONTROLS_QUEUED);
    let board_waker = board.waker();
    let queues =
        LoopQueues { frames, board: board_news, spikes: spike_notes, to_board, board_waker, control, encode: feed };
    let show = Show::new(calibration, keypoints);
    let closed_loop = ClosedLoop::new(stages, queues, loop_settings(config, &shapes), actor, show, &shared);

    let controls = Controls {
        cameras: camera_controls,
        arrays: array_controls,
        board: board_control,
        reports,
        closed_loop: loop_control,
        spikes: spike_control,
        encode: encode_control,
    };
    Ok(Assembly {
        cameras,
        arrays,
        board,
        closed_loop,
        spikes,
        encode,
        loop_bell,
        spike_bell,
        controls,
        shared,
        info,
        shapes,
    })
}

/// The encoding thread's worker, the loop's feed and the supervisor's end. What is wrong with the settings was refused when
/// the rig was made; should a file have changed since, the rig works without.
fn encode(
    config: &Config,
    shapes: &TableShapes,
    shared: &Arc<Shared>,
    spikes: &mut SpikeWorker,
) -> (Option<EncodeWorker>, Option<EncodeFeed>, Option<Producer<EncodeControl>>) {
    match encode_setup::build(config, &shapes.signals, shared, host_now) {
        Ok(Some(ends)) => {
            spikes.tell_encode(ends.spikes);
            (Some(ends.worker), Some(ends.feed), Some(ends.control))
        }
        Ok(None) => (None, None, None),
        Err(reason) => {
            shared.notice(Notice::new(Level::Warning, "encoding", reason));
            (None, None, None)
        }
    }
}

/// Edges of one kind, the loop's or worker's end of each, and the supervisor's end of each.
type Edges<Edge, Out> = (Vec<Edge>, Vec<Out>, Vec<Producer<EdgeControl>>);

fn camera_edges(
    config: &Config,
    sources: Vec<Box<dyn CameraSource>>,
    shared: &Arc<Shared>,
    bell: &Arc<Doorbell>,
) -> Edges<CameraEdge, Consumer<MatchedFrame>> {
    let (mut edges, mut frames, mut controls) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (camera, source)) in config.cameras.iter().zip(sources).enumerate() {
        let (to_loop, from_camera) = ring_with_doorbell(FRAMES_QUEUED, bell);
        let (tell, control) = ring(CONTROLS_QUEUED);
        frames.push(from_camera);
        controls.push(tell);
        let parts = CameraEdgeParts {
            index: CameraIndex(index as u8),
            name: camera.name.clone(),
            source,
            mid_exposure: Span::from_micros(i64::from(camera.exposure_micros) / 2),
            control,
            to_loop,
            recorder_queue: LANE_FRAMES + config.record.video_queue_frames,
        };
        edges.push(CameraEdge::new(parts, shared));
    }
    (edges, frames, controls)
}

fn array_edges(
    config: &Config,
    sources: Vec<Box<dyn EphysSource>>,
    shared: &Arc<Shared>,
    bell: &Arc<Doorbell>,
) -> Result<Edges<ArrayEdge, SpikeChannel>, SpikesError> {
    let (mut edges, mut channels, mut controls) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (array, source)) in config.arrays.iter().zip(sources).enumerate() {
        let (to_spikes, blocks) = ring_with_doorbell(BLOCKS_QUEUED, bell);
        let (tell, control) = ring(CONTROLS_QUEUED);
        controls.push(tell);
        channels.push(spike_channel(config, array, blocks)?);
        let parts = ArrayEdgeParts {
            index: ArrayIndex(index as u8),
            name: array.name.clone(),
            source,
            timing: match array.backend {
                ArrayBackend::File => SampleTiming::Host,
                _ => SampleTiming::Trigger { bit: array.trigger_bit },
            },
            control,
            to_spikes,
            blocks_held: LANE_BLOCKS + BLOCKS_QUEUED,
        };
        edges.push(ArrayEdge::new(parts, shared));
    }
    Ok((edges, channels, controls))
}

fn spike_channel(
    config: &Config,
    array: &ArrayConfig,
    blocks: Consumer<super::array_edge::TimedBlock>,
) -> Result<SpikeChannel, SpikesError> {
    Ok(SpikeChannel { stage: SpikeStage::for_array(&config.spikes, array)?, blocks, rate_hz: array.rate_hz })
}

fn loop_settings(config: &Config, shapes: &TableShapes) -> LoopSettings {
    let exposure_micros = config.cameras.iter().map(|camera| camera.exposure_micros).max().unwrap_or(0);
    let period = Span::from_secs_f64(1.0 / config.rig.frame_rate_hz);
    LoopSettings {
        gather_wait: Span::from_micros(config.rig.gather_wait_micros as i64),
        mid_exposure: Span::from_micros(i64::from(exposure_micros) / 2),
        set_age_max: period + period,
        shapes: shapes.clone(),
    }
}

/// What the panel shows that never changes.
pub fn rig_info(config: &Config, stages: &Stages, geoms: Vec<super::BodyGeom>) -> RigInfo {
    let cameras = config.cameras.iter();
    let mut clocks: Vec<String> = cameras.clone().map(|camera| camera.name.clone()).collect();
    clocks.extend(config.arrays.iter().map(|array| array.name.clone()));
    clocks.push("host".to_owned());
    let keypoints = stages.pose.keypoint_names().to_vec();
    RigInfo {
        name: config.rig.name.clone(),
        simulated: config.is_twin(),
        frame_rate_hz: config.rig.frame_rate_hz,
        cameras: cameras
            .map(|c| CameraInfo { name: c.name.clone(), width_px: c.width_px, height_px: c.height_px })
            .collect(),
        arrays: config
            .arrays
            .iter()
            .map(|a| ArrayInfo { name: a.name.clone(), channels: a.channels, rate_hz: a.rate_hz })
            .collect(),
        bones: super::bones::of(&keypoints),
        keypoints,
        geoms,
        arena_radius_m: config.rig.arena_radius_m as f32,
        stages: Stage::ALL.iter().map(|stage| stage.name().to_owned()).collect(),
        clocks,
        latency_edges_micros: LATENCY_EDGES_MICROS.to_vec(),
        look_ahead: look_ahead(config),
        outputs: (0..8).map(|output| format!("output {output}")).collect(),
    }
}

/// The mode and, where the virtual rat is held up, how hard.
fn look_ahead(config: &Config) -> String {
    let mode = match config.imitation.look_ahead {
        LookAhead::Delayed => "delayed",
        LookAhead::Forecast => "forecast",
    };
    match config.imitation.assist_weights {
        weights if weights > 0.0 => format!("{mode}, root held by up to {weights} weights"),
        _ => mode.to_owned(),
    }
}
