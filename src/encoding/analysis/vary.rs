//! How variable the policy and the neurons are in each behaviour.

use ndarray::{Array2, ArrayView2};
use serde::Serialize;

use super::super::discriminate::discriminate;
use super::super::score::Estimate;
use super::super::settings::EncodingSettings;
use super::super::store::{Recorded, available, latent};
use super::super::variability::{by_class, effect, fano, most_regulated, rank_correlation};
use super::Behaviours;

/// A dimension that behaviour regulates.
#[derive(Clone, Debug, Serialize)]
pub struct Regulated {
    /// Which dimension.
    pub dimension: usize,
    /// Share of its variance that lies between behaviours.
    pub effect: f64,
    /// Its mean in each behaviour.
    pub means: Vec<f64>,
}

/// Variability of one kind: of the latent, or of the action over resampled latents.
#[derive(Clone, Debug, Serialize)]
pub struct Variability {
    /// `latent` or `action`.
    pub kind: String,
    /// Where it was read.
    pub source: String,
    /// Behaviours, in the order of the other fields.
    pub behaviours: Vec<String>,
    /// Mean standard deviation in each behaviour.
    pub means: Vec<f64>,
    /// The six dimensions that behaviour regulates most.
    pub regulated: Vec<Regulated>,
    /// Share of bins whose behaviour is recognised from variability alone, balanced over behaviours.
    pub accuracy: Option<Estimate>,
    /// What guessing reaches.
    pub chance: f64,
    /// True behaviour against the one it was taken for, in bins.
    pub confusion: Vec<Vec<f64>>,
    /// Mean Fano factor of the units in each behaviour.
    pub fano: Vec<f64>,
    /// Rank correlation of policy and neural variability over behaviours, and the share of random orders that reach it.
    pub neural_correlation: Option<(f64, f64)>,
}

pub(super) fn variability(
    settings: &EncodingSettings,
    recorded: &Recorded,
    behaviours: &Behaviours<'_>,
    counts: ArrayView2<'_, f32>,
) -> Vec<Variability> {
    let bins = counts.nrows();
    let (names, labels) = seen(behaviours);
    let behaviours = &Behaviours { names: &names, bins: &labels };
    let classes = names.len();
    if classes < 2 {
        return Vec::new();
    }
    let fano = fano(counts, behaviours.bins, classes);
    let mean_fano: Vec<f64> = fano
        .rows()
        .into_iter()
        .map(|row| {
            let known: Vec<f64> = row.iter().copied().filter(|value| value.is_finite()).collect();
            known.iter().sum::<f64>() / known.len() as f64
        })
        .collect();
    let scale = latent(&recorded.signals).map(|(_, scale)| scale);
    let scale = available(&recorded.signals).into_iter().find(|set| scale.is_some_and(|scale| set.name == scale));
    let latent = scale.map(|set| ("latent", set.name.clone(), recorded.store.values(&set, bins)));
    let resampled = (recorded.action_sd.bins() > 0).then(|| ("action", "action_sd".to_owned(), action(recorded, bins)));
    let kinds = latent.into_iter().chain(resampled);
    kinds.map(|(kind, source, values)| one(settings, kind, source, values.view(), behaviours, &mean_fano)).collect()
}

/// Behaviours that some bin has, and the labels among them.
fn seen(behaviours: &Behaviours<'_>) -> (Vec<String>, Vec<Option<usize>>) {
    let some = |label: &usize| behaviours.bins.contains(&Some(*label));
    let kept: Vec<usize> = (0..behaviours.names.len()).filter(some).collect();
    let place = |label: &Option<usize>| label.and_then(|label| kept.iter().position(|kept| *kept == label));
    (kept.iter().map(|label| behaviours.names[*label].clone()).collect(), behaviours.bins.iter().map(place).collect())
}

fn action(recorded: &Recorded, bins: usize) -> Array2<f32> {
    let mut out = Array2::from_elem((bins, recorded.action_sd.width()), f32::NAN);
    for (bin, mut row) in out.rows_mut().into_iter().enumerate() {
        if let Some(values) = recorded.action_sd.row(bin) {
            row.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        }
    }
    out
}

fn one(
    settings: &EncodingSettings,
    kind: &str,
    source: String,
    values: ArrayView2<'_, f32>,
    behaviours: &Behaviours<'_>,
    fano: &[f64],
) -> Variability {
    let classes = behaviours.names.len();
    let means = by_class(values, behaviours.bins, classes);
    let effects = effect(values, behaviours.bins, classes);
    let told = discriminate(values, behaviours.bins, classes, &settings.folds);
    let overall: Vec<f64> = means.rows().into_iter().map(|row| row.iter().sum::<f64>() / row.len() as f64).collect();
    Variability {
        kind: kind.to_owned(),
        source,
        behaviours: behaviours.names.to_vec(),
        regulated: most_regulated(&effects)
            .into_iter()
            .map(|dimension| Regulated {
                dimension,
                effect: effects[dimension],
                means: means.column(dimension).to_vec(),
            })
            .collect(),
        accuracy: told.as_ref().map(|told| told.balanced_accuracy),
        chance: told.as_ref().map_or(f64::NAN, |told| told.chance),
        confusion: told.map(|told| told.confusion).unwrap_or_default(),
        neural_correlation: rank_correlation(&overall, fano),
        means: overall,
        fano: fano.to_vec(),
    }
}
