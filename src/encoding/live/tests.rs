//! Live fits against offline ones.

use super::super::folds::Folds;
use super::super::glm::score_sets;
use super::super::store::{BODY_WIDTH, Grid, available, select};
use super::super::testing::Dice;
use super::*;

const GRID: Grid = Grid { bin_ns: 20_000_000 };
const WIDTH: usize = 73 + 38;

fn settings() -> EncodingSettings {
    let config = crate::config::EncodingConfig { block_secs: 1.0, ..crate::config::EncodingConfig::default() };
    EncodingSettings::from(&config)
}

fn key(unit: u16) -> UnitKey {
    UnitKey { array: 0, tetrode: unit / 3, unit: 1 + unit % 3 }
}

/// An encoder fed bin by bin with `work` pieces of work a bin, and the same data for an offline fit.
fn fed(bins: usize, work: usize) -> LiveEncoder {
    let sets = select(&available(&[]), &["root".to_owned(), "action".to_owned()]).expect("both are there");
    let mut live = LiveEncoder::new(settings(), sets, WIDTH, 8, 100_000);
    let mut dice = Dice::new(12);
    let body = dice.smooth(bins, BODY_WIDTH, 0.9);
    let imitation = dice.smooth(bins, WIDTH, 0.9);
    for bin in 0..bins {
        let t_ns = GRID.middle_ns(bin);
        if bin % 331 != 7 {
            live.push_body(t_ns, &body.row(bin).to_vec());
        }
        // The virtual rat's rows come 100 ms late.
        if let Some(late) = bin.checked_sub(5) {
            live.push_imitation(GRID.middle_ns(late), &imitation.row(late).to_vec());
        }
        for unit in 0..6_u16 {
            // Unit 5 is found only after a while.
            let drive = match unit {
                0 | 1 => 0.7 * f64::from(body[[bin, 134 + usize::from(unit)]]),
                2 | 3 => 0.7 * f64::from(imitation[[bin, 73 + usize::from(unit)]]),
                _ => 0.0,
            };
            if unit < 5 || bin > 300 {
                (0..dice.poisson(0.3 * drive.exp())).for_each(|_| live.push_spike(t_ns, key(unit)));
            }
        }
        live.close((bin as i64 - 6) * GRID.bin_ns, |_, _, _| ());
        let mut left = work;
        live.work(&mut || {
            left = left.saturating_sub(1);
            left > 0
        });
    }
    live
}

fn offline(live: &LiveEncoder) -> Vec<BlockScores> {
    let bins = live.bins();
    let values: Vec<Array2<f32>> = live.sets().iter().map(|set| live.store.values(set, bins)).collect();
    let views: Vec<_> = values.iter().map(|values| values.view()).collect();
    let counts = live.counts.view(bins, live.units().len());
    score_sets(live.settings.glm, &live.settings.folds, &views, counts, 2, &|_, _| ()).sets
}

#[test]
fn at_the_end_live_scores_are_the_offline_ones() {
    let mut live = fed(2_000, 8);
    let far = |live: &LiveEncoder, offline: &[BlockScores]| {
        live.scores()
            .map(|l| {
                let unit = live.units().iter().position(|unit| *unit == l.unit).expect("known");
                (l.score.bits_per_spike.value - offline[l.set].score(unit).bits_per_spike.value).abs()
            })
            .fold(0.0, f64::max)
    };
    let offline = offline(&live);
    let before = far(&live, &offline);
    assert!(live.finish(3, &|| true));
    let after = far(&live, &offline);
    println!("largest difference in bits/spike: {before:.2e} while streaming, {after:.2e} at the end");
    assert_eq!(live.scores().count(), 12);
    assert!(before < 0.05, "while streaming {before}");
    assert!(after < 1e-6, "at the end {after}");
}

#[test]
fn live_scores_tell_driven_units_from_others() {
    let live = fed(2_000, 8);
    for score in live.scores() {
        let unit = 3 * score.unit.tetrode + score.unit.unit - 1;
        let driven = matches!((score.set, unit), (0, 0 | 1) | (1, 2 | 3));
        assert_eq!(score.score.predicts(), driven, "{score:?}");
    }
    let difference = live.difference(1).expect("two sets");
    assert!(difference.low < 0.0 && difference.high > 0.0, "two units each way: {difference:?}");
}

#[test]
fn work_stops_when_told_and_nothing_happens_without_units() {
    let mut live = fed(400, 0);
    assert_eq!((live.visits(), live.scores().count()), (0, 0));
    assert!(!live.finish(2, &|| false));
    let sets = live.sets().to_vec();
    let mut empty = LiveEncoder::new(settings(), sets, WIDTH, 8, 100);
    empty.close(i64::MAX / 2, |_, _, _| ());
    empty.work(&mut || true);
    assert!(empty.full() && empty.finish(1, &|| true) && empty.visits() == 0);
}

#[test]
fn units_beyond_the_places_are_counted_not_kept() {
    let mut live = LiveEncoder::new(settings(), Vec::new(), WIDTH, 2, 100);
    (0..4).for_each(|unit| live.push_spike(0, key(unit)));
    live.push_spike(i64::MAX, key(0));
    live.push_spike(-5, key(0));
    assert_eq!((live.units().len(), live.odd_spikes().1), (2, 2));
    assert_eq!(Folds::new(50, 5), live.settings.folds);
}
