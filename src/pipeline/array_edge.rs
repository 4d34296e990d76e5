//! The edge thread of one electrode array: device → clock → recorder and spikes.
//!
//! Tier: edge. The array sees the trigger train on a digital input, so its sample counter is put on the board's clock by
//! the train itself: each rising edge is one pair (sample index, train time). A replayed recording saw another train or
//! none: its samples are put on the board's clock by the host's, through the map that pings keep.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mimicd_device::{
    ArrayIndex, DeviceAlarm, DeviceError, EphysSource, HostTime, Integrity, Polled, RigTime, SampleBlock, SampleIndex,
    Span,
};

use super::camera_edge::EdgeControl;
use super::comeback::Comeback;
use super::shared::{Shared, StreamStatus};
use super::tables::{self, ClockRow, TableIds};
use super::{Level, Notice};
use crate::clock::{LineFit, LineFitOptions, TrainFollower, Verdict};
use crate::record::{BlockStamp, Gap, GapCause, GapUnit, RecordLane};
use crate::stream::{Consumer, Pool, PoolError, Producer};
use crate::telemetry::Cause;

/// Where a sample lies in train time: `train = at_first + (sample - first) * nanos_per_sample`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleClock {
    /// The block's first sample.
    pub first: SampleIndex,
    /// Its train time.
    pub at_first: Span,
    /// Fitted length of one sample.
    pub nanos_per_sample: f64,
}

impl SampleClock {
    /// Train time of `sample`.
    pub fn train_of(&self, sample: SampleIndex) -> Span {
        let samples = sample.0 as i64 - self.first.0 as i64;
        self.at_first + Span::from_nanos((samples as f64 * self.nanos_per_sample).round() as i64)
    }
}

/// A block on its way to the spike thread.
#[derive(Clone, Debug)]
pub struct TimedBlock {
    /// The samples.
    pub block: Arc<SampleBlock>,
    /// Their times; `None` until the train has been seen.
    pub clock: Option<SampleClock>,
}

/// How samples get their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleTiming {
    /// By the trigger train on this bit of the digital word.
    Trigger {
        /// The bit.
        bit: u8,
    },
    /// By the host's clock at each block's arrival.
    Host,
}

/// What an array edge is made of.
pub struct ArrayEdgeParts {
    /// Index in the config.
    pub index: ArrayIndex,
    /// Name in the config.
    pub name: String,
    /// The open device.
    pub source: Box<dyn EphysSource>,
    /// How its samples get their time.
    pub timing: SampleTiming,
    /// Commands.
    pub control: Consumer<EdgeControl>,
    /// Blocks for the spike thread.
    pub to_spikes: Producer<TimedBlock>,
    /// Blocks that recorder and spike thread may hold together.
    pub blocks_held: usize,
}

/// One array's edge.
pub struct ArrayEdge {
    index: ArrayIndex,
    source: Box<dyn EphysSource>,
    pool: Pool<SampleBlock>,
    follower: TrainFollower,
    line: LineFit,
    timing: SampleTiming,
    level: bool,
    /// The next sample that is paired with the host's clock.
    next_pair: u64,
    next_sample: Option<SampleIndex>,
    control: Consumer<EdgeControl>,
    to_spikes: Producer<TimedBlock>,
    shared: Arc<Shared>,
    index_base: u64,
    time_base: Span,
    lane: Option<(Box<RecordLane>, TableIds)>,
    stream: String,
    gap_cause: GapCause,
    record_from: u64,
    stop: Option<(u64, HostTime)>,
    comeback: Comeback,
    alarm: Option<DeviceAlarm>,
    /// When the operator was last told of missing samples.
    told_gap_at: Option<HostTime>,
}

impl ArrayEdge {
    /// The operator is told of missing samples this often at most; all of them are declared and counted.
    const TELL_EVERY: Span = Span::from_millis(1_000);

    /// An edge that is ready to run.
    pub fn new(parts: ArrayEdgeParts, shared: &Arc<Shared>) -> Self {
        let (channels, samples) = (parts.source.channels(), parts.source.block_samples_max());
        let rate_hz = parts.source.rate_hz();
        let stream = format!("ephys_{}", parts.name);
        let blank = || SampleBlock::with_capacity(parts.index, channels, samples);
        Self {
            // One more than what may be held, for the block being filled.
            pool: Pool::new(parts.blocks_held + 1, blank),
            follower: TrainFollower::new(shared.clock.plan(), rate_hz),
            line: LineFit::new(LineFitOptions {
                slope: 1e9 / rate_hz,
                slope_tolerance: 500e-6,
                tau_x: 30.0 * rate_hz,
                outlier_y: 300_000.0,
                outliers_max: 8,
                memory: None,
            }),
            timing: parts.timing,
            level: false,
            next_pair: 0,
            next_sample: None,
            index: parts.index,
            source: parts.source,
            control: parts.control,
            to_spikes: parts.to_spikes,
            shared: Arc::clone(shared),
            index_base: 0,
            time_base: Span::ZERO,
            lane: None,
            stream,
            gap_cause: GapCause::Device,
            record_from: 0,
            stop: None,
            comeback: Comeback::new(format!("array.{}", parts.name)),
            alarm: None,
            told_gap_at: None,
        }
    }

    /// Starts the device.
    ///
    /// # Errors
    /// What the device says.
    pub fn start(&mut self) -> Result<(), DeviceError> {
        self.source.start()?;
        self.status().connected.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Stops the device.
    pub fn stop(&mut self) {
        self.source.stop();
        self.status().connected.store(false, Ordering::Relaxed);
    }

    /// Waits for the device.
    pub fn wait(&mut self, until: HostTime) {
        self.source.wait(until);
    }

    /// Takes what is due; returns whether a block was taken.
    pub fn pass(&mut self, now: HostTime) -> bool {
        self.obey();
        if self.stop.is_some_and(|(_, deadline)| now >= deadline) {
            self.let_go();
        }
        self.look_for_alarm();
        let (shared, source) = (&self.shared, &mut self.source);
        let status = &shared.arrays[self.index.as_usize()];
        let open = || source.reopen().and_then(|()| source.start());
        if !self.comeback.is_there(now, (status, shared), "is back", open) {
            return false;
        }
        let (source, next) = (&mut self.source, self.next_sample);
        let leased = self.pool.lease(|block| {
            if source.poll(now, block)? == Polled::Nothing {
                return Ok(false);
            }
            if next.is_some_and(|next| next != block.first) {
                block.integrity |= Integrity::GAP_BEFORE;
            }
            Ok(!block.is_empty())
        });
        match leased {
            Ok(Some(block)) => {
                self.hand_on(block);
                true
            }
            Ok(None) => false,
            Err(PoolError::Exhausted) => {
                // The samples stay in the device; if its queue overflows, the sample counter shows the gap.
                self.shared.counters.add(Cause::BlockPoolExhausted, 1);
                self.source.wait(now + Span::from_millis(1));
                true
            }
            Err(PoolError::Fill(error)) => {
                self.lose(&error, now);
                false
            }
        }
    }

    fn status(&self) -> &StreamStatus {
        &self.shared.arrays[self.index.as_usize()]
    }

    fn obey(&mut self) {
        while let Some(control) = self.control.pop() {
            match control {
                EdgeControl::Record { lane, tables, from } => {
                    self.lane = Some((lane, tables));
                    self.record_from = from;
                    self.stop = None;
                    self.status().recording.store(true, Ordering::Release);
                }
                EdgeControl::StopRecord { before, deadline } => self.stop = Some((before, deadline)),
                EdgeControl::Anchor { .. } => {
                    self.follower.expect_start();
                    (self.index_base, self.time_base) = (0, Span::ZERO);
                }
                EdgeControl::NewTrain { index_base, time_base } => {
                    self.follower.expect_start();
                    (self.index_base, self.time_base) = (index_base, time_base);
                }
            }
        }
    }

    fn let_go(&mut self) {
        self.lane = None;
        self.stop = None;
        self.status().recording.store(false, Ordering::Release);
    }

    fn hand_on(&mut self, block: Arc<SampleBlock>) {
        self.count(&block);
        match self.timing {
            SampleTiming::Trigger { bit } => self.follow_train(&block, 1 << bit),
            SampleTiming::Host => self.follow_host(&block),
        }
        let clock = self.clock_of(block.first);
        if let Some(clock) = clock {
            self.record(&block, clock);
        }
        self.next_sample = Some(block.end());
        if self.to_spikes.push(TimedBlock { block, clock }).is_err() {
            self.shared.counters.add(Cause::SpikeRingFull, 1);
        }
    }

    fn count(&mut self, block: &SampleBlock) {
        let status = self.status();
        status.items.fetch_add(block.len() as u64, Ordering::Relaxed);
        status.last_counter.store(block.end().0, Ordering::Relaxed);
        if let Some(next) = self.next_sample.filter(|next| *next != block.first) {
            let missing = block.first.0.saturating_sub(next.0);
            status.missing.fetch_add(missing, Ordering::Relaxed);
            status.gaps.fetch_add(1, Ordering::Relaxed);
            self.shared.counters.add(Cause::SampleGap, missing.max(1));
            self.tell_gap(block, missing);
        }
    }

    /// What a lost device cost is told when it is lost and when it is back.
    fn tell_gap(&mut self, block: &SampleBlock, missing: u64) {
        let is_early = self.told_gap_at.is_some_and(|at| block.arrival - at < Self::TELL_EVERY);
        if is_early || self.gap_cause != GapCause::Device {
            return;
        }
        self.told_gap_at = Some(block.arrival);
        let text = match missing {
            0 => format!("its sample counter fell back to {}; the gap is declared", block.first.0),
            _ => format!("{missing} samples are missing before sample {}; they are declared", block.first.0),
        };
        self.shared.notice(Notice::new(Level::Warning, self.comeback.source(), text));
    }

    /// Every rising edge of the trigger line is one pair for the clock map.
    fn follow_train(&mut self, block: &SampleBlock, trigger_mask: u16) {
        for (offset, word) in block.digital.iter().enumerate() {
            let level = word & trigger_mask != 0;
            let rising = level && !self.level;
            self.level = level;
            if rising {
                self.take_edge(SampleIndex(block.first.0 + offset as u64));
            }
        }
    }

    /// Ten pairs a second of a block's end and the host's clock then.
    fn follow_host(&mut self, block: &SampleBlock) {
        let end = block.end().0;
        let Some(start) = self.shared.clock.train_start().filter(|_| end >= self.next_pair) else { return };
        let map = self.shared.host_map.read(|map| *map);
        let Some(map) = map else { return };
        self.next_pair = end + (self.source.rate_hz() / 10.0) as u64;
        let train = map.map(block.arrival).at - start;
        if let Verdict::Taken(residual) = self.line.push(end as i64, train.nanos()) {
            let drift = self.line.slope() * self.source.rate_hz() * 1e-9 - 1.0;
            self.status().note_residual(residual as i64, drift);
        }
    }

    fn take_edge(&mut self, sample: SampleIndex) {
        let Some(edge) = self.follower.on_edge(sample) else { return };
        self.shared.counters.add(Cause::ClockStep, u64::from(edge.integrity.contains(Integrity::CLOCK_STEP)));
        if !self.follower.is_proved() {
            return;
        }
        let train = self.time_base + self.shared.clock.plan().offset(edge.trigger);
        // An edge is seen at the first sample after it: on average half a sample late.
        let half_sample = (self.line.slope() / 2.0) as i64;
        let verdict = self.line.push(sample.0 as i64, train.nanos() + half_sample);
        let drift = self.line.slope() * self.source.rate_hz() * 1e-9 - 1.0;
        match verdict {
            Verdict::Taken(residual) => {
                self.status().note_residual(residual as i64, drift);
                self.record_residual(sample, edge.trigger, train, residual);
            }
            Verdict::Refused(_) => {}
            Verdict::Restarted(_) => {
                self.status().steps.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn record_residual(&mut self, sample: SampleIndex, trigger: u64, train: Span, residual_ns: f64) {
        let at = self.shared.clock.rig_of_train(train);
        let wanted = trigger + self.index_base >= self.record_from;
        let Some((lane, tables)) = self.lane.as_mut().filter(|_| wanted) else { return };
        let row = ClockRow {
            clock: &self.stream,
            offset_ns: train.nanos() as f64 - residual_ns - sample.0 as f64 * 1e9 / self.source.rate_hz(),
            rate_ppm: (self.line.slope() * self.source.rate_hz() * 1e-9 - 1.0) * 1e6,
            residual_ns,
            uncertainty_ns: self.line.rms_y(),
            accepted: true,
        };
        tables::write_clock(lane, tables, at, &row);
    }

    fn clock_of(&self, first: SampleIndex) -> Option<SampleClock> {
        let (whole, part) = self.line.predict(first.0 as i64)?;
        let at_first = Span::from_nanos(whole + part.round() as i64);
        Some(SampleClock { first, at_first, nanos_per_sample: self.line.slope() })
    }

    fn record(&mut self, block: &Arc<SampleBlock>, clock: SampleClock) {
        let plan = self.shared.clock.plan();
        if self.stop.is_some_and(|(before, _)| clock.at_first >= plan.offset(before)) {
            self.let_go();
        }
        let from = plan.offset(self.record_from);
        let at: RigTime = self.shared.clock.rig_of_train(clock.at_first);
        let gap_from = self.next_sample.filter(|next| *next != block.first);
        let cause = std::mem::replace(&mut self.gap_cause, GapCause::Device);
        let Some((lane, _)) = self.lane.as_mut().filter(|_| clock.at_first >= from) else { return };
        if let Some(next) = gap_from {
            let gap_at = self.shared.clock.rig_of_train(clock.train_of(next));
            let (first, end) = (next.0 as i64, block.first.0 as i64);
            lane.gap(&Gap::range(&self.stream, GapUnit::Samples, first, end, gap_at, cause).until(at));
        }
        let stamp = BlockStamp { at, nanos_per_sample: clock.nanos_per_sample, integrity: block.integrity };
        if !lane.block(Arc::clone(block), stamp) {
            self.shared.counters.add(Cause::RecordLaneFull, 1);
            self.status().dropped.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
    }

    /// Tells of what has to be mended while samples flow on.
    fn look_for_alarm(&mut self) {
        let alarm = self.source.alarm();
        if alarm == self.alarm {
            return;
        }
        let source = self.comeback.source();
        let notice = match alarm {
            Some(alarm) => Notice::new(Level::Warning, source, format!("{}; {}", alarm.words(), alarm.advice())),
            None => Notice::new(Level::Info, source, "all is well again"),
        };
        self.shared.notice(notice);
        self.status().alarmed.store(alarm.is_some(), Ordering::Relaxed);
        self.alarm = alarm;
    }

    fn lose(&mut self, error: &DeviceError, now: HostTime) {
        self.gap_cause = GapCause::Reopened;
        let status = &self.shared.arrays[self.index.as_usize()];
        self.comeback.lose(error, now, status, &self.shared);
    }
}
