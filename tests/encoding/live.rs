//! The models of the live thread against those of `mimicd encode`, over the same recording.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mimicd::config::{Config, EncodingConfig};
use mimicd::encoding::behaviour::Labels;
use mimicd::encoding::live_similarity::LiveSimilarity;
use mimicd::encoding::settings::EncodingSettings;
use mimicd::encoding::store::{available, read_recording, select};
use mimicd::encoding::units::UnitKey;
use mimicd::encoding::{EncodeOptions, encode};
use mimicd::geometry::Calibration;
use mimicd::pipeline::{Stepped, load_stages};
use mimicd::record::{Manifest, RecordingInfo, tables, verify};
use mimicd_device::Span;

use super::dataset::{folder, labels, record};

/// Length of the recording; longer ones change nothing but the time that the test takes.
const RECORDED: Span = Span::from_millis(9_000);
const SETS: [&str; 3] = ["kinematic", "dynamic", "action"];

/// The twin preset with models fitted live in short blocks, no video.
fn config(folder: &Path) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/twin.toml");
    let preset = fs::read_to_string(&path).expect("the preset is there");
    let record = format!(
        "folder = \"{}\"\nvideo = \"none\"\ndisk_margin_bytes = 0\nrefuse_below_minutes = 0\nlane_kib = 32768\n\n[spikes]\nsort = false",
        folder.display()
    );
    let encoding = format!(
        "[encoding]\nlive = true\nblock_secs = 0.2\nspikes_min = 20\nlive_units_max = 200\nlive_sets = {SETS:?}"
    );
    let text = preset.replace("folder = \"../recordings\"", &record).replace("[encoding]", &encoding);
    Config::parse(&text, &path).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A row of the `encoding` table.
struct Row {
    score: f64,
    bins: f64,
    is_final: bool,
}

/// Last row of each unit and set.
fn last_rows(dataset: &Path) -> BTreeMap<(UnitKey, String), Row> {
    let manifest = Manifest::open(dataset).expect("a sealed dataset has a manifest");
    let mut out = BTreeMap::new();
    let columns = ["array", "tetrode", "unit", "set", "cv_llr", "bins", "final"];
    tables::scan(dataset, &manifest, "encoding", &columns, |batch| {
        let [arrays, tetrodes, units, bins] =
            ["array", "tetrode", "unit", "bins"].map(|name| tables::integers(batch, name));
        let (sets, scores) = (tables::texts(batch, "set"), tables::floats(batch, "cv_llr"));
        let is_final = tables::booleans(batch, "final");
        for row in 0..batch.num_rows() {
            let number = |column: &[Option<i64>]| column[row].expect("no null") as u16;
            let unit = UnitKey { array: number(&arrays), tetrode: number(&tetrodes), unit: number(&units) };
            let bins = bins[row].expect("no null") as f64;
            out.insert((unit, sets[row].clone()), Row { score: scores[row], bins, is_final: is_final[row] });
        }
    })
    .expect("a sealed table reads");
    out
}

#[test]
fn what_was_fitted_while_a_twin_was_recorded_is_what_the_recording_gives() {
    if !crate::set_up::is_set_up() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the recording");
    let config = config(folder.path());
    let calibration = Calibration::load(&config.rig.calibration).expect("the preset's calibration loads");
    let stages = load_stages(&config, &calibration).expect("the preset's models load");
    let mut rig = Stepped::new(&config, &calibration, stages).expect("the twin opens");
    rig.arm().expect("the twin's cameras answer the burst");
    let info = serde_json::to_value(&config).expect("a config is JSON");
    let (recorder, _) = rig.record(RecordingInfo::new("sim", "twin", std::time::UNIX_EPOCH, info)).expect("it starts");
    rig.run(RECORDED);
    rig.end_recording();
    let dataset = recorder.folder().to_owned();
    recorder.seal().expect("the recording seals");
    assert!(verify(&dataset).expect("readable").ok());

    let live = last_rows(&dataset);
    let sets = SETS.map(str::to_owned).to_vec();
    let done = encode(&EncodeOptions { sets, ..EncodeOptions::of(&dataset) }, &|_, _| ()).expect("analysed");
    let encoding = &done.analysis.encoding;
    assert!(encoding.units.len() >= 4, "{} units with enough spikes", encoding.units.len());
    assert_eq!(encoding.unfinished, 0, "of {} fits", encoding.fits);
    let mut largest = 0.0_f64;
    for (set, info) in encoding.sets.iter().enumerate() {
        for (unit, key) in encoding.units.iter().enumerate() {
            let found = live.get(&(*key, info.name.clone()));
            let Row { score, bins, is_final } =
                found.unwrap_or_else(|| panic!("no live score of {key}, {}", info.name));
            let offline = &encoding.scores[set][unit];
            assert!(
                *is_final && *bins == offline.bins,
                "{key}: final {is_final}, {bins} bins, {} offline",
                offline.bins
            );
            largest = largest.max((score - offline.bits_per_spike.value).abs());
        }
    }
    println!(
        "{} units, {} sets: live and offline differ by {largest:.1e} bits/spike at most",
        encoding.units.len(),
        SETS.len()
    );
    assert!(largest < 1e-6, "{largest}");
}

#[test]
fn similarity_summed_bin_by_bin_is_that_of_the_recording() {
    let folder = folder("live-similarity");
    let dataset = record(&folder);
    let labels_file = labels(&folder);
    let names = ["kinematic", "latent_loc", "latent_scale"].map(str::to_owned).to_vec();
    let options =
        EncodeOptions { labels: Some(labels_file.clone()), sets: names.clone(), ..EncodeOptions::of(&dataset) };
    let done = encode(&options, &|_, _| ()).expect("analysed");
    let offline = &done.analysis.similarity[0];

    let settings = EncodingSettings::from(&EncodingConfig::default());
    let manifest = Manifest::open(&dataset).expect("a sealed dataset has a manifest");
    let recorded = read_recording(&dataset, &manifest, settings.grid).expect("readable");
    let bins = recorded.store.bins();
    let labels = Labels::read_csv(&labels_file, settings.grid, bins).expect("well formed");
    let sets = select(&available(&recorded.signals), &names).expect("all are there");
    let units = recorded.spikes.keys(bins, 1);
    let mut live = LiveSimilarity::new(&settings, &sets, labels.names.len(), 1, units.len());
    let mut spikes = vec![0.0; units.len()];
    for bin in 0..bins {
        let counts: Vec<f32> = units.iter().map(|unit| f32::from(recorded.spikes.count(*unit, bin))).collect();
        spikes.iter_mut().zip(&counts).for_each(|(sum, count)| *sum += f64::from(*count));
        if let Some(behaviour) = labels.bins[bin] {
            live.push(behaviour, settings.folds.block(bin), &recorded.store, bin, &units, &counts);
        }
    }
    let compared = live.compare(&units, &spikes);
    assert_eq!(compared.len(), names.len());
    for layer in compared {
        let of = offline.layers.iter().find(|of| of.name == names[layer.set]).expect("the same sets");
        assert!(
            (layer.similarity - of.similarity).abs() < 1e-9,
            "{}: {} and {}",
            of.name,
            layer.similarity,
            of.similarity
        );
        let (own, theirs) = (layer.ceiling.expect("known"), offline.ceiling.expect("known"));
        assert!((own.low - theirs.low).abs() < 1e-9 && (own.high - theirs.high).abs() < 1e-9);
    }
    fs::remove_dir_all(folder).ok();
}
