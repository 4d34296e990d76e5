//! Neural encoding models.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, check, resolve};

/// How neural encoding models are fitted, live and offline. The defaults are the paper's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncodingConfig {
    /// Fit while recording: scores on the panel and in the `encoding` table.
    pub live: bool,
    /// Length of a bin.
    pub bin_millis: f64,
    /// Bins of the causal window, the present one included.
    pub window_bins: usize,
    /// Length of a cross-validation block.
    pub block_secs: f64,
    /// Folds that blocks are dealt to.
    pub folds: usize,
    /// Share of the features' variance that the principal components keep.
    pub variance_share: f64,
    /// Strength of the elastic net.
    pub strength: f64,
    /// Share of its L1 part.
    pub mixing: f64,
    /// Feature sets of `mimicd encode`; empty = all that the recording has.
    pub sets: Vec<String>,
    /// Feature sets of the live fit; empty = `kinematic`, `dynamic`, `action` and the policy's latent, as far as they are there.
    pub live_sets: Vec<String>,
    /// Units that are fitted live at most, first come first served.
    pub live_units_max: usize,
    /// Time of a recording that the live fit looks at; what comes later is left to `mimicd encode`.
    pub live_minutes_max: f64,
    /// Work of the live fit in one bin at most; the rest waits for the next.
    pub live_work_micros: u64,
    /// Time that the live fit may take to come to its minimum when the recording stops.
    pub finish_secs: f64,
    /// Spikes that a unit must have to be analysed.
    pub spikes_min: u64,
    /// Behaviour classifier (manifest beside the ONNX file); without it behaviours come from a file or are not analysed.
    pub behaviour: Option<PathBuf>,
}

impl Default for EncodingConfig {
    fn default() -> Self {
        Self {
            live: false,
            bin_millis: 20.0,
            window_bins: 5,
            block_secs: 4.0,
            folds: 5,
            variance_share: 0.9,
            strength: 0.01,
            mixing: 0.5,
            sets: Vec::new(),
            live_sets: Vec::new(),
            live_units_max: 60,
            live_minutes_max: 60.0,
            live_work_micros: 2_000,
            finish_secs: 30.0,
            spikes_min: 50,
            behaviour: None,
        }
    }
}

impl EncodingConfig {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        if let Some(behaviour) = &mut self.behaviour {
            resolve(folder, behaviour);
        }
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        let count = |key: &str, value: usize, range: std::ops::RangeInclusive<usize>, errors: &mut Vec<ConfigError>| {
            check::within(key, value as f64, *range.start() as f64..=*range.end() as f64, errors);
        };
        check::within("encoding.bin_millis", self.bin_millis, 5.0..=1_000.0, errors);
        count("encoding.window_bins", self.window_bins, 1..=50, errors);
        check::within("encoding.block_secs", self.block_secs, self.bin_millis / 1e3..=600.0, errors);
        count("encoding.folds", self.folds, 2..=50, errors);
        check::within("encoding.variance_share", self.variance_share, 0.01..=1.0, errors);
        check::within("encoding.strength", self.strength, 1e-6..=100.0, errors);
        check::within("encoding.mixing", self.mixing, 0.0..=1.0, errors);
        count("encoding.live_units_max", self.live_units_max, 1..=1_000, errors);
        check::within("encoding.live_minutes_max", self.live_minutes_max, 1.0..=600.0, errors);
        check::within("encoding.live_work_micros", self.live_work_micros as f64, 100.0..=20_000.0, errors);
        check::within("encoding.finish_secs", self.finish_secs, 0.0..=600.0, errors);
        check::distinct("encoding.sets", self.sets.iter().map(String::as_str), errors);
        check::distinct("encoding.live_sets", self.live_sets.iter().map(String::as_str), errors);
        if let Some(behaviour) = &self.behaviour {
            check::file("encoding.behaviour", behaviour, errors);
        }
    }
}
