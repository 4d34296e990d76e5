//! Exports without other people's tools: ranges, refusals, repeated samples.

use std::fs;
use std::path::{Path, PathBuf};

use mimicd::config::VideoCodec;
use mimicd::export::{ExportReport, Format, Progress, Request, SubjectFacts, export};
use mimicd::record::tables;

use super::support::{BLOCK, CHANNELS, Feed, config, start};

/// Fifty steps of 20 ms with a block missing at step 20 and one that comes twice at step 30.
fn dataset(home: &Path) -> PathBuf {
    let mut recorder = start(&config(home, VideoCodec::Raw));
    let mut feed = Feed::new(&mut recorder, 0);
    for step in 0..50 {
        if step == 30 {
            feed.sample -= BLOCK as u64;
        }
        feed.step(&[true, true], step != 20);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    drop(feed);
    recorder.seal().unwrap().folder
}

fn run(dataset: &Path, format: Format, range: (Option<f64>, Option<f64>)) -> Result<ExportReport, String> {
    let subject = SubjectFacts { specifications: PathBuf::new(), ..SubjectFacts::default() };
    let request = Request { format, out: None, from_s: range.0, to_s: range.1, subject };
    export(dataset, &request, &mut Progress::new(&mut |_, _| {})).map_err(|error| error.to_string())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path).unwrap().flatten() {
            if entry.path().is_dir() { open.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

fn size(folder: &Path, end: &str) -> u64 {
    let wanted = files(folder).into_iter().filter(|path| path.to_string_lossy().ends_with(end));
    wanted.map(|path| path.metadata().unwrap().len()).sum()
}

#[test]
fn a_range_holds_what_lies_in_it_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let folder = dataset(home.path());
    // 0.2 s to 0.6 s: steps 10 to 29, of which 20 has no block.
    let range = (Some(0.2), Some(0.6));
    let samples = (20 - 1) * BLOCK as u64;

    let out = run(&folder, Format::Parquet, range).unwrap().out;
    let part = files(&out.join("pose")).remove(0);
    assert!(part.to_string_lossy().contains("/pose/recording="), "{part:?}");
    let times: Vec<_> =
        tables::open(&part, &["t_ns"]).unwrap().flat_map(|batch| tables::integers(&batch.unwrap(), "t_ns")).collect();
    assert_eq!((times.len(), times[0], times[19]), (20, Some(200_000_000), Some(580_000_000)));

    let out = run(&folder, Format::OpenEphys, range).unwrap().out;
    assert_eq!(size(&out, "continuous.dat"), samples * 2 * CHANNELS as u64);
    assert_eq!(files(&out).iter().filter(|path| path.ends_with("structure.oebin")).count(), 2, "the gap parts it");

    let out = run(&folder, Format::SpikeGlx, range).unwrap().out;
    assert_eq!(size(&out, ".obx.bin"), 20 * BLOCK as u64 * 2 * (CHANNELS as u64 + 2), "the gap is filled");
    let inserts = files(&out).into_iter().find(|path| path.to_string_lossy().contains("missed_samples")).unwrap();
    assert_eq!(fs::read_to_string(inserts).unwrap(), format!("{},{}\n", 10 * BLOCK, BLOCK));

    let out = run(&folder, Format::Nwb, range).unwrap().out;
    let file = rust_hdf5::H5File::open(files(&out).remove(0)).unwrap();
    let data = file.dataset("acquisition/ephys_A/data").unwrap();
    assert_eq!(data.shape(), [samples as usize, CHANNELS]);
}

#[test]
fn samples_that_came_twice_are_there_once_where_a_format_has_no_word_for_them() {
    let home = tempfile::tempdir().unwrap();
    let folder = dataset(home.path());
    for format in [Format::SpikeGlx, Format::Nwb] {
        let report = run(&folder, format, (None, None)).unwrap();
        let said = report.remarks.iter().any(|remark| remark.starts_with(&format!("A: {BLOCK} samples came twice")));
        assert!(said, "{format:?}: {:?}", report.remarks);
    }
    let report = run(&folder, Format::OpenEphys, (None, None)).unwrap();
    assert_eq!(size(&report.out, "continuous.dat"), 49 * (BLOCK * 2 * CHANNELS) as u64, "all that was recorded");
}

#[test]
fn what_cannot_be_exported_is_refused_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let folder = dataset(home.path());
    let refused = run(&folder, Format::Csv, (Some(3.0), Some(1.0))).unwrap_err();
    assert!(refused.contains("--from 3 --to 1: expected a range"), "{refused}");
    let manifest = folder.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"stage\": \"sealed\"", "\"stage\": \"recording\"")).unwrap();
    let refused = run(&folder, Format::Csv, (None, None)).unwrap_err();
    assert!(refused.contains("unfinished") && refused.contains("mimicd recover"), "{refused}");
    fs::write(&manifest, text.replace("video/cam", "video/gone")).unwrap();
    let refused = run(&folder, Format::Campy, (None, None)).unwrap_err();
    assert!(refused.contains("gone"), "{refused}");
}
