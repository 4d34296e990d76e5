//! An array edge and the recorder against the RHX emulator: from the TOML to the Parquet, exact to the sample.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mimicd_device::{ArrayIndex, BoardTime, Span, TriggerPlan};

use self::rhx_emulator::{Behaviour, Emulator, Fault, truth};
use super::array_edge::{ArrayEdge, ArrayEdgeParts, SampleTiming, TimedBlock};
use super::camera_edge::EdgeControl;
use super::shared::Shared;
use super::tables::{TableIds, TableShapes, schemas};
use super::{ArrayInfo, RigInfo, Snapshot, open_array};
use crate::clock::host_now;
use crate::config::{ArrayBackend, ArrayConfig, RecordConfig, VideoCodec};
use crate::record::{self, LANE_BLOCKS, Manifest, Recorder, RecordingInfo, tables, verify};
use crate::stream::{Consumer, Producer, ring};

#[allow(dead_code, reason = "the emulator does more than this test asks of it")]
#[path = "../../drivers/hw/tests/rhx_emulator/mod.rs"]
mod rhx_emulator;

const CHANNELS: usize = 32;
const BLOCK: u64 = 128;
const PLAN: TriggerPlan = TriggerPlan {
    period: Span::from_millis(20),
    width: Span::from_millis(1),
    stretch: Span::from_millis(2),
    stretch_every: 20,
    code_seed: 5,
};
/// Sample at which trigger 0 rises.
const TRAIN_AT: u64 = 3_000;

/// The trigger train on line 0, as samples at exactly 30 kHz see it.
fn train(timestamp: u32) -> u16 {
    let Some(since) = u64::from(timestamp).checked_sub(TRAIN_AT) else { return 0 };
    let nanos = (since * 1_000_000_000 / 30_000) as i64;
    let mut trigger = (nanos / PLAN.period.nanos()) as u64;
    while PLAN.offset(trigger).nanos() > nanos {
        trigger -= 1;
    }
    u16::from(nanos - PLAN.offset(trigger).nanos() < PLAN.width.nanos())
}

struct Bench {
    edge: ArrayEdge,
    blocks: Consumer<TimedBlock>,
    control: Producer<EdgeControl>,
    recorder: Recorder,
    _shared: Arc<Shared>,
}

/// An edge on the array that the TOML describes, recording from trigger 5 on.
fn bench(text: &str, folder: &Path) -> Bench {
    let array: ArrayConfig = toml::from_str(text).expect("an [[array]] section");
    assert_eq!(array.backend, ArrayBackend::Rhx);
    let info = RigInfo {
        arrays: vec![ArrayInfo { name: array.name.clone(), channels: array.channels, rate_hz: array.rate_hz }],
        ..RigInfo::default()
    };
    let shared = Shared::new(PLAN, Snapshot::for_rig(&info, 0, 0));
    shared.clock.set_train_start(Some(BoardTime::from_nanos(77_000_000)));
    shared.clock.set_recording_from(Some(5));
    let config = RecordConfig {
        folder: folder.to_owned(),
        video: VideoCodec::None,
        disk_margin_bytes: 0,
        refuse_below_minutes: 0,
        ..RecordConfig::default()
    };
    let shapes = TableShapes { keypoints: 1, cameras: 1, signals: Vec::new(), action_sd: false, encoding: false };
    let arrays = vec![record::ArrayInfo {
        name: array.name.clone(),
        channels: array.channels,
        rate_hz: array.rate_hz,
        gain_uv_per_bit: array.gain_uv_per_bit,
    }];
    let about = RecordingInfo::new("rat", "bench", SystemTime::now(), serde_json::Value::Null);
    let mut recorder = Recorder::start(&config, about, schemas(&shapes), Vec::new(), arrays).expect("starts");
    let (mut control, orders) = ring(16);
    let (to_spikes, blocks) = ring(64);
    let source = open_array::open(&array, ArrayIndex(0), None).expect("the emulator answers");
    let parts = ArrayEdgeParts {
        index: ArrayIndex(0),
        name: array.name.clone(),
        source,
        timing: SampleTiming::Trigger { bit: array.trigger_bit },
        control: orders,
        to_spikes,
        blocks_held: LANE_BLOCKS + 64,
    };
    let tables = TableIds::of(&recorder).expect("all tables");
    let lane = Box::new(recorder.lane("array0"));
    control.push(EdgeControl::Anchor { counter: 0 }).ok().expect("room");
    control.push(EdgeControl::Record { lane, tables, from: 5 }).ok().expect("room");
    let mut edge = ArrayEdge::new(parts, &shared);
    edge.start().expect("starts");
    Bench { edge, blocks, control, recorder, _shared: shared }
}

impl Bench {
    /// Passes until the emulator's last sample is in; gives the dataset.
    fn run(mut self, end: u64) -> std::path::PathBuf {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = 0;
        while seen < end {
            assert!(Instant::now() < deadline, "sample {seen} of {end}");
            let now = host_now();
            if !self.edge.pass(now) {
                self.edge.wait(now + Span::from_millis(5));
            }
            while let Some(timed) = self.blocks.pop() {
                seen = timed.block.end().0;
            }
        }
        let stop = EdgeControl::StopRecord { before: 0, deadline: host_now() };
        self.control.push(stop).ok().expect("room");
        self.edge.pass(host_now());
        self.edge.stop();
        drop(self.edge);
        self.recorder.seal().expect("sealed").folder
    }
}

#[test]
fn every_sample_of_rhx_is_in_the_dataset_or_declared_missing() {
    let faults = vec![
        Fault::Jump { block: 300, samples: 777 },
        Fault::Garbage { block: 350, bytes: 5_000 },
        Fault::JumpInside { block: 400, samples: 33 },
        Fault::Stall { block: 500, millis: 150 },
        Fault::Disconnect { block: 600, lost_blocks: 25 },
        Fault::CommandLoss { block: 700 },
        Fault::Disconnect { block: 900, lost_blocks: 4 },
    ];
    // A little faster than in reality, so that the recorder keeps up on a busy machine.
    let blocks_per_second = Some(350.0);
    let emulator = Emulator::start(Behaviour {
        digital: train,
        blocks: 1_400,
        merged: 3,
        faults,
        blocks_per_second,
        ..Behaviour::default()
    });
    let home = tempfile::tempdir().expect("a folder");
    let text = format!(
        "name = \"A\"\nbackend = \"rhx\"\ndevice = \"127.0.0.1:{}/A\"\nchannels = {CHANNELS}\ntrigger_bit = 0\n",
        emulator.command_port
    );
    let end = 1_398 * BLOCK + 810;
    let folder = bench(&text, home.path()).run(end);
    let verdict = verify(&folder).expect("a dataset");
    let account = &verdict.arrays[0];
    assert!(account.adds_up(), "{account:?}");
    assert!((account.rate_hz / 30_000.0 - 1.0).abs() < 1e-5, "{account:?}");

    let manifest = Manifest::open(&folder).expect("a manifest");
    let gaps: Vec<_> = manifest.gaps.iter().map(|g| (g.first.unwrap_or(-1), g.count.unwrap_or(-1))).collect();
    let block = BLOCK as i64;
    assert!(manifest.gaps.iter().all(|gap| gap.cause != "lane_full"), "the machine was too busy: {gaps:?}");
    assert_eq!(
        gaps,
        [(300 * block, 777), (400 * block + 817, 33), (600 * block + 810, 25 * block), (900 * block + 810, 4 * block)]
    );

    let columns: Vec<String> = (0..CHANNELS).map(|channel| format!("ch{channel:03}")).collect();
    let mut wanted: Vec<&str> = columns.iter().map(String::as_str).collect();
    wanted.extend(["sample_index", "t_ns"]);
    let mut rows = 0_u64;
    tables::scan(&folder, &manifest, "ephys_A", &wanted, |batch| {
        let indices = tables::integers(batch, "sample_index");
        let times = tables::integers(batch, "t_ns");
        for (index, time) in indices.iter().zip(times) {
            // Trigger 5 is rig time zero.
            let exact =
                (index.expect("a value") - TRAIN_AT as i64) as f64 * 1e9 / 30_000.0 - PLAN.offset(5).nanos() as f64;
            assert!((time.expect("a value") as f64 - exact).abs() < 33_333.0, "{index:?} at {time:?}, really {exact}");
        }
        for (channel, name) in columns.iter().enumerate() {
            for (value, index) in tables::integers(batch, name).iter().zip(&indices) {
                let index = index.expect("a value") as u32;
                assert_eq!(*value, Some(i64::from(truth(channel, index))), "channel {channel} at {index}");
            }
        }
        rows += indices.len() as u64;
    })
    .expect("readable");
    let missing: i64 = gaps.iter().map(|gap| gap.1).sum();
    assert_eq!(rows as i64, account.span as i64 - missing);
    assert!(rows > 1_300 * BLOCK, "{rows} rows");
}
