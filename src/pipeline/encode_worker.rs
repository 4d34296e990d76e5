//! The encoding thread: ticks and spikes of a recording → models that are fitted while it runs.
//!
//! Tier: service. It sees the loop and the spike thread through rings, works for a bounded time a bin, and may fall behind
//! without anyone noticing but its own scores. It is idle while nothing is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mimicd_device::{HostTime, RigTime, Span};

use super::encode_feed::{EncodeSpike, EncodeTick};
use super::encode_live::{EncodingLive, LayerLive, SetLive, UnitLive};
use super::encode_table::{EncodingRow, write_encoding};
use super::shared::Shared;
use super::tables::TableIds;
use crate::config::EncodingConfig;
use crate::encoding::behaviour::{Classifier, Window};
use crate::encoding::glm::cores;
use crate::encoding::live::LiveEncoder;
use crate::encoding::live_similarity::LiveSimilarity;
use crate::encoding::score::Estimate;
use crate::encoding::settings::EncodingSettings;
use crate::encoding::store::SetSpec;
use crate::record::RecordLane;
use crate::stream::Consumer;
use crate::telemetry::Cause;

/// Rows and live numbers are renewed once in this time.
const SHOW_EVERY: Span = Span::from_millis(2_000);
/// Rows are written once in so many renewals.
const ROWS_EVERY: u32 = 5;
/// A source that says nothing for this long is no longer waited for.
const PATIENCE_NS: i64 = 2_000_000_000;

/// A spike is told of so much later than its array has been searched: its waveform must end first.
const DETECTION_NS: i64 = 5_000_000;

/// What the encoding thread is told.
pub enum EncodeControl {
    /// A recording begins.
    Record(Box<RecordLane>, TableIds),
    /// It has ended: come to the minimum, write the last rows, let go.
    Stop,
}

/// What the worker is made of.
pub struct EncodeParts {
    /// Settings.
    pub config: EncodingConfig,
    /// Sets, their columns in the short row of the feed.
    pub sets: Vec<SetSpec>,
    /// Length of that row.
    pub imitation_width: usize,
    /// Arrays of the rig.
    pub arrays: usize,
    /// Whether spikes are sorted: then unsorted ones are left out.
    pub sorted: bool,
    /// Behaviour classifier.
    pub classifier: Option<Classifier>,
    /// Ticks of the loop.
    pub ticks: Consumer<Arc<EncodeTick>>,
    /// Spikes.
    pub spikes: Consumer<EncodeSpike>,
    /// Commands.
    pub control: Consumer<EncodeControl>,
}

struct Running {
    lane: Box<RecordLane>,
    tables: TableIds,
    encoder: LiveEncoder,
    similarity: Option<LiveSimilarity>,
    window: Window,
    behaviour: Option<usize>,
    /// How far the loop and each array have come.
    tick_ns: i64,
    reached_ns: Vec<i64>,
    shown: HostTime,
    renewals: u32,
    work: Work,
}

/// Why scores are renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    /// Time has passed.
    Running,
    /// The recording has ended and every fit is at its minimum.
    Final,
    /// The recording has ended and time ran out before.
    Unfinished,
}

/// What the work of bins has cost.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    bins: u64,
    /// Time that the last piece took beyond what was allowed: the next bins pay it back.
    owed: Span,
    total: Span,
    longest: Span,
}

/// The encoding thread's state.
pub struct EncodeWorker {
    parts: EncodeParts,
    settings: EncodingSettings,
    shared: Arc<Shared>,
    running: Option<Running>,
    clock: fn() -> HostTime,
    /// Pieces of work a bin instead of time: a stepped run does the same every time.
    pieces: Option<u32>,
}

impl EncodeWorker {
    /// A worker that reads the time from `clock`.
    pub fn new(parts: EncodeParts, shared: &Arc<Shared>, clock: fn() -> HostTime) -> Self {
        let settings = EncodingSettings::from(&parts.config);
        Self { settings, parts, shared: Arc::clone(shared), running: None, clock, pieces: None }
    }

    /// Makes the work of a bin a number of pieces instead of a time, and the end wait for the minimum.
    pub fn step_work(&mut self) {
        self.pieces = Some(20);
    }

    /// Takes what has come, closes bins, works for its time; returns whether anything had come.
    pub fn pass(&mut self, now: HostTime) -> bool {
        let mut any = self.take();
        let closed = self.close(false);
        any |= closed > 0;
        if closed > 0 {
            self.work(now, closed);
        }
        if self.running.as_ref().is_some_and(|running| now - running.shown >= SHOW_EVERY) {
            self.renew(now, Renewal::Running);
        }
        self.obey();
        any
    }

    fn obey(&mut self) {
        while let Some(control) = self.parts.control.pop() {
            match control {
                EncodeControl::Record(lane, tables) => {
                    self.forget();
                    self.running = Some(self.begin(lane, tables));
                }
                EncodeControl::Stop => self.stop(),
            }
        }
    }

    /// What is still on its way belongs to the recording before.
    fn forget(&mut self) {
        while self.parts.ticks.pop().is_some() {}
        while self.parts.spikes.pop().is_some() {}
    }

    fn begin(&self, lane: Box<RecordLane>, tables: TableIds) -> Running {
        let config = &self.parts.config;
        let bins_max = (config.live_minutes_max * 60e3 / config.bin_millis) as usize;
        let sets = self.parts.sets.clone();
        let classes = self.parts.classifier.as_ref().map_or(0, |classifier| classifier.classes().len());
        let similarity = (classes > 0)
            .then(|| LiveSimilarity::new(&self.settings, &sets, classes, self.parts.arrays, config.live_units_max));
        Running {
            lane,
            tables,
            encoder: LiveEncoder::new(
                self.settings.clone(),
                sets,
                self.parts.imitation_width,
                config.live_units_max,
                bins_max,
            ),
            similarity,
            window: Window::default(),
            behaviour: None,
            tick_ns: 0,
            reached_ns: vec![0; self.parts.arrays],
            shown: (self.clock)(),
            renewals: 0,
            work: Work::default(),
        }
    }

    fn take(&mut self) -> bool {
        let mut any = false;
        let Some(running) = &mut self.running else { return false };
        while let Some(tick) = self.parts.ticks.pop() {
            any = true;
            if tick.body_known {
                running.encoder.push_body(tick.at_ns, &tick.body);
            }
            if tick.imitation_known {
                running.encoder.push_imitation(tick.reference_ns, &tick.imitation);
            }
            running.tick_ns = running.tick_ns.max(tick.at_ns);
        }
        while let Some(spike) = self.parts.spikes.pop() {
            any = true;
            match spike {
                EncodeSpike::At(t_ns, key) if key.unit > 0 || !self.parts.sorted => {
                    running.encoder.push_spike(t_ns, key)
                }
                EncodeSpike::At(..) => {}
                EncodeSpike::Reached(array, t_ns) => {
                    if let Some(reached) = running.reached_ns.get_mut(usize::from(array)) {
                        *reached = t_ns;
                    }
                }
            }
        }
        any
    }

    /// Closes the bins that every source has passed; returns how many.
    fn close(&mut self, all: bool) -> usize {
        let Some(running) = &mut self.running else { return 0 };
        let Running { encoder, similarity, window, behaviour, tick_ns, reached_ns, .. } = running;
        // A row half a bin after a bin may still be the nearest to its middle, and the virtual rat's rows are late by the
        // look-ahead: a quarter of a second covers the longest.
        let rows = *tick_ns - 250_000_000;
        let spikes = reached_ns.iter().copied().filter(|t| *t > *tick_ns - PATIENCE_NS).min().unwrap_or(rows);
        // At the end: all bins that a row lies in, as the offline analysis counts them.
        let end = encoder.store().bins() as i64 * self.settings.grid.bin_ns;
        let until = if all { end } else { rows.min(spikes - DETECTION_NS) };
        let before = encoder.bins();
        let classifier = &mut self.parts.classifier;
        let units: Vec<_> = encoder.units().to_vec();
        let folds = self.settings.folds;
        encoder.close(until, |bin, store, counts| {
            window.push(store.body.row(bin));
            *behaviour = classifier.as_mut().and_then(|classifier| classifier.classify(window).ok().flatten());
            if let (Some(similarity), Some(behaviour)) = (similarity.as_mut(), *behaviour) {
                similarity.push(behaviour, folds.block(bin), store, bin, &units, counts);
            }
        });
        encoder.bins() - before
    }

    fn work(&mut self, began: HostTime, bins: usize) {
        let Some(running) = &mut self.running else { return };
        let clock = self.clock;
        let allowed =
            Span::from_micros(self.parts.config.live_work_micros as i64 * bins.min(4) as i64) - running.work.owed;
        match self.pieces {
            Some(pieces) => {
                let mut left = pieces * bins as u32;
                running.encoder.work(&mut || {
                    left = left.saturating_sub(1);
                    left > 0
                });
            }
            None => running.encoder.work(&mut || clock() - began < allowed),
        }
        let spent = if self.pieces.is_some() { Span::ZERO } else { clock() - began };
        running.work.owed = (spent - allowed).max(Span::ZERO);
        running.work.bins += bins as u64;
        running.work.total = running.work.total + spent;
        running.work.longest = running.work.longest.max(spent);
    }

    fn stop(&mut self) {
        self.take();
        self.close(true);
        if let Some(running) = &mut self.running {
            let clock = self.clock;
            let deadline = clock() + Span::from_secs_f64(self.parts.config.finish_secs);
            let endless = self.pieces.is_some();
            let finished = running.encoder.finish(cores(), &|| endless || clock() < deadline);
            self.renew(clock(), if finished { Renewal::Final } else { Renewal::Unfinished });
        }
        self.running = None;
        self.shared.encoding_busy.store(false, Ordering::Release);
    }

    /// Shows scores and, now and then and at the end, writes them.
    fn renew(&mut self, now: HostTime, renewal: Renewal) {
        let Some(running) = &mut self.running else { return };
        running.shown = now;
        running.renewals += 1;
        let classes =
            self.parts.classifier.as_ref().map(|classifier| classifier.classes().to_vec()).unwrap_or_default();
        let (last, ended) = (renewal == Renewal::Final, renewal != Renewal::Running);
        let live = describe(running, &classes, last);
        self.shared.encoding.publish(|shown| shown.clone_from(&live));
        let table = running.tables.encoding().filter(|_| ended || running.renewals.is_multiple_of(ROWS_EVERY));
        let Some(table) = table else { return };
        let at = RigTime::from_nanos(running.encoder.bins() as i64 * self.settings.grid.bin_ns);
        let Running { lane, encoder, .. } = running;
        for score in encoder.scores() {
            let row = EncodingRow { unit: score.unit, set: &encoder.sets()[score.set].name, score: score.score, last };
            // At the end nothing else fills the lane: wait for room rather than lose the result.
            while ended && !lane.has_room() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let taken = write_encoding(lane, table, at, &row);
            self.shared.counters.add(Cause::RecordLaneFull, u64::from(!taken));
        }
    }
}

fn describe(running: &Running, classes: &[String], last: bool) -> EncodingLive {
    let encoder = &running.encoder;
    let sets = encoder.sets();
    let mut units: Vec<UnitLive> = encoder.units().iter().map(|unit| UnitLive::new(*unit, sets.len())).collect();
    for live in encoder.scores() {
        if let Some(unit) = units.iter_mut().find(|unit| unit.key() == live.unit) {
            let bits = live.score.bits_per_spike;
            unit.spikes = live.score.spikes as u32;
            unit.scores[live.set] = [bits.value as f32, bits.low as f32, bits.high as f32];
        }
    }
    let set = |(at, set): (usize, &SetSpec)| {
        let values: Vec<f64> =
            units.iter().map(|unit| f64::from(unit.scores[at][0])).filter(|value| value.is_finite()).collect();
        let mean = Estimate::mean(&values);
        let predicted = encoder.scores().filter(|live| live.set == at && live.score.predicts()).count();
        SetLive {
            name: set.name.clone(),
            family: set.family.to_owned(),
            units: values.len() as u32,
            predicted: predicted as u32,
            bits: [mean.value as f32, mean.low as f32, mean.high as f32],
        }
    };
    let similarity =
        running.similarity.as_ref().map(|sums| sums.compare(encoder.units(), encoder.spikes())).unwrap_or_default();
    let layer = |layer: crate::encoding::live_similarity::LiveLayer| LayerLive {
        array: layer.array,
        name: sets[layer.set].name.clone(),
        similarity: layer.similarity as f32,
        ceiling: layer.ceiling.map_or([f32::NAN; 2], |ceiling| [ceiling.low as f32, ceiling.high as f32]),
    };
    let mean_micros = running.work.total.nanos() as f64 * 1e-3 / running.work.bins.max(1) as f64;
    EncodingLive {
        seconds: (encoder.bins() as f64 * encoder.store().grid.bin_ns as f64 * 1e-9) as f32,
        rounds: encoder.visits() as f32 / (sets.len().max(1) * running.encoder.folds()) as f32,
        last,
        full: encoder.full(),
        behaviour: running.behaviour.and_then(|at| classes.get(at)).cloned().unwrap_or_default(),
        work_micros_mean: mean_micros as f32,
        work_micros_max: running.work.longest.nanos() as f32 * 1e-3,
        sets: sets.iter().enumerate().map(set).collect(),
        layers: similarity.into_iter().map(layer).collect(),
        units,
    }
}

/// Whether the encoding thread still holds a recording.
pub(super) fn is_busy(busy: &AtomicBool) -> bool {
    busy.load(Ordering::Acquire)
}
