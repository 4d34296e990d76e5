//! Which cell a spike is of, live.
//!
//! Each tetrode first collects spikes (and pieces of noise), then learns its units from them ([`learn`]), then gives
//! every spike the unit whose Gaussian fits it best, within a gate. Units follow their cells' drift. Spikes that fit none
//! are kept; when there are many, they are learned too and may become new units. Unit ids are never reused.
//!
//! Cost per spike: alignment and 12 projections of 128 values, then about 100 operations per unit.

mod cluster;
mod learn;
mod linear;
mod model;
mod window;

use mimicd_device::SampleIndex;

use self::learn::{Learner, Seed};
use self::linear::Features;
use self::model::Model;
use self::window::Window;
use super::{KnownUnit, SNIPPET_SAMPLES, Snippet, SpikeEvent, TETRODE_CHANNELS, UnitId};
use crate::config::SpikesConfig;

/// Pieces of noise that a tetrode collects.
const NOISE_WINDOWS: usize = 200;
/// Fewer do not make a covariance.
const NOISE_WINDOWS_MIN: usize = 60;
/// Fewer spikes do not make units.
const LEARN_SPIKES_MIN: usize = 100;
/// Spikes on which units that are known beforehand are refined.
const KNOWN_SPIKES_MIN: usize = 150;
/// Spikes beyond the gate before they are looked at together.
const OUTLIERS: usize = 400;

/// Quality of one unit, for the panel and the manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitQuality {
    /// Id; stable, counts from 1 over the array.
    pub id: UnitId,
    /// Tetrode within the array.
    pub tetrode: u16,
    /// Spikes since it was made.
    pub count: u64,
    /// Their rate from its first to its last spike, in Hz.
    pub rate_hz: f32,
    /// Peak of the mean waveform over the noise of that channel.
    pub snr: f32,
    /// Part of the intervals shorter than 1.5 ms.
    pub violations: f32,
    /// How far it has wandered since it was made, in noise sigmas.
    pub drift_sigma: f32,
    /// Mean waveform in microvolts.
    pub wave_uv: Snippet,
}

/// Where a tetrode stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortState {
    /// Collecting spikes.
    Collecting,
    /// Learning from them.
    Learning,
    /// Sorting.
    Sorting,
}

struct Tetrode {
    state: SortState,
    scaled: bool,
    windows: Vec<Window>,
    noise: Vec<Window>,
    outliers: Vec<Features>,
    /// Units known beforehand.
    known: Vec<Seed>,
    model: Model,
}

/// Sorter of one array.
pub struct Sorter {
    tetrodes: Vec<Tetrode>,
    learner: Learner,
    next_id: UnitId,
    rate_hz: f64,
    learn_samples: u64,
    learn_spikes: usize,
    noise_turn: usize,
    outlier_turn: usize,
}

impl Sorter {
    /// A sorter that has learned nothing.
    pub fn new(config: &SpikesConfig, tetrodes: usize, rate_hz: f64) -> Self {
        let gate = config.gate_sigma as f32;
        let tetrode = || Tetrode {
            state: SortState::Collecting,
            scaled: false,
            windows: Vec::with_capacity(config.learn_spikes),
            noise: Vec::with_capacity(NOISE_WINDOWS),
            outliers: Vec::with_capacity(OUTLIERS),
            known: Vec::new(),
            model: Model::new(gate),
        };
        Self {
            tetrodes: (0..tetrodes).map(|_| tetrode()).collect(),
            learner: Learner::new(config.learn_spikes.max(OUTLIERS), gate),
            next_id: 1,
            rate_hz,
            learn_samples: (config.learn_secs * rate_hz) as u64,
            learn_spikes: config.learn_spikes,
            noise_turn: 0,
            outlier_turn: 0,
        }
    }

    /// Takes units that are known beforehand; their ids count from 1 in the order given. Tetrodes without any learn theirs.
    pub fn import(&mut self, units: &[KnownUnit]) {
        for unit in units {
            let known = &mut self.tetrodes[usize::from(unit.tetrode)].known;
            known.push(Seed { id: self.next_id, wave: unit.wave_uv });
            self.next_id = self.next_id.saturating_add(1);
        }
    }

    /// Where a tetrode stands.
    pub fn state(&self, tetrode: usize) -> SortState {
        self.tetrodes[tetrode].state
    }

    /// The tetrode that is to give a piece of noise next, if it still needs one.
    pub(super) fn noise_wanted(&mut self) -> Option<usize> {
        self.noise_turn = (self.noise_turn + 1) % self.tetrodes.len();
        let tetrode = &self.tetrodes[self.noise_turn];
        let wanted = tetrode.state == SortState::Collecting && tetrode.scaled && tetrode.noise.len() < NOISE_WINDOWS;
        wanted.then_some(self.noise_turn)
    }

    /// Takes a piece of signal without a spike.
    pub(super) fn take_noise(&mut self, tetrode: usize, snippet: &Snippet) {
        let tetrode = &mut self.tetrodes[tetrode];
        let fraction = (tetrode.noise.len() % 8) as f32 / 8.0;
        tetrode.noise.push(window::unaligned(snippet, &tetrode.model.scale, fraction));
    }

    /// Gives `event` its unit. `noise_uv`: the tetrode's noise now, or `None` while it is not known.
    pub(super) fn take(&mut self, event: &mut SpikeEvent, noise_uv: Option<[f32; TETRODE_CHANNELS]>) {
        let tetrode = &mut self.tetrodes[usize::from(event.tetrode)];
        if !tetrode.scaled {
            let Some(noise_uv) = noise_uv else { return };
            tetrode.model.scale = noise_uv.map(|sigma| 1.0 / sigma.max(0.5));
            tetrode.scaled = true;
        }
        match tetrode.state {
            SortState::Collecting if tetrode.windows.len() < tetrode.windows.capacity() => {
                tetrode.windows.push(window::aligned(&event.snippet, &tetrode.model.scale));
            }
            SortState::Collecting | SortState::Learning => {}
            SortState::Sorting => {
                let features = tetrode.model.features(&event.snippet);
                match tetrode.model.assign(&features, event.sample.0, self.rate_hz, &event.snippet) {
                    Some(verdict) => {
                        event.unit = verdict.unit;
                        event.confidence = verdict.confidence;
                    }
                    None if tetrode.outliers.len() < OUTLIERS => tetrode.outliers.push(features),
                    None => {}
                }
            }
        }
    }

    /// Does one bounded piece of learning, if there is any to do. `position`: samples processed so far.
    pub(super) fn work(&mut self, position: u64) {
        if self.learner.is_idle() {
            self.choose(position);
            return;
        }
        let index = self.learner.tetrode();
        let tetrode = &mut self.tetrodes[index];
        let done = self.learner.work(&tetrode.windows, &tetrode.noise, &mut tetrode.model, &mut self.next_id);
        if done {
            tetrode.windows.clear();
            tetrode.outliers.clear();
            tetrode.state = SortState::Sorting;
        }
    }

    fn choose(&mut self, position: u64) {
        let (learn_spikes, late) = (self.learn_spikes, position >= self.learn_samples);
        let ready = |t: &Tetrode| {
            let enough = t.windows.len() >= learn_spikes
                || (late && t.windows.len() >= LEARN_SPIKES_MIN)
                || (!t.known.is_empty() && t.windows.len() >= KNOWN_SPIKES_MIN);
            t.state == SortState::Collecting && t.noise.len() >= NOISE_WINDOWS_MIN && enough
        };
        if let Some(index) = self.tetrodes.iter().position(ready) {
            self.tetrodes[index].state = SortState::Learning;
            self.learner.begin(index, &self.tetrodes[index].known);
            return;
        }
        self.outlier_turn = (self.outlier_turn + 1) % self.tetrodes.len();
        let tetrode = &self.tetrodes[self.outlier_turn];
        if tetrode.state == SortState::Sorting && tetrode.outliers.len() == OUTLIERS {
            self.learner.begin_outliers(self.outlier_turn, &tetrode.outliers);
        }
    }

    /// All units with their quality, tetrode by tetrode. Allocates; see [`Sorter::visit`].
    pub fn units(&self) -> Vec<UnitQuality> {
        let mut units = Vec::new();
        self.visit(|unit| units.push(unit));
        units
    }

    /// Shows every unit to `each`, tetrode by tetrode.
    pub fn visit(&self, mut each: impl FnMut(UnitQuality)) {
        for (index, tetrode) in self.tetrodes.iter().enumerate() {
            for unit in &tetrode.model.units {
                each(quality(unit, index, &tetrode.model.scale, self.rate_hz));
            }
        }
    }
}

fn quality(unit: &model::Unit, tetrode: usize, scale: &[f32; TETRODE_CHANNELS], rate_hz: f64) -> UnitQuality {
    let peak = |wave: &[f32; SNIPPET_SAMPLES]| wave.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    let snr = unit.wave.iter().zip(scale).map(|(wave, s)| peak(wave) * s).fold(0.0, f32::max);
    let span = SampleIndex(unit.last_sample.saturating_sub(unit.first_sample.min(unit.last_sample)));
    let intervals = unit.count.saturating_sub(1) as f64;
    UnitQuality {
        id: unit.id,
        tetrode: tetrode as u16,
        count: unit.count,
        rate_hz: if span.0 > 0 { (intervals * rate_hz / span.0 as f64) as f32 } else { 0.0 },
        snr,
        violations: if intervals > 0.0 { (unit.violations as f64 / intervals) as f32 } else { 0.0 },
        drift_sigma: unit.drift(),
        wave_uv: unit.wave,
    }
}
