//! The recorder on a disk that is full, failing or slow: the producing thread does not feel it, the state has a name, and
//! whatever is lost is declared.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use mimicd_device::{ArrayIndex, Integrity, RigTime, SampleBlock, SampleIndex};

use super::manifest::{Manifest, Stage};
use super::recover::recover;
use super::schema::{Column, ScalarKind, TableSchema};
use super::verify::verify;
use super::{ArrayInfo, BlockStamp, DiskFault, DiskFaults, DiskState, RecordDisk, Recorder, RecordingInfo};
use crate::config::{RecordConfig, VideoCodec};

const CHANNELS: usize = 64;
const BLOCK: usize = 300;
const STEP: Duration = Duration::from_millis(10);
/// Raw bytes a second that the tests record.
const RATE: f64 = 2.0 * CHANNELS as f64 * 30_000.0;

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Full,
    Failing,
    /// Takes half of the rate at which data comes.
    HalfRate,
}

impl Trouble {
    fn fault(self) -> Option<DiskFault> {
        match self {
            Self::None => None,
            Self::Full => Some(DiskFault::Full),
            Self::Failing => Some(DiskFault::Failing),
            Self::HalfRate => Some(DiskFault::Slow { bytes_per_s: RATE / 2.0 }),
        }
    }
}

struct Outcome {
    _home: tempfile::TempDir,
    folder: PathBuf,
    states: Vec<DiskState>,
    /// Time that the producing thread spent in each step, before and during the trouble.
    calm: Vec<Duration>,
    troubled: Vec<Duration>,
    lost: u64,
}

/// The disk's trouble, which a test changes while the recorder runs.
#[derive(Clone)]
struct Now(Arc<Mutex<Trouble>>);

impl Now {
    fn set(&self, trouble: Trouble) {
        *self.0.lock().expect("nobody panics holding it") = trouble;
    }

    fn fault(&self) -> Option<DiskFault> {
        self.0.lock().expect("nobody panics holding it").fault()
    }
}

/// A recorder below `home` with one array and `tables`, on a disk without trouble.
fn start(home: &Path, config: RecordConfig, tables: Vec<TableSchema>) -> (Now, Recorder) {
    let now = Now(Arc::new(Mutex::new(Trouble::None)));
    let asked = now.clone();
    let faults: DiskFaults = Arc::new(move || asked.fault());
    let config = RecordConfig {
        folder: home.to_owned(),
        video: VideoCodec::None,
        lane_kib: 256,
        journal_buffer_mib: 3,
        disk_margin_bytes: 0,
        ..config
    };
    let info = RecordingInfo::new("rat", "trouble", SystemTime::now(), serde_json::json!({}));
    let arrays =
        vec![ArrayInfo { name: "A".to_owned(), channels: CHANNELS, rate_hz: 30_000.0, gain_uv_per_bit: 0.195 }];
    let disk = RecordDisk::with_faults(faults);
    (now, Recorder::start_on(disk, &config, info, tables, vec![], arrays).expect("starts"))
}

/// One second in peace, `length` in trouble, then peace (or not) for a second; sealed if it can be.
fn run(trouble: Trouble, length: Duration, heals: bool) -> Outcome {
    let home = tempfile::tempdir().expect("a folder");
    let table =
        TableSchema::new("steps", "One row a step.", vec![Column::scalar("step", ScalarKind::I64, "", "Which.")]);
    let config = RecordConfig { part_seconds: 1, segment_millis: 200, flush_millis: 50, ..RecordConfig::default() };
    let (now, mut recorder) = start(home.path(), config, vec![table]);
    let folder = recorder.folder().to_owned();
    let steps = recorder.table("steps").expect("the table is there");
    let mut lane = recorder.lane("trouble");
    let (mut states, mut calm, mut in_trouble) = (Vec::new(), Vec::new(), Vec::new());
    let (from, until) = (Duration::from_secs(1), Duration::from_secs(1) + length);
    let end = until + Duration::from_secs(1);
    let blocks: Vec<_> = (0..(end.as_millis() / STEP.as_millis()) as u64).map(block).collect();
    let began = Instant::now();
    for (step, block) in (0_i64..).zip(blocks) {
        let elapsed = STEP * step as u32;
        std::thread::sleep(elapsed.saturating_sub(began.elapsed()));
        let is_trouble = elapsed >= from && (elapsed < until || !heals);
        now.set(if is_trouble { trouble } else { Trouble::None });
        let at = RigTime::from_nanos(step * STEP.as_nanos() as i64);
        let before = Instant::now();
        lane.row(steps, at, |row| row.i64(step));
        lane.block(block, BlockStamp { at, nanos_per_sample: 1e9 / 30_000.0, integrity: Integrity::empty() });
        let took = before.elapsed();
        if is_trouble { &mut in_trouble } else { &mut calm }.push(took);
        let state = recorder.health().disk;
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
    let lost = lane.lost();
    drop(lane);
    let sealed = recorder.seal();
    assert_eq!(sealed.is_ok(), heals, "{:?}", sealed.err());
    Outcome { _home: home, folder, states, calm, troubled: in_trouble, lost }
}

fn block(step: u64) -> Arc<SampleBlock> {
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), CHANNELS, BLOCK);
    block.first = SampleIndex(step * BLOCK as u64);
    block.samples.extend((0..CHANNELS * BLOCK).map(|k| (k as i16).wrapping_mul(31) % 200));
    block.digital.resize(BLOCK, 0);
    Arc::new(block)
}

fn share(mut times: Vec<Duration>, share: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() as f64 * share) as usize).min(times.len() - 1)].as_secs_f64() * 1e6
}

fn check(outcome: &Outcome, what: &str, state: DiskState) {
    let [calm, troubled] = [&outcome.calm, &outcome.troubled].map(|times| {
        let at = |of| share(times.clone(), of);
        format!("p50 {:.1} p99 {:.1} max {:.0} us", at(0.5), at(0.99), at(1.0))
    });
    println!(
        "{what}: lane call in peace {calm}; in trouble {troubled}; {} items lost; {:?}",
        outcome.lost, outcome.states
    );
    assert!(outcome.states.contains(&state), "{what}: the state is named: {:?}", outcome.states);
    // A disk that says no for seconds must not hold a producer that long.
    assert!(share(outcome.troubled.clone(), 1.0) < 500_000.0, "{what}: a lane call waited for the disk");
    let verdict = verify(&outcome.folder).expect("verifies");
    assert!(verdict.ok(), "{what}: {verdict}");
    let gaps = Manifest::open(&outcome.folder).expect("a manifest").gaps;
    let declared: i64 = gaps.iter().filter(|gap| gap.stream == "ephys_A").filter_map(|gap| gap.count).sum();
    assert!(outcome.lost > 0 && declared > 0, "{what}: the trouble was too short to cost anything");
    assert!(gaps.iter().any(|gap| gap.cause == "disk_failing"), "{what}: the cause is named: {gaps:?}");
}

#[test]
fn a_full_disk_that_has_room_again() {
    check(&run(Trouble::Full, Duration::from_millis(2_500), true), "ENOSPC", DiskState::Full);
}

#[test]
fn a_disk_with_errors_that_pass() {
    check(&run(Trouble::Failing, Duration::from_millis(2_500), true), "EIO", DiskState::Failing);
}

#[test]
fn a_disk_at_half_the_rate() {
    check(&run(Trouble::HalfRate, Duration::from_secs(5), true), "half rate", DiskState::Slow);
}

/// A disk that stays full: the recording cannot be sealed and says so; once there is room, recovery makes it valid.
#[test]
fn a_disk_that_stays_full() {
    if std::env::var_os("MIMICD_LONG").is_none() {
        println!("skipped: waits for a disk that never has room; set MIMICD_LONG=1");
        return;
    }
    let outcome = run(Trouble::Full, Duration::from_millis(1_000), false);
    assert_eq!(Manifest::open(&outcome.folder).expect("a manifest").stage, Stage::Recording);
    assert!(recover(&outcome.folder).expect("recovers").was_unfinished);
    let verdict = verify(&outcome.folder).expect("verifies");
    assert!(verdict.ok(), "{verdict}");
    let gaps = Manifest::open(&outcome.folder).expect("a manifest").gaps;
    assert!(gaps.iter().any(|gap| gap.stream == "recording" && gap.cause == "killed"), "{gaps:?}");
}

/// A disk that takes nothing while the recording is stopped, for longer than any buffer lasts: what waits in the lanes is waited for.
#[test]
fn what_waits_in_a_lane_at_the_end_is_not_lost() {
    const BLOCKS: u64 = 90;
    let home = tempfile::tempdir().expect("a folder");
    let (now, mut recorder) = start(home.path(), RecordConfig::default(), Vec::new());
    let mut lane = recorder.lane("trouble");
    // Of three buffers two are handed over nearly empty; the third holds 40 of them, the lane 64.
    let blocks: Vec<_> = (0..BLOCKS).map(block).collect();
    now.set(Trouble::Failing);
    for (step, block) in blocks.into_iter().enumerate() {
        let at = RigTime::from_nanos(step as i64 * STEP.as_nanos() as i64);
        lane.block(block, BlockStamp { at, nanos_per_sample: 1e9 / 30_000.0, integrity: Integrity::empty() });
        std::thread::sleep(STEP);
    }
    assert_eq!(lane.lost(), 0, "everything found room");
    drop(lane);
    let heal = move || {
        std::thread::sleep(Duration::from_secs(4));
        now.set(Trouble::None);
    };
    let healing = std::thread::Builder::new().spawn(heal).expect("a thread");
    let report = recorder.seal().expect("seals once the disk is back");
    healing.join().expect("no panic");
    assert_eq!(report.samples, [("ephys_A".to_owned(), BLOCKS * BLOCK as u64)]);
    let verdict = verify(&report.folder).expect("verifies");
    assert!(verdict.ok(), "{verdict}");
}
