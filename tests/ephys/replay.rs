//! `mimicd replay ephys` itself, from every kind of file it reads to a dataset: sample for sample, gap for gap.

use std::path::{Path, PathBuf};
use std::process::Command;

use mimicd::record::{Manifest, tables, verify};

#[allow(dead_code, reason = "other tests build more of them")]
#[path = "../../drivers/hw/tests/recordings/mod.rs"]
mod recordings;

use recordings::{value, word};

/// Runs of consecutive samples in a recording: first and count.
type Runs = [(u64, u64)];

/// What a replay says of itself, and its dataset.
struct Replayed {
    report: serde_json::Value,
    folder: PathBuf,
}

/// Runs the command on `path`.
fn replay(path: &Path, home: &Path, more: &[&str]) -> Replayed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mimicd"));
    command.args(["replay", "ephys"]).arg(path).arg("--out").arg(home.join("out")).arg("--json").args(more);
    let done = command.output().expect("the program runs");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}: {text}{}", path.display(), String::from_utf8_lossy(&done.stderr));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let folder = PathBuf::from(report["folder"].as_str().expect("a folder"));
    Replayed { report, folder }
}

/// Holds the dataset against what the file was built from.
fn compare(replayed: &Replayed, channels: usize, channel_first: usize, runs: &Runs, rate_hz: f64) {
    let folder = &replayed.folder;
    let verdict = verify(folder).expect("a dataset");
    assert!(verdict.ok(), "{verdict}");
    let manifest = Manifest::open(folder).expect("a manifest");
    let gaps: Vec<(i64, i64)> =
        manifest.gaps.iter().map(|gap| (gap.first.expect("a place"), gap.count.expect("a length"))).collect();
    let between = |pair: &[(u64, u64)]| {
        let end = pair[0].0 + pair[0].1;
        (end as i64, (pair[1].0 - end) as i64)
    };
    assert_eq!(gaps, runs.windows(2).map(between).collect::<Vec<_>>(), "{}", folder.display());

    let columns: Vec<String> = (0..channels).map(|channel| format!("ch{channel:03}")).collect();
    let mut wanted: Vec<&str> = columns.iter().map(String::as_str).collect();
    wanted.extend(["sample_index", "t_ns", "digital"]);
    let mut expected = runs.iter().flat_map(|(first, count)| *first..first + count);
    tables::scan(folder, &manifest, "ephys_A", &wanted, |batch| {
        let indices: Vec<u64> =
            tables::integers(batch, "sample_index").iter().map(|index| index.expect("a value") as u64).collect();
        let should: Vec<u64> = expected.by_ref().take(indices.len()).collect();
        assert_eq!(indices, should);
        for (index, t_ns) in indices.iter().zip(tables::integers(batch, "t_ns")) {
            let exact = (index - runs[0].0) as f64 * 1e9 / rate_hz;
            assert!((t_ns.expect("a time") as f64 - exact).abs() <= 1.0, "sample {index}");
        }
        for (found, index) in tables::integers(batch, "digital").into_iter().zip(&indices) {
            assert_eq!(found, Some(i64::from(word(*index))), "digital word at {index}");
        }
        for (channel, name) in columns.iter().enumerate() {
            for (found, index) in tables::integers(batch, name).into_iter().zip(&indices) {
                let truth = value(*index, channel_first + channel);
                assert_eq!(found, Some(i64::from(truth)), "channel {channel} at {index}");
            }
        }
    })
    .expect("readable");
    assert_eq!(expected.next(), None, "every sample of the file is in the dataset");
    let samples: u64 = runs.iter().map(|run| run.1).sum();
    assert_eq!(replayed.report["samples"], samples);
    assert_eq!(replayed.report["channels"], channels);
    assert_eq!(replayed.report["gaps"], runs.len() - 1);
}

#[test]
fn intan_traditional() {
    for (version, block) in [((1, 2), 60), ((3, 1), 128)] {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("rat.rhd");
        let runs = [(1_000, 30 * block), (1_000 + 30 * block + 77, 8 * block)];
        recordings::rhd(&path, version, 12, &runs);
        compare(&replay(&path, home.path(), &[]), 12, 0, &runs, 30_000.0);
    }
}

#[test]
fn intan_in_several_files() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("rat");
    std::fs::create_dir(&folder).expect("a folder");
    recordings::rhd(&folder.join("rat_1.rhd"), (3, 0), 8, &[(0, 256)]);
    recordings::rhd(&folder.join("rat_2.rhd"), (3, 0), 8, &[(256, 384)]);
    compare(&replay(&folder, home.path(), &[]), 8, 0, &[(0, 640)], 30_000.0);
}

#[test]
fn intan_one_file_per_signal_type() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("rat");
    std::fs::create_dir(&folder).expect("a folder");
    let runs = [(500, 3_000), (4_000, 100)];
    recordings::signal_files(&folder, 16, &runs);
    compare(&replay(&folder, home.path(), &[]), 16, 0, &runs, 30_000.0);
    compare(&replay(&folder.join("info.rhd"), home.path(), &["--subject", "again"]), 16, 0, &runs, 30_000.0);
}

#[test]
fn open_ephys_binary() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("rat");
    std::fs::create_dir(&folder).expect("a folder");
    let runs = [(7_000, 2_500), (9_600, 1_250)];
    recordings::open_ephys(&folder, 8, &runs);
    compare(&replay(&folder, home.path(), &[]), 8, 0, &runs, 30_000.0);
    // One tetrode of the two, in blocks that fit nothing.
    let some = ["--subject", "some", "--channel-first", "4", "--channels", "4", "--block-samples", "37"];
    compare(&replay(&folder.join("structure.oebin"), home.path(), &some), 4, 4, &runs, 30_000.0);
}

#[test]
fn spike_glx_of_probe_and_converter() {
    let home = tempfile::tempdir().expect("a folder");
    let (imec, nidq) = (home.path().join("rat_g0_t0.imec0.ap.bin"), home.path().join("rat_g0_t0.nidq.bin"));
    recordings::spike_glx(&imec, true, 12, 40_000, 3_200);
    recordings::spike_glx(&nidq, false, 4, 0, 1_300);
    compare(&replay(&imec, home.path(), &[]), 12, 0, &[(40_000, 3_200)], 30_000.0);
    let meta = nidq.with_extension("meta");
    compare(&replay(&meta, home.path(), &["--subject", "card"]), 4, 0, &[(0, 1_300)], 25_000.0);
}

#[test]
fn raw_with_its_description() {
    let home = tempfile::tempdir().expect("a folder");
    let path = recordings::raw(home.path(), 8, 2_000);
    compare(&replay(&path, home.path(), &[]), 8, 0, &[(0, 2_000)], 30_000.0);
}

#[test]
fn what_cannot_be_replayed_is_named() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("odd.rhd");
    recordings::rhd(&path, (3, 1), 10, &[(0, 128)]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mimicd"));
    let done = command.args(["replay", "ephys"]).arg(&path).arg("--out").arg(home.path()).output().expect("it runs");
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && text.contains("10 channels are no whole tetrodes; give --channels 8"), "{text}");
}
