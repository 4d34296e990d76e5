//! Geometry against recordings of real rigs. Skips, with a line, where the recordings are absent.

#[path = "support/npz.rs"]
mod npz;

use std::path::{Path, PathBuf};

use mimicd::geometry::{
    Calibration, CameraModel, Observation, RigidTransform, TriangulationOptions, triangulate_dlt, triangulate_robust,
};
use nalgebra::{Matrix3, Vector2, Vector3};

fn shared(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(file);
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
    }
    path.exists().then_some(path)
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q) as usize]
}

#[test]
fn a_real_rat_rig_round_trips() {
    let Some(path) = shared("rat_rig_calibration/rat_rig_6cam_label3d.mat") else { return };
    let calibration = Calibration::load(&path).unwrap();
    assert_eq!(calibration.cameras.len(), 6);
    assert_eq!(calibration.cameras[0].name, "Camera1");
    let frames = calibration.cameras.iter().map(|c| (c.name.as_str(), 1920, 1200));
    let rig = calibration.for_frames(frames).unwrap();
    let mut worst = 0.0f64;
    for camera in &rig.cameras {
        let centre = camera.centre_m();
        assert!((0.3..0.5).contains(&centre.z) && (0.9..1.3).contains(&centre.norm()), "{centre}");
        for (u, v) in (0..40).flat_map(|i| (0..25).map(move |j| (f64::from(i) * 48.0, f64::from(j) * 48.0))) {
            let pixel = Vector2::new(u, v);
            let (origin, direction) = camera.ray(&pixel).unwrap();
            worst = worst.max((camera.project(&(origin + direction)).unwrap() - pixel).norm());
        }
    }
    println!("rat rig: pixel -> ray -> pixel is off by at most {worst:.1e} px");
    assert!(worst <= 1e-6);
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("rig.toml");
    rig.save(&ours).unwrap();
    assert_eq!(Calibration::load(&ours).unwrap(), rig, "our TOML keeps every bit");
    let unknown = rig.for_frames([("Camera9", 1920, 1200)]).unwrap_err().to_string();
    assert!(unknown.contains("Camera9") && unknown.contains("Camera6"), "{unknown}");
    assert!(rig.for_frames([("Camera1", 1000, 1000)]).is_err());
}

#[test]
fn labels_of_the_rat_rig_reproject() {
    let Some(path) = shared("rat_rig_calibration/rat_rig_6cam_label3d.mat") else { return };
    let rig = Calibration::load(&path).unwrap();
    let file = mimicd::geometry::mat::MatFile::open(&path).unwrap();
    let labels = file.get("labelData").unwrap().cells().unwrap();
    let mut errors_px = Vec::new();
    for (camera, label) in rig.cameras.iter().zip(labels) {
        let flat = label.field("data_2d", 0).unwrap().numbers().unwrap();
        let solid = label.field("data_3d", 0).unwrap().numbers().unwrap();
        for (frame, joint) in (0..8).flat_map(|f| (0..23).map(move |j| (f, j))) {
            let point = Vector3::from_fn(|i, _| solid.at(&[frame, joint * 3 + i]).unwrap()) * 1e-3;
            let label = Vector2::from_fn(|i, _| flat.at(&[frame, joint * 2 + i]).unwrap());
            if label.iter().all(|v| v.is_finite()) && point.iter().all(|v| v.is_finite()) {
                errors_px.push((camera.project(&point).unwrap() - label).norm());
            }
        }
    }
    let median = quantile(&mut errors_px, 0.5);
    println!("rat rig labels: {} reproject with a median of {median:.2} px", errors_px.len());
    assert!(errors_px.len() > 500 && median < 5.0);
}

#[test]
fn the_five_camera_rig_agrees_with_its_pairwise_file() {
    let (Some(folder), Some(json)) = (shared("mouse_cylinder_5cam"), shared("mouse_cylinder_5cam/com_first40.json"))
    else {
        return;
    };
    let mut rig = Calibration::load(&folder).unwrap();
    for camera in &mut rig.cameras {
        let letter = match camera.name.as_str() {
            "cam1_params" => "R",
            "cam2_params" => "L",
            "cam3_params" => "E",
            "cam4_params" => "U",
            "cam5_params" => "S",
            other => panic!("unexpected camera {other}"),
        };
        camera.name = format!("Camera{letter}");
    }
    let frames: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let options = TriangulationOptions { outlier_px: 12.0, ..Default::default() };
    let mut errors_mm = Vec::new();
    for frame in frames.as_object().unwrap().values() {
        let views: Vec<_> = rig
            .cameras
            .iter()
            .map(|camera| Observation {
                pixel: Vector2::from_fn(|i, _| frame["com_px"][&camera.name][i].as_f64().unwrap()),
                confidence: frame["confidence"][&camera.name].as_f64().unwrap(),
            })
            .collect();
        let Some(found) = triangulate_robust(&rig.cameras, &views, &options) else { continue };
        let pairs: Vec<_> = frame["pairwise_xyz_mm"].as_object().unwrap().values().collect();
        // The centre of the pairs: the median of each coordinate.
        let centre = Vector3::from_fn(|i, _| {
            let mut values: Vec<f64> = pairs.iter().map(|p| p[i].as_f64().unwrap()).collect();
            quantile(&mut values, 0.5)
        });
        errors_mm.push((found.xyz_m * 1e3 - centre).norm());
    }
    let (count, worst) = (errors_mm.len(), errors_mm.iter().fold(0.0f64, |a, &b| a.max(b)));
    println!("five-camera rig: {count} frames, centre of mass off by at most {worst:.2} mm");
    assert!(count >= 38 && quantile(&mut errors_mm, 0.95) <= 2.0);
}

#[test]
fn robust_triangulation_beats_the_plain_one_on_real_detections() {
    let Some(path) = shared("mouse_6cam_detections/com_6cam_1000_frames.npz") else { return };
    let arrays = npz::read(&path);
    let cameras: Vec<CameraModel> = (1..=6)
        .map(|i| {
            let get = |field: &str| arrays[&format!("cam{i}_{field}")].data.clone();
            CameraModel {
                name: format!("Camera{i}"),
                width_px: 1320,
                height_px: 1048,
                k: Matrix3::from_row_slice(&get("K")).transpose(),
                distortion: [0.0; 5], // the detections are undistorted already
                cam_from_world: RigidTransform {
                    rotation: Matrix3::from_row_slice(&get("r")).transpose(),
                    translation_m: Vector3::from_row_slice(&get("t")) * 1e-3,
                },
            }
        })
        .collect();
    let (com, confidence) = (&arrays["com_px_undistorted"].data, &arrays["confidence"].data);
    // The centre of a mouse is not a point: views of it scatter by several pixels without being wrong.
    let options = TriangulationOptions { outlier_px: 16.0, ..Default::default() };
    let error_px = |xyz: &Vector3<f64>, view: usize, pixel: &Vector2<f64>| {
        cameras[view].project(xyz).map_or(f64::MAX, |p| (p - pixel).norm())
    };
    let (mut plain, mut robust, mut used, mut refused, mut named) = (Vec::new(), Vec::new(), Vec::new(), 0, [0; 6]);
    for frame in 0..1000 {
        let views: Vec<_> = (0..6)
            .map(|v| Observation {
                pixel: Vector2::new(com[(frame * 6 + v) * 2], com[(frame * 6 + v) * 2 + 1]),
                confidence: if com[(frame * 6 + v) * 2].is_finite() { confidence[frame * 6 + v] } else { 0.0 },
            })
            .collect();
        let Some(dlt) = triangulate_dlt(&cameras, &views) else { continue };
        let Some(found) = triangulate_robust(&cameras, &views, &options) else {
            refused += 1;
            continue;
        };
        for v in (0..6).filter(|&v| views[v].confidence > 0.0) {
            plain.push(error_px(&dlt, v, &views[v].pixel));
            robust.push(error_px(&found.xyz_m, v, &views[v].pixel));
            named[v] += u32::from(found.rejected >> v & 1 == 1);
            if found.views >> v & 1 == 1 {
                used.push(error_px(&found.xyz_m, v, &views[v].pixel));
            }
        }
    }
    let row = |values: &mut [f64]| (quantile(values, 0.5), quantile(values, 0.95));
    let (plain_px, robust_px, used_px) = (row(&mut plain), row(&mut robust), row(&mut used));
    println!(
        "six-camera detections, reprojection (median, p95) px over all {} detections: plain DLT {plain_px:.2?}, robust \
         {robust_px:.2?}; over the {} it trusts {used_px:.2?}; outliers by camera {named:?}; {refused} frames refused",
        plain.len(),
        used.len(),
    );
    assert!(robust_px.0 < 0.9 * plain_px.0 && used_px.0 < 0.8 * plain_px.0 && used_px.1 < plain_px.1 && refused < 50);
}
