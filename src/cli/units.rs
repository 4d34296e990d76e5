//! `mimicd units`: the units of a recording, and a file of them to sort the next one with.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::record::{Manifest, tables};
use crate::spikes::{SNIPPET_SAMPLES, TETRODE_CHANNELS, Template, Templates};

/// Options of `mimicd units`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The recording.
    folder: PathBuf,
    /// Index of the array in the recording's config.
    #[arg(long, default_value_t = 0)]
    array: i64,
    /// Write the units for `spikes.templates` of a config.
    #[arg(long)]
    toml: Option<PathBuf>,
}

/// Prints the units of one array; exit code 1 when there are none.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let manifest = Manifest::open(&options.folder)?;
    if !manifest.tables.contains_key("units") {
        bail!("{}: has no units table", options.folder.display());
    }
    let columns = [
        "array",
        "unit",
        "tetrode",
        "channels",
        "spikes",
        "rate_hz",
        "snr",
        "violations",
        "drift_sigma",
        "waveform_uv",
    ];
    let mut units = Vec::new();
    tables::scan(&options.folder, &manifest, "units", &columns, |batch| {
        let whole = |name| tables::integers(batch, name);
        let (arrays, ids, tetrodes, counts) = (whole("array"), whole("unit"), whole("tetrode"), whole("spikes"));
        let channels = tables::list_integers(batch, "channels");
        let floats = ["rate_hz", "snr", "violations", "drift_sigma"].map(|name| tables::floats(batch, name));
        let waves = tables::floats(batch, "waveform_uv");
        for row in 0..batch.num_rows() {
            if arrays[row] != Some(options.array) {
                continue;
            }
            let [rate_hz, snr, violations, drift] = floats.each_ref().map(|values| values[row]);
            println!(
                "unit {:3}  tetrode {:3}  {:8} spikes  {rate_hz:6.1} Hz  SNR {snr:5.1}  {:5.2} % < 1.5 ms  drift {drift:4.1} sigma",
                ids[row].unwrap_or(0),
                tetrodes[row].unwrap_or(0),
                counts[row].unwrap_or(0),
                100.0 * violations,
            );
            let wave = &waves[row * TETRODE_CHANNELS * SNIPPET_SAMPLES..][..TETRODE_CHANNELS * SNIPPET_SAMPLES];
            let own = &channels[row * TETRODE_CHANNELS..][..TETRODE_CHANNELS];
            units.push(Template {
                id: ids[row].unwrap_or(0),
                channels: own.iter().map(|channel| *channel as u16).collect(),
                waves_uv: wave.chunks(SNIPPET_SAMPLES).map(|wave| wave.iter().map(|x| *x as f32).collect()).collect(),
            });
        }
    })?;
    if units.is_empty() {
        println!("no units of array {} in {}", options.array, options.folder.display());
        return Ok(ExitCode::FAILURE);
    }
    if let Some(path) = &options.toml {
        let count = units.len();
        std::fs::write(path, Templates::new(units, true).to_toml())?;
        println!("wrote {count} units to {}; name it in spikes.templates of a config", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
