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
        (
            "exposure_bits = [1, 2, 3, 4, 5, 6]",
            "exposure_bits = [0, 2, 3, 4, 5, 64]",
            "array.A.exposure_bits = [0, 2, 3, 4, 5, 64]: expected bits 0 to 15, each once and none of them the trigger's (0)",
        ),
        (
            "name = \"B\"\nbackend = \"twin\"",
            "name = \"B\"\nbackend = \"rhx\"\ndevice = \"rig:x\"",
            "array.B.device = rig:x: expected host, host:port or host:port/PORTS",
        ),
        ("calibration = \"twin-calibration.toml\"", "calibration = \"no.toml\"", "no.toml\": no such file"),
    ];
    for (from, to, expected) in cases {
        let text = refusal(from, to);
        assert!(text.contains(expected), "{to:?} gave\n{text}\nexpected to contain\n{expected}");
    }
}

#[test]
fn two_arrays_of_one_rhx_are_refused() {
    let path = configs().join("twin.toml");
    let text = fs::read_to_string(&path).expect("the preset is there");
    let with = |a: &str, b: &str| {
        let array = |name: &str, device: &str| {
            let before = format!("name = \"{name}\"\nbackend = \"twin\"");
            (before, format!("name = \"{name}\"\nbackend = \"rhx\"\ndevice = \"{device}\""))
        };
        let ((from_a, to_a), (from_b, to_b)) = (array("A", a), array("B", b));
        assert!(text.contains(&from_a) && text.contains(&from_b), "the preset has two arrays of the twin");
        Config::parse(&text.replacen(&from_a, &to_a, 1).replacen(&from_b, &to_b, 1), &path)
    };
    let errors = with("10.0.0.7/AB", "10.0.0.7:5000/CD").expect_err("one RHX").to_string();
    assert!(errors.contains("array.B.device") && errors.contains("than that of array A"), "{errors}");
    assert!(with("10.0.0.7/AB", "10.0.0.8/AB").is_ok(), "two computers");
    assert!(with("10.0.0.7:5000/AB", "10.0.0.7:5010/AB").is_ok(), "two programs");
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
