//! One tiny dataset for each layout version that was ever written: all of them still open.
//!
//! `MIMICD_WRITE_GOLDEN=1` writes that of the current version when it is not there yet; one that is there is never changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mimicd::config::VideoCodec;
use mimicd::export::{Format, Progress, Request, SubjectFacts, export};
use mimicd::record::schema::SCHEMA_VERSION;
use mimicd::record::{Manifest, recover, tables, verify};

use super::support::{CHANNELS, Feed, config, sample, start};

/// Steps of the golden recording; step 20 has no block, step 7 no frame of camera 1.
const STEPS: u64 = 60;

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/datasets")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn write_current() {
    let target = home().join(format!("v{SCHEMA_VERSION}"));
    if target.exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = start(&config(folder.path(), VideoCodec::None));
    let mut feed = Feed::new(&mut recorder, 0);
    for step in 0..STEPS {
        feed.step(&[true, step != 7], step != 20);
        if step == 7 {
            let at = mimicd_device::RigTime::from_nanos(step as i64 * super::support::PERIOD.nanos());
            let (unit, cause) = (mimicd::record::GapUnit::Triggers, mimicd::record::GapCause::Device);
            feed.lane.gap(&mimicd::record::Gap::range("frames/cam1", unit, 7, 8, at, cause));
        }
        std::thread::sleep(Duration::from_millis(if step == 30 { 1_500 } else { 1 }));
    }
    drop(feed);
    copy(&recorder.seal().unwrap().folder, &target);
}

#[test]
fn every_version_still_opens() {
    if std::env::var_os("MIMICD_WRITE_GOLDEN").is_some() {
        write_current();
    }
    for version in 1..=SCHEMA_VERSION {
        let folder = home().join(format!("v{version}"));
        let manifest = Manifest::open(&folder).unwrap_or_else(|error| panic!("version {version}: {error}"));
        assert_eq!(manifest.stage, mimicd::record::Stage::Sealed);
        let verdict = verify(&folder).unwrap();
        assert!(verdict.ok(), "version {version}: {verdict}");
        assert_eq!((verdict.cameras[1].triggers, verdict.cameras[1].declared), (STEPS, 1));
        assert_eq!(verdict.arrays[0].declared, 60);
        assert!(manifest.sealed_epochs >= 2, "more than one part");

        let mut seen = 0;
        let names = ["sample_index", "ch000", "ch007"];
        tables::scan(&folder, &manifest, "ephys_A", &names, |batch| {
            let [indices, first, last] = names.map(|name| tables::integers(batch, name));
            for ((index, first), last) in indices.into_iter().zip(first).zip(last) {
                let wanted = |channel| Some(i64::from(sample(index.unwrap() as u64, channel)));
                assert_eq!((first, last), (wanted(0), wanted(CHANNELS - 1)));
                seen += 1;
            }
        })
        .unwrap();
        assert_eq!(seen, (STEPS - 1) * 60);

        let copied = tempfile::tempdir().unwrap();
        let dataset = copied.path().join("copy");
        copy(&folder, &dataset);
        assert!(!recover(&dataset).unwrap().was_unfinished);
        let request = Request {
            format: Format::Csv,
            out: None,
            from_s: Some(0.1),
            to_s: Some(0.2),
            subject: SubjectFacts::default(),
        };
        let report = export(&dataset, &request, &mut Progress::new(&mut |_, _| {})).unwrap();
        let pose = fs::read_to_string(report.out.join("pose.csv")).unwrap();
        assert_eq!(pose.lines().count(), 1 + 5, "{pose}");
        assert!(pose.lines().nth(1).unwrap().starts_with("100000000,5,50,51,52,53,54,55,0.001005,row 5,0"), "{pose}");
    }
}

/// A version that does not exist yet is refused by name, not misread.
#[test]
fn a_version_from_the_future_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(home().join(format!("v{SCHEMA_VERSION}/manifest.json"))).unwrap();
    let text = text.replace(&format!("\"schema_version\": {SCHEMA_VERSION}"), "\"schema_version\": 999");
    fs::write(folder.path().join("manifest.json"), text).unwrap();
    let error = Manifest::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("schema_version = 999: expected 1 to"), "{error}");
}
