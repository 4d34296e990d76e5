//! What the page shows of the live encoding models.

use serde::Serialize;
use utoipa::ToSchema;

use crate::encoding::units::UnitKey;

/// The live encoding models: scores so far, with their uncertainty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct EncodingLive {
    /// Recording that has been looked at; 0 = nothing is fitted.
    pub seconds: f32,
    /// How often every set and fold has been visited.
    pub rounds: f32,
    /// Whether the recording has ended and every fit is at its minimum.
    pub last: bool,
    /// Whether the recording is longer than what is looked at live.
    pub full: bool,
    /// What the animal is doing, as the classifier sees it; empty = unknown.
    pub behaviour: String,
    /// Mean cost of a bin.
    pub work_micros_mean: f32,
    /// Largest cost of a bin.
    pub work_micros_max: f32,
    /// Feature sets.
    pub sets: Vec<SetLive>,
    /// Units, with a score for each set.
    pub units: Vec<UnitLive>,
    /// How like each array's representation of behaviours each set's is.
    pub layers: Vec<LayerLive>,
}

/// A feature set over all units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct SetLive {
    /// Name.
    pub name: String,
    /// Kinematic, dynamic or network.
    pub family: String,
    /// Units with a score.
    pub units: u32,
    /// Units that it predicts (above zero at one-sided 5 %).
    pub predicted: u32,
    /// Mean over units of bits a spike, lower and upper end of its 95 % interval.
    pub bits: [f32; 3],
}

/// A unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct UnitLive {
    /// Array index.
    pub array: u16,
    /// Tetrode.
    pub tetrode: u16,
    /// Unit on its tetrode; 0 = all its spikes.
    pub unit: u16,
    /// Spikes in held-out bins.
    pub spikes: u32,
    /// For each set: bits a spike, lower and upper end of the 95 % interval; NaN = not yet known.
    pub scores: Vec<[f32; 3]>,
}

/// A set beside an array.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct LayerLive {
    /// Array index.
    pub array: u16,
    /// The set.
    pub name: String,
    /// Whitened unbiased cosine.
    pub similarity: f32,
    /// Noise ceiling, lower and upper; NaN = not yet known.
    pub ceiling: [f32; 2],
}

impl UnitLive {
    /// A unit without scores yet.
    pub(super) fn new(key: UnitKey, sets: usize) -> Self {
        let UnitKey { array, tetrode, unit } = key;
        Self { array, tetrode, unit, spikes: 0, scores: vec![[f32::NAN; 3]; sets] }
    }

    /// Which unit.
    pub(super) fn key(&self) -> UnitKey {
        UnitKey { array: self.array, tetrode: self.tetrode, unit: self.unit }
    }
}
