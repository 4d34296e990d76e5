//! What goes into the recorder comes out of the Parquet files, and nothing else.

mod record_support;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Float32Type, Int16Type, Int64Type};
use mimicd::config::VideoCodec;
use mimicd::record::Manifest;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use record_support::{CHANNELS, Feed, config, sample, start};

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
}
