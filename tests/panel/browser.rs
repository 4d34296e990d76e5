//! Other people's programs at the panel: Chromium on the page of the real daemon, schemathesis on the API.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::AsArray as _;
use mimicd::record::{Manifest, verify};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::desk::Bench;
use crate::running::{Daemon, config};

fn own(path: &str) -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).filter(|path| path.exists())
}

/// What must be there; prints what is not.
fn needs<'a>(paths: impl IntoIterator<Item = &'a str>) -> Option<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let Some(there) = own(path) else {
            println!("skipped: {path} is not there; `cargo xtask setup --peers` fetches what it can");
            return None;
        };
        found.push(there);
    }
    Some(found)
}

/// A camera that is gone for 15 s of each 50, so that a slow machine meets it as well.
fn unplugged() -> String {
    let fault = |k: u32| {
        format!("[[twin.fault]]\nkind = \"camera_vanished\"\ncamera = 2\nat_s = {}\nfor_s = 15\n", 45 + 50 * k)
    };
    (0..12).map(fault).collect()
}

#[test]
fn an_experimenters_course_in_a_browser() {
    if std::env::var_os("MIMICD_LONG").is_none() {
        println!("skipped: takes minutes and a machine at rest; set MIMICD_LONG=1");
        return;
    }
    let wanted =
        [".deps/peers-venv/bin/playwright", ".deps/axe-core/axe.min.js", "/usr/bin/chromium", ".deps/rat/rodent.xml"];
    let Some(found) = needs(wanted) else { return };
    let home = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&config(home.path(), &unplugged(), ""), 1);
    let shots = std::env::var_os("MIMICD_SHOTS").map_or_else(|| home.path().join("shots"), PathBuf::from);
    let mut driver = Command::new(found[0].with_file_name("python"));
    driver.arg(own("tests/peers/drive_panel.py").expect("the harness is there"));
    driver.arg(format!("http://{}/", daemon.address)).arg(&found[1]).arg(&shots);
    let output = driver.output().expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    drop(daemon);

    let recording =
        fs::read_dir(home.path().join("recordings")).expect("a folder").flatten().next().expect("one").path();
    let verdict = verify(&recording).expect("verifies");
    assert!(verdict.ok(), "{verdict}");
    let manifest = Manifest::open(&recording).expect("a manifest");
    let request = manifest.notes["request"].to_string();
    assert!(
        request.contains("rat07") && request.contains("open field") && request.contains("second line"),
        "{request}"
    );
    assert!(manifest.gaps.iter().any(|gap| gap.stream == "cam3"), "the unplugged camera's frames are declared");
    let events = events(&recording, &manifest);
    assert!(events.contains("tone on"), "the mark: {events}");
    for word in ["\"command\":\"start\"", "\"command\":\"mark\"", "\"command\":\"stop\""] {
        assert!(events.contains(word), "the recording's audit log has {word}: {events}");
    }
}

/// Every text in the recording's event table.
fn events(recording: &Path, manifest: &Manifest) -> String {
    let mut texts = Vec::new();
    for part in &manifest.tables["events"].parts {
        let file = fs::File::open(recording.join(&part.file)).expect("opens");
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("reads") {
            let batch = batch.expect("rows");
            let columns = batch.columns().iter().filter_map(|column| column.as_string_opt::<i32>());
            texts.extend(columns.flat_map(|column| column.iter().flatten().map(str::to_owned).collect::<Vec<_>>()));
        }
    }
    texts.join("\n")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("read").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn the_api_does_what_its_document_says() {
    let Some(found) = needs([".deps/peers-venv/bin/schemathesis"]) else { return };
    let home = tempfile::tempdir().expect("a folder");
    copy(&own("tests/fixtures/datasets/v1").expect("a dataset"), &home.path().join("20261124T000000Z_rat"));
    let bench = Bench::over(home.path());
    let mut driver = Command::new(&found[0]);
    driver
        .arg("--config-file")
        .arg(own("tests/peers/schemathesis.toml").expect("its config"))
        .arg("run")
        .arg(format!("http://{}/api/v1/openapi.json", bench.address()));
    // Below the gate's own limit, which would answer 429.
    driver.args(["--checks", "all", "--max-examples", "40", "--seed", "1", "--rate-limit", "80/s"]);
    let output = driver.current_dir(home.path()).output().expect("schemathesis starts");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
