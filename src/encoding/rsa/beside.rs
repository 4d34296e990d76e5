//! Layers beside an array: one comparison, live and offline.

use super::super::score::Estimate;
use super::{Ceiling, ConditionSums, Noise, Rdm, noise_ceiling, whitened_cosine};

/// Fewer conditions than this make no RDM worth comparing.
const CONDITIONS_MIN: usize = 3;

/// How like an array's representation of conditions each layer's is.
#[derive(Clone, Debug)]
pub struct Beside {
    /// Conditions that are compared.
    pub kept: Vec<usize>,
    /// The array's distances, between all conditions.
    pub whole: Rdm,
    /// Between which similarities the true model would lie.
    pub ceiling: Option<Ceiling>,
    /// For each layer: whitened unbiased cosine with the array's RDM, and its mean and interval over the groups.
    pub layers: Vec<(f64, Estimate)>,
}

/// Compares the RDM of `array` with those of `layers` over the conditions that all of them know; `None` while there are too
/// few. `bins_min` is what a condition needs.
pub fn beside(array: &ConditionSums, layers: &[&Rdm], bins_min: f64) -> Option<Beside> {
    let whole = array.rdm(Noise::Diagonal);
    let kept = complete(&array.seen(bins_min), &whole, layers);
    if kept.len() < CONDITIONS_MIN {
        return None;
    }
    // A part that lacks a condition says nothing about its distances: it is left out.
    let parts: Vec<Rdm> = (0..array.groups())
        .map(|group| array.group_rdm(group, Noise::Diagonal).select(&kept))
        .filter(|part| part.values.iter().all(|value| value.is_finite()))
        .collect();
    let of_array = whole.select(&kept);
    let layer = |rdm: &&Rdm| {
        let own = rdm.select(&kept);
        let each: Vec<f64> = parts.iter().map(|part| whitened_cosine(&own, part)).collect();
        (whitened_cosine(&own, &of_array), Estimate::mean(&each))
    };
    let layers = layers.iter().map(layer).collect();
    Some(Beside { ceiling: noise_ceiling(&parts), layers, kept, whole })
}

/// Conditions whose distances are known to each other everywhere: the one with the most unknown distances goes first.
fn complete(seen: &[usize], whole: &Rdm, layers: &[&Rdm]) -> Vec<usize> {
    let mut kept = seen.to_vec();
    let known = |a: usize, b: usize| whole.at(a, b).is_finite() && layers.iter().all(|rdm| rdm.at(a, b).is_finite());
    loop {
        let unknown = |a: usize| kept.iter().filter(|b| !known(a, **b)).count();
        match kept.iter().copied().max_by_key(|a| unknown(*a)).filter(|a| unknown(*a) > 0) {
            Some(worst) => kept.retain(|condition| *condition != worst),
            None => return kept,
        }
    }
}
