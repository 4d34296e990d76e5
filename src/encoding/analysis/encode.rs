//! Which feature sets predict which units.

use ndarray::ArrayView2;
use serde::Serialize;

use super::super::glm::score_sets;
use super::super::score::{BlockScores, Estimate, Score};
use super::super::settings::EncodingSettings;
use super::super::store::{Recorded, SetSpec};
use super::super::units::UnitKey;
use super::{Context, units_of};

/// A feature set as it went into the models.
#[derive(Clone, Debug, Serialize)]
pub struct SetInfo {
    /// Name.
    pub name: String,
    /// Kinematic, dynamic or network.
    pub family: String,
    /// Features.
    pub columns: usize,
    /// Principal components, mean over folds.
    pub components: f64,
}

/// Two sets, compared over the same units and bins.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Array index.
    pub array: u16,
    /// The set.
    pub set: String,
    /// What it is held against.
    pub against: String,
    /// Mean over units of the difference in bits a spike; its interval is over units.
    pub difference: Estimate,
    /// Units in which the set is better, the interval of the difference clear of zero.
    pub better: usize,
    /// Units in which it is worse, likewise.
    pub worse: usize,
    /// Units.
    pub units: usize,
}

/// Scores of all units and sets.
#[derive(Clone, Debug, Serialize)]
pub struct Encoding {
    /// Units, in order.
    pub units: Vec<UnitKey>,
    /// Sets, in order.
    pub sets: Vec<SetInfo>,
    /// By set, then unit.
    pub scores: Vec<Vec<Score>>,
    /// For each unit its best set, if any predicts it.
    pub best: Vec<Option<usize>>,
    /// Every set against the first one, by array.
    pub comparisons: Vec<Comparison>,
    /// Fits that did not come to their minimum.
    pub unfinished: usize,
    /// Fits.
    pub fits: usize,
}

pub(super) fn encode(
    settings: &EncodingSettings,
    recorded: &Recorded,
    context: &Context<'_>,
    keys: &[UnitKey],
    counts: ArrayView2<'_, f32>,
) -> Encoding {
    let values: Vec<_> = context.sets.iter().map(|set| recorded.store.values(set, counts.nrows())).collect();
    let views: Vec<_> = values.iter().map(|values| values.view()).collect();
    let result = score_sets(settings.glm, &settings.folds, &views, counts, context.threads, context.progress);
    let scores: Vec<Vec<Score>> =
        result.sets.iter().map(|set| (0..keys.len()).map(|unit| set.score(unit)).collect()).collect();
    let info = |(set, components): (&SetSpec, &Vec<usize>)| SetInfo {
        name: set.name.clone(),
        family: set.family.to_owned(),
        columns: set.columns.len(),
        components: components.iter().sum::<usize>() as f64 / components.len() as f64,
    };
    let best = (0..keys.len()).map(|unit| best(&scores, unit)).collect();
    Encoding {
        comparisons: compare(context, keys, &result.sets),
        sets: context.sets.iter().zip(&result.components).map(info).collect(),
        units: keys.to_vec(),
        scores,
        best,
        unfinished: result.unfinished,
        fits: result.fits,
    }
}

/// The set with the highest score among those that predict a unit.
fn best(scores: &[Vec<Score>], unit: usize) -> Option<usize> {
    let predicting = scores.iter().enumerate().filter(|(_, units)| units[unit].predicts());
    predicting.max_by(|a, b| a.1[unit].bits_per_spike.value.total_cmp(&b.1[unit].bits_per_spike.value)).map(|(s, _)| s)
}

fn compare(context: &Context<'_>, keys: &[UnitKey], sets: &[BlockScores]) -> Vec<Comparison> {
    let mut arrays: Vec<u16> = keys.iter().map(|key| key.array).collect();
    arrays.dedup();
    let mut out = Vec::new();
    for array in arrays {
        let units = units_of(keys, array);
        for (at, set) in sets.iter().enumerate().skip(1) {
            let differences: Vec<Estimate> = units.iter().map(|unit| set.difference(&sets[0], *unit)).collect();
            let known: Vec<f64> = differences.iter().map(|d| d.value).filter(|value| value.is_finite()).collect();
            out.push(Comparison {
                array,
                set: context.sets[at].name.clone(),
                against: context.sets[0].name.clone(),
                difference: Estimate::mean(&known),
                better: differences.iter().filter(|d| d.low > 0.0).count(),
                worse: differences.iter().filter(|d| d.high < 0.0).count(),
                units: units.len(),
            });
        }
    }
    out
}
