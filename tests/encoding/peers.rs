//! Our encoding models and similarity measures against scikit-learn, a reference elastic net and rsatoolbox, on the same
//! numbers. Skips with a reason where the peers' environment is not set up (`cargo xtask setup --peers`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mimicd::encoding::Folds;
use mimicd::encoding::glm::{Coefficients, Design, GlmSettings, fit_fold};
use mimicd::encoding::moments::Moments;
use mimicd::encoding::rsa::{ConditionSums, Noise, Rdm, correlation, cosine, noise_ceiling, whitened_cosine};
use mimicd::encoding::testing::{Dice, training_matrices, write_npy};
use ndarray::{Array2, ArrayView2};
use serde_json::Value;

const FOLDS: Folds = Folds { block_bins: 100, count: 5 };
const HELD_OUT: usize = 0;

/// Python of the peers' environment, where it can import these modules.
pub(super) fn python(modules: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/peers-venv/bin/python");
    let python = std::env::var_os("MIMICD_PEERS_PYTHON").map_or(python, PathBuf::from);
    if !python.is_file() {
        println!("skipped: {} is not there; `cargo xtask setup --peers` makes it", python.display());
        return None;
    }
    let able = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if !able.is_ok_and(|output| output.status.success()) {
        println!("skipped: {} cannot import {modules}", python.display());
        return None;
    }
    Some(python)
}

/// Regressors that are correlated as lags of components are, and counts of three units that follow some of them.
fn simulated() -> (Design, Array2<f32>) {
    let mut dice = Dice::new(21);
    let features = dice.smooth(2_500, 12, 0.9);
    let mut moments = Moments::new(12, FOLDS.count);
    moments.extend(features.view(), &FOLDS);
    let basis = moments.basis(HELD_OUT, 0.9).expect("features vary");
    let design = Design::of(&basis, features.view(), 5);
    let counts = Array2::from_shape_fn((2_500, 3), |(bin, unit)| {
        let drive = [0.5, -0.4, 0.0][unit] * f64::from(features[[bin, unit]] + features[[bin.saturating_sub(2), 5]]);
        dice.poisson(0.4 * drive.exp()) as f32
    });
    (design, counts)
}

fn write(path: &Path, values: ArrayView2<'_, f64>) {
    write_npy(path, values).expect("the folder takes files");
}

struct Responses {
    values: Array2<f64>,
    conditions: Vec<usize>,
    folds: Vec<usize>,
    precision: Array2<f64>,
}

/// Responses of twelve channels to five conditions in four folds, unequal counts, correlated noise.
fn responses() -> Responses {
    let mut dice = Dice::new(33);
    let pattern = Array2::from_shape_fn((5, 12), |_| dice.normal());
    let mixing = Array2::from_shape_fn((12, 12), |(a, b)| f64::from(a == b) + 0.2 * dice.normal());
    let bins = 900;
    let conditions: Vec<usize> = (0..bins).map(|_| dice.below(5)).collect();
    let folds: Vec<usize> = (0..bins).map(|bin| bin / 15 % 4).collect();
    let noise = Array2::from_shape_fn((bins, 12), |_| dice.normal()).dot(&mixing);
    let values = Array2::from_shape_fn((bins, 12), |(bin, channel)| {
        3.0 + pattern[[conditions[bin], channel]] + noise[[bin, channel]]
    });
    let root = Array2::from_shape_fn((12, 12), |(a, b)| f64::from(a == b) + 0.1 * dice.normal());
    Responses { values, conditions, folds, precision: root.dot(&root.t()) }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn largest_relative(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let size = theirs.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs() / size).fold(0.0, f64::max)
}

fn flat(fit: &Coefficients, unit: usize) -> Vec<f64> {
    std::iter::once(fit.intercepts[unit]).chain(fit.weights.column(unit).iter().copied()).collect()
}

#[test]
fn models_and_similarities_agree_with_the_peers() {
    let Some(python) = python("numpy, scipy, sklearn, rsatoolbox") else { return };
    let folder = tempfile();
    let (design, counts) = simulated();
    let (x, y) = training_matrices(&design, counts.view(), &FOLDS, HELD_OUT);
    write(&folder.join("regressors.npy"), x.view());
    write(&folder.join("counts.npy"), y.view());
    let settings = GlmSettings { strength: 0.03, mixing: 0.5, tolerance: 1e-11, ..GlmSettings::default() };
    let written = serde_json::json!({ "strength": settings.strength, "mixing": settings.mixing });
    fs::write(folder.join("settings.json"), written.to_string()).expect("the folder takes files");
    let measured = responses();
    write(&folder.join("responses.npy"), measured.values.view());
    write(&folder.join("precision.npy"), measured.precision.view());
    for (name, values) in [("conditions", &measured.conditions), ("rsa_folds", &measured.folds)] {
        let column = Array2::from_shape_fn((values.len(), 1), |(row, _)| values[row] as f64);
        write(&folder.join(format!("{name}.npy")), column.view());
    }
    let mut dice = Dice::new(5);
    let parts = Array2::from_shape_fn((4, 10), |(_, entry)| 1.0 + entry as f64 * 0.1 + 0.3 * dice.normal());
    write(&folder.join("parts.npy"), parts.view());

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/encoding_models.py");
    let ran = Command::new(python).arg(script).arg(&folder).output().expect("python starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = fs::read_to_string(folder.join("peers.json")).expect("the script wrote its answers");
    let peers: Value = serde_json::from_str(&text).expect("JSON");

    let (ridge, _) = fit_fold(GlmSettings { mixing: 0.0, ..settings }, &design, counts.view(), &FOLDS, HELD_OUT);
    let (net, _) = fit_fold(settings, &design, counts.view(), &FOLDS, HELD_OUT);
    for unit in 0..3 {
        let far = largest_relative(&flat(&ridge, unit), &numbers(&peers["ridge"][unit]));
        println!("unit {unit}: ridge against scikit-learn {far:.1e}");
        assert!(far < 1e-4);
        let theirs = numbers(&peers["elastic_net"][unit]);
        let far = largest_relative(&flat(&net, unit), &theirs);
        let kept = theirs.iter().skip(1).filter(|weight| weight.abs() > 1e-9).count();
        println!(
            "unit {unit}: elastic net against the reference {far:.1e}, {kept} of {} weights kept",
            theirs.len() - 1
        );
        assert!(far < 1e-4);
    }
    compare_similarity(&measured, &parts, &peers);
    fs::remove_dir_all(folder).ok();
}

fn compare_similarity(measured: &Responses, parts: &Array2<f64>, peers: &Value) {
    let mut sums = ConditionSums::new(5, 4, 1, 12);
    for (row, values) in measured.values.rows().into_iter().enumerate() {
        sums.push(measured.conditions[row], measured.folds[row], values.into_iter().copied());
    }
    let plain = sums.rdm(Noise::Identity);
    let white = sums.rdm(Noise::Precision(measured.precision.view()));
    let part = |row: ndarray::ArrayView1<'_, f64>| Rdm { conditions: 5, values: row.to_vec() };
    let parts: Vec<Rdm> = parts.rows().into_iter().map(part).collect();
    let ceiling = noise_ceiling(&parts).expect("four parts");
    for (name, ours) in [
        ("crossnobis", plain.values.clone()),
        ("crossnobis_precision", white.values.clone()),
        ("ceiling", vec![ceiling.low, ceiling.high]),
    ] {
        let far = largest_relative(&ours, &numbers(&peers[name]));
        println!("{name} against rsatoolbox {far:.1e}");
        assert!(far < 1e-10, "{name}: {ours:?} and {}", peers[name]);
    }
    for (name, compare) in [
        ("whitened_cosine", whitened_cosine as fn(&Rdm, &Rdm) -> f64),
        ("cosine", cosine),
        ("correlation", correlation),
    ] {
        let far = (compare(&plain, &white) - peers[name].as_f64().expect("a number")).abs();
        println!("{name} against rsatoolbox {far:.1e}");
        assert!(far < 1e-10);
    }
}

fn tempfile() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("mimicd-peers-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}
