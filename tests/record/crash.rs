//! A recorder killed at random instants: always recoverable, the loss small and declared.
//!
//! The test binary starts itself again as the one to be killed. `MIMICD_LONG=1` kills 200 times instead of 20.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::support::{Feed, arrays, cameras, config, start, tables};
use mimicd::config::VideoCodec;
use mimicd::record::{Catalog, Manifest, RecordDisk, Recorder, Stage, recover, unfinished, verify};
use rand::{RngExt as _, SeedableRng as _};

const STEP: Duration = Duration::from_millis(2);
/// 250 ms of steps.
const LOST_STEPS_MAX: u64 = 125;

/// Not a test of its own: what the parent kills. Records until it dies and notes how far it came.
#[test]
fn killed_child() {
    let Some(home) = std::env::var_os("MIMICD_CRASH_FOLDER").map(PathBuf::from) else { return };
    let codec = if std::env::var_os("MIMICD_CRASH_VIDEO").is_some() { VideoCodec::X264 } else { VideoCodec::Raw };
    let config = config(&home, codec);
    let (mut recorder, first) = match unfinished(&home).first() {
        Some(folder) => {
            let catalog = Catalog::new(tables(), cameras(), arrays()).unwrap();
            (Recorder::resume(RecordDisk::system(), &config, folder, &catalog).unwrap(), progress(&home) + 40)
        }
        None => (start(&config), 0),
    };
    let mut feed = Feed::new(&mut recorder, first);
    let note = File::create(home.join("progress")).unwrap();
    loop {
        let step = feed.trigger;
        feed.step(&[step % 11 != 3, true], step % 17 != 5);
        if step % 11 == 3 {
            let at = mimicd_device::RigTime::from_nanos(step as i64 * super::support::PERIOD.nanos());
            let (unit, cause) = (mimicd::record::GapUnit::Triggers, mimicd::record::GapCause::Device);
            let (first, end) = (step as i64, step as i64 + 1);
            feed.lane.gap(&mimicd::record::Gap::range("frames/cam0", unit, first, end, at, cause));
        }
        note.write_all_at(&feed.trigger.to_le_bytes(), 0).unwrap();
        std::thread::sleep(STEP);
    }
}

fn progress(home: &Path) -> u64 {
    let bytes = std::fs::read(home.join("progress")).unwrap_or_default();
    bytes.try_into().map(u64::from_le_bytes).unwrap_or(0)
}

/// Runs the child in `home` and kills it `millis` after its first step.
fn run_a_while_and_kill(home: &Path, millis: u64, video: bool) {
    let mut child = child(home, video);
    let before = progress(home);
    let began = std::time::Instant::now();
    while progress(home) <= before && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(millis));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs the child in `home` and kills it after `millis`, whatever it is doing then.
fn run_and_kill(home: &Path, millis: u64) {
    let mut child = child(home, false);
    std::thread::sleep(Duration::from_millis(millis));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn child(home: &Path, video: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::killed_child", "--nocapture"]).env("MIMICD_CRASH_FOLDER", home);
    if video {
        command.env("MIMICD_CRASH_VIDEO", "1");
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn recording(home: &Path) -> Option<PathBuf> {
    let folders = std::fs::read_dir(home).unwrap().flatten().map(|entry| entry.path());
    folders.filter(|path| path.is_dir()).min()
}

/// Recovers, checks, and checks that recovering again changes nothing.
fn check(home: &Path, what: &str) {
    let Some(folder) = recording(home) else { return };
    if !mimicd::record::is_recording(&folder) || progress(home) == 0 {
        return;
    }
    let report = recover(&folder).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(report.was_unfinished, "{what}");
    let verdict = verify(&folder).unwrap();
    assert!(verdict.ok(), "{what}: {verdict}");
    let manifest = Manifest::open(&folder).unwrap();
    assert_eq!(manifest.stage, Stage::Recovered);
    assert!(manifest.gaps.iter().any(|gap| gap.stream == "recording" && gap.cause == "killed"), "{what}: undeclared");
    let saved = report.saved_until_ns.unwrap_or(0) / super::support::PERIOD.nanos();
    let made = progress(home);
    assert!(made <= saved as u64 + 1 + LOST_STEPS_MAX, "{what}: {made} steps made, {saved} saved");
    assert!(!folder.join("journal").exists(), "{what}");
    let again = recover(&folder).unwrap();
    assert!(!again.was_unfinished, "{what}");
    assert_eq!(Manifest::open(&folder).unwrap(), manifest, "{what}: recovering twice differs");
}

#[test]
fn a_kill_at_any_instant_is_recoverable_and_declared() {
    let kills = if std::env::var_os("MIMICD_LONG").is_some() { 200 } else { 20 };
    let seed = 20_261_124;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    for kill in 0..kills {
        let home = tempfile::tempdir().unwrap();
        let millis = random.random_range(20..2_600);
        run_and_kill(home.path(), millis);
        check(home.path(), &format!("seed {seed}, kill {kill} after {millis} ms"));
    }
}

#[test]
fn a_kill_cuts_videos_that_recovery_closes_and_counts() {
    if Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: ffmpeg is not installed");
        return;
    }
    for millis in [1_500, 2_500] {
        let home = tempfile::tempdir().unwrap();
        run_a_while_and_kill(home.path(), millis, true);
        check(home.path(), &format!("video, killed after {millis} ms"));
        let manifest = Manifest::open(&recording(home.path()).unwrap()).unwrap();
        assert_eq!(manifest.videos.len(), 2);
        assert!(manifest.videos.iter().all(|video| video.counted > 0), "{:?}", manifest.videos);
    }
}

#[test]
fn a_restarted_recorder_goes_on_in_the_same_recording() {
    let home = tempfile::tempdir().unwrap();
    for millis in [900, 1_300, 700] {
        run_a_while_and_kill(home.path(), millis, false);
    }
    check(home.path(), "three runs");
    let manifest = Manifest::open(&recording(home.path()).unwrap()).unwrap();
    assert_eq!(manifest.runs.iter().map(|run| run.ended.as_str()).collect::<Vec<_>>(), ["killed"; 3]);
    let between = manifest.gaps.iter().filter(|gap| gap.stream == "ephys_A" && gap.cause == "killed");
    assert!(between.clone().filter_map(|gap| gap.count).any(|count| count >= 40 * 60), "the gap between runs is exact");
}

#[test]
fn a_lost_or_damaged_manifest_is_made_again() {
    let home = tempfile::tempdir().unwrap();
    run_a_while_and_kill(home.path(), 1_800, false);
    let folder = recording(home.path()).unwrap();
    std::fs::write(folder.join("manifest.json"), b"{\"schema_version\": 1, \"stage\": \"rec").unwrap();
    check(home.path(), "manifest damaged while recording");
    let before = Manifest::open(&folder).unwrap();
    std::fs::remove_file(folder.join("manifest.json")).unwrap();
    let report = recover(&folder).unwrap();
    assert!(report.manifest_rebuilt);
    let after = Manifest::open(&folder).unwrap();
    let (found, wanted) = (after.arrays["ephys_A"], before.arrays["ephys_A"]);
    assert_eq!((found.first, found.end, found.samples), (wanted.first, wanted.end, wanted.samples));
    assert!((found.end_ns - wanted.end_ns).abs() <= 1_000, "{found:?}");
    assert_eq!(after.tables["pose"], before.tables["pose"]);
    let verdict = verify(&folder).unwrap();
    assert!(verdict.ok(), "{verdict}");
}
