//! Learning one tetrode's units, a little at a time.
//!
//! ```text
//! Spread ─► Basis ─► Noise ─► Project ─► Density ─► Climb ─► Merge ─► Refine ─► done
//!   covariance  its main   whiten   all spikes                            Gaussians
//!   of spikes   12 axes    by noise           (outliers of a learned tetrode enter here)
//! ```
//!
//! A tetrode whose units are known beforehand skips the clustering: their waveforms are projected and refined.
//!
//! Every call of [`Learner::work`] does a bounded piece (tens of microseconds), so that learning never delays
//! detection, needs no thread, and comes out the same whenever it is run on the same samples.

use super::cluster::{Merger, NONE, Neighbourhood, parcels};
use super::linear::{FEATURES, Features, Moments, Projection, cholesky, dot, orthonormalise, project, whiten};
use super::model::{Model, UNITS_MAX, Unit, best};
use super::window::{WINDOW, Window, aligned};
use crate::spikes::{SNIPPET_SAMPLES, Snippet, TETRODE_CHANNELS, UnitId};

const SPREAD_PER_CALL: usize = 4;
const BASIS_ROWS_PER_CALL: usize = 2;
const BASIS_ROUNDS: usize = 20;
const PROJECT_PER_CALL: usize = 48;
const DENSITY_PER_CALL: usize = 2;
const REFINE_PER_CALL: usize = 48;
const REFINE_ROUNDS: usize = 4;
/// A unit of fewer spikes, or a smaller part of them, is not believed.
const UNIT_SPIKES_MIN: f32 = 20.0;
const UNIT_PART_MIN: f32 = 0.01;
/// A unit found among outliers must be so many of them: rare overlaps look alike too.
const OUTLIER_PART_MIN: f32 = 0.15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Spread(usize),
    Basis(usize, usize),
    Noise,
    Project(usize),
    Density(usize),
    Climb(usize),
    Merge,
    Refine(usize, usize),
}

/// A unit that is known beforehand.
#[derive(Clone)]
pub(super) struct Seed {
    pub(super) id: UnitId,
    pub(super) wave: Snippet,
}

/// The workspace; one tetrode at a time.
pub(super) struct Learner {
    phase: Phase,
    tetrode: usize,
    appending: bool,
    /// Units known beforehand; empty = find them.
    seeds: Vec<Seed>,
    mean: Box<Window>,
    spread: Box<[Window; WINDOW]>,
    basis: Box<Projection>,
    next: Box<Projection>,
    points: Vec<Features>,
    radius2: Vec<f32>,
    labels: Vec<u16>,
    sizes: Vec<u32>,
    near: Neighbourhood,
    merger: Box<Merger>,
    clusters: Vec<Moments>,
    units: Vec<Unit>,
    gate2: f32,
}

impl Learner {
    pub(super) fn new(points_max: usize, gate_sigma: f32) -> Self {
        Self {
            phase: Phase::Idle,
            tetrode: 0,
            appending: false,
            seeds: Vec::with_capacity(UNITS_MAX),
            mean: Box::new([0.0; WINDOW]),
            spread: Box::new([[0.0; WINDOW]; WINDOW]),
            basis: Box::new([[0.0; WINDOW]; FEATURES]),
            next: Box::new([[0.0; WINDOW]; FEATURES]),
            points: Vec::with_capacity(points_max),
            radius2: Vec::with_capacity(points_max),
            labels: Vec::with_capacity(points_max),
            sizes: vec![0; points_max],
            near: Neighbourhood::new(points_max),
            merger: Box::new(Merger::new()),
            clusters: Vec::with_capacity(UNITS_MAX),
            units: Vec::with_capacity(UNITS_MAX),
            gate2: gate_sigma * gate_sigma * FEATURES as f32,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// The tetrode at work.
    pub(super) fn tetrode(&self) -> usize {
        self.tetrode
    }

    /// Begins with a tetrode's spikes; `seeds` are its units where they are known.
    pub(super) fn begin(&mut self, tetrode: usize, seeds: &[Seed]) {
        self.tetrode = tetrode;
        self.appending = false;
        self.seeds.clear();
        self.seeds.extend_from_slice(&seeds[..seeds.len().min(UNITS_MAX)]);
        self.points.clear();
        self.mean.fill(0.0);
        self.spread.iter_mut().for_each(|row| row.fill(0.0));
        self.phase = Phase::Spread(0);
    }

    /// Begins with spikes that no unit of a learned tetrode has taken.
    pub(super) fn begin_outliers(&mut self, tetrode: usize, outliers: &[Features]) {
        self.tetrode = tetrode;
        self.appending = true;
        self.seeds.clear();
        self.points.clear();
        self.points.extend_from_slice(outliers);
        self.begin_density();
    }

    /// Does one piece of work; `true` when the model is complete.
    pub(super) fn work(&mut self, windows: &[Window], noise: &[Window], model: &mut Model, next: &mut UnitId) -> bool {
        match self.phase {
            Phase::Idle => return false,
            Phase::Spread(from) => self.spread(windows, from),
            Phase::Basis(round, row) => self.basis(windows, round, row),
            Phase::Noise => self.noise(noise, model),
            Phase::Project(from) => self.project(windows, from, model),
            Phase::Density(from) => self.density(from),
            Phase::Climb(from) => self.climb(from),
            Phase::Merge => self.merge(),
            Phase::Refine(round, from) => self.refine(round, from),
        }
        if self.phase != Phase::Idle {
            return false;
        }
        self.deliver(model, next);
        true
    }

    fn spread(&mut self, windows: &[Window], from: usize) {
        let to = (from + SPREAD_PER_CALL).min(windows.len());
        for window in &windows[from..to] {
            self.mean.iter_mut().zip(window).for_each(|(m, x)| *m += x);
            for (row, value) in self.spread.iter_mut().zip(window) {
                row.iter_mut().zip(window).for_each(|(sum, x)| *sum += value * x);
            }
        }
        self.phase = Phase::Spread(to);
        if to < windows.len() {
            return;
        }
        let count = windows.len() as f32;
        self.mean.iter_mut().for_each(|m| *m /= count);
        for (row, own) in self.spread.iter_mut().zip(self.mean.iter()) {
            row.iter_mut().zip(self.mean.iter()).for_each(|(s, m)| *s = *s / count - own * m);
        }
        for (i, row) in self.basis.iter_mut().enumerate() {
            *row = windows[i * windows.len() / FEATURES];
            row.iter_mut().zip(self.mean.iter()).for_each(|(x, m)| *x -= m);
        }
        orthonormalise(&mut self.basis);
        self.phase = Phase::Basis(0, 0);
    }

    /// Orthogonal iteration towards the main axes, some rows a call.
    fn basis(&mut self, windows: &[Window], round: usize, row: usize) {
        debug_assert!(!windows.is_empty());
        let to = (row + BASIS_ROWS_PER_CALL).min(FEATURES);
        for index in row..to {
            let old = &self.basis[index];
            for (value, spread) in self.next[index].iter_mut().zip(self.spread.iter()) {
                *value = dot(spread, old);
            }
        }
        self.phase = Phase::Basis(round, to);
        if to == FEATURES {
            std::mem::swap(&mut self.basis, &mut self.next);
            orthonormalise(&mut self.basis);
            self.phase = if round + 1 == BASIS_ROUNDS { Phase::Noise } else { Phase::Basis(round + 1, 0) };
        }
    }

    fn noise(&mut self, noise: &[Window], model: &mut Model) {
        let mut moments = Moments::EMPTY;
        for window in noise {
            moments.add(&project(&self.basis, window));
        }
        // The scaled channels have unit noise, so the identity is a fair prior here too.
        whiten(&cholesky(&moments.covariance(10.0)), &mut self.basis);
        model.projection.copy_from_slice(&self.basis[..]);
        self.phase = Phase::Project(0);
    }

    fn project(&mut self, windows: &[Window], from: usize, model: &Model) {
        let to = (from + PROJECT_PER_CALL).min(windows.len()).min(self.points.capacity());
        self.points.extend(windows[from..to].iter().map(|window| project(&model.projection, window)));
        self.phase = Phase::Project(to);
        if to == windows.len().min(self.points.capacity()) {
            if self.seeds.is_empty() { self.begin_density() } else { self.plant(model) }
        }
    }

    /// Gaussians of the units known beforehand, as wide as the noise until their spikes say better.
    fn plant(&mut self, model: &Model) {
        self.units.clear();
        self.clusters.clear();
        for seed in &self.seeds {
            let mut moments = Moments::EMPTY;
            moments.add(&project(&model.projection, &aligned(&seed.wave, &model.scale)));
            let weight = 1.0 / self.seeds.len() as f32;
            self.units.push(Unit::new(seed.id, &moments, weight, seed.wave));
            self.clusters.push(moments);
        }
        self.phase = Phase::Refine(0, 0);
    }

    /// Known units keep their id, and their shape while they have few spikes.
    fn renew_known(&mut self) {
        let total = self.points.len() as f32;
        for (unit, moments) in self.units.iter_mut().zip(&self.clusters) {
            if moments.count >= UNIT_SPIKES_MIN {
                *unit = Unit::new(unit.id, moments, moments.count / total, unit.wave);
            }
        }
    }

    fn begin_density(&mut self) {
        self.radius2.clear();
        self.labels.clear();
        self.phase = Phase::Density(0);
    }

    fn density(&mut self, from: usize) {
        let to = (from + DENSITY_PER_CALL).min(self.points.len());
        for index in from..to {
            self.radius2.push(self.near.radius2(&self.points, index));
        }
        self.phase = if to == self.points.len() { Phase::Climb(0) } else { Phase::Density(to) };
    }

    fn climb(&mut self, from: usize) {
        let to = (from + DENSITY_PER_CALL).min(self.points.len());
        for index in from..to {
            self.labels.push(self.near.climb(&self.points, &self.radius2, index));
        }
        self.phase = Phase::Climb(to);
        if to == self.points.len() {
            let count = parcels(&mut self.labels, &mut self.sizes);
            self.merger.begin(&self.points, &self.labels, count);
            self.phase = Phase::Merge;
        }
    }

    fn merge(&mut self) {
        if !self.merger.step(&self.points, &mut self.labels) {
            self.gather();
            self.phase = Phase::Refine(0, 0);
        }
    }

    /// Gaussians of the merged parcels, the small ones left out.
    fn gather(&mut self) {
        self.clusters.clear();
        for label in 0..super::cluster::PARCELS_MAX as u16 {
            let mut moments = Moments::EMPTY;
            let own = self.points.iter().zip(&self.labels).filter(|(_, l)| **l == label && **l != NONE);
            own.for_each(|(point, _)| moments.add(point));
            if moments.count >= self.least() && self.clusters.len() < UNITS_MAX {
                self.clusters.push(moments);
            }
        }
        self.model_clusters();
    }

    fn least(&self) -> f32 {
        let part = if self.appending { OUTLIER_PART_MIN } else { UNIT_PART_MIN };
        UNIT_SPIKES_MIN.max(part * self.points.len() as f32)
    }

    fn model_clusters(&mut self) {
        let total = self.points.len() as f32;
        self.units.clear();
        let wave = [[0.0; SNIPPET_SAMPLES]; TETRODE_CHANNELS];
        self.units.extend(self.clusters.iter().map(|m| Unit::new(0, m, m.count / total, wave)));
    }

    /// Each spike to its best Gaussian, then the Gaussians anew; spikes beyond the gate count for none.
    fn refine(&mut self, round: usize, from: usize) {
        if from == 0 {
            self.clusters.iter_mut().for_each(|moments| *moments = Moments::EMPTY);
        }
        let to = (from + REFINE_PER_CALL).min(self.points.len());
        for point in &self.points[from..to] {
            if let Some((unit, _)) = best(&self.units, point, self.gate2) {
                self.clusters[unit].add(point);
            }
        }
        self.phase = Phase::Refine(round, to);
        if to < self.points.len() {
            return;
        }
        if self.seeds.is_empty() {
            let least = self.least();
            self.clusters.retain(|moments| moments.count >= least);
            self.model_clusters();
        } else {
            self.renew_known();
        }
        self.phase = if round + 1 == REFINE_ROUNDS { Phase::Idle } else { Phase::Refine(round + 1, 0) };
    }

    fn deliver(&mut self, model: &mut Model, next: &mut UnitId) {
        if !self.appending {
            model.units.clear();
        }
        for mut unit in self.units.drain(..) {
            if model.units.len() == UNITS_MAX || *next == UnitId::MAX {
                break;
            }
            if self.seeds.is_empty() {
                unit.id = *next;
                *next += 1;
            }
            model.units.push(unit);
        }
    }
}
