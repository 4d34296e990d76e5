//! The same models while the animal is still in the arena.
//!
//! Tier: service. Rows and spikes come in as they happen; a bin is closed once every source has passed it. Work is done in
//! pieces of a few hundred microseconds for as long as the caller allows, so that the cost of a bin is bounded whatever the
//! length of the recording: each *visit* takes one set and one held-out fold, renews its principal components from running
//! sums, goes on from the weights of its last visit (translated into the new components) for a few proximal Newton passes
//! over all bins so far, and scores the held-out blocks. Visits go round fold by fold, so that sets stay comparable. When
//! the recording ends, [`LiveEncoder::finish`] brings every fit to its minimum: the objective and the data are the offline
//! ones, and so is the result.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use ndarray::{Array1, Array2, ArrayView2, ShapeBuilder as _, s};

use super::glm::{Coefficients, Descent, Design, SampleSize, for_each_fold, score_block, score_fold};
use super::moments::{Basis, Moments};
use super::score::{BlockScores, Estimate, Score};
use super::settings::EncodingSettings;
use super::store::{SetSpec, Store};
use super::units::UnitKey;

/// Blocks that a fold must have in training before anything is fitted.
const BLOCKS_MIN: usize = 10;
/// Proximal Newton passes of a visit.
const PASSES: usize = 4;
/// Bins of a piece of work.
const PIECE: usize = 256;
/// Rows of a curvature's sample that are one piece of work.
const ROWS: usize = 256;
/// Whether there is time for another piece of work.
pub type KeepGoing<'a> = &'a mut dyn FnMut() -> bool;

/// Live fits of all units on some feature sets.
pub struct LiveEncoder {
    settings: EncodingSettings,
    sets: Vec<SetSpec>,
    store: Store,
    counts: Counts,
    moments: Vec<Moments>,
    /// By set and fold: where the last visit came to.
    known: Vec<Vec<Option<(Basis, Coefficients)>>>,
    scores: Vec<BlockScores>,
    closed: usize,
    bins_max: usize,
    visit: Option<Visit>,
    visits: u64,
    late_spikes: u64,
    row: Vec<f32>,
}

/// Spike counts, bins × places for units.
struct Counts {
    places: usize,
    rows: Vec<f32>,
    keys: Vec<UnitKey>,
    totals: Vec<f64>,
    /// Those of them that lie in closed bins.
    closed: Vec<f64>,
    /// Spikes of units that found no place.
    refused: u64,
}

/// One set and one held-out fold being worked on.
struct Visit {
    set: usize,
    fold: usize,
    bins: usize,
    units: usize,
    basis: Basis,
    design: Design,
    descent: Option<Descent>,
    phase: Phase,
}

/// How far a visit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Project(usize),
    Pass(usize),
    Step,
    Score(usize),
}

/// A unit's score on a set, so far.
#[derive(Clone, Copy, Debug)]
pub struct LiveScore {
    /// Which unit.
    pub unit: UnitKey,
    /// Which set, by index.
    pub set: usize,
    /// Score over the held-out blocks that have been visited.
    pub score: Score,
}

impl LiveEncoder {
    /// An encoder for at most `units_max` units and `bins_max` bins; `imitation_width` is the length of a row of the virtual
    /// rat, in which the sets' columns lie.
    pub fn new(
        settings: EncodingSettings,
        sets: Vec<SetSpec>,
        imitation_width: usize,
        units_max: usize,
        bins_max: usize,
    ) -> Self {
        let folds = settings.folds.count;
        let counts = Counts {
            places: units_max,
            rows: Vec::new(),
            keys: Vec::new(),
            totals: vec![0.0; units_max],
            closed: vec![0.0; units_max],
            refused: 0,
        };
        Self {
            store: Store::new(settings.grid, imitation_width),
            moments: sets.iter().map(|set| Moments::new(set.columns.len(), folds)).collect(),
            known: vec![vec![None; folds]; sets.len()],
            scores: vec![BlockScores::new(units_max, 0); sets.len()],
            counts,
            closed: 0,
            bins_max,
            visit: None,
            visits: 0,
            late_spikes: 0,
            row: Vec::new(),
            settings,
            sets,
        }
    }

    /// The sets.
    pub fn sets(&self) -> &[SetSpec] {
        &self.sets
    }

    /// Units that have a place.
    pub fn units(&self) -> &[UnitKey] {
        &self.counts.keys
    }

    /// Spikes of each unit in the bins that are closed.
    pub fn spikes(&self) -> &[f64] {
        &self.counts.closed[..self.counts.keys.len()]
    }

    /// Bins that are closed.
    pub const fn bins(&self) -> usize {
        self.closed
    }

    /// Visits made: sets × folds of them are a round.
    pub const fn visits(&self) -> u64 {
        self.visits
    }

    /// Held-out folds of a round.
    pub const fn folds(&self) -> usize {
        self.settings.folds.count
    }

    /// Spikes that came after their bin was closed (they count, but not in sums over behaviours), and spikes of units that
    /// found no place.
    pub const fn odd_spikes(&self) -> (u64, u64) {
        (self.late_spikes, self.counts.refused)
    }

    /// Whether the recording has grown beyond what is looked at live.
    pub const fn full(&self) -> bool {
        self.closed >= self.bins_max
    }

    /// The store.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// A row of the registered body.
    pub fn push_body(&mut self, t_ns: i64, row: &[f32]) {
        if self.in_reach(t_ns) {
            self.store.body.offer(self.settings.grid, t_ns, row);
        }
    }

    /// A row of the virtual rat, at the instant it imitates.
    pub fn push_imitation(&mut self, t_ns: i64, row: &[f32]) {
        if self.in_reach(t_ns) {
            self.store.imitation.offer(self.settings.grid, t_ns, row);
        }
    }

    /// A spike.
    pub fn push_spike(&mut self, t_ns: i64, key: UnitKey) {
        let Some(bin) = self.settings.grid.bin(t_ns).filter(|bin| *bin < self.bins_max) else { return };
        let is_late = bin < self.closed;
        self.late_spikes += u64::from(is_late);
        self.counts.add(bin, key, is_late);
    }

    /// Whether a row at this time can still matter; one from far ahead is a clock gone wrong.
    fn in_reach(&self, t_ns: i64) -> bool {
        let ahead = 60_000_000_000 / self.settings.grid.bin_ns;
        self.settings.grid.bin(t_ns).is_some_and(|bin| bin < self.bins_max.min(self.closed + ahead as usize))
            || t_ns < 0
    }

    /// Closes the bins that end before `until_ns`, telling `each` about every one: its number and its counts by unit.
    pub fn close(&mut self, until_ns: i64, mut each: impl FnMut(usize, &Store, &[f32])) {
        let bin_ns = self.settings.grid.bin_ns;
        let target = usize::try_from(until_ns.div_euclid(bin_ns)).unwrap_or(0).min(self.bins_max);
        while self.closed < target {
            let bin = self.closed;
            self.counts.reach(bin + 1);
            let fold = self.settings.folds.fold(bin);
            for (set, moments) in self.sets.iter().zip(&mut self.moments) {
                if let Some(values) = self.store.slots(set.source).row(bin) {
                    self.row.clear();
                    self.row.extend(set.columns.iter().map(|column| values[column.at]));
                    moments.push(&self.row, fold);
                }
            }
            let places = self.counts.places;
            let row = &self.counts.rows[bin * places..(bin + 1) * places];
            self.counts.closed.iter_mut().zip(row).for_each(|(sum, count)| *sum += f64::from(*count));
            each(bin, &self.store, row);
            self.closed += 1;
        }
    }

    /// Works while there is time.
    pub fn work(&mut self, keep_going: KeepGoing<'_>) {
        while keep_going() {
            let Some(mut visit) = self.visit.take().or_else(|| self.next_visit()) else { return };
            if self.piece(&mut visit) {
                self.visit = Some(visit);
            } else {
                self.visits += 1;
            }
        }
    }

    fn next_visit(&mut self) -> Option<Visit> {
        let round = self.sets.len() * self.settings.folds.count;
        if round == 0 || self.counts.keys.is_empty() || self.settings.folds.block(self.closed) < BLOCKS_MIN {
            return None;
        }
        let at = (self.visits % round as u64) as usize;
        let (fold, set) = (at / self.sets.len(), at % self.sets.len());
        let Some(basis) = self.moments[set].basis(fold, self.settings.glm.variance_share) else {
            self.visits += 1;
            return None;
        };
        let design = Design::new(basis.components(), self.settings.glm.window_bins);
        Some(Visit {
            set,
            fold,
            bins: self.closed,
            units: self.counts.keys.len(),
            descent: None,
            phase: Phase::Project(0),
            basis,
            design,
        })
    }

    /// One piece of work on a visit; false when the visit is over.
    fn piece(&mut self, visit: &mut Visit) -> bool {
        let folds = self.settings.folds;
        let held_out = visit.fold;
        let training = move |bin: usize| folds.fold(bin) != held_out;
        match visit.phase {
            Phase::Project(first) => {
                let end = (first + PIECE).min(visit.bins);
                visit.design.extend(&visit.basis, self.store.part(&self.sets[visit.set], first..end).view());
                visit.phase = Phase::Project(end);
                if end == visit.bins {
                    visit.descent = Some(self.begin(visit));
                    visit.phase = Phase::Pass(visit.design.first());
                }
            }
            Phase::Pass(first) => {
                let end = (first + PIECE).min(visit.bins);
                let counts = self.counts.view(visit.bins, visit.units);
                if let Some(descent) = &mut visit.descent {
                    descent.add(&visit.design, counts, first..end, training);
                }
                visit.phase = if end == visit.bins { Phase::Step } else { Phase::Pass(end) };
            }
            Phase::Step => {
                let Some(descent) = &mut visit.descent else { return false };
                if descent.end_piece(ROWS) {
                    let over = descent.done() || descent.passes() >= PASSES;
                    visit.phase = if over { Phase::Score(visit.fold) } else { Phase::Pass(visit.design.first()) };
                }
            }
            Phase::Score(block) => return self.score(visit, block),
        }
        true
    }

    /// A fit that goes on where the last visit of the set and fold ended.
    fn begin(&self, visit: &Visit) -> Descent {
        let bins = self.closed.max(1) as f64;
        let mut intercepts: Array1<f64> =
            (0..visit.units).map(|unit| (self.counts.totals[unit].max(0.5) / bins).ln()).collect();
        let mut weights = Array2::zeros((visit.design.width(), visit.units));
        if let Some((basis, before)) = &self.known[visit.set][visit.fold] {
            carry_over(basis, before, &visit.basis, &mut weights, &mut intercepts);
        }
        let at = Coefficients { weights, intercepts };
        let (folds, held_out) = (self.settings.folds, visit.fold);
        let training = |bin: usize| folds.fold(bin) != held_out;
        Descent::warm(self.settings.glm, &visit.design, visit.bins, training, SampleSize::QUICK, at)
    }

    fn score(&mut self, visit: &mut Visit, block: usize) -> bool {
        let folds = self.settings.folds;
        let Some(descent) = &visit.descent else { return false };
        if block >= folds.blocks(visit.bins) {
            self.known[visit.set][visit.fold] = Some((visit.basis.clone(), descent.coefficients()));
            return false;
        }
        let scores = &mut self.scores[visit.set];
        scores.grow(folds.blocks(visit.bins));
        let counts = self.counts.view(visit.bins, visit.units);
        let coefficients = descent.coefficients();
        score_block(&coefficients, &visit.design, counts, &folds, block, descent.means(), 0, scores);
        visit.phase = Phase::Score(block + folds.count);
        true
    }

    /// Brings every fit to its minimum over all closed bins, on so many threads (sets and folds are independent of each
    /// other). False when time or passes ran out; what has come to its minimum stays, and so do the other scores so far.
    pub fn finish(&mut self, threads: usize, keep_going: &(dyn Fn() -> bool + Sync)) -> bool {
        self.visit = None;
        if self.counts.keys.is_empty() {
            return true;
        }
        let folds = self.settings.folds;
        let whole = AtomicBool::new(true);
        let scores = Mutex::new(std::mem::take(&mut self.scores));
        let fits = Mutex::new(Vec::with_capacity(self.sets.len() * folds.count));
        let this = &*self;
        for_each_fold(threads, self.sets.len(), &folds, &|set, fold| {
            if !keep_going() {
                return whole.store(false, Ordering::Relaxed);
            }
            let Some(basis) = this.moments[set].basis(fold, this.settings.glm.variance_share) else { return };
            let Some((fit, is_minimum)) = this.minimum(set, fold, &basis, &scores, keep_going) else {
                return whole.store(false, Ordering::Relaxed);
            };
            whole.fetch_and(is_minimum, Ordering::Relaxed);
            fits.lock().unwrap_or_else(PoisonError::into_inner).push((set, fold, basis, fit));
        });
        self.scores = scores.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (set, fold, basis, fit) in fits.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.known[set][fold] = Some((basis, fit));
        }
        whole.into_inner()
    }

    /// One fit brought to its minimum and scored; and whether it came there. `None` when time ran out.
    fn minimum(
        &self,
        set: usize,
        fold: usize,
        basis: &Basis,
        scores: &Mutex<Vec<BlockScores>>,
        keep_going: &(dyn Fn() -> bool + Sync),
    ) -> Option<(Coefficients, bool)> {
        let (bins, units, folds) = (self.closed, self.counts.keys.len(), self.settings.folds);
        let values = self.store.part(&self.sets[set], 0..bins);
        let design = Design::of(basis, values.view(), self.settings.glm.window_bins);
        let counts = self.counts.view(bins, units);
        let training = |bin: usize| folds.fold(bin) != fold;
        let Coefficients { mut weights, mut intercepts } = Coefficients::constant(&design, counts, training);
        if let Some((before, coefficients)) = &self.known[set][fold] {
            carry_over(before, coefficients, basis, &mut weights, &mut intercepts);
        }
        let at = Coefficients { weights, intercepts };
        let mut descent = Descent::warm(self.settings.glm, &design, bins, training, SampleSize::EXACT, at);
        while !descent.done() {
            descent.add(&design, counts, design.first()..bins, training);
            while !descent.end_piece(ROWS) {
                if !keep_going() {
                    return None;
                }
            }
            if !keep_going() {
                return None;
            }
        }
        let coefficients = descent.coefficients();
        let mut scores = scores.lock().unwrap_or_else(PoisonError::into_inner);
        scores[set].grow(folds.blocks(bins));
        score_fold(&coefficients, &design, counts, &folds, fold, 0, &mut scores[set]);
        Some((coefficients, descent.unfinished() == 0))
    }

    /// Scores of every unit and set so far; units and sets that have not been visited are left out.
    pub fn scores(&self) -> impl Iterator<Item = LiveScore> + '_ {
        let units = self.counts.keys.iter().enumerate();
        units.flat_map(move |(at, unit)| {
            let of_set =
                move |(set, scores): (usize, &BlockScores)| LiveScore { unit: *unit, set, score: scores.score(at) };
            self.scores.iter().enumerate().map(of_set).filter(|live| live.score.bins > 0.0)
        })
    }

    /// A set against the first one, over units: mean difference in bits a spike with its interval.
    pub fn difference(&self, set: usize) -> Option<Estimate> {
        let (of, first) = (self.scores.get(set)?, self.scores.first()?);
        let each = (0..self.counts.keys.len()).map(|unit| of.difference(first, unit).value);
        let known: Vec<f64> = each.filter(|value| value.is_finite()).collect();
        (known.len() >= 2).then(|| Estimate::mean(&known))
    }
}

/// Writes the weights of a fit in another basis into those of a new one, for the units that it knew.
fn carry_over(
    from: &Basis,
    before: &Coefficients,
    to: &Basis,
    weights: &mut Array2<f64>,
    intercepts: &mut Array1<f64>,
) {
    let (old, new) = (from.components(), to.components());
    for unit in 0..before.intercepts.len().min(intercepts.len()) {
        intercepts[unit] = before.intercepts[unit];
        for lag in 0..weights.nrows() / new.max(1) {
            let part = before.weights.slice(s![lag * old..(lag + 1) * old, unit]).to_vec();
            let (own, gain) = to.translate(from, &part);
            weights.slice_mut(s![lag * new..(lag + 1) * new, unit]).assign(&Array1::from(own));
            intercepts[unit] += gain;
        }
    }
}

impl Counts {
    fn add(&mut self, bin: usize, key: UnitKey, is_late: bool) {
        let known = self.keys.iter().position(|other| *other == key);
        let place = known.or_else(|| {
            (self.keys.len() < self.places).then(|| {
                self.keys.push(key);
                self.keys.len() - 1
            })
        });
        let Some(place) = place else {
            self.refused += 1;
            return;
        };
        self.reach(bin + 1);
        self.rows[bin * self.places + place] += 1.0;
        self.totals[place] += 1.0;
        self.closed[place] += f64::from(u8::from(is_late));
    }

    fn reach(&mut self, bins: usize) {
        if self.rows.len() < bins * self.places {
            self.rows.resize(bins * self.places, 0.0);
        }
    }

    fn view(&self, bins: usize, units: usize) -> ArrayView2<'_, f32> {
        let memory = &self.rows[..bins * self.places];
        let shape = (bins, units).strides((self.places, 1));
        ArrayView2::from_shape(shape, memory).expect("units lie among the places of a row")
    }
}

#[cfg(test)]
mod tests;
