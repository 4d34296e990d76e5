//! What other people's programs make of our files; skipped with a reason where the peers environment is not set up.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The pinned Python of `cargo xtask setup --peers`, or the one that `MIMICD_PEERS_PYTHON` names.
fn python() -> Option<PathBuf> {
    let own = std::env::var_os("MIMICD_PEERS_PYTHON").map(PathBuf::from);
    let python = own.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/peers-venv/bin/python"));
    let has = |module: &str| {
        Command::new(&python).args(["-c", &format!("import {module}")]).output().is_ok_and(|done| done.status.success())
    };
    if python.is_file() && has("spikeinterface") && has("neo") && has("probeinterface") {
        return Some(python);
    }
    println!("skipped: no peers environment with spikeinterface (cargo xtask setup --peers)");
    None
}

/// SpikeInterface generates a tetrode recording and writes it as Open Ephys', SpikeGLX' and raw files would be read;
/// `mimicd replay ephys` replays it; SpikeInterface reads recording, spikes and units of our dataset and finds every
/// sample, and every unit of its own.
#[test]
fn spikeinterface_reads_recording_and_units_of_a_replayed_recording() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().expect("a folder");
    let done = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/ephys_round_trip.py"))
        .arg(home.path())
        .args(["--mimicd", env!("CARGO_BIN_EXE_mimicd")])
        .output()
        .expect("python runs");
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    println!("{text}");
    assert!(done.status.success(), "{text}");
}
