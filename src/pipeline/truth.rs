//! The twin's truth, written beside its recording so that `verify` can say how wrong the pipeline was.
//!
//! Tier: service. Nothing of this is visible to the pipeline: it goes from the twin straight into tables of its own.

use std::sync::Arc;
use std::time::Duration;

use mimicd_device::{ArrayIndex, CameraIndex, HostTime, RigTime};
use mimicd_sim::TruthLog;

use super::shared::Shared;
use crate::config::{ArrayBackend, CameraBackend, Config};
use crate::record::{Column, RecordError, RecordLane, Recorder, RowWriter, ScalarKind, TableId, TableSchema};

/// The truth tables.
pub fn schemas() -> Vec<TableSchema> {
    let trigger = || Column::scalar("trigger_index", ScalarKind::I64, "", "Index in the train.");
    let array = || Column::scalar("array", ScalarKind::I16, "", "Index of the array in the config.");
    let sample = || Column::scalar("sample_index", ScalarKind::I64, "", "The array's own sample counter.");
    vec![
        TableSchema::new(
            "truth_pose",
            "What the simulated rat really did, at mid-exposure of each trigger.",
            vec![
                trigger(),
                Column::list("keypoints_m", ScalarKind::F32, 69, "m", "Keypoints in the world frame, x y z each."),
                Column::list("qpos", ScalarKind::F64, 74, "m, rad", "Root position, root quaternion, joint angles."),
                Column::scalar("behaviour", ScalarKind::Text, "", "What the rat was doing."),
            ],
        ),
        TableSchema::new(
            "truth_frames",
            "When each camera really exposed: t_ns is true mid-exposure.",
            vec![trigger(), Column::scalar("camera", ScalarKind::I16, "", "Index of the camera in the config.")],
        ),
        TableSchema::new(
            "truth_samples",
            "When arrays really took some of their samples: t_ns is the true instant.",
            vec![array(), sample()],
        ),
        TableSchema::new(
            "truth_clock",
            "What the clock table should say: true offsets of clocks at trigger times.",
            vec![
                Column::scalar("clock", ScalarKind::Text, "", "Which clock, as in the clock table."),
                Column::scalar("offset_ns", ScalarKind::F64, "ns", "Board time less that clock's time at t_ns."),
            ],
        ),
        TableSchema::new(
            "truth_spikes",
            "Spikes that were put into the simulated signal: t_ns is the true instant.",
            vec![
                array(),
                sample(),
                Column::scalar("unit", ScalarKind::I32, "", "True unit."),
                Column::scalar("tetrode", ScalarKind::I16, "", "Its tetrode."),
                Column::scalar("peak_uv", ScalarKind::F32, "uV", "Largest amplitude over the tetrode's channels."),
            ],
        ),
    ]
}

/// Writes truth up to a trigger, a little at a time.
pub struct TruthWriter {
    lane: RecordLane,
    truth: TruthLog,
    shared: Arc<Shared>,
    train: usize,
    /// The simulated cameras.
    cameras: Vec<CameraIndex>,
    /// The simulated arrays, and how many spikes of each were written.
    arrays: Vec<(ArrayIndex, usize)>,
    next: Option<u64>,
    pose: TableId,
    frames: TableId,
    samples: TableId,
    clock: TableId,
    spikes: TableId,
}

impl TruthWriter {
    /// Triggers written by one call of [`advance`](Self::advance) at most.
    const STRIDE: u64 = 100;

    /// A writer of `train`'s truth.
    ///
    /// # Errors
    /// When the recording has no truth tables.
    pub fn new(
        recorder: &Recorder,
        lane: RecordLane,
        truth: TruthLog,
        train: usize,
        config: &Config,
        shared: &Arc<Shared>,
    ) -> Result<Self, RecordError> {
        // Of a real device beside simulated ones nothing is known.
        let cameras = config.cameras.iter().zip(0..).filter(|(camera, _)| camera.backend == CameraBackend::Twin);
        let arrays = config.arrays.iter().zip(0..).filter(|(array, _)| array.backend == ArrayBackend::Twin);
        let seen = |index| (index, truth.spike_count(index));
        let arrays = arrays.map(|(_, index)| seen(ArrayIndex(index))).collect();
        Ok(Self {
            pose: recorder.table("truth_pose")?,
            frames: recorder.table("truth_frames")?,
            samples: recorder.table("truth_samples")?,
            clock: recorder.table("truth_clock")?,
            spikes: recorder.table("truth_spikes")?,
            lane,
            truth,
            shared: Arc::clone(shared),
            train,
            cameras: cameras.map(|(_, index)| CameraIndex(index)).collect(),
            arrays,
            next: None,
        })
    }

    /// Writes what is settled before trigger `before`, from trigger `from` on, a stride at most.
    pub fn advance(&mut self, from: u64, before: u64) {
        let next = self.next.unwrap_or(from);
        let end = before.min(next + Self::STRIDE);
        for trigger in next..end {
            self.write_trigger(trigger);
        }
        self.next = Some(end.max(next));
        self.write_spikes();
    }

    /// Writes all the rest.
    pub fn finish(mut self, from: u64, before: u64) {
        while self.next.is_none_or(|next| next < before) {
            self.advance(from, before);
        }
    }

    fn write_trigger(&mut self, trigger: u64) {
        for place in 0..self.cameras.len() {
            let camera = self.cameras[place];
            let Some(truth) = self.truth.trigger(self.train, trigger, camera) else { continue };
            let Some(at) = self.rig(truth.mid_exposure) else { continue };
            let table = self.frames;
            self.put(table, at, |row| {
                row.i64(trigger as i64);
                row.i16(i16::from(camera.0));
            });
            if place == 0 {
                self.write_pose(trigger, at, truth.mid_exposure);
                self.write_samples(trigger, truth.rise);
                self.write_clock(truth.rise);
            }
        }
    }

    fn write_pose(&mut self, trigger: u64, at: RigTime, mid_exposure: HostTime) {
        let Some(rat) = self.truth.rat_at(mid_exposure) else { return };
        let table = self.pose;
        self.put(table, at, |row| {
            row.i64(trigger as i64);
            row.f32s(rat.keypoints_m.iter().flatten().map(|value| *value as f32));
            row.f64s(*rat.qpos());
            row.text(rat.movement.behaviour.name());
        });
    }

    /// One sample of each array for every 25 triggers is enough to see a clock map's error.
    fn write_samples(&mut self, trigger: u64, rise: HostTime) {
        if !trigger.is_multiple_of(25) {
            return;
        }
        for place in 0..self.arrays.len() {
            let array = self.arrays[place].0;
            let sample = self.truth.sample_at(array, rise);
            let Some(at) = self.rig(self.truth.host_at_sample(array, sample)) else { continue };
            let table = self.samples;
            self.put(table, at, |row| {
                row.i16(i16::from(array.0));
                row.i64(sample.0 as i64);
            });
        }
    }

    fn write_clock(&mut self, rise: HostTime) {
        let Some(at) = self.rig(rise) else { return };
        let (table, offset_ns) = (self.clock, self.truth.board_at(rise).nanos() - rise.nanos());
        self.put(table, at, |row| {
            row.text("host");
            row.f64(offset_ns as f64);
        });
    }

    fn write_spikes(&mut self) {
        for place in 0..self.arrays.len() {
            let (index, seen) = self.arrays[place];
            let spikes = self.truth.spikes(index, seen);
            self.arrays[place].1 += spikes.len();
            for spike in spikes {
                let Some(at) = self.rig(self.truth.host_at_sample(index, spike.sample)) else { continue };
                if at.nanos() < 0 {
                    continue;
                }
                let unit = &self.truth.units(index)[usize::from(spike.unit)];
                let (tetrode, peak_uv) =
                    (unit.tetrode as i16, unit.amplitudes_uv.iter().copied().fold(0.0, f64::max) as f32);
                let table = self.spikes;
                self.put(table, at, |row| {
                    row.i16(i16::from(index.0));
                    row.i64(spike.sample.0 as i64);
                    row.i32(i32::from(spike.unit));
                    row.i16(tetrode);
                    row.f32(peak_uv);
                });
            }
        }
    }

    fn rig(&self, at: HostTime) -> Option<RigTime> {
        self.shared.clock.rig_of_board(self.truth.board_at(at))
    }

    /// Waits for room in the lane: nothing depends on how fast truth is written.
    fn put(&mut self, table: TableId, at: RigTime, fill: impl Fn(&mut RowWriter<'_>)) {
        for _ in 0..1_000 {
            if self.lane.has_room() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.lane.row(table, at, fill);
    }
}
