//! A refiner in a model's manifest: what it may do to triangulated keypoints, what it may not, and what is refused.
//!
//! The graphs are those of `training/pose/fixtures.py`: the network sees the brightest and the darkest place, the refiner
//! gives fixed offsets.

#[path = "support/two_spots.rs"]
mod two_spots;

use std::path::Path;

use mimicd::pose::{PoseConfig, PoseEstimate, PoseStage};
use mimicd_device::{Frame, Integrity};
use nalgebra::Vector3;
use two_spots::{calibration, fixture};

const LIMIT_MM: f64 = 10.0;

/// A stage of the two-keypoint network with this refiner section, or why it was refused.
fn load(refiner: &str, is_refined: bool) -> Result<PoseStage, String> {
    let peaks = "kind = \"peaks\"";
    let text = format!(
        "name = \"pair\"\nkind = \"multiview\"\nkeypoints = [\"bright\", \"dark\"]\n[crop]\nwidth_m = 0.3\n\
         [network]\nfile = {:?}\nwidth_px = 128\nheight_px = 128\n\
         [network.decode]\n{peaks}\npositions = \"peaks\"\nvalues = \"peak_vals\"\n\
         [coarse]\nfile = {:?}\nwidth_px = 128\nheight_px = 128\n\
         [coarse.decode]\n{peaks}\npositions = \"centroids\"\nvalues = \"centroid_vals\"\ninstances = 3\n{refiner}",
        fixture("sleap_centered_instance.onnx"),
        fixture("sleap_centroid.onnx"),
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pair.toml");
    std::fs::write(&path, text).unwrap();
    let config = PoseConfig { refine: is_refined, ..PoseConfig::with_model(path) };
    PoseStage::load(&config, &calibration()).map_err(|error| error.to_string())
}

fn section(file: &str) -> String {
    format!("[refiner]\nfile = {:?}\naxis = [\"bright\", \"dark\"]\nlimit_mm = {LIMIT_MM}\n", fixture(file))
}

/// What every camera sees of a bright and, unless it is hidden, a dark spot.
fn frames(is_dark_hidden: bool) -> Vec<Frame> {
    let (bright, dark) = (Vector3::new(0.05, -0.04, 0.05), Vector3::new(0.05, 0.03, 0.06));
    // Nothing darker than 230 counts as dark: the network's threshold is a fifth of full scale.
    let (grey, black) = if is_dark_hidden { (230, 230) } else { (128, 0) };
    two_spots::frames(grey, &[(bright, 255), (dark, black)])
}

fn estimate(stage: &mut PoseStage, frames: &[Frame]) -> PoseEstimate {
    let mut out = stage.blank();
    stage.estimate(&frames.iter().map(Some).collect::<Vec<_>>(), &mut out);
    out
}

/// The same frames without and with the refiner of this file.
fn pair(file: &str, is_dark_hidden: bool) -> (PoseEstimate, PoseEstimate) {
    let frames = frames(is_dark_hidden);
    let run = |is_refined| estimate(&mut load(&section(file), is_refined).unwrap(), &frames);
    (run(false), run(true))
}

#[test]
fn a_correction_is_in_the_animals_frame_bounded_and_told_from_what_was_triangulated() {
    let (raw, refined) = pair("refiner.onnx", false);
    let [bright, dark] = [0, 1].map(|k| Vector3::from(raw.keypoints[k].xyz_m));
    let mut ahead = dark - bright;
    ahead.z = 0.0;
    let ahead = ahead.normalize();
    let left = Vector3::new(-ahead.y, ahead.x, 0.0);
    let wanted = [left * 3e-3, (ahead * 0.6 - Vector3::z() * 0.8) * LIMIT_MM * 1e-3];
    for ((before, after), wanted) in raw.keypoints.iter().zip(&refined.keypoints).zip(wanted) {
        let moved = Vector3::from(after.xyz_m) - Vector3::from(before.xyz_m);
        assert!(before.confidence > 0.5 && (moved - wanted).norm() < 1e-6, "moved by {moved}, expected {wanted}");
        assert!((after.triangulated_m() - Vector3::from(before.xyz_m)).norm() < 1e-9);
        assert_eq!(before.correction_m, [0.0; 3]);
        let rest = |k: &mimicd::pose::Keypoint| (k.confidence, k.views, k.residual_px, k.covariance_m2);
        assert_eq!(rest(before), rest(after), "all else is the triangulation's");
    }
    assert_eq!(raw.integrity, refined.integrity);
}

#[test]
fn a_correction_that_is_not_a_number_corrects_nothing_and_is_flagged() {
    let (raw, refined) = pair("refiner_nan.onnx", false);
    assert_eq!(raw.keypoints[1], refined.keypoints[1]);
    assert!(refined.keypoints[0].correction_m != [0.0; 3], "the other one is corrected");
    assert_eq!(refined.integrity, raw.integrity | Integrity::NOT_FINITE);
}

#[test]
fn an_animal_without_its_axis_stays_as_it_was_triangulated() {
    let (raw, refined) = pair("refiner.onnx", true);
    assert!(raw.keypoints[0].confidence > 0.0 && raw.keypoints[1].confidence == 0.0, "{:?}", raw.keypoints);
    assert_eq!(raw.keypoints, refined.keypoints);
    assert_eq!(raw.integrity, refined.integrity);
}

#[test]
fn a_refiner_that_does_not_fit_is_refused_by_name() {
    let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pose-twin/refiner.onnx");
    let good = section("refiner.onnx");
    for (section, wanted) in [
        (good.replace("limit_mm = 10", "limit_mm = 0"), ["refiner.limit_mm: 0", "0.1 to 50"]),
        (good.replace("\"dark\"]", "\"bright\"]"), ["refiner.axis", "keypoints bright, dark"]),
        (good.replace("\"dark\"]", "\"Snout\"]"), ["\"Snout\"", "keypoints bright, dark"]),
        (section("none.onnx"), ["refiner.file", "no such file"]),
        (good.replace("limit_mm", "limit"), ["limit", "expected"]),
        (good.replace(&format!("{:?}", fixture("refiner.onnx")), &format!("{twin:?}")), ["[1, 23, 4]", "[1, 2, 4]"]),
        (section("rtmpose.onnx"), ["input \"points\"", "the file offers \"input\""]),
    ] {
        let message = load(&section, true).err().unwrap_or_else(|| panic!("must be refused: {section}"));
        assert!(wanted.iter().all(|part| message.contains(part)), "{wanted:?} not in {message}");
    }
    assert!(load(&section("rtmpose.onnx"), false).is_ok(), "a refiner that is switched off is not opened");
}
