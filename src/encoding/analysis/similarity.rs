//! Which layers and models look like each array.

use ndarray::{ArrayView2, Axis};
use serde::Serialize;

use super::super::rsa::{Ceiling, ConditionSums, Noise, Rdm, noise_ceiling, whitened_cosine};
use super::super::score::Estimate;
use super::super::settings::{EncodingSettings, GROUPS};
use super::super::store::{FeatureColumn, Recorded, SetSpec, Source};
use super::super::units::UnitKey;
use super::{Behaviours, Context, sums_of, units_of};

/// Fewer behaviours than this make no RDM worth comparing.
const CONDITIONS_MIN: usize = 3;
/// Bins that a behaviour needs.
const BINS_MIN: f64 = 50.0;

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
    if behaviours.names.len() < CONDITIONS_MIN || arrays.is_empty() {
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
    let whole = sums.rdm(Noise::Diagonal);
    let parts: Vec<Rdm> = (0..GROUPS).map(|group| sums.group_rdm(group, Noise::Diagonal)).collect();
    let kept = complete(&sums.seen(BINS_MIN), &whole, layers);
    if kept.len() < CONDITIONS_MIN {
        return None;
    }
    let names: Vec<String> = kept.iter().map(|condition| behaviours.names[*condition].clone()).collect();
    let saved = |rdm: &Rdm| SavedRdm { conditions: names.clone(), values: rdm.select(&kept).values };
    // A part that lacks a behaviour says nothing about its distances: it is left out.
    let parts: Vec<Rdm> =
        parts.iter().map(|part| part.select(&kept)).filter(|part| part.values.iter().all(|v| v.is_finite())).collect();
    let layer = |layer: &Layer| {
        let own = layer.rdm.select(&kept);
        let each: Vec<f64> = parts.iter().map(|part| whitened_cosine(&own, part)).collect();
        LayerSimilarity {
            name: layer.name.clone(),
            family: layer.family.clone(),
            similarity: whitened_cosine(&own, &whole.select(&kept)),
            parts: Estimate::mean(&each),
            rdm: saved(&layer.rdm),
        }
    };
    Some(ArraySimilarity {
        array,
        units,
        rdm: saved(&whole),
        ceiling: noise_ceiling(&parts),
        layers: layers.iter().map(layer).collect(),
    })
}

/// Conditions whose distances are known to each other everywhere: the one with the most unknown distances goes first.
fn complete(seen: &[usize], whole: &Rdm, layers: &[Layer]) -> Vec<usize> {
    let mut kept = seen.to_vec();
    let known = |a: usize, b: usize| whole.at(a, b).is_finite() && layers.iter().all(|l| l.rdm.at(a, b).is_finite());
    loop {
        let unknown = |a: usize| kept.iter().filter(|b| !known(a, **b)).count();
        match kept.iter().copied().max_by_key(|a| unknown(*a)).filter(|a| unknown(*a) > 0) {
            Some(worst) => kept.retain(|condition| *condition != worst),
            None => return kept,
        }
    }
}
