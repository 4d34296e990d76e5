//! Fits on simulated units.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use super::super::folds::Folds;
use super::super::moments::Moments;
use super::super::testing::Dice;
use super::*;

const FOLDS: Folds = Folds { block_bins: 100, count: 5 };

/// Units of `rate · exp(gain · column)`, one a column; the last two follow nothing.
fn simulated(seed: u64, bins: usize) -> (Array2<f32>, Array2<f32>) {
    let mut dice = Dice::new(seed);
    let features = dice.smooth(bins, 6, 0.9);
    let mut counts = Array2::zeros((bins, 5));
    for (unit, mut column) in counts.columns_mut().into_iter().enumerate() {
        let gain = if unit < 3 { 0.6 } else { 0.0 };
        let means: Array1<f64> = features.column(unit).mapv(|value| 0.3 * (gain * f64::from(value)).exp());
        column.iter_mut().zip(dice.counts(means.view())).for_each(|(to, count)| *to = count);
    }
    (features, counts)
}

fn design(features: ArrayView2<'_, f32>, held_out: usize, settings: GlmSettings) -> Design {
    let mut moments = Moments::new(features.ncols(), FOLDS.count);
    moments.extend(features, &FOLDS);
    let basis = moments.basis(held_out, settings.variance_share).expect("features vary");
    Design::of(&basis, features, settings.window_bins)
}

/// The largest entry of the objective's subgradient, computed bin by bin.
fn subgradient(
    settings: GlmSettings,
    fit: &Coefficients,
    design: &Design,
    counts: ArrayView2<'_, f32>,
    unit: usize,
) -> f64 {
    let mut slope = vec![0.0; design.width() + 1];
    let mut seen = 0.0;
    for bin in (design.first()..design.bins()).filter(|bin| FOLDS.fold(*bin) != 0) {
        let row = design.row(bin);
        let log_rate = fit.intercepts[unit] + row.iter().zip(fit.weights.column(unit)).map(|(x, w)| x * w).sum::<f64>();
        let left = log_rate.exp() - f64::from(counts[[bin, unit]]);
        row.iter().chain([&1.0]).zip(&mut slope).for_each(|(x, slope)| *slope += left * x);
        seen += 1.0;
    }
    let (l1, l2) = (settings.strength * settings.mixing, settings.strength * (1.0 - settings.mixing));
    let weights = fit.weights.column(unit);
    let of = |w: f64, g: f64| if w == 0.0 { (g.abs() - l1).max(0.0) } else { (g + l2 * w + l1 * w.signum()).abs() };
    let penalised = weights.iter().zip(&slope).map(|(w, g)| of(*w, g / seen));
    penalised.fold((slope[design.width()] / seen).abs(), f64::max)
}

#[test]
fn fits_meet_the_conditions_of_the_minimum() {
    let (features, counts) = simulated(1, 4_000);
    for mixing in [0.0, 0.5, 1.0] {
        let settings = GlmSettings { mixing, tolerance: 1e-9, ..GlmSettings::default() };
        let design = design(features.view(), 0, settings);
        let (fit, unfinished) = fit_fold(settings, &design, counts.view(), &FOLDS, 0);
        assert_eq!(unfinished, 0, "mixing {mixing}");
        for unit in 0..5 {
            let left = subgradient(settings, &fit, &design, counts.view(), unit);
            assert!(left < 2e-9, "mixing {mixing}, unit {unit}: {left}");
        }
    }
}

#[test]
fn curvature_from_a_part_of_the_bins_leads_to_the_same_minimum() {
    let (features, counts) = simulated(2, 30_000);
    let settings = GlmSettings { tolerance: 1e-9, ..GlmSettings::default() };
    let design = design(features.view(), 0, settings);
    let (fit, unfinished) = fit_fold(settings, &design, counts.view(), &FOLDS, 0);
    assert_eq!(unfinished, 0);
    assert!(subgradient(settings, &fit, &design, counts.view(), 1) < 2e-9);
}

#[test]
fn pieces_lead_to_the_same_weights() {
    let (features, counts) = simulated(3, 6_000);
    let settings = GlmSettings { tolerance: 1e-8, passes_max: 300, ..GlmSettings::default() };
    let design = design(features.view(), 0, settings);
    let training = |bin: usize| FOLDS.fold(bin) != 0;
    let (cold, _) = fit_fold(settings, &design, counts.view(), &FOLDS, 0);
    let mut warm = Descent::new(settings, &design, counts.view(), training);
    while !warm.done() {
        for first in (design.first()..6_000).step_by(700) {
            warm.add(&design, counts.view(), first..(first + 700).min(6_000), training);
        }
        warm.end();
    }
    assert_eq!(warm.unfinished(), 0);
    let far = (&warm.coefficients().weights - &cold.weights).iter().fold(0.0_f64, |far, d| far.max(d.abs()));
    assert!(far < 1e-5, "weights differ by {far}");
}

/// Movement has outliers, and weights of other data may say anything about them.
#[test]
fn heavy_tails_and_a_wild_beginning_do_not_keep_a_fit_from_its_minimum() {
    let (mut features, counts) = simulated(5, 3_000);
    let mut dice = Dice::new(50);
    for _ in 0..60 {
        features[[dice.below(3_000), dice.below(6)]] = 60.0 * dice.normal() as f32;
    }
    let settings = GlmSettings { tolerance: 1e-9, ..GlmSettings::default() };
    let design = design(features.view(), 0, settings);
    let training = |bin: usize| FOLDS.fold(bin) != 0;
    let (cold, unfinished) = fit_fold(settings, &design, counts.view(), &FOLDS, 0);
    assert_eq!(unfinished, 0);
    for (size, allowed) in [(SampleSize::EXACT, 1e-5), (SampleSize::QUICK, 0.02)] {
        let mut at = Coefficients::constant(&design, counts.view(), training);
        at.weights.iter_mut().for_each(|weight| *weight = 9.0 * dice.normal());
        let mut warm = Descent::warm(settings, &design, 3_000, training, size, at);
        warm.run(&design, counts.view(), training);
        let far = (&warm.coefficients().weights - &cold.weights).iter().fold(0.0_f64, |far, d| far.max(d.abs()));
        assert!(far < allowed, "{size:?}: weights differ by {far}");
    }
}

#[test]
fn driven_units_are_predicted_and_others_are_not() {
    let (features, counts) = simulated(4, 20_000);
    let settings = GlmSettings::default();
    let result = score_sets(settings, &FOLDS, &[features.view()], counts.view(), 2, &|_, _| ());
    assert_eq!(result.unfinished, 0);
    for unit in 0..5 {
        let score = result.sets[0].score(unit);
        assert_eq!(score.predicts(), unit < 3, "unit {unit}: {score:?}");
        assert_eq!(score.pseudo_r2 > 0.01, unit < 3, "unit {unit}: {score:?}");
    }
}

#[test]
fn scores_are_those_of_the_formula() {
    let (features, counts) = simulated(5, 3_000);
    let settings = GlmSettings::default();
    let result = score_sets(settings, &FOLDS, &[features.view()], counts.view(), 1, &|_, _| ());
    let (mut gain, mut spikes, mut deviance, mut null) = (0.0, 0.0, 0.0, 0.0);
    for fold in 0..FOLDS.count {
        let design = design(features.view(), fold, settings);
        let (fit, _) = fit_fold(settings, &design, counts.view(), &FOLDS, fold);
        let training: Vec<usize> = (design.first()..3_000).filter(|bin| FOLDS.fold(*bin) != fold).collect();
        let mean = training.iter().map(|bin| f64::from(counts[[*bin, 0]])).sum::<f64>() / training.len() as f64;
        for bin in (design.first()..3_000).filter(|bin| FOLDS.fold(*bin) == fold) {
            let rate = fit.log_rates(&design, bin..bin + 1)[[0, 0]].exp();
            let y = f64::from(counts[[bin, 0]]);
            gain += y * (rate / mean).ln() - (rate - mean);
            let of = |rate: f64| 2.0 * (if y > 0.0 { y * (y / rate).ln() } else { 0.0 } - (y - rate));
            deviance += of(rate);
            null += of(mean);
            spikes += y;
        }
    }
    let score = result.sets[0].score(0);
    assert!((score.bits_per_spike.value - gain / (std::f64::consts::LN_2 * spikes)).abs() < 1e-9);
    assert!((score.pseudo_r2 - (1.0 - deviance / null)).abs() < 1e-9);
}

#[test]
fn bins_without_features_are_left_out() {
    let (mut features, counts) = simulated(6, 3_000);
    features[[1_500, 2]] = f32::NAN;
    let design = design(features.view(), 0, GlmSettings::default());
    let unusable: Vec<usize> = (design.first()..3_000).filter(|bin| !design.usable(*bin)).collect();
    assert_eq!(unusable, [1_500, 1_501, 1_502, 1_503, 1_504]);
    let result = score_sets(GlmSettings::default(), &FOLDS, &[features.view()], counts.view(), 1, &|_, _| ());
    assert_eq!(result.sets[0].score(0).bins, 3_000.0 - 4.0 - 5.0);
}

#[test]
fn a_silent_unit_and_a_constant_set_give_no_number_and_no_panic() {
    let (features, _) = simulated(7, 1_000);
    let counts = Array2::<f32>::zeros((1_000, 1));
    let constant = Array2::<f32>::ones((1_000, 3));
    let sets = [features.view(), constant.view()];
    let result = score_sets(GlmSettings::default(), &FOLDS, &sets, counts.view(), 1, &|_, _| ());
    assert!(result.sets[0].score(0).bits_per_spike.value.is_nan());
    assert!(result.sets[1].score(0).bits_per_spike.value.is_nan());
    let empty = counts.slice(s![..0, ..]);
    let nothing = features.slice(s![..0, ..]);
    assert_eq!(score_sets(GlmSettings::default(), &FOLDS, &[nothing], empty, 1, &|_, _| ()).unfinished, 0);
    assert_eq!(empty.len_of(Axis(0)), 0);
}
