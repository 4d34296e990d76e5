//! `mimicd encode` over a small recording that is written here: what lands on disk, the lag of the `delayed` mode, labels,
//! and what a user is told when something is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use mimicd::config::{RecordConfig, VideoCodec};
use mimicd::encoding::testing::Dice;
use mimicd::encoding::{EncodeOptions, encode, published};
use mimicd::export::Published;
use mimicd::record::{ArrayInfo, Column, Recorder, RecordingInfo, ScalarKind, TableSchema, schema};
use mimicd_device::RigTime;

use super::peers::python;

const FRAMES: usize = 12_600;
const FRAME_NS: i64 = 20_000_000;
/// How far the virtual rat runs behind.
const LAG_FRAMES: usize = 5;
const LATENT: usize = 8;

fn tables() -> Vec<TableSchema> {
    let list = |name: &str, kind, len| Column::list(name, kind, len, "", "Test.");
    let one = |name: &str, kind| Column::scalar(name, kind, "", "Test.");
    let mut tables = schema::standard_tables(&["arrival"]);
    tables.push(TableSchema::new("pose", "Test.", vec![list("keypoints_m", ScalarKind::F32, 69)]));
    let body =
        vec![list("qpos", ScalarKind::F64, 74), list("qvel", ScalarKind::F64, 73), one("flags", ScalarKind::U16)];
    tables.push(TableSchema::new("body", "Test.", body));
    let imitation = vec![
        one("reference_t_ns", ScalarKind::I64),
        one("lag_ns", ScalarKind::I64),
        list("action", ScalarKind::F32, 38),
        list("qfrc", ScalarKind::F64, 73),
        one("integrity", ScalarKind::U32),
        list("action_sd", ScalarKind::F32, 38),
        list("latent_loc", ScalarKind::F32, LATENT),
        list("latent_scale", ScalarKind::F32, LATENT),
    ];
    tables.push(TableSchema::new("virtual", "Test.", imitation));
    let spikes = vec![one("array", ScalarKind::I16), one("tetrode", ScalarKind::I16), one("unit", ScalarKind::I32)];
    tables.push(TableSchema::new("spikes", "Test.", spikes));
    tables
}

/// The behaviour of a frame: bouts of two to four seconds.
fn behaviour(frame: usize) -> usize {
    [0, 1, 2, 1, 0, 2, 3][frame / 150 % 7]
}

/// A recording in which unit 1 of tetrode 0 follows the latent of the frame that its spikes fall into, unit 1 of tetrode 1
/// the rearing of the body, unit 1 of tetrode 2 nothing. Rows of the virtual rat are written `LAG_FRAMES` frames late.
pub(super) fn record(folder: &Path) -> PathBuf {
    let mut dice = Dice::new(8);
    let latent = dice.smooth(FRAMES + LAG_FRAMES, LATENT, 0.5);
    let posture = dice.smooth(FRAMES, 74, 0.9);
    let config = RecordConfig {
        folder: folder.to_owned(),
        video: VideoCodec::None,
        disk_margin_bytes: 1_000_000,
        refuse_below_minutes: 0,
        ..RecordConfig::default()
    };
    let info = RecordingInfo::new("rat", "test", SystemTime::now(), serde_json::json!({}));
    let arrays = vec![ArrayInfo { name: "A".into(), channels: 12, rate_hz: 3_000.0, gain_uv_per_bit: 0.195 }];
    let mut recorder = Recorder::start(&config, info, tables(), Vec::new(), arrays).expect("the recorder starts");
    let table = |name: &str| recorder.table(name).expect("a known table");
    let (pose, body, imitation, spikes) = (table("pose"), table("body"), table("virtual"), table("spikes"));
    let mut lane = recorder.lane("test");
    for frame in 0..FRAMES {
        while !lane.has_room() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let ns = frame as i64 * FRAME_NS + FRAME_NS / 2;
        let at = RigTime::from_nanos(ns);
        let doing = behaviour(frame) as f64;
        let row = posture.row(frame);
        let mut qpos: Vec<f64> = row.iter().map(|value| 0.2 * f64::from(*value) + 0.3 * doing).collect();
        qpos[..7].copy_from_slice(&[0.1, 0.2, 0.06 + 0.02 * doing, 1.0, 0.0, 0.3 * doing, 0.0]);
        lane.row(pose, at, |out| out.f32s((0..69).map(|i| i as f32 * 0.001 + 0.01 * row[i])));
        lane.row(body, at, |out| {
            out.f64s(qpos.iter().copied());
            out.f64s((0..73).map(|i| f64::from(row[i])));
            out.u16(0);
        });
        if let Some(shown) = frame.checked_sub(LAG_FRAMES) {
            let spread = |z: usize| 0.1 + 0.05 * ((behaviour(shown) + z) % 4) as f32 + 0.01 * row[z].abs();
            lane.row(imitation, at, |out| {
                out.i64(ns - LAG_FRAMES as i64 * FRAME_NS);
                out.i64(LAG_FRAMES as i64 * FRAME_NS);
                out.f32s((0..38).map(|i| latent[[shown, i % LATENT]] * 0.1 + row[i]));
                out.f64s((0..73).map(|i| f64::from(row[i])));
                out.u32(0);
                out.f32s((0..38).map(spread));
                out.f32s(latent.row(shown).iter().copied());
                out.f32s((0..LATENT).map(spread));
            });
        }
        let drives = [f64::from(latent[[frame, 0]]), 0.8 * doing - 1.0, 0.0];
        for (tetrode, drive) in drives.iter().enumerate() {
            for _ in 0..dice.poisson(0.3 * (0.8 * drive).exp()) {
                let when = RigTime::from_nanos(ns + ((dice.uniform() - 0.5) * 0.9 * FRAME_NS as f64) as i64);
                lane.row(spikes, when, |out| {
                    out.i16(0);
                    out.i16(tetrode as i16);
                    out.i32(1);
                });
            }
        }
    }
    drop(lane);
    recorder.seal().expect("the recording seals").folder
}

pub(super) fn labels(folder: &Path) -> PathBuf {
    let path = folder.join("labels.csv");
    let names = ["Still", "Walk", "Rear", "Groom"];
    let lines = (0..FRAMES / 150).map(|bout| format!("{},{}", bout * 3, names[behaviour(bout * 150)]));
    fs::write(&path, format!("t_s,label\n{}\n", lines.collect::<Vec<_>>().join("\n"))).expect("the folder takes files");
    path
}

pub(super) fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("mimicd-encoding-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

#[test]
fn a_recording_is_analysed_and_spikes_meet_their_frame() {
    let folder = folder("analysis");
    let dataset = record(&folder);
    let options = EncodeOptions {
        labels: Some(labels(&folder)),
        features: true,
        sets: ["kinematic", "latent_loc", "latent_scale"].map(str::to_owned).to_vec(),
        ..EncodeOptions::of(&dataset)
    };
    let done = encode(&options, &|_, _| ()).expect("a whole recording");
    let analysis = &done.analysis;
    assert!((analysis.lag_millis - 100.0).abs() < 1e-6 && analysis.sorted);
    let bits = |set: usize, unit: usize| analysis.encoding.scores[set][unit].bits_per_spike.value;
    // With 100 ms of lag left in, the latent of correlation 0.5 a frame would say nothing about the spikes.
    assert!(bits(1, 0) > 0.15, "unit 0 on the latent: {}", bits(1, 0));
    assert_eq!(analysis.encoding.best[0], Some(1));
    assert!(bits(0, 1) > 0.1 && bits(1, 1) < 0.02, "unit 1 on posture {} and latent {}", bits(0, 1), bits(1, 1));
    assert!(analysis.encoding.scores.iter().all(|set| !set[2].predicts()), "unit 2 follows nothing");
    let named: Vec<&str> = analysis.behaviours.iter().map(|behaviour| behaviour.name.as_str()).collect();
    assert_eq!(named, ["Still", "Walk", "Rear", "Groom"]);
    let similarity = &analysis.similarity[0];
    assert!(similarity.ceiling.is_some() && similarity.layers.iter().all(|layer| layer.similarity.is_finite()));
    assert_eq!(analysis.variability.len(), 2, "latent and action");
    let latent = &analysis.variability[0];
    assert!(latent.accuracy.is_some_and(|accuracy| accuracy.low > latent.chance + 0.2), "{:?}", latent.accuracy);
    for file in
        ["report.html", "scores.parquet", "behaviour.parquet", "features.parquet", "analysis.json", "cv_llr_A.svg"]
    {
        assert!(done.folder.join(file).is_file(), "{file}");
    }
    let page = fs::read_to_string(done.folder.join("report.html")).expect("the page");
    assert!(
        !page.contains("http:") || page.matches("http:").count() == page.matches("http://www.w3.org/2000/svg").count()
    );
    assert!(mimicd::record::verify(&dataset).expect("readable").ok(), "the recording is as whole as before");
    fs::remove_dir_all(folder).ok();
}

#[test]
fn a_recording_goes_into_the_published_layout_and_back() {
    let folder = folder("published");
    let dataset = record(&folder);
    let options = EncodeOptions { labels: Some(labels(&folder)), ..EncodeOptions::of(&dataset) };
    let out = published(&options).expect("a whole recording");
    assert_eq!((out.frames, out.units), (FRAMES, 3));
    assert_eq!(out.motion_mapper[..3], [1, 1, 1]);
    let path = folder.join("recording.h5");
    out.write(&path).expect("the folder takes files");
    let back = Published::read(&path).expect("what we wrote");
    assert_eq!((back.counts(1), &back.motion_mapper), (out.counts(1), &out.motion_mapper));
    assert_eq!(back.keypoint_mm(17, 3).map(|mm| mm as f32), out.keypoint_mm(17, 3).map(|mm| mm as f32));
    h5py_reads_and_writes_the_same(&folder, &path, &out);
    // Its counts and labels, taken from the file, give the same scores as the spikes themselves.
    let sets = vec!["root".to_owned()];
    let own = encode(&EncodeOptions { sets: sets.clone(), ..options.clone() }, &|_, _| ()).expect("analysed");
    let from_file = EncodeOptions { sets, published: Some(path), ..EncodeOptions::of(&dataset) };
    let theirs = encode(&from_file, &|_, _| ()).expect("analysed");
    let bits = |done: &mimicd::encoding::Encoded| done.analysis.encoding.scores[0][1].bits_per_spike.value;
    assert!((bits(&own) - bits(&theirs)).abs() < 1e-9);
    fs::remove_dir_all(folder).ok();
}

/// h5py finds in `path` what was written, and what it writes of it is read as the same recording.
fn h5py_reads_and_writes_the_same(folder: &Path, path: &Path, written: &Published) {
    let Some(python) = python("h5py, numpy") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/published_layout.py");
    let theirs = folder.join("theirs.h5");
    let ran = Command::new(python).arg(script).arg(path).arg(&theirs).output().expect("python starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let counts: f64 = written.spike_counts.iter().map(|count| f64::from(*count)).sum();
    for (name, shape, kind) in [
        ("pose/keypoints", vec![FRAMES, 3, 23], "float32"),
        ("pose/qpos", vec![FRAMES, 74], "float64"),
        ("ephys/spike_counts", vec![FRAMES, 3], "uint8"),
        ("behavior/motion_mapper", vec![FRAMES], "int64"),
    ] {
        assert_eq!(
            (&told[name]["shape"], told[name]["type"].as_str()),
            (&serde_json::json!(shape), Some(kind)),
            "{name}"
        );
    }
    assert_eq!(told["ephys/spike_counts"]["sum"].as_f64(), Some(counts));
    assert_eq!(told["keypoint_17_y_3"].as_f64().map(|mm| mm as f32), Some(written.keypoint_mm(17, 3)[1] as f32));
    let read = Published::read(&theirs).expect("what h5py wrote");
    let near = |a: &[f64], b: &[f64]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6 * b.abs().max(1.0))
    };
    assert!(near(&read.keypoints_mm, &written.keypoints_mm.iter().map(|mm| f64::from(*mm as f32)).collect::<Vec<_>>()));
    assert!(near(&read.qpos, &written.qpos), "angles in single precision");
    assert_eq!((&read.spike_counts, &read.motion_mapper), (&written.spike_counts, &written.motion_mapper));
    println!("h5py reads what is written, and what it writes is read");
}

#[test]
fn what_is_wrong_is_told_in_one_line() {
    let folder = folder("wrong");
    let refused = |options: &EncodeOptions| encode(options, &|_, _| ()).err().expect("refused").to_string();
    let told = refused(&EncodeOptions::of(&folder));
    assert!(told.contains("manifest"), "{told}");
    let dataset = record(&folder);
    let told = refused(&EncodeOptions { sets: vec!["latent".to_owned()], ..EncodeOptions::of(&dataset) });
    assert!(told.contains("\"latent\"") && told.contains("latent_loc"), "{told}");
    let bad = folder.join("bad.csv");
    fs::write(&bad, "t_s,label\nsoon,Walk\n").expect("the folder takes files");
    let told = refused(&EncodeOptions { labels: Some(bad), ..EncodeOptions::of(&dataset) });
    assert!(told.contains("line 2") && told.contains("seconds"), "{told}");
    let told = refused(&EncodeOptions { classifier: Some(folder.join("none.toml")), ..EncodeOptions::of(&dataset) });
    assert!(told.contains("none.toml"), "{told}");
    fs::remove_dir_all(folder).ok();
}
