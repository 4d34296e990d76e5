//! Other people's readers open what we write. They run in the pinned Python environment of `cargo xtask setup --peers`.

use std::path::{Path, PathBuf};
use std::process::Command;

use mimicd::export::{Format, Progress, Request, SubjectFacts, export};
use mimicd::record::verify;
use mimicd_device::Span;

use super::twin;

/// What must be there; prints what is not.
fn python() -> Option<PathBuf> {
    let python = twin::own(".deps/peers-venv/bin/python");
    if python.is_none() {
        println!("skipped: no .deps/peers-venv; run `cargo xtask setup --peers`");
    }
    if twin::own(".deps/rat/rodent.xml").is_none() {
        println!("skipped: no body model; run `cargo xtask setup`");
        return None;
    }
    python
}

fn run(python: &Path, script: &str, arguments: &[&Path]) {
    let script = twin::own(&format!("tests/peers/{script}")).expect("the harness is there");
    let output = Command::new(python).arg(script).args(arguments).output().expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_table_and_export_opens_in_the_tools_it_is_for() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().expect("a folder");
    let faults = [
        "kind = \"frame_dropped\"\ncamera = 1\nat_s = 1.5",
        "kind = \"ephys_gap\"\narray = 0\nat_s = 1.6\nfor_s = 0.05",
        "kind = \"ephys_gap\"\narray = 1\nat_s = 1.9\nfor_s = 0.011",
    ];
    let dataset = twin::record(home.path(), Span::from_millis(2_600), &faults);
    let verdict = verify(&dataset).expect("verifies");
    assert!(verdict.ok(), "{verdict}");
    assert!(verdict.arrays.iter().all(|array| array.declared > 0), "the faults made gaps: {verdict}");
    run(&python, "read_tables.py", &[&dataset]);

    let exports = home.path().join("exports");
    let formats = [Format::Parquet, Format::Csv, Format::OpenEphys, Format::SpikeGlx, Format::Campy, Format::Nwb];
    for format in formats.into_iter().filter(|format| *format != Format::Campy || twin::has_ffmpeg()) {
        let specifications = twin::own(".deps/nwb/specifications.json").unwrap_or_default();
        let subject = SubjectFacts { specifications, ..SubjectFacts::default() };
        let out = Some(exports.join(format.name()));
        let request = Request { format, out, from_s: None, to_s: None, subject };
        let (mut done, mut total) = (0, 0);
        let mut tell = |now, of| (done, total) = (now, of);
        let report = export(&dataset, &request, &mut Progress::new(&mut tell)).expect("exports");
        assert!(total > 0 && done <= total, "{}: {done} of {total}", format.name());
        println!("{}: {} files, {:?}", format.name(), report.files, report.remarks);
        run(&python, "read_exports.py", &[&dataset, &exports, Path::new(format.name())]);
    }
}
