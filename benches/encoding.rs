//! What encoding models cost: offline for ten minutes (or MINUTES) of 60 units on four feature sets beside scikit-learn, live for each bin.
//!
//! `cargo bench --bench encoding [-- MINUTES]`. The peer is scikit-learn's `PoissonRegressor` (ridge, since it has no
//! elastic net) on the same regressors; a few of its fits are timed and scaled to all of them, which is said in the output.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mimicd::config::EncodingConfig;
use mimicd::encoding::Folds;
use mimicd::encoding::glm::{CrossValidation, Design, GlmSettings, cores, score_sets};
use mimicd::encoding::live::LiveEncoder;
use mimicd::encoding::moments::Moments;
use mimicd::encoding::settings::EncodingSettings;
use mimicd::encoding::store::{BODY_WIDTH, available, select};
use mimicd::encoding::testing::{Dice, training_matrices, write_npy};
use mimicd::encoding::units::UnitKey;
use ndarray::{Array2, ArrayView2, s};

/// Length of the data for the live part at most, and for both where nothing is said.
const LIVE_MINUTES_MAX: f64 = 10.0;
const UNITS: usize = 60;
const FOLDS: Folds = Folds { block_bins: 200, count: 5 };
/// Columns of the four sets: as kinematic, dynamic, action and latent.
const SETS: [usize; 4] = [213, 73, 38, 60];
/// Units that the peer is timed on.
const PEER_FITS: usize = 3;

/// Features with the spectrum of movement: a few slow sources, mixed, and noise.
fn features(bins: usize, columns: usize, dice: &mut Dice) -> Array2<f32> {
    let sources = dice.smooth(bins, 24.min(columns), 0.95);
    let mixing = Array2::from_shape_fn((sources.ncols(), columns), |_| dice.normal() as f32);
    sources.dot(&mixing) + dice.smooth(bins, columns, 0.5) * 2.0
}

fn counts(bins: usize, sets: &[Array2<f32>], dice: &mut Dice) -> Array2<f32> {
    let mut out = Array2::zeros((bins, UNITS));
    for (unit, mut column) in out.columns_mut().into_iter().enumerate() {
        let set = &sets[unit % sets.len()];
        let means = set.column(unit % set.ncols()).mapv(|value| 0.15 * (0.1 * f64::from(value)).clamp(-2.0, 2.0).exp());
        column.iter_mut().zip(dice.counts(means.view())).for_each(|(to, count)| *to = count);
    }
    out
}

/// Seconds of one peer's fit on one fold of one set, default and best solver; `None` where the peers are not set up.
fn peer(set: ArrayView2<'_, f32>, counts: ArrayView2<'_, f32>) -> Option<(f64, f64)> {
    let python = std::env::var_os("MIMICD_PEERS_PYTHON").unwrap_or_else(|| ".deps/peers-venv/bin/python".into());
    let folder = std::env::temp_dir().join(format!("mimicd-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).ok()?;
    let mut moments = Moments::new(set.ncols(), FOLDS.count);
    moments.extend(set, &FOLDS);
    let design = Design::of(&moments.basis(0, 0.9)?, set, 5);
    let (x, y) = training_matrices(&design, counts.slice(s![.., ..PEER_FITS]), &FOLDS, 0);
    write_npy(&folder.join("regressors.npy"), x.view()).ok()?;
    write_npy(&folder.join("counts.npy"), y.view()).ok()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/encoding_models.py");
    let output = Command::new(python).arg(script).arg("--speed").arg(&folder).output().ok()?;
    std::fs::remove_dir_all(&folder).ok();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    Some((told["lbfgs"].as_f64()?, told["newton-cholesky"].as_f64()?))
}

fn offline(minutes: f64) {
    let bins = (minutes * 60.0 * 50.0) as usize;
    let mut dice = Dice::new(1);
    let sets: Vec<Array2<f32>> = SETS.iter().map(|columns| features(bins, *columns, &mut dice)).collect();
    let counts = counts(bins, &sets, &mut dice);
    let views: Vec<ArrayView2<'_, f32>> = sets.iter().map(|set| set.view()).collect();
    let threads = cores();
    let fits = SETS.len() * FOLDS.count * UNITS;
    println!("offline: {minutes} min, {UNITS} units, {} sets, {fits} fits, {threads} threads", SETS.len());
    let run = |mixing: f64, views: &[ArrayView2<'_, f32>], counts: ArrayView2<'_, f32>| {
        let began = Instant::now();
        let settings = GlmSettings { mixing, ..GlmSettings::default() };
        let result = score_sets(settings, &FOLDS, views, counts, threads, &|_, _| ());
        (began.elapsed().as_secs_f64(), result)
    };
    let told = |name: &str, spent: f64, result: &CrossValidation| {
        let components: Vec<usize> = result.components.iter().map(|set| set[0]).collect();
        let each = spent / fits as f64 * 1e3;
        println!(
            "  mimicd, {name}: {spent:.1} s, {each:.2} ms a fit, {} unfinished, components {components:?}",
            result.unfinished
        );
    };
    let (whole, result) = run(0.5, &views, counts.view());
    told("elastic net", whole, &result);
    let (ridge, result) = run(0.0, &views, counts.view());
    told("ridge", ridge, &result);
    compare(&views, counts.view(), ridge, whole, fits);
    let halves: Vec<ArrayView2<'_, f32>> = sets.iter().map(|set| set.slice(s![..bins / 2, ..])).collect();
    for (name, views, counts) in
        [("time", &halves, counts.slice(s![..bins / 2, ..])), ("units", &views, counts.slice(s![.., ..UNITS / 2]))]
    {
        let (half, _) = run(0.5, views, counts);
        println!("  mimicd, elastic net, half of the {name}: {half:.1} s, {:.2} of the whole", half / whole);
    }
}

fn compare(sets: &[ArrayView2<'_, f32>], counts: ArrayView2<'_, f32>, ridge_s: f64, elastic_s: f64, fits: usize) {
    let mut sums = (0.0, 0.0);
    for set in sets {
        let Some((usual, best)) = peer(*set, counts) else {
            println!("  no peer: `cargo xtask setup --peers` makes its environment");
            return;
        };
        sums = (sums.0 + usual, sums.1 + best);
    }
    let all = |sum: f64| sum / sets.len() as f64 * fits as f64;
    for (name, sum) in [("default solver (lbfgs)", sums.0), ("newton-cholesky", sums.1)] {
        println!(
            "  scikit-learn, ridge, {name}: {:.1} s scaled from {PEER_FITS} fits a set; {:.1} times our ridge, {:.1} times our elastic net",
            all(sum),
            all(sum) / ridge_s,
            all(sum) / elastic_s
        );
    }
}

fn live(minutes: f64) {
    let settings = EncodingSettings::from(&EncodingConfig::default());
    let signals = vec![("latent_loc".to_owned(), 60)];
    let names = ["kinematic", "dynamic", "action", "latent_loc"].map(str::to_owned);
    let sets = select(&available(&signals), &names).expect("all are there");
    let width = 73 + 38 + 60;
    let bins = (minutes * 3_000.0) as usize;
    let mut dice = Dice::new(2);
    let (body, imitation) = (features(bins, BODY_WIDTH, &mut dice), features(bins, width, &mut dice));
    let counts = counts(bins, std::slice::from_ref(&body), &mut dice);
    let mut live = LiveEncoder::new(settings.clone(), sets, width, UNITS, bins);
    let mut spent: Vec<Duration> = Vec::with_capacity(bins);
    let allowed = Duration::from_micros(EncodingConfig::default().live_work_micros);
    for bin in 0..bins {
        let t_ns = settings.grid.middle_ns(bin);
        let began = Instant::now();
        live.push_body(t_ns, &body.row(bin).to_vec());
        live.push_imitation(t_ns, &imitation.row(bin).to_vec());
        for unit in 0..UNITS {
            let key = UnitKey { array: 0, tetrode: unit as u16, unit: 1 };
            (0..counts[[bin, unit]] as usize).for_each(|_| live.push_spike(t_ns, key));
        }
        live.close((bin as i64 + 1) * settings.grid.bin_ns, |_, _, _| ());
        live.work(&mut || began.elapsed() < allowed);
        spent.push(began.elapsed());
    }
    spent.sort_unstable();
    let at = |share: f64| spent[((bins - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let mean = spent.iter().sum::<Duration>().as_secs_f64() * 1e3 / bins as f64;
    println!(
        "live: {minutes} min, {UNITS} units, 4 sets, one thread: a bin costs {mean:.2} ms on average, p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2} ms; {:.1} rounds of sets and folds",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        live.visits() as f64 / 20.0
    );
    let began = Instant::now();
    assert!(live.finish(cores(), &|| true));
    println!(
        "live: coming to the minimum at the end takes {:.1} s on {} threads",
        began.elapsed().as_secs_f64(),
        cores()
    );
}

fn main() {
    let minutes = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(LIVE_MINUTES_MAX);
    live(f64::min(minutes, LIVE_MINUTES_MAX));
    offline(minutes);
}
