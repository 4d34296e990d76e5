//! Representational similarity while the recording runs: the offline sums, bin by bin.

use super::rsa::{Beside, Ceiling, ConditionSums, Noise, Rdm, beside};
use super::settings::{BINS_MIN, EncodingSettings, GROUPS};
use super::store::{SetSpec, Store};
use super::units::UnitKey;

/// Sums by behaviour, of each array and each set.
pub struct LiveSimilarity {
    settings: EncodingSettings,
    sets: Vec<SetSpec>,
    layers: Vec<ConditionSums>,
    arrays: Vec<ConditionSums>,
}

/// A set beside an array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveLayer {
    /// Array index.
    pub array: u16,
    /// Set, by index.
    pub set: usize,
    /// Whitened unbiased cosine.
    pub similarity: f64,
    /// Noise ceiling of the array, once its parts know every behaviour.
    pub ceiling: Option<Ceiling>,
}

impl LiveSimilarity {
    /// Empty sums; `units_max` is the number of places of a row of counts.
    pub fn new(
        settings: &EncodingSettings,
        sets: &[SetSpec],
        behaviours: usize,
        arrays: usize,
        units_max: usize,
    ) -> Self {
        let sums = |channels| ConditionSums::new(behaviours, settings.folds.count, GROUPS, channels);
        Self {
            layers: sets.iter().map(|set| sums(set.columns.len())).collect(),
            arrays: (0..arrays).map(|_| sums(units_max)).collect(),
            sets: sets.to_vec(),
            settings: settings.clone(),
        }
    }

    /// Adds a closed bin. `counts` has a place for each of `units` and zeros after them.
    pub fn push(
        &mut self,
        behaviour: usize,
        block: usize,
        store: &Store,
        bin: usize,
        units: &[UnitKey],
        counts: &[f32],
    ) {
        for (set, sums) in self.sets.iter().zip(&mut self.layers) {
            if let Some(row) = store.slots(set.source).row(bin) {
                sums.push(behaviour, block, set.columns.iter().map(|column| f64::from(row[column.at])));
            }
        }
        for (array, sums) in self.arrays.iter_mut().enumerate() {
            let own = |place: usize| units.get(place).is_some_and(|unit| usize::from(unit.array) == array);
            let value = |(place, count): (usize, &f32)| if own(place) { f64::from(*count) } else { 0.0 };
            sums.push(behaviour, block, counts.iter().enumerate().map(value));
        }
    }

    /// Every set beside every array, over the behaviours and units that the offline analysis would take. `spikes` says how
    /// many each of `units` has had.
    pub fn compare(&self, units: &[UnitKey], spikes: &[f64]) -> Vec<LiveLayer> {
        let Some(first) = self.arrays.first() else { return Vec::new() };
        let labelled = first.counts();
        let frequent: Vec<usize> =
            (0..labelled.len()).filter(|behaviour| self.settings.is_frequent(labelled[*behaviour])).collect();
        let rdm = |(sums, set): (&ConditionSums, &SetSpec)| {
            let columns: Vec<usize> = (0..set.columns.len()).collect();
            sums.only(&frequent, &columns).rdm(Noise::Diagonal)
        };
        let rdms: Vec<Rdm> = self.layers.iter().zip(&self.sets).map(rdm).collect();
        let known: Vec<usize> =
            (0..rdms.len()).filter(|set| rdms[*set].values.iter().any(|value| value.is_finite())).collect();
        let layers: Vec<&Rdm> = known.iter().map(|set| &rdms[*set]).collect();
        let enough = |place: usize| spikes.get(place).is_some_and(|count| *count >= self.settings.spikes_min as f64);
        let of_array = |(array, sums): (usize, &ConditionSums)| {
            let own = |place: &usize| usize::from(units[*place].array) == array && enough(*place);
            let places: Vec<usize> = (0..units.len()).filter(own).collect();
            let Beside { layers, ceiling, .. } = beside(&sums.only(&frequent, &places), &layers, BINS_MIN)?;
            let layer = |(set, (similarity, _)): (&usize, (f64, _))| LiveLayer {
                array: array as u16,
                set: *set,
                similarity,
                ceiling,
            };
            Some(known.iter().zip(layers).map(layer).collect::<Vec<_>>())
        };
        self.arrays.iter().enumerate().filter_map(of_array).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rsa;
    use super::super::store::{BODY_WIDTH, Grid, available, select};
    use super::super::testing::Dice;
    use super::*;

    #[test]
    fn bin_by_bin_equals_all_at_once_and_units_may_come_late() {
        let config = crate::config::EncodingConfig { block_secs: 0.5, ..crate::config::EncodingConfig::default() };
        let settings = EncodingSettings::from(&config);
        let sets = select(&available(&[]), &["root".to_owned()]).expect("it is there");
        let mut live = LiveSimilarity::new(&settings, &sets, 4, 1, 10);
        let mut store = Store::new(Grid::of_millis(20.0), 1);
        let mut offline = rsa::ConditionSums::new(4, settings.folds.count, GROUPS, 3);
        let mut dice = Dice::new(2);
        let keys: Vec<UnitKey> = (0..3).map(|unit| UnitKey { array: 0, tetrode: unit, unit: 1 }).collect();
        for bin in 0..6_000 {
            let behaviour = bin / 60 % 4;
            let row: Vec<f32> =
                (0..BODY_WIDTH).map(|at| dice.normal() as f32 + (behaviour * (at % 3)) as f32).collect();
            store.body.offer(store.grid, store.grid.middle_ns(bin), &row);
            let units = if bin < 700 { 2 } else { 3 };
            let mut counts = [0.0_f32; 10];
            (0..units).for_each(|unit| counts[unit] = dice.poisson(0.2 + 0.2 * (behaviour * unit) as f64) as f32);
            live.push(behaviour, settings.folds.block(bin), &store, bin, &keys[..units], &counts);
            offline.push(behaviour, settings.folds.block(bin), counts[..3].iter().map(|count| f64::from(*count)));
        }
        let own = live.arrays[0].rdm(Noise::Diagonal);
        let all = offline.rdm(Noise::Diagonal);
        assert!(own.values.iter().zip(&all.values).all(|(a, b)| (a - b).abs() < 1e-12), "{own:?} {all:?}");
        let compared = live.compare(&keys, &[100.0; 3]);
        assert_eq!(compared.len(), 1);
        assert!(compared[0].similarity > 0.9 && compared[0].ceiling.is_some(), "{compared:?}");
        assert_ne!(live.compare(&keys, &[100.0, 3.0, 100.0]), compared, "a unit with few spikes does not count");
    }
}
