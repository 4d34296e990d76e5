//! Every preset loads; every broken file is refused with one clear line for each thing that is wrong.

#[path = "support/set_up.rs"]
mod set_up;

use std::fs;
use std::path::{Path, PathBuf};

use mimicd::config::Config;
use set_up::is_set_up;

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs")
}

/// The twin preset with `from` replaced by `to`, parsed; the error text without its file line.
fn refusal(from: &str, to: &str) -> String {
    let path = configs().join("twin.toml");
    let text = fs::read_to_string(&path).expect("the preset is there");
    assert!(text.contains(from), "the preset has no {from:?}");
    match Config::parse(&text.replacen(from, to, 1), &path) {
        Ok(_) => panic!("{to:?} was accepted"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn every_preset_loads() {
    if !is_set_up() {
        return;
    }
    let mut count = 0;
    for entry in fs::read_dir(configs()).expect("configs is there") {
        let path = entry.expect("an entry").path();
        let is_rig = fs::read_to_string(&path).is_ok_and(|text| text.contains("[rig]"));
        if is_rig {
            Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
            count += 1;
        }
    }
    assert!(count > 0, "no preset was found");
}

#[test]
fn broken_values_are_named_with_what_was_expected() {
    let cases = [
        ("frame_rate_hz = 50.0", "frame_rate_hz = 0.0", "rig.frame_rate_hz = 0: expected 1 to 1000"),
        ("frame_rate_hz = 50.0", "frame_rate_hz = nan", "rig.frame_rate_hz = NaN: expected 1 to 1000"),
        ("name = \"cam1\"", "name = \"cam2\"", "camera.name = \"cam2\": expected a name that is used once"),
        ("name = \"cam1\"", "name = \"../x\"", "camera.name = \"../x\": expected 1 to 64 letters, digits, '-' or '_'"),
        (
            "channels = 128",
            "channels = 130",
            "array.A.channels = 130: expected a multiple of 4 (tetrodes) from 4 to 4096",
        ),
        (
            "exposure_bits = [1, 2, 3, 4, 5, 6]",
            "exposure_bits = [1]",
            "array.A.exposure_bits = [1]: expected one bit for each of the 6 cameras, or none",
        ),
        ("calibration = \"twin-calibration.toml\"", "calibration = \"no.toml\"", "no.toml\": no such file"),
    ];
    for (from, to, expected) in cases {
        let text = refusal(from, to);
        assert!(text.contains(expected), "{to:?} gave\n{text}\nexpected to contain\n{expected}");
    }
}

#[test]
fn unknown_keys_and_sections_are_refused_by_name() {
    let key = refusal("frame_rate_hz = 50.0", "frame_rate = 50.0");
    assert!(key.contains("frame_rate") && key.contains("frame_rate_hz"), "{key}");
    let section = refusal("[pose]", "[poses]");
    assert!(section.contains("poses"), "{section}");
}

#[test]
fn all_errors_come_at_once() {
    let path = configs().join("twin.toml");
    let text = fs::read_to_string(&path).expect("the preset is there");
    let broken = text
        .replacen("frame_rate_hz = 50.0", "frame_rate_hz = 5000.0", 1)
        .replacen("channels = 128", "channels = 3", 1)
        .replacen("width_px = 640", "width_px = 0", 1);
    let errors = Config::parse(&broken, &path).expect_err("three things are wrong");
    assert!(errors.errors().len() >= 3, "{errors}");
}
