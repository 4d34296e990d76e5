//! Which layers and models look like each array.

use ndarray::{ArrayView2, Axis};
use serde::Serialize;

use super::super::rsa::{Ceiling, ConditionSums, Noise, Rdm, beside};
use super::super::score::Estimate;
use super::super::settings::{BINS_MIN, EncodingSettings};
use super::super::store::{FeatureColumn, Recorded, SetSpec, Source};
use super::super::units::UnitKey;
use super::{Behaviours, Context, sums_of, units_of};

/// An RDM as it is written down.
#[derive(Clone, Debug, Serialize)]
pub struct SavedRdm {
    /// Names of the conditions.
    pub conditions: Vec<String>,
    /// Upper triangle, row after row.
    pub values: Vec<f64>,
}

/// A layer or a representational model beside an array.
#[derive(Clone, Debug, Serialize)]
pub struct LayerSimilarity {
    /// Set of features.
    pub name: String,
    /// Kinematic, dynamic, network, or model.
    pub family: String,
    /// Whitened unbiased cosine with the array's RDM.
    pub similarity: f64,
    /// Mean and interval over parts of the recording.
    pub parts: Estimate,
    /// The layer's own RDM.
    pub rdm: SavedRdm,
}

/// An array's representation of behaviours.
#[derive(Clone, Debug, Serialize)]
pub struct ArraySimilarity {
    /// Array index.
    pub array: u16,
    /// Units.
    pub units: usize,
    /// Cross-validated distances, each channel by its own variance.
    pub rdm: SavedRdm,
    /// Between which similarities the true model would lie.
    pub ceiling: Option<Ceiling>,
    /// Layers and models, in the order of the sets.
    pub layers: Vec<LayerSimilarity>,
}

/// A layer's RDM before it is compared.
struct Layer {
    name: String,
    family: String,
    rdm: Rdm,
}

pub(super) fn similarity(
    settings: &EncodingSettings,
    recorded: &Recorded,
    context: &Context<'_>,
    behaviours: &Behaviours<'_>,
    keys: &[UnitKey],
    counts: ArrayView2<'_, f32>,
) -> Vec<ArraySimilarity> {
    let mut arrays: Vec<u16> = keys.iter().map(|key| key.array).collect();
    arrays.dedup();
    if arrays.is_empty() || behaviours.names.is_empty() {
        return Vec::new();
    }
    let layers = layers(settings, recorded, context, behaviours, counts.nrows());
    let of_array = |array: &u16| {
        let units = units_of(keys, *array);
        let sums = sums_of(settings, behaviours, counts.select(Axis(1), &units).view());
        compare(&sums, *array, units.len(), &layers, behaviours)
    };
    arrays.iter().filter_map(of_array).collect()
}

fn layers(
    settings: &EncodingSettings,
    recorded: &Recorded,
    context: &Context<'_>,
    behaviours: &Behaviours<'_>,
    bins: usize,
) -> Vec<Layer> {
    let layer = |set: &SetSpec| {
        let sums = sums_of(settings, behaviours, recorded.store.values(set, bins).view());
        Layer { name: set.name.clone(), family: set.family.to_owned(), rdm: sums.rdm(Noise::Diagonal) }
    };
    let mut out: Vec<Layer> = context.sets.iter().map(layer).collect();
    out.extend(models().iter().map(|(name, set)| Layer {
        name: (*name).to_owned(),
        family: "model".to_owned(),
        rdm: layer(set).rdm,
    }));
    let all_alike = behaviours.names.len();
    let equal = Rdm { conditions: all_alike, values: vec![1.0; all_alike * (all_alike - 1) / 2] };
    out.push(Layer { name: "all alike".to_owned(), family: "model".to_owned(), rdm: equal });
    // A layer that never varies within a behaviour has no noise to measure distances by: it is left out, or it would take
    // every behaviour with it.
    out.retain(|layer| layer.rdm.values.iter().any(|value| value.is_finite()));
    out
}

/// Representational models: how fast, how high, how upright the animal is, and nothing else.
fn models() -> [(&'static str, SetSpec); 3] {
    let root = super::super::store::body_columns().into_iter().find(|(name, _)| *name == "root");
    let columns = root.map(|(_, columns)| columns).unwrap_or_default();
    let model = |wanted: &[&str]| {
        let columns: Vec<FeatureColumn> =
            columns.iter().filter(|c| wanted.contains(&c.name.as_str())).cloned().collect();
        SetSpec { name: String::new(), family: "model", source: Source::Body, columns }
    };
    [
        ("speed", model(&["root.forward", "root.left", "root.yaw_rate"])),
        ("height", model(&["root.height"])),
        ("posture", model(&["root.up_x", "root.up_y", "root.up_z"])),
    ]
}

fn compare(
    sums: &ConditionSums,
    array: u16,
    units: usize,
    layers: &[Layer],
    behaviours: &Behaviours<'_>,
) -> Option<ArraySimilarity> {
    let rdms: Vec<&Rdm> = layers.iter().map(|layer| &layer.rdm).collect();
    let found = beside(sums, &rdms, BINS_MIN)?;
    let names: Vec<String> = found.kept.iter().map(|condition| behaviours.names[*condition].clone()).collect();
    let saved = |rdm: &Rdm| SavedRdm { conditions: names.clone(), values: rdm.select(&found.kept).values };
    let layer = |(layer, (similarity, parts)): (&Layer, &(f64, Estimate))| LayerSimilarity {
        name: layer.name.clone(),
        family: layer.family.clone(),
        similarity: *similarity,
        parts: *parts,
        rdm: saved(&layer.rdm),
    };
    Some(ArraySimilarity {
        array,
        units,
        rdm: saved(&found.whole),
        ceiling: found.ceiling,
        layers: layers.iter().zip(&found.layers).map(layer).collect(),
    })
}
