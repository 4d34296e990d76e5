//! The whole analysis of a recording: encoding models, representational similarity, variability.

mod encode;
mod similarity;
mod vary;

use serde::Serialize;

pub use encode::{Comparison, Encoding, SetInfo};
pub use similarity::{ArraySimilarity, LayerSimilarity, SavedRdm};
pub use vary::{Regulated, Variability};

use super::behaviour::Labels;
use super::rsa::ConditionSums;
use super::settings::EncodingSettings;
use super::store::{Recorded, SetSpec};
use super::units::UnitKey;

/// How much of each behaviour there was.
#[derive(Clone, Debug, Serialize)]
pub struct BehaviourShare {
    /// Its name.
    pub name: String,
    /// Time in it.
    pub seconds: f64,
}

/// Everything that was found in a recording.
#[derive(Clone, Debug, Serialize)]
pub struct Analysis {
    /// The recording's name.
    pub recording: String,
    /// Length.
    pub seconds: f64,
    /// Bins.
    pub bins: usize,
    /// Mean lag of the virtual rat behind the newest frame, which the store has taken out.
    pub lag_millis: f64,
    /// Whether units are sorted; otherwise each is all spikes of a tetrode.
    pub sorted: bool,
    /// Names of the arrays, by index.
    pub arrays: Vec<String>,
    /// Encoding models.
    pub encoding: Encoding,
    /// Where behaviour labels came from; empty = there are none.
    pub label_source: String,
    /// Behaviours.
    pub behaviours: Vec<BehaviourShare>,
    /// Representational similarity, by array.
    pub similarity: Vec<ArraySimilarity>,
    /// Variability of the policy, where it has a latent or resampled actions.
    pub variability: Vec<Variability>,
}

/// What is known besides the recording's tables.
pub struct Context<'a> {
    /// The recording's name.
    pub recording: String,
    /// Names of the arrays.
    pub arrays: Vec<String>,
    /// Feature sets.
    pub sets: &'a [SetSpec],
    /// Behaviours; empty = not known.
    pub labels: &'a Labels,
    /// Threads.
    pub threads: usize,
    /// Hears of fits done, of all.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
}

/// Analyses a recording.
pub fn analyse(settings: &EncodingSettings, recorded: &Recorded, context: &Context<'_>) -> Analysis {
    let bins = recorded.store.bins();
    let keys = recorded.spikes.keys(bins, settings.spikes_min);
    let counts = recorded.spikes.matrix(&keys, bins);
    let encoding = encode::encode(settings, recorded, context, &keys, counts.view());
    let bin_secs = settings.grid.bin_ns as f64 * 1e-9;
    let labels = context.labels;
    let behaviours = labels.names.iter().zip(labels.counts());
    let behaviours: Vec<BehaviourShare> = behaviours
        .map(|(name, count)| BehaviourShare { name: name.clone(), seconds: count as f64 * bin_secs })
        .collect();
    let each = labels.counts();
    let frequent = |index: usize| settings.is_frequent(each[index] as f64);
    let kept: Vec<Option<usize>> =
        (0..bins).map(|bin| labels.bins.get(bin).copied().flatten().filter(|label| frequent(*label))).collect();
    let view = Behaviours { names: &labels.names, bins: &kept };
    Analysis {
        recording: context.recording.clone(),
        seconds: bins as f64 * bin_secs,
        bins,
        lag_millis: recorded.lag_ns_mean * 1e-6,
        sorted: recorded.sorted,
        arrays: context.arrays.clone(),
        encoding,
        label_source: labels.source.clone(),
        similarity: similarity::similarity(settings, recorded, context, &view, &keys, counts.view()),
        variability: vary::variability(settings, recorded, &view, counts.view()),
        behaviours,
    }
}

/// Labels with rare behaviours taken out.
struct Behaviours<'a> {
    names: &'a [String],
    bins: &'a [Option<usize>],
}

/// Sums of rows by behaviour and block.
fn sums_of(
    settings: &EncodingSettings,
    behaviours: &Behaviours<'_>,
    values: ndarray::ArrayView2<'_, f32>,
) -> ConditionSums {
    let mut sums =
        ConditionSums::new(behaviours.names.len(), settings.folds.count, super::settings::GROUPS, values.ncols());
    for (bin, row) in values.rows().into_iter().enumerate() {
        if let Some(label) = behaviours.bins[bin] {
            sums.push(label, settings.folds.block(bin), row.into_iter().map(|value| f64::from(*value)));
        }
    }
    sums
}

/// Units of one array, as columns.
fn units_of(keys: &[UnitKey], array: u16) -> Vec<usize> {
    keys.iter().enumerate().filter(|(_, key)| key.array == array).map(|(column, _)| column).collect()
}
