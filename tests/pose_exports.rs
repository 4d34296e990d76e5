//! Networks shaped like the exports that labs bring (`training/pose/fixtures.py`), through manifest, graph and decoder.
//!
//! Map 0 of each graph peaks at the brightest place of the image, map 1 at the darkest.

use std::path::{Path, PathBuf};

use mimicd::pose::{CropBox, Detector, DetectorOptions, NetworkSpec, PoseError};
use mimicd_device::{CameraIndex, Frame, FrameGeometry, PixelFormat};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pose").join(name)
}

fn spec(file: &str, rest: &str) -> NetworkSpec {
    toml::from_str(&format!("file = {:?}\n{rest}", fixture(file))).unwrap()
}

/// ImageNet's normalisation, as torchvision-based tools train with.
const IMAGENET: &str = "channels = 3\nscale = 0.00392156862745098\nmean = [0.0]\nsd = [1.0]\n";

/// A grey frame with a bright and a dark spot, each `size` pixels square, at these top left corners.
fn frame(width: u32, height: u32, bright: (usize, usize), dark: (usize, usize), size: usize) -> Frame {
    let geometry = FrameGeometry { width_px: width, height_px: height, format: PixelFormat::Mono8 };
    let mut frame = Frame::blank(CameraIndex(0), geometry);
    frame.pixels.fill(128);
    for ((x, y), value) in [(bright, 255), (dark, 0)] {
        for row in y..y + size {
            frame.pixels[row * width as usize + x..][..size].fill(value);
        }
    }
    frame
}

/// The two keypoints seen in a frame whose crop is the network's own size, so that pixels map one to one.
fn see(spec: &NetworkSpec, frame: &Frame) -> [[f32; 3]; 2] {
    let mut detector = Detector::load(spec, 2, DetectorOptions::default()).unwrap();
    let crop =
        CropBox { left_px: 39.5, top_px: 19.5, width_px: spec.width_px as f32, height_px: spec.height_px as f32 };
    assert!(detector.look(0, frame, &crop));
    detector.run().unwrap();
    [0, 1].map(|keypoint| detector.keypoint_px(0, keypoint, &crop).unwrap())
}

fn assert_near(found: [f32; 3], x: f32, y: f32, within_px: f32) {
    assert!((found[0] - x).abs() <= within_px && (found[1] - y).abs() <= within_px, "{found:?} is not at {x}, {y}");
    assert!(found[2] > 0.5 && found[2] <= 1.0, "confidence {}", found[2]);
}

#[test]
fn lightning_pose_heat_maps() {
    let spec = spec(
        "lightning_pose.onnx",
        &format!(
            "width_px = 128\nheight_px = 128\n{IMAGENET}[decode]\nkind = \"heatmap\"\noutput = \"heatmaps\"\n\
             response = \"probability\""
        ),
    );
    // Spots cover cells 10 and 20 exactly: their centres are 1.5 px into a four-pixel cell.
    let found = see(&spec, &frame(300, 200, (40 + 40, 20 + 80), (40 + 80, 20 + 40), 4));
    assert_near(found[0], 81.5, 101.5, 0.05);
    assert_near(found[1], 121.5, 61.5, 0.05);
}

#[test]
fn deeplabcut_heat_maps_with_location_refinement() {
    let spec = spec(
        "deeplabcut.onnx",
        &format!(
            "width_px = 128\nheight_px = 128\n{IMAGENET}[decode]\nkind = \"heatmap_offsets\"\noutput = \"heatmap\"\n\
             offsets = \"locref\""
        ),
    );
    let found = see(&spec, &frame(300, 200, (40 + 48, 20 + 72), (40 + 96, 20 + 16), 8));
    // Half a stride to the middle of the cell, then two right and one up from the offsets.
    assert_near(found[0], 40.0 + 48.0 + 4.0 + 2.0, 20.0 + 72.0 + 4.0 - 1.0, 0.01);
    assert_near(found[1], 40.0 + 96.0 + 4.0 + 2.0, 20.0 + 16.0 + 4.0 - 1.0, 0.01);
}

#[test]
fn rtmpose_simcc_rows() {
    let spec = spec(
        "rtmpose.onnx",
        &format!(
            "width_px = 96\nheight_px = 128\n{IMAGENET}[decode]\nkind = \"simcc\"\nx = \"simcc_x\"\ny = \"simcc_y\""
        ),
    );
    let found = see(&spec, &frame(300, 200, (40 + 60, 20 + 100), (40 + 20, 20 + 30), 2));
    assert_near(found[0], 100.0, 120.0, 0.6);
    assert_near(found[1], 60.0, 50.0, 0.6);
}

#[test]
fn sleap_peaks_from_bytes() {
    let decode = "[decode]\nkind = \"peaks\"\npositions = \"peaks\"\nvalues = \"peak_vals\"";
    let spec = spec("sleap.onnx", &format!("width_px = 128\nheight_px = 128\n{decode}"));
    let found = see(&spec, &frame(300, 200, (40 + 40, 20 + 80), (40 + 80, 20 + 40), 4));
    assert_near(found[0], 80.0, 100.0, 0.01);
    assert_near(found[1], 120.0, 60.0, 0.01);
    // A keypoint under the graph's threshold comes as NaN: it is missing, which is no damage.
    let mut dim = frame(300, 200, (80, 100), (120, 60), 4);
    dim.pixels.iter_mut().for_each(|pixel| *pixel /= 8);
    assert_eq!(see(&spec, &dim)[0][2], 0.0);
}

#[test]
fn sleap_centroid_takes_the_best_candidate() {
    let decode = "[decode]\nkind = \"peaks\"\npositions = \"centroids\"\nvalues = \"centroid_vals\"\ninstances = 3";
    let spec = spec("sleap_centroid.onnx", &format!("width_px = 128\nheight_px = 128\n{decode}"));
    let mut detector = Detector::load(&spec, 1, DetectorOptions { views: 2, ..Default::default() }).unwrap();
    let frame = frame(256, 256, (160, 96), (0, 0), 8);
    let crop = CropBox::whole(256, 256);
    detector.cover(0);
    detector.look(1, &frame, &crop);
    detector.run().unwrap();
    let [x, y, confidence] = detector.keypoint_px(1, 0, &crop).unwrap();
    assert!((x - 160.5).abs() < 1.0 && (y - 96.5).abs() < 1.0 && confidence > 0.9, "{x}, {y}, {confidence}");
}

fn refusal(spec: &NetworkSpec, keypoints: usize) -> String {
    match Detector::load(spec, keypoints, DetectorOptions::default()) {
        Err(error @ PoseError::Graph { .. }) => error.to_string(),
        Err(error) => panic!("another refusal: {error}"),
        Ok(_) => panic!("must be refused"),
    }
}

#[test]
fn mismatches_are_refused_with_what_the_file_offers() {
    let maps = "[decode]\nkind = \"heatmap\"\noutput = \"heatmaps\"";
    let good = format!("width_px = 128\nheight_px = 128\nchannels = 3\n{maps}");
    let message = refusal(&spec("lightning_pose.onnx", &good), 23);
    assert!(message.contains("[1, 2, 32, 32]") && message.contains("23"), "{message}");
    let message = refusal(&spec("lightning_pose.onnx", &good.replace("128\nheight", "96\nheight")), 2);
    assert!(message.contains("\"input\" f32 [batch, 3, 128, 128]") && message.contains("96 x 128"), "{message}");
    let message = refusal(&spec("lightning_pose.onnx", &good.replace("channels = 3", "layout = \"nhwc\"")), 2);
    assert!(message.contains("Nhwc"), "{message}");
    let message = refusal(&spec("lightning_pose.onnx", &good.replace("\"heatmaps\"", "\"confmaps\"")), 2);
    assert!(message.contains("confmaps") && message.contains("\"heatmaps\" f32 [batch, 2, 32, 32]"), "{message}");
    let bytes = "width_px = 128\nheight_px = 128\nscale = 0.004\n[decode]\nkind = \"peaks\"\npositions = \"peaks\"\nvalues = \"peak_vals\"";
    let message = refusal(&spec("sleap.onnx", bytes), 2);
    assert!(message.contains("bytes") && message.contains("scale = 1"), "{message}");
    let not_onnx = spec("../../support/npz.rs", &good);
    assert!(refusal(&not_onnx, 2).contains("npz.rs"));
}

#[test]
fn a_blind_view_is_told_from_a_seeing_one() {
    let spec = spec(
        "lightning_pose.onnx",
        &format!("width_px = 128\nheight_px = 128\n{IMAGENET}[decode]\nkind = \"heatmap\"\noutput = \"heatmaps\""),
    );
    let mut detector = Detector::load(&spec, 2, DetectorOptions::default()).unwrap();
    let crop = CropBox::whole(300, 200);
    let mut saturated = frame(300, 200, (80, 100), (120, 60), 4);
    assert!(detector.look(0, &saturated, &crop));
    saturated.pixels.fill(255);
    assert!(!detector.look(0, &saturated, &crop));
    assert!(!detector.look(0, &saturated, &CropBox { left_px: 900.0, top_px: 0.0, width_px: 50.0, height_px: 50.0 }));
}

#[test]
fn numbers_that_are_none_are_reported() {
    let spec = spec(
        "lightning_pose.onnx",
        "width_px = 128\nheight_px = 128\nchannels = 3\nscale = 3e38\nmean = [0.0]\nsd = [1e-30]\n[decode]\nkind = \"heatmap\"\noutput = \"heatmaps\"",
    );
    let mut detector = Detector::load(&spec, 2, DetectorOptions::default()).unwrap();
    let frame = frame(300, 200, (80, 100), (120, 60), 4);
    let crop = CropBox::whole(300, 200);
    detector.look(0, &frame, &crop);
    detector.run().unwrap();
    assert_eq!(detector.keypoint_px(0, 0, &crop), None);
}
