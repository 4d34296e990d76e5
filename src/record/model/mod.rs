//! The recorder on a file system that forgets: tests of what a power cut may leave.
//!
//! A recording is made on a [`LogDisk`], which does everything for real in a folder and writes down every operation. From
//! the log, [`Model`] tells what may be left when the power fails after any of them: data that was not synced is there,
//! torn at sector boundaries, out of order, or not at all; a name that its folder's sync has not confirmed may be missing or old.

mod image;
mod log;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mimicd_device::{ArrayIndex, Integrity, RigTime, SampleBlock, SampleIndex};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::image::Model;
use self::log::{LogDisk, Op};
use super::disk::Disk;
use super::journal::{Content, Segment};
use super::manifest::{Manifest, Stage};
use super::recover::{recover, recover_held};
use super::schema::{Column, ScalarKind, TableSchema};
use super::verify::verify;
use super::{ArrayInfo, BlockStamp, RecordDisk, Recorder, RecordingInfo, tables};
use crate::config::{RecordConfig, VideoCodec};

const STEPS: i64 = 160;
const PERIOD_NS: i64 = 20_000_000;
const BLOCK: usize = 60;
const CHANNELS: usize = 4;

/// Somewhere that syncs quickly: the disk under the tests is not what is tested.
fn home() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

fn config(folder: &Path) -> RecordConfig {
    RecordConfig {
        folder: folder.to_owned(),
        video: VideoCodec::None,
        part_seconds: 1,
        segment_millis: 100,
        flush_millis: 40,
        lane_kib: 256,
        journal_buffer_mib: 4,
        disk_margin_bytes: 0,
        ..RecordConfig::default()
    }
}

fn arrays() -> Vec<ArrayInfo> {
    vec![ArrayInfo { name: "A".to_owned(), channels: CHANNELS, rate_hz: 3_000.0, gain_uv_per_bit: 0.195 }]
}

fn table() -> TableSchema {
    TableSchema::new("steps", "One row for each step.", vec![Column::scalar("step", ScalarKind::I64, "", "Which.")])
}

/// Records `STEPS` steps on `disk`; returns the recording's folder.
fn record(disk: &Arc<dyn Disk>, home: &Path) -> PathBuf {
    let info = RecordingInfo::new("rat", "model", SystemTime::UNIX_EPOCH, serde_json::json!({}));
    let config = config(home);
    let mut recorder = Recorder::start_on(RecordDisk(Arc::clone(disk)), &config, info, vec![table()], vec![], arrays())
        .expect("starts");
    let steps = recorder.table("steps").expect("the table is there");
    let mut lane = recorder.lane("model");
    for step in 0..STEPS {
        let at = RigTime::from_nanos(step * PERIOD_NS);
        lane.row(steps, at, |row| row.i64(step));
        if step % 40 != 13 {
            let mut block = SampleBlock::with_capacity(ArrayIndex(0), CHANNELS, BLOCK);
            block.first = SampleIndex(step as u64 * BLOCK as u64);
            block.samples.resize(CHANNELS * BLOCK, step as i16);
            block.digital.resize(BLOCK, 0);
            let nanos_per_sample = PERIOD_NS as f64 / BLOCK as f64;
            lane.block(Arc::new(block), BlockStamp { at, nanos_per_sample, integrity: Integrity::empty() });
        }
        std::thread::sleep(Duration::from_millis(15));
    }
    drop(lane);
    recorder.seal().expect("seals").folder
}

/// Steps whose rows stand in a journal segment's bytes.
fn steps_in_segment(bytes: &[u8]) -> Vec<i64> {
    let mut segment = Segment::new(bytes);
    let mut steps = Vec::new();
    while let Some(record) = segment.next() {
        // The steps table is the first: `t_ns`, then the step.
        if let Content::Row(0, row) = record.content {
            steps.push(i64::from_le_bytes(row[8..16].try_into().expect("a step's row has sixteen bytes")));
        }
    }
    steps
}

/// Rows of the steps table that a manifest calls sealed.
fn sealed_rows(manifest: &[u8]) -> usize {
    let value: serde_json::Value = serde_json::from_slice(manifest).expect("a manifest is never half-written");
    value.pointer("/tables/steps/rows").and_then(serde_json::Value::as_u64).unwrap_or(0) as usize
}

fn steps_in_tables(folder: &Path) -> BTreeSet<i64> {
    let manifest = Manifest::open(folder).expect("a recovered dataset has a manifest");
    let mut steps = BTreeSet::new();
    let read = tables::scan(folder, &manifest, "steps", &["step"], |batch| {
        steps.extend(tables::integers(batch, "step").into_iter().flatten());
    });
    read.expect("a recovered dataset reads");
    steps
}

/// Recovers what is left in `folder` and checks it against what had been made durable.
fn check(folder: &Path, durable: &BTreeSet<i64>, what: &str) -> Option<BTreeSet<i64>> {
    if !super::is_recording(folder) && durable.is_empty() {
        return None;
    }
    let report = match recover(folder) {
        Ok(report) => report,
        // The first segment was never synced: nothing had been promised.
        Err(error) if durable.is_empty() => {
            let _ = error;
            return None;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let verdict = verify(folder).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(verdict.ok(), "{what}: {verdict}");
    let manifest = Manifest::open(folder).expect("a recovered dataset has a manifest");
    let found = steps_in_tables(folder);
    let lost: Vec<_> = durable.difference(&found).collect();
    assert!(lost.is_empty(), "{what}: steps {lost:?} had been synced and are gone");
    if report.was_unfinished && manifest.stage == Stage::Recovered {
        let is_declared = manifest.gaps.iter().any(|gap| gap.stream == "recording" && gap.cause == "killed");
        assert!(is_declared, "{what}: the kill is not declared: {:?}", manifest.gaps);
        let newest = found.last().copied().unwrap_or(-1);
        let within = (0..newest).filter(|step| !found.contains(step)).count();
        let declared = manifest.gaps.iter().any(|gap| gap.stream == "journal" && gap.cause == "damaged");
        assert!(within == 0 || declared, "{what}: {within} rows are missing inside and nothing says so");
    }
    let again = recover(folder).unwrap_or_else(|error| panic!("{what}, again: {error}"));
    assert!(!again.was_unfinished, "{what}: recovering twice");
    Some(found)
}

/// Points of the log to cut at: all of them, or a spread of them with every one that is not a plain write.
fn cuts(ops: &[Op], everything: bool, spread: usize) -> Vec<usize> {
    let is_wanted = |index: &usize| {
        let before = index.checked_sub(1).map(|before| &ops[before]);
        everything || index.is_multiple_of(spread) || !matches!(before, None | Some(Op::Write { .. } | Op::Sync { .. }))
    };
    (0..=ops.len()).filter(is_wanted).collect()
}

fn is_long() -> bool {
    std::env::var_os("MIMICD_LONG").is_some()
}

#[test]
fn power_may_fail_at_every_write_with_torn_and_reordered_data() {
    let made = home();
    let disk = LogDisk::new(made.path());
    let folder = record(&(Arc::clone(&disk) as Arc<dyn Disk>), made.path());
    let name = folder.strip_prefix(made.path()).expect("inside").to_owned();
    let ops = disk.take();
    let cuts = cuts(&ops, is_long(), 9);
    let seeds = if is_long() { 3 } else { 1 };
    let (mut tried, mut recovered) = (0, 0);
    let (mut durable, mut last) = (BTreeSet::new(), None);
    let mut model = Model::empty();
    for (index, op) in ops.iter().map(Some).chain([None]).enumerate() {
        durable.extend(model.durable_files("mjl").flat_map(|bytes| steps_in_segment(&bytes)));
        if cuts.binary_search(&index).is_ok() {
            for seed in 0..seeds {
                let mut random = ChaCha8Rng::seed_from_u64(index as u64 * 31 + seed);
                let left = home();
                model.leave(&mut random, left.path());
                let what = format!("cut after {index}, seed {seed}");
                last = check(&left.path().join(&name), &durable, &what);
                let sealed = model.durable_files("json").map(|bytes| sealed_rows(&bytes)).max().unwrap_or(0);
                let found = last.as_ref().map_or(0, BTreeSet::len);
                assert!(found >= sealed, "{what}: the manifest had {sealed} rows sealed, {found} are there");
                tried += 1;
                recovered += usize::from(last.is_some());
            }
        }
        if let Some(op) = op {
            model.apply(op);
        }
    }
    assert_eq!(last.map(|steps| steps.len() as i64), Some(STEPS), "after the end every step is there");
    println!("{} operations, {tried} power cuts, {recovered} recovered and checked", ops.len());
    assert!(recovered * 10 > tried * 9, "hardly any cut left a recording: {recovered} of {tried}");
}

#[test]
fn power_may_fail_while_recovering() {
    let made = home();
    let disk = LogDisk::new(made.path());
    let folder = record(&(Arc::clone(&disk) as Arc<dyn Disk>), made.path());
    let name = folder.strip_prefix(made.path()).expect("inside").to_owned();
    let ops = disk.take();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut tried = 0;
    for _ in 0..if is_long() { 20 } else { 4 } {
        // A cut somewhere in the later half, then cuts of its recovery.
        let cut = random.random_range(ops.len() / 2..ops.len());
        let mut model = Model::empty();
        ops[..cut].iter().for_each(|op| model.apply(op));
        let left = home();
        model.leave(&mut random, left.path());
        let target = left.path().join(&name);
        let base = Model::of_folder(left.path());
        let disk = LogDisk::new(left.path());
        recover_held(&(Arc::clone(&disk) as Arc<dyn Disk>), &target).expect("recovers");
        let whole = steps_in_tables(&target);
        let steps = disk.take();
        for second in cuts(&steps, is_long(), 7) {
            let mut model = base.clone();
            steps[..second].iter().for_each(|op| model.apply(op));
            let again = home();
            model.leave(&mut random, again.path());
            let found = check(&again.path().join(&name), &whole, &format!("cut {cut}, then {second}"));
            assert_eq!(found.as_ref(), Some(&whole), "cut {cut}, then {second}: another outcome");
            tried += 1;
        }
    }
    println!("{tried} power cuts during recovery, all with the outcome of an undisturbed one");
}
