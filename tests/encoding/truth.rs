//! Units whose truth is known: does the right feature set win, and do undriven units stay at zero?
//!
//! Ten minutes of the twin's movement, registered features computed from its true coordinates, and the trained policy that
//! imitates it: its latent and the forces of its body. Neurons are simulated on these features (ten minutes of electrode
//! signals would take ten minutes): a third follow movement, a third the latent, a third nothing. The analysis sees features
//! and counts only.

use std::path::{Path, PathBuf};

use mimicd::config::ImitationConfig;
use mimicd::encoding::Folds;
use mimicd::encoding::glm::{GlmSettings, score_sets};
use mimicd::encoding::store::{BODY_WIDTH, BodyInput, body_columns, body_row};
use mimicd::encoding::testing::Dice;
use mimicd::imitation::ImitationStage;
use mimicd_device::{BoardTime, Span};
use mimicd_sim::rat::World;
use ndarray::{Array1, Array2, ArrayView1};

use super::set_up::is_set_up;

const BINS: usize = 30_000;
const UNITS: usize = 20;
const LATENT: usize = 60;
const FORCES: usize = 73;
const BIN_MILLIS: i64 = 20;
/// Bins that the virtual rat runs behind, and more.
const LAG_BINS: usize = 10;
const SEED: u64 = 77;

fn time_of(bin: usize) -> Span {
    Span::from_millis(BIN_MILLIS * bin as i64)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn mjcf() -> PathBuf {
    root().join(".deps/rat/rodent.xml")
}

/// Body rows of the twin's movement.
fn movement(world: &World) -> Array2<f32> {
    let mut out = Array2::zeros((BINS, BODY_WIDTH));
    let mut before: Option<Vec<f64>> = None;
    for (bin, mut row) in out.rows_mut().into_iter().enumerate() {
        let truth = world.truth_at(time_of(bin));
        let qpos = truth.qpos().to_vec();
        let last = before.replace(qpos.clone()).unwrap_or_else(|| qpos.clone());
        let mut qvel = vec![0.0; 73];
        (0..3).for_each(|i| qvel[i] = (qpos[i] - last[i]) * 50.0);
        qvel[5] = truth.movement.heading_rate_rad_per_s;
        (6..73).for_each(|i| qvel[i] = (qpos[i + 1] - last[i + 1]) * 50.0);
        let keypoints_m: Vec<f32> = truth.keypoints_m.iter().flatten().map(|value| *value as f32).collect();
        let mut values = vec![0.0; BODY_WIDTH];
        body_row(BodyInput { qpos: &qpos, qvel: &qvel, keypoints_m: &keypoints_m }, &mut values);
        row.assign(&Array1::from(values));
    }
    out
}

/// What the trained policy's latent and the forces of its body are while it imitates the movement, each in the bin of the
/// animal's movement that it belongs to. A hand holds it, because it cannot walk by itself yet.
fn imitated(world: &World) -> (Array2<f32>, Array2<f32>) {
    let config = ImitationConfig {
        assist_weights: 1.0,
        ..ImitationConfig::for_policy(&root().join("models/policy-shooting/policy.toml"))
    };
    let mut stage = ImitationStage::load_policy(&config, &mjcf(), 50.0).expect("the policy loads");
    let latent_at = stage.signals().iter().find(|signal| signal.name == "latent_loc").expect("a latent").range.clone();
    let mut step = stage.make_step();
    let (mut latent, mut forces) = (Array2::zeros((BINS, LATENT)), Array2::zeros((BINS, FORCES)));
    for bin in 0..BINS + LAG_BINS {
        let time = time_of(bin);
        stage.follow(BoardTime::ZERO + time, Some(&world.movement_at(time).qpos), &mut step).expect("the policy runs");
        let place = ((step.reference_at - BoardTime::ZERO).secs_f64() / time_of(1).secs_f64()).round();
        if place >= 0.0 && (place as usize) < BINS && step.control_steps > 0 {
            latent.row_mut(place as usize).assign(&ArrayView1::from(&step.signals[latent_at.clone()]));
            forces.row_mut(place as usize).iter_mut().zip(step.qfrc).for_each(|(to, force)| *to = force as f32);
        }
    }
    println!("the virtual rat was put back {} times in {} s", step.resets, time_of(BINS).secs_f64());
    (latent, forces)
}

fn standard(column: ArrayView1<'_, f32>) -> Array1<f64> {
    let values = column.mapv(f64::from);
    let mean = values.mean().unwrap_or(0.0);
    let spread = values.std(0.0).max(1e-9);
    values.mapv(|value| (value - mean) / spread)
}

/// Counts of a unit whose log rate is a mix of some columns; 4 to 10 spikes a second on average.
fn follow(columns: &[Array1<f64>], dice: &mut Dice) -> Vec<f32> {
    let weights: Vec<f64> = columns.iter().map(|_| dice.normal()).collect();
    let size = weights.iter().map(|w| w * w).sum::<f64>().sqrt().max(0.1);
    let rate = 0.02 * (4.0 + 6.0 * dice.uniform());
    let gain = 0.6 + 0.3 * dice.uniform();
    let means: Array1<f64> = (0..BINS)
        .map(|bin| {
            let drive: f64 = columns.iter().zip(&weights).map(|(column, w)| w / size * column[bin]).sum();
            rate * (gain * drive.clamp(-3.0, 3.0)).exp()
        })
        .collect();
    dice.counts(means.view())
}

#[test]
fn the_right_set_wins_and_undriven_units_stay_at_zero() {
    if !is_set_up() {
        return;
    }
    let world = World::new(SEED, &mjcf()).expect("the body loads");
    let movement = movement(&world);
    let (latent, forces) = imitated(&world);
    let mut dice = Dice::new(4);
    let drives: Vec<usize> = body_columns()
        .into_iter()
        .filter(|(n, _)| ["root", "appendages"].contains(n))
        .flat_map(|(_, c)| c)
        .map(|c| c.at)
        .collect();
    let mut counts = Array2::<f32>::zeros((BINS, 3 * UNITS));
    for (unit, mut column) in counts.columns_mut().into_iter().enumerate() {
        let sources: Vec<Array1<f64>> = match unit / UNITS {
            0 => (0..2).map(|_| standard(movement.column(drives[dice.below(drives.len())]))).collect(),
            1 => (0..2).map(|_| standard(latent.column(dice.below(LATENT)))).collect(),
            _ => Vec::new(),
        };
        column.assign(&Array1::from(follow(&sources, &mut dice)));
    }
    let sets = [movement.view(), forces.view(), latent.view()];
    let folds = Folds::new(200, 5);
    let result = score_sets(GlmSettings::default(), &folds, &sets, counts.view(), 2, &|_, _| ());
    assert_eq!(result.unfinished, 0);
    let bits = |set: usize, unit: usize| result.sets[set].score(unit).bits_per_spike.value;
    let best = |unit: usize| (0..3).max_by(|a, b| bits(*a, unit).total_cmp(&bits(*b, unit))).expect("three sets");
    let right = (0..2 * UNITS).filter(|unit| best(*unit) == [0, 2][unit / UNITS]).count();
    let tests = (2 * UNITS..3 * UNITS).flat_map(|unit| (0..3).map(move |set| (set, unit)));
    let false_finds = tests.clone().filter(|(set, unit)| result.sets[*set].score(*unit).predicts()).count();
    let largest = tests.map(|(set, unit)| bits(set, unit).abs()).fold(0.0, f64::max);
    let mean = |set: usize, from: usize| (from..from + UNITS).map(|unit| bits(set, unit)).sum::<f64>() / UNITS as f64;
    println!("driven units whose own set wins: {right} of {}", 2 * UNITS);
    println!(
        "undriven units found to be driven: {false_finds} of {} tests, largest |bits/spike| {largest:.4}",
        3 * UNITS
    );
    for (group, name) in ["movement", "latent", "nothing"].iter().enumerate() {
        let of = |set| mean(set, group * UNITS);
        println!("follow {name}: kinematic {:.4}, dynamic {:.4}, latent {:.4} bits/spike", of(0), of(1), of(2));
    }
    assert!(right * 100 >= 95 * 2 * UNITS, "{right} of {}", 2 * UNITS);
    assert!(false_finds * 100 <= 5 * 3 * UNITS, "{false_finds} of {}", 3 * UNITS);
    assert!(largest < 0.02, "{largest}");
}
