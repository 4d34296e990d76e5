//! What both benches of frames share: a twin with cameras of 1920x1200 mono8 at 50 Hz, a recorder, and a camera's edge without a
//! rig around it.
#![allow(dead_code, reason = "each bench uses its own part")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mimicd::clock::TriggerMatcher;
use mimicd::config::{RecordConfig, VideoCodec};
use mimicd::pipeline::{TableShapes, frame_pool_slots, schemas};
use mimicd::record::{CameraInfo, FrameStamp, LANE_FRAMES, RecordLane, Recorder, RecordingInfo};
use mimicd::stream::{MatchedFrame, Pool};
use mimicd_device::{CameraIndex, CameraSource, Frame, HostTime, PixelFormat, Polled, RigTime, Span, TriggerPlan};
use mimicd_sim::{SceneOptions, Twin, TwinCamera, TwinOptions};

pub const WIDTH_PX: u32 = 1920;
pub const HEIGHT_PX: u32 = 1200;
pub const FRAME_BYTES: usize = (WIDTH_PX * HEIGHT_PX) as usize;
pub const RATE_HZ: f64 = 50.0;
/// Queue of a camera's recorder in a rig: its lane and its encoder's.
pub const RECORDER_QUEUE: usize = LANE_FRAMES + 32;
pub const PLAN: TriggerPlan = TriggerPlan {
    period: Span::from_millis(20),
    width: Span::from_millis(1),
    stretch: Span::from_millis(2),
    stretch_every: 50,
    code_seed: 1,
};

pub fn twin(cameras: usize, stepped: bool, start: HostTime) -> Twin {
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

pub fn recorder(home: &Path, cameras: usize) -> Recorder {
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
pub struct Edge {
    pub source: Box<dyn CameraSource>,
    pub pool: Pool<Frame>,
    pub matcher: TriggerMatcher,
    pub lane: RecordLane,
    pub unrecorded: u64,
}

impl Edge {
    pub fn new(twin: &Twin, index: usize, lane: RecordLane) -> Self {
        let mut source: Box<dyn CameraSource> = Box::new(twin.camera(CameraIndex(index as u8)));
        let geometry = source.geometry();
        source.start().unwrap();
        let pool = Pool::new(frame_pool_slots(RECORDER_QUEUE), || Frame::blank(CameraIndex(index as u8), geometry));
        Self { source, pool, matcher: TriggerMatcher::new(PLAN), lane, unrecorded: 0 }
    }

    /// The source writes a slot; the time that it took for itself.
    pub fn take(&mut self, now: HostTime) -> Option<(Arc<Frame>, Duration)> {
        let begun = Instant::now();
        let source = &mut self.source;
        let leased =
            self.pool.lease(|frame| Ok::<_, mimicd_device::DeviceError>(source.poll(now, frame)? == Polled::Ready));
        leased.unwrap().map(|frame| (frame, begun.elapsed()))
    }

    /// Matched and handed to the recorder: never copied.
    pub fn hand_on(&mut self, frame: Arc<Frame>) -> MatchedFrame {
        let found = self.matcher.on_frame(frame.counter, frame.device_time, frame.arrival);
        let integrity = frame.integrity | found.integrity;
        let at = RigTime::from_nanos(PLAN.offset(found.trigger).nanos());
        let stamp = FrameStamp { trigger_index: Some(found.trigger), at, uncertainty: Span::ZERO, integrity };
        self.unrecorded += u64::from(!self.lane.frame(Arc::clone(&frame), stamp));
        MatchedFrame { frame, trigger: found.trigger, integrity }
    }

    pub fn has_room(&self) -> bool {
        self.lane.has_room_for_frame()
    }
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
