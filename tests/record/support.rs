//! A small rig that the recorder's tests record: two cameras, one array, one table of the tests' own.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use mimicd::config::{RecordConfig, VideoCodec};
use mimicd::record::{
    ArrayInfo, BlockStamp, CameraInfo, Column, FrameStamp, RecordLane, Recorder, RecordingInfo, ScalarKind, TableId,
    TableSchema, schema,
};
use mimicd_device::{
    ArrayIndex, CameraIndex, Frame, FrameGeometry, HostTime, Integrity, PixelFormat, RigTime, SampleBlock, SampleIndex,
    Span,
};

pub(crate) const RATE_HZ: f64 = 3_000.0;
pub(crate) const CHANNELS: usize = 8;
pub(crate) const BLOCK: usize = 60;
pub(crate) const CAMERAS: usize = 2;
pub(crate) const PERIOD: Span = Span::from_millis(20);
pub(crate) const STAGES: [&str; 3] = ["arrival", "pose", "action"];

pub(crate) fn config(folder: &Path, video: VideoCodec) -> RecordConfig {
    RecordConfig {
        folder: folder.to_owned(),
        video,
        part_seconds: 1,
        segment_millis: 100,
        flush_millis: 50,
        lane_kib: 256,
        journal_buffer_mib: 8,
        disk_margin_bytes: 1_000_000,
        refuse_below_minutes: 0,
        ..RecordConfig::default()
    }
}

pub(crate) fn tables() -> Vec<TableSchema> {
    let columns = vec![
        Column::scalar("trigger_index", ScalarKind::I64, "", "Trigger.").or_absent(),
        Column::list("keypoints_m", ScalarKind::F32, 6, "m", "Two keypoints."),
        Column::scalar("residual_mean_m", ScalarKind::F64, "m", "Residual."),
        Column::scalar("label", ScalarKind::Text, "", "Text."),
        Column::scalar("ok", ScalarKind::Bool, "", "Truth."),
    ];
    let mut tables = schema::standard_tables(&STAGES);
    tables.push(TableSchema::new("pose", "Test poses.", columns));
    tables
}

pub(crate) fn cameras() -> Vec<CameraInfo> {
    let camera = |index: usize| CameraInfo {
        name: format!("cam{index}"),
        width_px: 64,
        height_px: 48,
        format: PixelFormat::Mono8,
        rate_hz: 50.0,
    };
    (0..CAMERAS).map(camera).collect()
}

pub(crate) fn arrays() -> Vec<ArrayInfo> {
    vec![ArrayInfo { name: "A".to_owned(), channels: CHANNELS, rate_hz: RATE_HZ, gain_uv_per_bit: 0.195 }]
}

pub(crate) fn start(config: &RecordConfig) -> Recorder {
    let info = RecordingInfo::new("rat", "test-rig", SystemTime::now(), serde_json::json!({"test": true}));
    Recorder::start(config, info, tables(), cameras(), arrays()).expect("the recorder starts")
}

/// Deterministic sample value: every reader can check it.
pub(crate) fn sample(index: u64, channel: usize) -> i16 {
    (index.wrapping_mul(2_654_435_761).wrapping_add(channel as u64 * 977) >> 7) as i16 % 300
}

pub(crate) struct Feed {
    pub(crate) lane: RecordLane,
    triggers: TableId,
    latency: TableId,
    pose: TableId,
    clock: TableId,
    pub(crate) trigger: u64,
    pub(crate) sample: u64,
}

impl Feed {
    pub(crate) fn new(recorder: &mut Recorder, first_trigger: u64) -> Self {
        let table = |recorder: &Recorder, name: &str| recorder.table(name).expect("a known table");
        Self {
            triggers: table(recorder, "triggers"),
            latency: table(recorder, "latency"),
            pose: table(recorder, "pose"),
            clock: table(recorder, "clock"),
            lane: recorder.lane("test"),
            trigger: first_trigger,
            sample: 1_000 + first_trigger * BLOCK as u64,
        }
    }

    /// One trigger's worth of everything; `cameras` says which cameras deliver.
    pub(crate) fn step(&mut self, cameras: &[bool], has_block: bool) {
        let index = self.trigger as i64;
        let at = RigTime::from_nanos(index * PERIOD.nanos());
        self.lane.row(self.triggers, at, |row| {
            row.i64(index);
            row.i64(at.nanos() + 77);
        });
        for (camera, _) in cameras.iter().enumerate().filter(|(_, there)| **there) {
            self.lane.frame(Arc::new(frame(camera, self.trigger)), self.stamp(at));
        }
        if has_block {
            let block = block(self.sample);
            let nanos_per_sample = 1e9 / RATE_HZ;
            self.lane.block(Arc::new(block), BlockStamp { at, nanos_per_sample, integrity: Integrity::empty() });
        }
        self.sample += BLOCK as u64;
        self.lane.row(self.pose, at, |row| {
            row.i64_or_absent((index % 3 != 0).then_some(index));
            row.f32s((0..6).map(|k| (index * 10 + k) as f32));
            row.f64(0.001 + index as f64 * 1e-6);
            row.text(&format!("row {index}"));
            row.bool(index % 2 == 0);
        });
        self.lane.row(self.latency, at, |row| {
            row.i64(index);
            for stage in 1..=STAGES.len() {
                row.f32(stage as f32 * 1_000.0 + index as f32 % 7.0);
            }
        });
        self.lane.row(self.clock, at, |row| {
            row.text("ephys_A");
            row.f64(5.0);
            row.f64(12.5);
            row.f64((index % 5) as f64 * 100.0);
            row.f64(900.0);
            row.bool(true);
        });
        self.trigger += 1;
    }

    fn stamp(&self, at: RigTime) -> FrameStamp {
        FrameStamp {
            trigger_index: Some(self.trigger),
            at,
            uncertainty: Span::from_micros(2),
            integrity: Integrity::empty(),
        }
    }
}

pub(crate) fn frame(camera: usize, counter: u64) -> Frame {
    let geometry = FrameGeometry { width_px: 64, height_px: 48, format: PixelFormat::Mono8 };
    let mut frame = Frame::blank(CameraIndex(camera as u8), geometry);
    frame.counter = counter;
    frame.arrival = HostTime::from_nanos(counter as i64 * 20_000_000);
    frame.pixels.fill((counter * 3) as u8);
    frame
}

pub(crate) fn block(first: u64) -> SampleBlock {
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), CHANNELS, BLOCK);
    block.first = SampleIndex(first);
    for index in first..first + BLOCK as u64 {
        block.samples.extend((0..CHANNELS).map(|channel| sample(index, channel)));
        block.digital.push(index as u16);
    }
    block
}
