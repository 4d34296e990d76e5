//! Spike detection and sorting.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, check};

/// Filter, detection (the lab's FAST values as defaults) and live sorting.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpikesConfig {
    /// Lower edge of the spike band.
    pub band_low_hz: f64,
    /// Upper edge of the spike band.
    pub band_high_hz: f64,
    /// A tetrode's event begins when any channel passes this magnitude...
    pub threshold_uv: f64,
    /// ...or this many times the channel's noise (robust sigma), whichever is larger; 0 = the fixed threshold only.
    pub threshold_noise_factor: f64,
    /// An event ends when all channels have stayed under this magnitude for `return_samples` samples. The level scales
    /// with the threshold where noise raises that.
    pub return_uv: f64,
    /// See `return_uv`, in samples.
    pub return_samples: u32,
    /// Channels of one median-reference group (one amplifier chip); 0 = no reference.
    pub reference_group_channels: usize,
    /// An event with a larger peak than this is an artefact.
    pub artefact_uv: f64,
    /// An event that peaks together with events on more than this fraction of the tetrodes is an artefact
    /// (counted on arrays of 8 tetrodes or more).
    pub artefact_fraction: f64,
    /// Rate of the local field potential; 0 = none. The nearest whole fraction of the sample rate is taken.
    pub lfp_rate_hz: f64,
    /// Probe map (probeinterface JSON) that says which channels form a tetrode; empty = four in a row.
    pub probe: PathBuf,
    /// Channels (0-based, of every array) that are known dead: left out of reference, detection and sorting.
    pub dead_channels: Vec<usize>,
    /// Sort live: learn each tetrode's units, then give each spike its unit.
    pub sort: bool,
    /// Learning of a tetrode begins once this much time has passed...
    pub learn_secs: f64,
    /// ...or once it has this many spikes, whichever comes first.
    pub learn_spikes: usize,
    /// A spike further than this from every unit, in noise sigmas per feature (root mean square), stays unsorted.
    pub gate_sigma: f64,
    /// Templates to import instead of learning (TOML written by `mimicd`, or a Kilosort/phy folder); empty = learn.
    pub templates: PathBuf,
}

impl Default for SpikesConfig {
    fn default() -> Self {
        Self {
            band_low_hz: 400.0,
            band_high_hz: 7_500.0,
            threshold_uv: 48.75,
            threshold_noise_factor: 4.0,
            return_uv: 19.5,
            return_samples: 8,
            reference_group_channels: 32,
            artefact_uv: 2_000.0,
            artefact_fraction: 0.5,
            lfp_rate_hz: 1_000.0,
            probe: PathBuf::new(),
            dead_channels: Vec::new(),
            sort: true,
            learn_secs: 120.0,
            learn_spikes: 1_500,
            gate_sigma: 2.5,
            templates: PathBuf::new(),
        }
    }
}

impl SpikesConfig {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        super::resolve(folder, &mut self.probe);
        super::resolve(folder, &mut self.templates);
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        check::within("spikes.band_low_hz", self.band_low_hz, 10.0..=2_000.0, errors);
        check::within("spikes.band_high_hz", self.band_high_hz, self.band_low_hz * 1.5..=20_000.0, errors);
        check::within("spikes.threshold_uv", self.threshold_uv, 5.0..=1_000.0, errors);
        check::within("spikes.threshold_noise_factor", self.threshold_noise_factor, 0.0..=20.0, errors);
        check::within("spikes.return_uv", self.return_uv, 0.0..=self.threshold_uv, errors);
        check::within("spikes.return_samples", f64::from(self.return_samples), 1.0..=64.0, errors);
        check::within("spikes.reference_group_channels", self.reference_group_channels as f64, 0.0..=512.0, errors);
        check::within("spikes.artefact_uv", self.artefact_uv, self.threshold_uv..=100_000.0, errors);
        check::within("spikes.artefact_fraction", self.artefact_fraction, 0.05..=1.0, errors);
        check::within("spikes.lfp_rate_hz", self.lfp_rate_hz, 0.0..=5_000.0, errors);
        check::within("spikes.learn_secs", self.learn_secs, 1.0..=3_600.0, errors);
        check::within("spikes.learn_spikes", self.learn_spikes as f64, 100.0..=4_000.0, errors);
        check::within("spikes.gate_sigma", self.gate_sigma, 0.5..=20.0, errors);
        if !self.probe.as_os_str().is_empty() {
            check::file("spikes.probe", &self.probe, errors);
        }
        if !self.templates.as_os_str().is_empty() && !self.templates.exists() {
            errors.push(ConfigError::MissingFile { key: "spikes.templates".to_owned(), path: self.templates.clone() });
        }
    }
}
