//! Volumetric graphs of a lab's own: what `training/pose/dannce.py` makes of a DANNCE network runs from its manifest, with the
//! volume's axes, the cameras' order and missing views as in training; what does not fit is refused.
//!
//! The network of the fixture (`training/pose/fixtures.py`) is DANNCE's, two channels wide, with weights set by hand: keypoint 0
//! is what most views show bright, keypoint 1 what they show dark, both one voxel of 10 mm further along y than seen.

#[path = "support/two_spots.rs"]
mod two_spots;

use std::path::Path;

use mimicd::pose::{PoseConfig, PoseEstimate, PoseStage};
use mimicd_device::Frame;
use nalgebra::Vector3;
use two_spots::{calibration, fixture};

const VOXEL_M: f64 = 0.01;
/// Half a voxel and what a pixel of the crop (2.3 mm) leaves open, along each axis.
const NEAR_M: f64 = 0.011;

const DECODE: &str = "kind = \"volume\"\ncameras = \"cameras\"\ncentre = \"centre\"\npresent = \"present\"\n\
                      positions = \"keypoints\"\nconfidence = \"confidence\"\nspread = \"spread\"\nsure = 0.05\n";

/// A stage of the fixture's network with this decode section, for a rig of the first `views` cameras.
fn load(decode: &str, views: usize) -> Result<PoseStage, String> {
    let text = format!(
        "name = \"own\"\nkind = \"volumetric\"\nkeypoints = [\"bright\", \"dark\"]\n[crop]\nwidth_m = 0.3\n\
         [network]\nfile = {:?}\ninput = \"images\"\nwidth_px = 128\nheight_px = 128\nchannels = 3\n\
         scale = 0.00784313725490196\nmean = [1.0]\n[network.decode]\n{decode}\
         [coarse]\nfile = {:?}\nwidth_px = 128\nheight_px = 128\n\
         [coarse.decode]\nkind = \"peaks\"\npositions = \"centroids\"\nvalues = \"centroid_vals\"\ninstances = 3\n",
        fixture("dannce.onnx"),
        fixture("sleap_centroid.onnx"),
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    std::fs::write(&path, text).unwrap();
    let mut calibration = calibration();
    calibration.cameras.truncate(views);
    PoseStage::load(&PoseConfig::with_model(path), &calibration).map_err(|error| error.to_string())
}

fn spots() -> [Vector3<f64>; 2] {
    [Vector3::new(0.05, -0.04, 0.05), Vector3::new(0.0, 0.03, 0.08)]
}

/// What every camera sees of a bright and a dark spot.
fn frames() -> Vec<Frame> {
    let [bright, dark] = spots();
    two_spots::frames(128, &[(bright, 255), (dark, 0)])
}

/// The pose of these frames without the views of `lost`.
fn estimate(stage: &mut PoseStage, frames: &[Frame], lost: &[usize]) -> PoseEstimate {
    let mut out = stage.blank();
    let views: Vec<Option<&Frame>> =
        frames.iter().enumerate().map(|(k, f)| (!lost.contains(&k)).then_some(f)).collect();
    stage.estimate(&views, &mut out);
    out
}

#[test]
fn a_dannce_network_finds_places_in_the_world_with_its_own_axes() {
    let frames = frames();
    for lost in [&[][..], &[1, 4]] {
        let out = estimate(&mut load(DECODE, 6).unwrap(), &frames, lost);
        for (keypoint, spot) in out.keypoints.iter().zip(spots()) {
            let off = Vector3::from(keypoint.xyz_m) - (spot + Vector3::y() * VOXEL_M);
            assert!(off.amax() < NEAR_M && keypoint.confidence > 0.2, "without {lost:?}: {keypoint:?} is {off} off");
            assert!(lost.iter().all(|view| keypoint.views >> view & 1 == 0), "{:b}", keypoint.views);
            let variance = keypoint.covariance_m2[0];
            assert!(variance > 1e-6 && variance < 1e-3, "a spread of {} m", variance.sqrt());
        }
    }
}

#[test]
fn one_view_alone_gives_no_place() {
    let out = estimate(&mut load(DECODE, 6).unwrap(), &frames(), &[0, 1, 2, 3, 4]);
    assert!(out.keypoints.iter().all(|keypoint| keypoint.confidence == 0.0), "{:?}", out.keypoints);
}

#[test]
fn what_does_not_fit_is_refused_with_what_the_file_offers() {
    let seen = format!("{DECODE}views = \"spread\"\n");
    let refiner = format!(
        "{DECODE}[refiner]\nfile = {:?}\naxis = [\"bright\", \"dark\"]\nlimit_mm = 10.0\n",
        fixture("refiner.onnx")
    );
    for (decode, views, wanted) in [
        (DECODE.replace("\"cameras\"", "\"camera\""), 6, ["\"camera\"", "\"cameras\""]),
        (DECODE.replace("spread = \"spread\"", "spread = \"keypoints\""), 6, ["\"keypoints\"", "[2, 1]"]),
        (seen, 6, ["\"spread\"", "[6, 2, 3]"]),
        (refiner, 6, ["refiner.file", "network.decode.views"]),
        (DECODE.replace("sure = 0.05", "sure = 0.0"), 6, ["sure 0", "positive"]),
        (DECODE.to_owned(), 5, ["[6, 3, 128, 128]", "[5, 3, 128, 128]"]),
    ] {
        let message = load(&decode, views).err().unwrap_or_else(|| panic!("must be refused: {decode}"));
        assert!(wanted.iter().all(|part| message.contains(part)), "{wanted:?} not in {message}");
    }
}

#[test]
fn inspection_drafts_a_manifest_that_loads() {
    let text = mimicd::pose::inspect(&fixture("dannce.onnx")).unwrap();
    let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pose-twin/volume.onnx");
    assert!(mimicd::pose::inspect(&twin).unwrap().contains("views = \"seen\""));
    for part in
        ["kind = \"volumetric\"", "cameras = \"cameras\"", "centre = \"centre\"", "present = \"present\"", "\"kp1\""]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("dannce.onnx"), folder.path().join("dannce.onnx")).unwrap();
    let path = folder.path().join("draft.toml");
    std::fs::write(&path, &text).unwrap();
    assert!(PoseStage::load(&PoseConfig::with_model(path), &calibration()).is_ok());
}
