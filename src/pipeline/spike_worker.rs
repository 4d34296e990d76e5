//! The spike thread: blocks of all arrays → spikes → recorder, loop and panel.
//!
//! Tier: loop, below the closed loop in priority. It allocates nothing in a steady state and waits only for blocks.

use std::sync::Arc;

use mimicd_device::{ArrayIndex, HostTime, SampleBlock, SampleIndex, Span};

use super::array_edge::{SampleClock, TimedBlock};
use super::encode_feed::EncodeSpike;
use super::ladder::StageClock;
use super::shared::{Shared, SpikeView};
use super::spike_tables;
use super::stages::SpikeNote;
use super::tables::{self, TableIds};
use super::{ArrayLive, SortedUnit, SpikeTick, WAVEFORM_SAMPLES, Waveform};
use crate::encoding::units::UnitKey;
use crate::record::RecordLane;
use crate::spikes::{SNIPPET_BEFORE, SpikeEvent, SpikeOutput, SpikeStage, TETRODE_CHANNELS, UnitQuality};
use crate::stream::{Consumer, Producer};
use crate::telemetry::{Cause, LatencyHistogram};

/// What the spike thread is told.
pub enum SpikeControl {
    /// Write to the recording.
    Record(Box<RecordLane>, TableIds),
    /// Let go of the recording.
    StopRecord,
}

/// One array's detection.
pub struct SpikeChannel {
    /// Filter to sorter.
    pub stage: SpikeStage,
    /// Blocks of the array's edge.
    pub blocks: Consumer<TimedBlock>,
    /// Nominal sample rate.
    pub rate_hz: f64,
}

struct Channel {
    parts: SpikeChannel,
    out: SpikeOutput,
    window_samples: u64,
    /// Train time of the latest block.
    latest_train: Span,
    /// Spikes of the running second, by tetrode.
    window_spikes: Vec<u32>,
    /// From a block's arrival until its spikes are known, since the recording began (before one, since arming).
    detection: LatencyHistogram,
    /// The work on each of those blocks, in processor time of this thread.
    work: LatencyHistogram,
}

/// All arrays' detection.
pub struct SpikeWorker {
    channels: Vec<Channel>,
    to_loop: Producer<SpikeNote>,
    control: Consumer<SpikeControl>,
    shared: Arc<Shared>,
    lane: Option<(Box<RecordLane>, TableIds)>,
    to_encode: Option<Producer<EncodeSpike>>,
    clock: StageClock,
}

impl SpikeWorker {
    /// A worker over `channels`, in array order.
    pub fn new(
        channels: Vec<SpikeChannel>,
        to_loop: Producer<SpikeNote>,
        control: Consumer<SpikeControl>,
        shared: &Arc<Shared>,
    ) -> Self {
        let channels = channels
            .into_iter()
            .map(|parts| {
                let window_spikes = vec![0; parts.stage.tetrodes()];
                Channel {
                    out: parts.stage.output(),
                    parts,
                    window_samples: 0,
                    latest_train: Span::ZERO,
                    window_spikes,
                    detection: LatencyHistogram::new(),
                    work: LatencyHistogram::new(),
                }
            })
            .collect();
        Self {
            channels,
            to_loop,
            control,
            shared: Arc::clone(shared),
            lane: None,
            to_encode: None,
            clock: StageClock::Real,
        }
    }

    /// Makes the worker take its times from the stepped clock instead of the host's.
    pub fn step_time(&mut self) {
        self.clock = StageClock::Fixed(HostTime::ZERO);
    }

    /// Tells the encoding thread of spikes too.
    pub(super) fn tell_encode(&mut self, to_encode: Producer<EncodeSpike>) {
        self.to_encode = Some(to_encode);
    }

    /// Works every block that has come; returns whether there was one.
    pub fn pass(&mut self, now: HostTime) -> bool {
        self.clock.set(now);
        self.obey();
        let mut any = false;
        for index in 0..self.channels.len() {
            while let Some(timed) = self.channels[index].parts.blocks.pop() {
                any = true;
                self.work(ArrayIndex(index as u8), &timed.block, timed.clock);
            }
        }
        any
    }

    fn obey(&mut self) {
        while let Some(control) = self.control.pop() {
            self.lane = match control {
                SpikeControl::Record(lane, tables) => {
                    for channel in &mut self.channels {
                        channel.detection.clear();
                        channel.work.clear();
                    }
                    Some((lane, tables))
                }
                SpikeControl::StopRecord => {
                    self.write_units();
                    None
                }
            };
        }
    }

    /// The units as they stand, into the recording that is being let go of.
    fn write_units(&mut self) {
        let Some((mut lane, tables)) = self.lane.take() else { return };
        for (index, channel) in self.channels.iter().enumerate() {
            let at = self.shared.clock.rig_of_train(channel.latest_train);
            if at.nanos() >= 0 {
                spike_tables::write_units(&mut lane, tables.units(), at, ArrayIndex(index as u8), &channel.parts.stage);
            }
        }
    }

    fn work(&mut self, array: ArrayIndex, block: &SampleBlock, clock: Option<SampleClock>) {
        let channel = &mut self.channels[array.as_usize()];
        let worked = self.clock.worked();
        channel.parts.stage.process(block, &mut channel.out);
        channel.detection.add(self.clock.now() - block.arrival);
        channel.work.add(self.clock.worked() - worked);
        channel.window_samples += block.len() as u64;
        for event in &channel.out.events {
            channel.window_spikes[usize::from(event.tetrode)] += 1;
        }
        if let Some(clock) = clock {
            channel.latest_train = clock.train_of(block.end());
            self.record(array, clock);
            self.encode(array, block, clock);
        }
        self.tell_loop(array);
        self.show(array, clock);
    }

    fn record(&mut self, array: ArrayIndex, clock: SampleClock) {
        let Some((lane, ids)) = &mut self.lane else { return };
        for event in &self.channels[array.as_usize()].out.events {
            let at = self.shared.clock.rig_of_train(clock.train_of(event.sample));
            if at.nanos() >= 0 && !tables::write_spike(lane, ids, at, array, event) {
                self.shared.counters.add(Cause::RecordLaneFull, 1);
            }
        }
    }

    fn encode(&mut self, array: ArrayIndex, block: &SampleBlock, clock: SampleClock) {
        let Some(to_encode) = self.to_encode.as_mut().filter(|_| self.lane.is_some()) else { return };
        let rig_ns = |sample| self.shared.clock.rig_of_train(clock.train_of(sample)).nanos();
        let mut full = 0;
        for event in &self.channels[array.as_usize()].out.events {
            let key = UnitKey { array: u16::from(array.0), tetrode: event.tetrode, unit: event.unit };
            full += u64::from(to_encode.push(EncodeSpike::At(rig_ns(event.sample), key)).is_err());
        }
        let end = SampleIndex(block.first.0 + block.len() as u64);
        full += u64::from(to_encode.push(EncodeSpike::Reached(u16::from(array.0), rig_ns(end))).is_err());
        self.shared.counters.add(Cause::EncodeRingFull, full);
    }

    fn tell_loop(&mut self, array: ArrayIndex) {
        for event in &self.channels[array.as_usize()].out.events {
            // A full ring means that the loop is not running; rates are its only use of spikes and recover by themselves.
            self.to_loop.push(SpikeNote { array: array.0, unit: event.unit }).ok();
        }
    }

    fn show(&mut self, array: ArrayIndex, clock: Option<SampleClock>) {
        let channel = &mut self.channels[array.as_usize()];
        let second = channel.window_samples as f64 >= channel.parts.rate_hz;
        let start = self.shared.clock.train_start();
        self.shared.spikes.publish(|view| {
            for event in &channel.out.events {
                show_event(
                    view,
                    array,
                    event,
                    clock.zip(start).map(|(c, start)| (start + c.train_of(event.sample)).nanos()),
                );
            }
            if second {
                show_second(&mut view.arrays[array.as_usize()], channel);
            }
        });
    }
}

fn show_event(view: &mut SpikeView, array: ArrayIndex, event: &SpikeEvent, board_nanos: Option<i64>) {
    if let Some(board_nanos) = board_nanos {
        view.spikes.push(SpikeTick { board_nanos, array: array.0, tetrode: event.tetrode, unit: event.unit });
    }
    let live = &mut view.arrays[array.as_usize()];
    if let Some(waveform) = live.waveforms.get_mut(usize::from(event.tetrode)) {
        show_waveform(waveform, event);
    }
}

fn show_waveform(waveform: &mut Waveform, event: &SpikeEvent) {
    waveform.count += 1;
    waveform.unit = event.unit;
    waveform.uv.clear();
    let first = SNIPPET_BEFORE - WAVEFORM_SAMPLES / 4;
    for wire in 0..TETRODE_CHANNELS {
        waveform.uv.extend(event.snippet[wire][first..][..WAVEFORM_SAMPLES].iter().map(|uv| *uv as i16));
    }
}

fn show_second(live: &mut ArrayLive, channel: &mut Channel) {
    let seconds = (channel.window_samples as f64 / channel.parts.rate_hz) as f32;
    live.spikes_hz = channel.window_spikes.iter().sum::<u32>() as f32 / seconds;
    for (rate, count) in live.unit_rates_hz.iter_mut().zip(&mut channel.window_spikes) {
        *rate = std::mem::take(count) as f32 / seconds;
    }
    let times = |histogram: &LatencyHistogram| {
        let summary = histogram.summary();
        [summary.p50_ms, summary.p99_ms, summary.max_ms].map(|ms| ms as f32)
    };
    live.detection_ms = times(&channel.detection);
    live.detection_work_ms = times(&channel.work);
    let stage = &channel.parts.stage;
    live.noise_uv = median(stage.noise_uv());
    show_electrodes(live, stage);
    if let Some(sorter) = stage.sorter() {
        show_units(&mut live.units, seconds, |each| sorter.visit(each));
    }
    channel.window_samples = 0;
}

fn show_electrodes(live: &mut ArrayLive, stage: &SpikeStage) {
    for (shown, threshold) in live.thresholds_uv.iter_mut().zip(stage.threshold_uv()) {
        *shown = tenths(threshold);
    }
    let health = stage.health();
    live.health_seconds = health.windows();
    let shown = live.channel_noise_uv.iter_mut().zip(&mut live.channel_flags);
    for ((noise, flags), channel) in shown.zip(health.channels()) {
        *noise = tenths(channel.noise_uv);
        *flags = channel.flags.bits();
    }
    for (line, shown) in live.line_uv.iter_mut().enumerate() {
        *shown = median(health.channels().iter().map(|channel| channel.line_uv[line]));
    }
}

/// Units with the rate of the second that is over; `visit` shows every unit.
fn show_units(shown: &mut Vec<SortedUnit>, seconds: f32, visit: impl Fn(&mut dyn FnMut(UnitQuality))) {
    // Units stay in their order; new ones may come in between, so the old counts are looked up by id.
    let before = shown.len();
    visit(&mut |unit| {
        let count_before = shown[..before].iter().find(|old| old.id == unit.id).map_or(unit.count, |old| old.count);
        shown.push(SortedUnit {
            id: unit.id,
            tetrode: unit.tetrode,
            count: unit.count,
            rate_hz: tenths((unit.count - count_before) as f32 / seconds),
            snr: tenths(unit.snr),
            violations: unit.violations,
            drift_sigma: tenths(unit.drift_sigma),
        });
    });
    shown.drain(..before);
}

/// To a tenth: what is shown need not be longer on the wire.
fn tenths(value: f32) -> f32 {
    (value * 10.0).round() / 10.0
}

/// Median by counting in 0.1 µV bins: no memory beyond the stack.
fn median(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let count = values.len();
    let mut bins = [0_u32; 1_024];
    for value in values {
        bins[((value * 10.0) as usize).min(bins.len() - 1)] += 1;
    }
    let mut seen = 0;
    let half = count.div_ceil(2) as u32;
    let middle = bins.iter().position(|bin| {
        seen += bin;
        seen >= half
    });
    middle.map_or(0.0, |bin| bin as f32 / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_noise_is_found_to_a_bin() {
        let values = [3.0_f32, 5.04, 9.0, 4.0, 700.0];
        assert!((median(values.into_iter()) - 5.0).abs() < 0.11);
    }
}
