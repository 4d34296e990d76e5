//! A recording of another program through the spike stage and into a dataset of our own, as fast as it goes.
//!
//! The array trait, the spike stage and the recorder are the live ones; only the clock is the recording's own
//! (`t_ns` = samples since its first / rate). Gaps of the recording are declared as gaps.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mimicd_device::{DeviceErrorKind, EphysSource as _, Polled, RigTime, SampleBlock, SampleIndex, Span};
use mimicd_hw::file::{FileOptions, FileSource, Pace};

use super::{RigError, spike_tables, tables};
use crate::clock::host_now;
use crate::config::{ArrayBackend, ArrayConfig, RecordConfig, SpikesConfig, VideoCodec};
use crate::record::schema::standard_tables;
use crate::record::{
    ArrayInfo, BlockStamp, Gap, GapCause, GapUnit, LANE_BLOCKS, RecordLane, Recorder, RecordingInfo, SourceFile,
    TableId,
};
use crate::spikes::{SpikeOutput, SpikeStage, UnitQuality};
use crate::stream::{Pool, PoolError};

/// The array's name in the dataset.
const ARRAY: &str = "A";

/// What is to be replayed, and how.
pub struct EphysReplay {
    /// The recording, which of its channels, and how fast.
    pub file: FileOptions,
    /// Filter, detection and sorting.
    pub spikes: SpikesConfig,
    /// Where to.
    pub record: RecordConfig,
    /// The animal.
    pub subject: String,
}

/// How a replay went.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct EphysReplayReport {
    /// The dataset.
    pub folder: PathBuf,
    /// Form and path of the recording.
    pub source: String,
    /// Channels replayed.
    pub channels: usize,
    /// Samples per channel.
    pub samples: u64,
    /// Length of the recording.
    pub seconds: f64,
    /// Gaps in it.
    pub gaps: u64,
    /// Spikes found.
    pub spikes: u64,
    /// Of those with a unit.
    pub sorted: u64,
    /// Units: id, tetrode, spikes, rate in Hz, signal-to-noise ratio.
    pub units: Vec<(u16, u16, u64, f32, f32)>,
    /// Time spent in the spike stage, as a part of the recording's length.
    pub spike_cost: f64,
}

struct Replay {
    stage: SpikeStage,
    out: SpikeOutput,
    lane: RecordLane,
    spikes: TableId,
    units: TableId,
    first: u64,
    rate_hz: f64,
    next: Option<SampleIndex>,
    spent: Duration,
    report: EphysReplayReport,
}

impl EphysReplay {
    /// Replays everything into a dataset, telling `progress` the samples done and their total after each block.
    ///
    /// # Errors
    /// A recording that cannot be read, a recorder that does not start or seal.
    pub fn run(self, mut progress: impl FnMut(u64, u64)) -> Result<EphysReplayReport, RigError> {
        let mut source = FileSource::open(self.file.clone()).map_err(failed)?;
        let array = array_of(&source)?;
        let stage = SpikeStage::for_array(&self.spikes, &array).map_err(failed)?;
        let mut recorder = self.recorder(&source, &array)?;
        let mut replay = Replay {
            out: stage.output(),
            stage,
            lane: recorder.lane("replay"),
            spikes: recorder.table("spikes").map_err(failed)?,
            units: recorder.table("units").map_err(failed)?,
            first: source.first_sample(),
            rate_hz: array.rate_hz,
            next: None,
            spent: Duration::ZERO,
            report: EphysReplayReport { channels: array.channels, ..EphysReplayReport::default() },
        };
        source.identity().clone_into(&mut replay.report.source);
        replay.take_all(&mut source, self.file.pace, &mut progress)?;
        let end = replay.rig(replay.next.unwrap_or(SampleIndex(replay.first)));
        spike_tables::write_units(&mut replay.lane, replay.units, end, mimicd_device::ArrayIndex(0), &replay.stage);
        let Replay { stage, lane, spent, mut report, rate_hz, .. } = replay;
        drop(lane);
        report.seconds = report.samples as f64 / rate_hz;
        report.spike_cost = spent.as_secs_f64() / report.seconds.max(1e-9);
        report.units = stage.units().iter().map(summary).collect();
        report.folder = recorder.seal().map_err(failed)?.folder;
        Ok(report)
    }

    fn recorder(&self, source: &FileSource, array: &ArrayConfig) -> Result<Recorder, RigError> {
        let settings = serde_json::json!({
            "replay": self.file.path, "channel_first": self.file.channel_first, "array": [array], "spikes": self.spikes,
        });
        let mut info = RecordingInfo::new(&self.subject, "replay", SystemTime::now(), settings);
        // A folder has no one hash; the identity in the manifest's notes names it.
        if self.file.path.is_file() {
            info.files = vec![SourceFile::hashed("recording", &self.file.path)];
        }
        let record = RecordConfig { video: VideoCodec::None, ..self.record.clone() };
        std::fs::create_dir_all(&record.folder).map_err(failed)?;
        let mut tables = standard_tables(&tables::LADDER);
        tables.extend([spike_tables::spikes(), spike_tables::units()]);
        let arrays = vec![ArrayInfo {
            name: ARRAY.to_owned(),
            channels: array.channels,
            rate_hz: array.rate_hz,
            gain_uv_per_bit: array.gain_uv_per_bit,
        }];
        let recorder = Recorder::start(&record, info, tables, Vec::new(), arrays).map_err(failed)?;
        recorder.note("source", source.identity().into());
        Ok(recorder)
    }
}

/// The array that the recording is of.
fn array_of(source: &FileSource) -> Result<ArrayConfig, RigError> {
    let channels = source.channels();
    if !channels.is_multiple_of(4) {
        let whole = channels / 4 * 4;
        return Err(RigError(format!(
            "{}: {channels} channels are no whole tetrodes; give --channels {whole}",
            source.identity()
        )));
    }
    Ok(ArrayConfig {
        rate_hz: source.rate_hz(),
        gain_uv_per_bit: source.gain_uv_per_bit(),
        ..ArrayConfig::new(ARRAY, ArrayBackend::File, channels)
    })
}

impl Replay {
    fn take_all(
        &mut self,
        source: &mut FileSource,
        pace: Pace,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), RigError> {
        let (channels, block) = (source.channels(), source.block_samples_max());
        let blank = || SampleBlock::with_capacity(mimicd_device::ArrayIndex(0), channels, block);
        // As many blocks as the lane holds: it cannot overflow.
        let mut pool = Pool::new(LANE_BLOCKS, blank);
        source.start().map_err(failed)?;
        loop {
            let now = host_now();
            match pool.lease(|block| source.poll(now, block).map(|polled| polled == Polled::Ready)) {
                Ok(Some(block)) => {
                    self.take(&block);
                    progress(self.report.samples, source.samples());
                }
                Ok(None) => source.wait(now + Span::from_millis(if pace == Pace::Fast { 1 } else { 20 })),
                Err(PoolError::Exhausted) => std::thread::sleep(Duration::from_micros(200)),
                Err(PoolError::Fill(error)) if source.is_over() && error.kind == DeviceErrorKind::Disconnected => {
                    return Ok(());
                }
                Err(PoolError::Fill(error)) => return Err(failed(error)),
            }
        }
    }

    fn take(&mut self, block: &Arc<SampleBlock>) {
        let began = Instant::now();
        self.stage.process(block, &mut self.out);
        self.spent += began.elapsed();
        let at = self.rig(block.first);
        if let Some(next) = self.next.filter(|next| *next != block.first) {
            self.report.gaps += 1;
            let (first, end) = (next.0 as i64, block.first.0 as i64);
            let gap_at = self.rig(next);
            let stream = format!("ephys_{ARRAY}");
            self.lane.gap(&Gap::range(&stream, GapUnit::Samples, first, end, gap_at, GapCause::Device).until(at));
        }
        self.next = Some(block.end());
        self.report.samples += block.len() as u64;
        let stamp = BlockStamp { at, nanos_per_sample: 1e9 / self.rate_hz, integrity: block.integrity };
        self.lane.block(Arc::clone(block), stamp);
        for index in 0..self.out.events.len() {
            while !self.lane.has_room() {
                std::thread::sleep(Duration::from_micros(200));
            }
            let event = &self.out.events[index];
            let at = self.rig(event.sample);
            self.report.spikes += 1;
            self.report.sorted += u64::from(event.unit != 0);
            spike_tables::write_spike(&mut self.lane, self.spikes, at, block.array, event);
        }
    }

    fn rig(&self, sample: SampleIndex) -> RigTime {
        let samples = sample.0 as i64 - self.first as i64;
        RigTime::from_nanos((samples as f64 * 1e9 / self.rate_hz).round() as i64)
    }
}

fn summary(unit: &UnitQuality) -> (u16, u16, u64, f32, f32) {
    (unit.id, unit.tetrode, unit.count, unit.rate_hz, unit.snr)
}

fn failed(error: impl std::fmt::Display) -> RigError {
    RigError(error.to_string())
}
