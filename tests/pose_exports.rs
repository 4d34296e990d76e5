//! Networks shaped like the exports that labs bring (`training/pose/fixtures.py`), through manifest, graph and decoder.
//!
//! Map 0 of each graph peaks at the brightest place of the image, map 1 at the darkest.

use std::path::{Path, PathBuf};

use mimicd::geometry::Calibration;
use mimicd::pose::{CropBox, Detector, DetectorOptions, NetworkSpec, PoseConfig, PoseError, PoseStage, TrackState};
use mimicd_device::{CameraIndex, Frame, FrameGeometry, PixelFormat};
use nalgebra::Vector3;

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
fn the_mean_of_a_whole_map_and_its_spread() {
    let decode = "[decode]\nkind = \"heatmap\"\noutput = \"heatmaps\"\nresponse = \"probability\"\nrefine = \"whole\"";
    let size = format!("width_px = 128\nheight_px = 128\n{IMAGENET}{decode}");
    // The bright spot covers cells 10 and 11: the mean lies between them, and the spread along x is half a cell of 4 px,
    // along an axis on average 4 * 0.5 / sqrt(2) px.
    let frame = frame(300, 200, (40 + 40, 20 + 80), (40 + 80, 20 + 40), 4);
    let mut wide = frame.clone();
    for row in 100..104 {
        wide.pixels[row * 300 + 84..][..4].fill(255);
    }
    let sure = spec("lightning_pose.onnx", &size);
    let found = see(&sure, &wide);
    assert_near(found[0], 83.5, 101.5, 0.05);
    assert_near(found[1], 121.5, 61.5, 0.05);
    let spread = "\nspread = { sure_px = 0.0, half_px = 1.4142135 }";
    let found = see(&spec("lightning_pose.onnx", &format!("{size}{spread}")), &wide);
    assert!((found[0][2] - 0.5).abs() < 0.01 && found[1][2] > 0.99, "{found:?}");
    let message = toml_fault("lightning_pose.onnx", &size.replace("probability", "sigmoid"));
    assert!(message.contains("refine = \"whole\"") && message.contains("sum to one"), "{message}");
}

/// What a whole manifest around this network is refused with.
fn toml_fault(file: &str, network: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.toml");
    let network = network.replace("[decode]", "[network.decode]");
    let head = "name = \"m\"\nkind = \"multiview\"\nkeypoints = [\"a\", \"b\"]\n[crop]\nwidth_m = 0.3\n[network]\n";
    std::fs::write(&path, format!("{head}file = {:?}\n{network}", fixture(file))).unwrap();
    mimicd::pose::Manifest::load(&path).unwrap_err().to_string()
}

#[test]
fn inspection_drafts_a_manifest_for_each_kind_of_export() {
    for (file, wanted) in [
        (
            "lightning_pose.onnx",
            &["\"heatmap\"", "output = \"heatmaps\"", "width_px = 128", "channels = 3", "sd = [0.229"][..],
        ),
        ("deeplabcut.onnx", &["\"heatmap_offsets\"", "output = \"heatmap\"", "offsets = \"locref\""][..]),
        ("rtmpose.onnx", &["\"simcc\"", "x = \"simcc_x\"", "bins_per_px = 2.0", "width_px = 96"][..]),
        ("sleap.onnx", &["\"peaks\"", "positions = \"peaks\"", "values = \"peak_vals\"", "instances = 1"][..]),
        ("sleap_centroid.onnx", &["\"peaks\"", "positions = \"centroids\"", "instances = 3"][..]),
        ("sleap_centered_instance.onnx", &["\"peaks\"", "positions = \"peaks\"", "instances = 1"][..]),
        ("sleap_topdown.onnx", &["\"peaks\"", "values = \"peak_vals\"", "instances = 2", "\"kp1\""][..]),
    ] {
        let text = mimicd::pose::inspect(&fixture(file)).unwrap();
        for part in wanted {
            assert!(text.contains(part), "{file}: no {part} in\n{text}");
        }
        assert!(text.contains("# inputs") && text.contains("batch"), "{text}");
        // The draft is a manifest as it stands: it loads beside its file and the graph takes it.
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(fixture(file), folder.path().join(file)).unwrap();
        let path = folder.path().join("draft.toml");
        std::fs::write(&path, &text).unwrap();
        let manifest = mimicd::pose::Manifest::load(&path).unwrap();
        Detector::load(&manifest.network, manifest.keypoints.len(), DetectorOptions::default()).unwrap();
    }
    assert!(matches!(mimicd::pose::inspect(&fixture("missing.onnx")), Err(PoseError::Graph { .. })));
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

const CENTERED: &str =
    "width_px = 128\nheight_px = 128\n[decode]\nkind = \"peaks\"\npositions = \"peaks\"\nvalues = \"peak_vals\"";

#[test]
fn sleap_centred_instance_and_top_down_give_the_animals_peaks() {
    let top_down = format!("{CENTERED}\ninstances = 2");
    for (file, manifest) in [("sleap_centered_instance.onnx", CENTERED), ("sleap_topdown.onnx", &top_down)] {
        let spec = spec(file, manifest);
        let found = see(&spec, &frame(300, 200, (40 + 40, 20 + 80), (40 + 80, 20 + 40), 4));
        // A stride of 4: column 10 is pixel 40 of the crop, as sleap-nn counts, not the cell's middle.
        assert_near(found[0], 80.0, 100.0, 0.01);
        assert_near(found[1], 120.0, 60.0, 0.01);
        let mut dim = frame(300, 200, (80, 100), (120, 60), 4);
        dim.pixels.iter_mut().for_each(|pixel| *pixel /= 8);
        assert_eq!(see(&spec, &dim)[0][2], 0.0, "{file}: under the graph's threshold is missing");
    }
    // One instance of two is refused with the shape that the file gives.
    assert!(refusal(&spec("sleap_topdown.onnx", CENTERED), 2).contains("[1, 2, 2, 2]"));
}

/// The pair of networks that SLEAP's top-down training gives, as one manifest: the centroid finds the animal in whole
/// views, the centred instance its keypoints in the crops around it, and both are triangulated.
#[test]
fn sleap_centroid_and_centred_instance_follow_an_animal_in_three_dimensions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let calibration = Calibration::load(&root.join("configs/twin-calibration.toml")).unwrap();
    let centroid = "[coarse]\nwidth_px = 128\nheight_px = 128\n[coarse.decode]\nkind = \"peaks\"\n\
                    positions = \"centroids\"\nvalues = \"centroid_vals\"\ninstances = 3";
    let (network, fine, coarse) = (
        CENTERED.replace("[decode]", "[network.decode]"),
        fixture("sleap_centered_instance.onnx"),
        fixture("sleap_centroid.onnx"),
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pair.toml");
    let text = format!(
        "name = \"pair\"\nkind = \"multiview\"\nkeypoints = [\"bright\", \"dark\"]\n[crop]\nwidth_m = 0.3\n[network]\n\
         file = {fine:?}\n{network}\n{}\n",
        centroid.replace("[coarse]\n", &format!("[coarse]\nfile = {coarse:?}\n"))
    );
    std::fs::write(&path, text).unwrap();
    let mut stage = PoseStage::load(&PoseConfig::with_model(path), &calibration).unwrap();
    let mut out = stage.blank();
    for step in 0..5 {
        let bright = Vector3::new(0.05 + 0.01 * f64::from(step), -0.04, 0.05);
        let dark = bright + Vector3::new(0.03, 0.04, 0.01);
        let frames: Vec<Frame> = calibration
            .cameras
            .iter()
            .map(|camera| {
                let corner = |point: &Vector3<f64>, size: f64| {
                    let pixel = camera.project(point).unwrap();
                    ((pixel.x - size / 2.0).round() as usize, (pixel.y - size / 2.0).round() as usize)
                };
                frame(camera.width_px, camera.height_px, corner(&bright, 13.0), corner(&dark, 13.0), 13)
            })
            .collect();
        stage.estimate(&frames.iter().map(Some).collect::<Vec<_>>(), &mut out);
        for (keypoint, truth) in out.keypoints.iter().zip([bright, dark]) {
            let error_mm = (Vector3::from(keypoint.xyz_m) - truth).norm() * 1e3;
            // Cells are 7 px of the view wide, about 10 mm, and their corners are given.
            assert!(error_mm < 14.0 && keypoint.confidence > 0.5, "step {step}: {error_mm} mm, {keypoint:?}");
        }
    }
    assert_eq!(out.state, TrackState::Tracking);
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

/// An 8-bit PNG as a grey frame.
fn read_png(path: &Path) -> Frame {
    let mut decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let geometry = FrameGeometry { width_px: info.width, height_px: info.height, format: PixelFormat::Mono8 };
    let mut frame = Frame::blank(CameraIndex(0), geometry);
    let samples = info.color_type.samples();
    let values = bytes.chunks_exact(samples).map(|pixel| {
        let colours = &pixel[..samples.min(3)];
        (colours.iter().map(|&v| u32::from(v)).sum::<u32>() / colours.len() as u32) as u8
    });
    frame.pixels.iter_mut().zip(values).for_each(|(to, from)| *to = from);
    frame
}

#[test]
fn keypoints_of_real_images_that_were_held_out_lie_within_six_pixels() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (data, model) = (root.join("../shared/data/mirror_mouse"), root.join("models/pose-mirror-mouse/pose.toml"));
    if !data.is_dir() {
        println!("skipped: {} is not there", data.display());
        return;
    }
    let manifest = mimicd::pose::Manifest::load(&model).unwrap();
    let mut detector = Detector::load(&manifest.network, manifest.keypoints.len(), DetectorOptions::default()).unwrap();
    let table = std::fs::read_to_string(data.join("CollectedData.csv")).unwrap();
    let names: Vec<&str> = table.lines().nth(1).unwrap().split(',').skip(1).step_by(2).collect();
    assert_eq!(names, manifest.keypoints);
    let mut rows: Vec<&str> = table.lines().skip(3).collect();
    rows.sort_unstable();
    let (mut all, mut sure) = (Vec::new(), Vec::new());
    // Every fifth was held out by `training/pose/real.py`.
    for row in rows.iter().step_by(5) {
        let cells: Vec<&str> = row.split(',').collect();
        let frame = read_png(&data.join(cells[0]));
        let crop = CropBox::whole(frame.geometry.width_px, frame.geometry.height_px);
        assert!(detector.look(0, &frame, &crop));
        detector.run().unwrap();
        for (keypoint, place) in cells[1..].chunks_exact(2).enumerate() {
            let (Ok(x), Ok(y)) = (place[0].parse::<f32>(), place[1].parse::<f32>()) else { continue };
            let [found_x, found_y, confidence] = detector.keypoint_px(0, keypoint, &crop).unwrap();
            let error_px = (found_x - x).hypot(found_y - y);
            all.push(error_px);
            if confidence >= 0.5 {
                sure.push(error_px);
            }
        }
    }
    let median = |values: &mut Vec<f32>| {
        values.sort_by(f32::total_cmp);
        values[values.len() / 2]
    };
    let (count, of_all, of_sure) = (all.len(), median(&mut all), median(&mut sure));
    println!("{count} held-out keypoints: median {of_all:.2} px; {} sure ones: median {of_sure:.2} px", sure.len());
    assert!(count > 200 && of_all <= 6.0 && of_sure <= of_all, "median {of_all} px, of the sure ones {of_sure} px");
}
