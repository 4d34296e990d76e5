//! The daemon itself killed while it records: started again it goes on in the same recording, by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mimicd::record::{Manifest, Stage, verify};

use super::running::{Daemon, config, wait};
use super::twin::own;

fn recordings(home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.join("recordings")).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

#[test]
fn a_killed_daemon_goes_on_in_the_same_recording() {
    if own(".deps/rat/rodent.xml").is_none() {
        println!("skipped: no body model; run `cargo xtask setup`");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let config = config(home.path(), "", "video = \"none\"\nlane_kib = 8192");
    let mut first = Daemon::start(&config, 1);
    let started = first.ctl(&["start", "--subject", "rat"]);
    assert_eq!(started["accepted"], true, "{started:#}");
    std::thread::sleep(Duration::from_secs(3));
    first.child.kill().unwrap();
    first.child.wait().unwrap();

    let second = Daemon::start(&config, 2);
    wait(60, || (second.state() == "recording").then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    let stopped = second.ctl(&["stop"]);
    assert_eq!(stopped["accepted"], true, "{stopped:#}");
    drop(second);

    let found = recordings(home.path());
    assert_eq!(found.len(), 1, "one recording, not two: {found:?}");
    let manifest = Manifest::open(&found[0]).unwrap();
    assert_eq!(manifest.stage, Stage::Sealed);
    let ended: Vec<_> = manifest.runs.iter().map(|run| run.ended.as_str()).collect();
    assert_eq!(ended, ["killed", "stopped"]);
    let verdict = verify(&found[0]).unwrap();
    println!("{verdict}");
    assert!(verdict.ok(), "{verdict}");
    for array in ["ephys_A", "ephys_B"] {
        let of_kill = manifest.gaps.iter().filter(|gap| gap.stream == array && gap.cause == "killed");
        let counted: i64 = of_kill.filter_map(|gap| gap.count).sum();
        assert!(counted > 30_000, "{array}: the time between is a gap of {counted} samples");
        assert_eq!(manifest.arrays[array].repeated, 0, "{array}: the sample index goes on");
    }
}
