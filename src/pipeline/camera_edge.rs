//! The edge thread of one camera: device → match → recorder and loop.
//!
//! Tier: edge. No allocation, no lock, no log in a steady state; the only wait is the device's own. A frame is written once,
//! into a pool slot, and handed on by reference count: the recorder gets it whether or not the loop keeps up.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mimicd_device::{
    CameraIndex, CameraSource, CameraTime, DeviceError, Frame, HostTime, Integrity, Polled, RigTime, Span,
};

use super::comeback::Comeback;
use super::missing::Settling;
use super::shared::{Shared, StreamStatus};
use super::tables::{self, ClockRow, TableIds};
use crate::clock::{LineFit, LineFitOptions, Match, TriggerMatcher, Verdict};
use crate::record::{FrameStamp, GapCause, RecordLane};
use crate::stream::{Consumer, MatchedFrame, Pool, PoolError, Producer};
use crate::telemetry::Cause;

/// What an edge thread is told.
pub enum EdgeControl {
    /// Write to the recording from this trigger on.
    Record {
        /// Where to.
        lane: Box<RecordLane>,
        /// Its tables.
        tables: TableIds,
        /// First trigger.
        from: u64,
    },
    /// Let go of the recording before this trigger, or when the deadline has passed.
    StopRecord {
        /// First trigger that is not written.
        before: u64,
        /// When to let go in any case.
        deadline: HostTime,
    },
    /// The next item with this device counter answers trigger 0 (cameras); the next edge is trigger 0 (arrays).
    Anchor {
        /// Device counter.
        counter: u64,
    },
    /// The train was started anew after a board reset; indices go on at `index_base`.
    NewTrain {
        /// Trigger index of the new train's trigger 0.
        index_base: u64,
        /// Train time of the new train's trigger 0.
        time_base: Span,
    },
}

/// The pool of one camera: four sets open in the gatherer, one in the loop, one held for previews, the recorder's queue and
/// one being filled.
pub const fn frame_pool_slots(recorder_queue: usize) -> usize {
    4 + 1 + 1 + recorder_queue + 1
}

/// One camera's edge.
pub struct CameraEdge {
    index: CameraIndex,
    source: Box<dyn CameraSource>,
    pool: Pool<Frame>,
    matcher: TriggerMatcher,
    device_clock: LineFit,
    control: Consumer<EdgeControl>,
    to_loop: Producer<MatchedFrame>,
    shared: Arc<Shared>,
    mid_exposure: Span,
    index_base: u64,
    time_base: Span,
    lane: Option<Box<RecordLane>>,
    tables: Option<TableIds>,
    record_from: u64,
    settling: Settling,
    gap_cause: GapCause,
    stream: String,
    clock_name: String,
    stop: Option<(u64, HostTime)>,
    comeback: Comeback,
    fingerprint: u64,
}

/// What a camera edge is made of.
pub struct CameraEdgeParts {
    /// Index in the config.
    pub index: CameraIndex,
    /// Name in the config.
    pub name: String,
    /// The open device.
    pub source: Box<dyn CameraSource>,
    /// Half the exposure time: mid-exposure is what a pose belongs to.
    pub mid_exposure: Span,
    /// Commands.
    pub control: Consumer<EdgeControl>,
    /// Frames for the loop.
    pub to_loop: Producer<MatchedFrame>,
    /// Frames the recorder may hold.
    pub recorder_queue: usize,
}

/// What is told of a camera that is there again.
const BACK: &str = "is back; its matches are unproved until the trigger code has been seen";

impl CameraEdge {
    /// An edge that is ready to run.
    pub fn new(parts: CameraEdgeParts, shared: &Arc<Shared>) -> Self {
        let geometry = parts.source.geometry();
        let slots = frame_pool_slots(parts.recorder_queue);
        let plan = shared.clock.plan();
        let stream = format!("frames/{}", parts.name);
        let clock_name = format!("camera/{}", parts.name);
        Self {
            pool: Pool::new(slots, || Frame::blank(parts.index, geometry)),
            matcher: TriggerMatcher::new(plan),
            device_clock: LineFit::new(LineFitOptions {
                slope: 1.0,
                slope_tolerance: 500e-6,
                tau_x: 30e9,
                outlier_y: 200_000.0,
                outliers_max: 8,
                memory: None,
            }),
            index: parts.index,
            source: parts.source,
            control: parts.control,
            to_loop: parts.to_loop,
            shared: Arc::clone(shared),
            mid_exposure: parts.mid_exposure,
            index_base: 0,
            time_base: Span::ZERO,
            lane: None,
            tables: None,
            record_from: 0,
            settling: Settling::from(0),
            gap_cause: GapCause::Device,
            stream,
            clock_name,
            stop: None,
            comeback: Comeback::new(format!("camera.{}", parts.name)),
            fingerprint: 0,
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

    /// Takes what is due; returns whether a frame was taken.
    pub fn pass(&mut self, now: HostTime) -> bool {
        self.obey();
        self.let_go_if_due(now);
        let (shared, source) = (&self.shared, &mut self.source);
        let status = &shared.cameras[self.index.as_usize()];
        let open = || source.reopen().and_then(|()| source.start());
        if !self.comeback.is_there(now, (status, shared), BACK, open) {
            return false;
        }
        match self.lease(now) {
            Ok(Some((frame, found))) => {
                self.hand_on(frame, found);
                true
            }
            Ok(None) => false,
            Err(PoolError::Exhausted) => {
                self.drop_one(now);
                true
            }
            Err(PoolError::Fill(error)) => {
                self.lose(&error, now);
                false
            }
        }
    }

    fn status(&self) -> &StreamStatus {
        &self.shared.cameras[self.index.as_usize()]
    }

    fn obey(&mut self) {
        while let Some(control) = self.control.pop() {
            match control {
                EdgeControl::Record { lane, tables, from } => {
                    self.lane = Some(lane);
                    self.tables = Some(tables);
                    self.record_from = from;
                    self.settling = Settling::from(from);
                    self.stop = None;
                    self.status().recording.store(true, Ordering::Release);
                }
                EdgeControl::StopRecord { before, deadline } => self.stop = Some((before, deadline)),
                EdgeControl::Anchor { counter } => {
                    self.matcher.anchor(counter);
                    (self.index_base, self.time_base) = (0, Span::ZERO);
                }
                EdgeControl::NewTrain { index_base, time_base } => {
                    self.matcher.anchor_next();
                    (self.index_base, self.time_base) = (index_base, time_base);
                }
            }
        }
    }

    fn let_go_if_due(&mut self, now: HostTime) {
        if self.stop.is_some_and(|(_, deadline)| now >= deadline) {
            self.let_go();
        }
    }

    /// Declares what never came and closes the lane.
    fn let_go(&mut self) {
        if let Some((before, _)) = self.stop.take() {
            self.settle(|settling, missing| settling.finish(before, missing));
        }
        self.lane = None;
        self.status().recording.store(false, Ordering::Release);
    }

    /// Lets `step` move the settling on and declares the gaps that it finds.
    fn settle(&mut self, step: impl FnOnce(&mut Settling, &mut dyn FnMut(u64, u64))) {
        let Some(lane) = self.lane.as_mut() else { return };
        let (clock, stream, cause, mid) = (&self.shared.clock, self.stream.as_str(), self.gap_cause, self.mid_exposure);
        step(&mut self.settling, &mut |first, end| {
            lane.gap(&clock.missing_triggers(stream, first..end, mid, cause));
        });
        self.gap_cause = GapCause::Device;
    }

    /// Fills a slot and matches it while nobody else holds it.
    fn lease(&mut self, now: HostTime) -> Result<Option<(Arc<Frame>, Match)>, PoolError<DeviceError>> {
        let mut found = None;
        let (source, matcher, last_print) = (&mut self.source, &mut self.matcher, self.fingerprint);
        let mut print = last_print;
        let frame = self.pool.lease(|frame| {
            frame.integrity = Integrity::empty();
            if source.poll(now, frame)? == Polled::Nothing {
                return Ok(false);
            }
            let matched = matcher.on_frame(frame.counter, frame.device_time, frame.arrival);
            print = fingerprint(&frame.pixels);
            if print == last_print {
                frame.integrity |= Integrity::FROZEN;
            }
            frame.integrity |= matched.integrity;
            found = Some(matched);
            Ok(true)
        })?;
        self.fingerprint = print;
        Ok(frame.zip(found))
    }

    fn hand_on(&mut self, frame: Arc<Frame>, found: Match) {
        self.count(&frame, found);
        let trigger = self.index_base + found.trigger;
        let train = self.time_base + self.shared.clock.plan().offset(found.trigger) + self.mid_exposure;
        if let Some(device_time) = frame.device_time.filter(|_| self.matcher.is_proved()) {
            self.follow_device_clock(device_time, train);
        }
        self.record(&frame, trigger, self.shared.clock.rig_of_train(train));
        let integrity = frame.integrity;
        if self.to_loop.push(MatchedFrame { frame, trigger, integrity }).is_err() {
            self.shared.counters.add(Cause::LoopRingFull, 1);
        }
    }

    fn record(&mut self, frame: &Arc<Frame>, trigger: u64, at: RigTime) {
        if self.stop.is_some_and(|(before, _)| trigger >= before) {
            self.let_go();
        }
        if self.lane.is_none() || trigger < self.record_from {
            return;
        }
        self.settle(|settling, missing| settling.see(trigger, missing));
        let stamp = FrameStamp {
            trigger_index: Some(trigger),
            at,
            uncertainty: Span::from_nanos(self.status().residual_p99_ns.load(Ordering::Relaxed)),
            integrity: frame.integrity,
        };
        let taken = self.lane.as_mut().is_some_and(|lane| lane.frame(Arc::clone(frame), stamp));
        if !taken {
            self.shared.counters.add(Cause::RecordLaneFull, 1);
            self.status().dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self, frame: &Frame, found: Match) {
        let (status, counters) = (self.status(), &self.shared.counters);
        status.items.fetch_add(1, Ordering::Relaxed);
        status.last_counter.store(frame.counter, Ordering::Relaxed);
        status.missing.fetch_add(found.missing_before, Ordering::Relaxed);
        status.gaps.fetch_add(u64::from(found.missing_before > 0), Ordering::Relaxed);
        status.flagged.fetch_add(u64::from(!frame.integrity.is_empty()), Ordering::Relaxed);
        counters.add(Cause::CameraGap, found.missing_before);
        counters.add(Cause::MatchUnproved, u64::from(found.integrity.contains(Integrity::UNPROVED_MATCH)));
        counters.add(Cause::ClockStep, u64::from(found.integrity.contains(Integrity::CLOCK_STEP)));
    }

    fn follow_device_clock(&mut self, device_time: CameraTime, train: Span) {
        let verdict = self.device_clock.push(device_time.nanos(), train.nanos());
        let slope = self.device_clock.slope() - 1.0;
        match verdict {
            Verdict::Taken(residual) => {
                self.status().note_residual(residual as i64, slope);
                self.record_map(device_time, train, residual, true);
            }
            Verdict::Refused(residual) => self.record_map(device_time, train, residual, false),
            Verdict::Restarted(_) => {
                self.status().steps.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn record_map(&mut self, device_time: CameraTime, train: Span, residual_ns: f64, accepted: bool) {
        let at = self.shared.clock.rig_of_train(train);
        let Some((lane, tables)) = self.lane.as_mut().zip(self.tables.as_ref()).filter(|_| at.nanos() >= 0) else {
            return;
        };
        let row = ClockRow {
            clock: &self.clock_name,
            offset_ns: (train.nanos() - device_time.nanos()) as f64 - residual_ns,
            // The fit goes from the camera's clock to the board's; the table has the camera's rate against the board's.
            rate_ppm: (1.0 / self.device_clock.slope() - 1.0) * 1e6,
            residual_ns,
            uncertainty_ns: self.device_clock.rms_y(),
            accepted,
        };
        tables::write_clock(lane, tables, at, &row);
    }

    /// Every slot is held: the frame stays in the device, and if its queue overflows the counter shows the gap.
    fn drop_one(&mut self, now: HostTime) {
        self.shared.counters.add(Cause::FramePoolExhausted, 1);
        self.gap_cause = GapCause::PoolExhausted;
        self.status().dropped.fetch_add(1, Ordering::Relaxed);
        self.source.wait(now + Span::from_millis(1));
    }

    fn lose(&mut self, error: &DeviceError, now: HostTime) {
        self.matcher.lost();
        self.gap_cause = GapCause::Reopened;
        let status = &self.shared.cameras[self.index.as_usize()];
        self.comeback.lose(error, now, status, &self.shared);
    }
}

/// A cheap hash of some pixels. A live sensor's noise never repeats, so an equal print means a frozen picture.
fn fingerprint(pixels: &[u8]) -> u64 {
    let stride = (pixels.len() / 509).max(1);
    pixels
        .iter()
        .step_by(stride)
        .fold(0xCBF2_9CE4_8422_2325, |hash, &pixel| (hash ^ u64::from(pixel)).wrapping_mul(0x0100_0000_01B3))
}
