//! The real five-camera video, replayed: in step as it was recorded, and found out of step where a fault was put in.

use std::path::{Path, PathBuf};

use mimicd::config::{RecordConfig, VideoCodec};
use mimicd::geometry::Calibration;
use mimicd::pipeline::{VideoFault, VideoReplay, VideoReport, VideoSource};
use mimicd::record::verify;

/// Camera of the calibration and letter in the name of its file.
const CAMERAS: [(&str, char); 5] =
    [("cam1_params", 'R'), ("cam2_params", 'L'), ("cam3_params", 'E'), ("cam4_params", 'U'), ("cam5_params", 'S')];
const SETS: u64 = 700;

fn videos() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mouse_cylinder_5cam");
    if !folder.is_dir() {
        println!("skipped: the five-camera video is not on this machine");
        return None;
    }
    let probe = std::process::Command::new("ffprobe").arg("-version").output();
    if probe.is_err() {
        println!("skipped: ffmpeg is not installed (run `cargo xtask setup`)");
        return None;
    }
    Some(folder)
}

fn replay(folder: &Path, faults: &[(char, VideoFault)]) -> VideoReport {
    let recordings = tempfile::tempdir().expect("a folder for the recording");
    let file_of = |letter: char| {
        let files = std::fs::read_dir(folder).expect("the folder reads").filter_map(|entry| Some(entry.ok()?.path()));
        let prefix = format!("Camera{letter}__");
        let mut own = files.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&prefix)));
        own.next().expect("each camera has a file")
    };
    let sources = CAMERAS.iter().map(|(name, letter)| VideoSource {
        name: (*name).to_owned(),
        file: file_of(*letter),
        fault: faults.iter().find(|(camera, _)| camera == letter).map(|(_, fault)| *fault),
    });
    let replay = VideoReplay {
        sources: sources.collect(),
        calibration: Some(Calibration::load(folder).expect("the calibration loads")),
        rate_hz: 100.0,
        frames_max: SETS,
        record: RecordConfig {
            folder: recordings.path().to_owned(),
            video: VideoCodec::None,
            disk_margin_bytes: 0,
            refuse_below_minutes: 0,
            ..RecordConfig::default()
        },
    };
    let report = replay.run(|_| ()).expect("the videos replay");
    let verified = verify(&report.folder).expect("the dataset verifies");
    assert_eq!(verified.problems, Vec::<String>::new());
    report
}

#[test]
fn the_real_rig_is_in_step() {
    let Some(folder) = videos() else { return };
    let report = replay(&folder, &[]);
    println!("{report:?}");
    assert!(report.is_aligned(), "a hardware-synchronised rig is in step");
    assert_eq!((report.sets, report.partial), (SETS, 0));
    assert!(report.cameras.iter().all(|camera| camera.unproved == 0), "the mouse moves in every window");
    let residuals = report.cameras.iter().filter_map(|camera| camera.residual_px);
    assert!(residuals.clone().count() == 5 && residuals.clone().all(|px| px < 20.0), "movement meets in one place");
}

#[test]
fn skipped_and_repeated_frames_are_found_in_the_right_camera() {
    let Some(folder) = videos() else { return };
    let faults = [('L', VideoFault::Skip { at: 300, count: 2 }), ('U', VideoFault::Repeat { at: 211 })];
    let report = replay(&folder, &faults);
    assert!(!report.is_aligned());
    assert_eq!(report.repeated, [("cam4_params".to_owned(), 212)]);
    for camera in &report.cameras {
        let lags: Vec<i32> = camera.shifted.iter().map(|(_, lag)| *lag).collect();
        match camera.name.as_str() {
            "cam2_params" => assert!(lags.contains(&-2) && lags.iter().all(|lag| *lag == -2), "{camera:?}"),
            "cam4_params" => assert!(lags.contains(&1) && lags.iter().all(|lag| *lag == 1), "{camera:?}"),
            _ => assert!(lags.is_empty(), "an undisturbed camera is not accused: {camera:?}"),
        }
    }
}
