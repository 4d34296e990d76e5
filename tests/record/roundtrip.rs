//! What goes into the recorder comes out of the Parquet files, and nothing else.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::support::{CHANNELS, Feed, arrays, cameras, config, sample, start, tables};
use super::twin::has_ffmpeg;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Float32Type, Int16Type, Int64Type};
use mimicd::config::{RecordConfig, VideoCodec};
use mimicd::record::{Manifest, Recorder, RecordingInfo, verify};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn read(folder: &Path, table: &str) -> Vec<RecordBatch> {
    let mut parts: Vec<_> = std::fs::read_dir(folder.join("tables").join(table))
        .expect("the table has a folder")
        .map(|entry| entry.unwrap().path())
        .collect();
    parts.sort();
    let open = |part: &Path| ParquetRecordBatchReaderBuilder::try_new(File::open(part).unwrap()).unwrap();
    parts.iter().flat_map(|part| open(part).build().unwrap()).map(Result::unwrap).collect()
}

fn column(batches: &[RecordBatch], name: &str) -> Vec<i64> {
    let one = |batch: &RecordBatch| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(one).collect()
}

#[test]
fn every_value_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let mut recorder = start(&config(home.path(), VideoCodec::Raw));
    let mut feed = Feed::new(&mut recorder, 0);
    for step in 0..120 {
        feed.step(&[true, step != 7], step != 50);
        std::thread::sleep(Duration::from_millis(if step % 40 == 0 { 500 } else { 1 }));
    }
    drop(feed);
    let report = recorder.seal().expect("sealed");
    assert_eq!(report.lost, 0);
    let folder = report.folder;
    let manifest = Manifest::open(&folder).unwrap();
    assert!(manifest.sealed_epochs >= 2, "parts are sealed while recording: {}", manifest.sealed_epochs);
    assert!(!folder.join("journal").exists());

    let pose = read(&folder, "pose");
    assert_eq!(column(&pose, "t_ns"), (0..120).map(|t| t * 20_000_000).collect::<Vec<_>>());
    let batch = &pose[0];
    assert_eq!(batch.column_by_name("trigger_index").unwrap().null_count(), batch.num_rows().div_ceil(3));
    let keypoints = batch.column_by_name("keypoints_m").unwrap().as_fixed_size_list();
    assert_eq!(keypoints.value(2).as_primitive::<Float32Type>().value(5), 25.0);
    assert_eq!(batch.column_by_name("label").unwrap().as_string::<i32>().value(4), "row 4");
    let schema = batch.schema();
    assert_eq!(schema.field_with_name("t_ns").unwrap().metadata()["clock"], "rig");
    assert_eq!(schema.field_with_name("keypoints_m").unwrap().metadata()["unit"], "m");

    let ephys = read(&folder, "ephys_A");
    let indices = column(&ephys, "sample_index");
    assert_eq!(indices.len(), 119 * 60);
    for channel in [0, CHANNELS - 1] {
        let name = format!("ch{channel:03}");
        let values: Vec<i16> = ephys
            .iter()
            .flat_map(|b| b.column_by_name(&name).unwrap().as_primitive::<Int16Type>().values().to_vec())
            .collect();
        let wanted: Vec<i16> = indices.iter().map(|&i| sample(i as u64, channel)).collect();
        assert_eq!(values, wanted);
    }
    let missing: Vec<_> = manifest.gaps.iter().map(|g| (g.stream.as_str(), g.first, g.count)).collect();
    assert_eq!(missing, [("ephys_A", Some(1_000 + 50 * 60), Some(60))]);

    let frames = read(&folder, "frames");
    assert_eq!(column(&frames, "counter").len(), 239);
    let counted: Vec<_> = manifest.videos.iter().map(|v| (v.camera.as_str(), v.offered, v.counted)).collect();
    assert_eq!(counted, [("cam0", 120, 120), ("cam1", 119, 119)]);
    let raw = std::fs::read(folder.join("video/cam1.raw")).unwrap();
    assert_eq!((raw.len(), raw[64 * 48 * 7]), (119 * 64 * 48, 24), "frame 7 of camera 1 is that of trigger 8");

    let verdict = verify(&folder).unwrap();
    assert_eq!(verdict.problems, ["cam1: 120 triggers, 119 frames, 0 declared missing, 1 missing undeclared"]);
    assert_eq!(verdict.latency[1].values.count, 120);
    assert_eq!(verdict.sync[0].values.p50, 200.0);
    println!("{verdict}");

    let part = folder.join("tables/pose/part-00000.parquet");
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let verdict = verify(&folder).unwrap();
    assert!(verdict.problems.iter().any(|p| p.contains("pose/part-00000.parquet: SHA-256")), "{verdict}");
}

#[test]
fn an_encoder_killed_while_recording_costs_declared_frames_only() {
    if !has_ffmpeg() {
        println!("skipped: ffmpeg is not installed");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut recorder = start(&config(home.path(), VideoCodec::X264));
    let mut feed = Feed::new(&mut recorder, 0);
    for step in 0..300 {
        feed.step(&[true, true], true);
        if step == 150 {
            kill_encoder_of(&recorder.folder().join("video/cam1.mkv"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(feed);
    assert_eq!(recorder.health().videos[1].deaths, 1);
    let folder = recorder.seal().expect("sealed").folder;
    let manifest = Manifest::open(&folder).unwrap();
    let files: Vec<_> = manifest.videos.iter().map(|video| video.file.as_str()).collect();
    assert_eq!(files, ["video/cam0.mkv", "video/cam1.mkv", "video/cam1-part1.mkv"]);
    let verdict = verify(&folder).unwrap();
    assert!(verdict.ok(), "{verdict}");
    assert!(manifest.gaps.iter().any(|gap| gap.cause == "encoder_died"), "{:?}", manifest.gaps);
    assert!(manifest.videos[0].counted > 200 && manifest.videos[2].counted > 50, "{:?}", manifest.videos);
}

#[test]
fn an_encoder_that_never_makes_its_file_costs_declared_frames_only() {
    use std::os::unix::fs::PermissionsExt as _;
    if !has_ffmpeg() {
        println!("skipped: ffmpeg is not installed");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("encoder");
    let script = "#!/bin/sh\ncase \"$*\" in *cam1.mkv*) exit 1 ;; esac\nexec ffmpeg \"$@\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut config = config(home.path(), VideoCodec::X264);
    config.ffmpeg = program.display().to_string();
    let mut recorder = start(&config);
    let mut feed = Feed::new(&mut recorder, 0);
    for _ in 0..300 {
        feed.step(&[true, true], true);
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(feed);
    let folder = recorder.seal().expect("sealed").folder;
    let manifest = Manifest::open(&folder).unwrap();
    let files: Vec<_> = manifest.videos.iter().map(|video| video.file.as_str()).collect();
    assert_eq!(files, ["video/cam0.mkv", "video/cam1-part1.mkv"]);
    let verdict = verify(&folder).unwrap();
    assert!(verdict.ok(), "{verdict}");
    let missing =
        verdict.videos.iter().find(|video| video.file.contains("no file")).expect("its rows are accounted for");
    assert!(missing.rows > 0 && missing.counted == 0 && missing.declared == missing.rows, "{missing:?}");
    // Undeclared, they would be found out.
    let file = folder.join("manifest.json");
    let mut told: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    told["gaps"].as_array_mut().unwrap().retain(|gap| gap["stream"] != "video/cam1/part0");
    std::fs::write(&file, told.to_string()).unwrap();
    assert!(!verify(&folder).unwrap().ok());
}

/// Finds the process that has `file` among its arguments and kills it.
fn kill_encoder_of(file: &Path) {
    let is_ours = |line: &[u8]| line.split(|&b| b == 0).any(|argument| argument == file.as_os_str().as_encoded_bytes());
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        if std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| is_ours(&line)) {
            let id = rustix::process::Pid::from_raw(id).unwrap();
            rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
            return;
        }
    }
    panic!("no encoder of {}", file.display());
}

#[test]
fn a_disk_without_room_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |config: RecordConfig| {
        let info = RecordingInfo::new("rat", "test-rig", SystemTime::now(), serde_json::json!({}));
        let error = Recorder::start(&config, info, tables(), cameras(), arrays()).err().expect("refused");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was begun");
        error.to_string()
    };
    let config = || config(folder.path(), VideoCodec::None);
    let full = refused(RecordConfig { disk_margin_bytes: u64::MAX, ..config() });
    assert!(full.contains("record.disk_margin_bytes"), "{full}");
    let soon = refused(RecordConfig { refuse_below_minutes: u32::MAX, ..config() });
    assert!(soon.contains("in reserve") && soon.contains("record.refuse_below_minutes"), "{soon}");
}
