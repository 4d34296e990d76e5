//! Units that are known beforehand, from three forms:
//!
//! | path | form | waveforms |
//! |---|---|---|
//! | a folder with `templates.npy` | Kilosort or phy | whitened when there is a `whitening_mat_inv.npy`, else microvolts |
//! | a folder with `extensions/templates/average.npy` | a SpikeInterface sorting analyser | microvolts |
//! | `x.toml` | written by `mimicd units` | microvolts, filtered as the live signal is |
//!
//! Other programs filter without delay; their waveforms go through the live band-pass once more, so that they look like
//! what the sorter sees. What is left of the difference is taken out by the sorter's own refinement on the first spikes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mimicd_hw::file::npy::{self, Npy};
use serde::{Deserialize, Serialize};

use super::detect::outdoes;
use super::filter::{FilterBank, band_pass};
use super::{ChannelLayout, SNIPPET_BEFORE, SNIPPET_SAMPLES, Snippet, TETRODE_CHANNELS};
use crate::config::{ArrayConfig, SpikesConfig};

/// Rows of silence before a waveform, so that the filter has settled, and after it.
const PAD: usize = 96;

/// Why templates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TemplateError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What is wrong and what was expected.
    pub reason: String,
}

/// One unit: a waveform on some of the array's channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Id in the file it came from.
    pub id: i64,
    /// Channels of the array.
    pub channels: Vec<u16>,
    /// Waveform of each channel in microvolts.
    pub waves_uv: Vec<Vec<f32>>,
}

/// Units that are known beforehand.
#[derive(Clone, Debug, PartialEq)]
pub struct Templates {
    /// In the file's order.
    pub units: Vec<Template>,
    /// Whether the waveforms have gone through the live filter already.
    pub filtered: bool,
    path: PathBuf,
}

/// A known unit as the sorter takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownUnit {
    /// Tetrode of the layout.
    pub tetrode: u16,
    /// Filtered waveform, peak at its place.
    pub wave_uv: Snippet,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    unit: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: i64,
    channels: Vec<u16>,
    waves_uv: Vec<Vec<f32>>,
}

impl Templates {
    /// Reads any of the three forms. `gain_uv_per_bit`: of the array, for templates that are in bits.
    ///
    /// # Errors
    /// A path that is none of them, or a file that contradicts itself.
    pub fn load(path: &Path, gain_uv_per_bit: f64) -> Result<Self, TemplateError> {
        let units = if path.join("templates.npy").is_file() {
            phy(path, gain_uv_per_bit)?
        } else if path.join("extensions/templates/average.npy").is_file() {
            analyser(&path.join("extensions/templates/average.npy"))?
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            return Self::load_toml(path);
        } else {
            let reason = "expected a folder with templates.npy (Kilosort, phy) or extensions/templates/average.npy (SpikeInterface), or a .toml that `mimicd units` wrote";
            return Err(wrong(path, reason));
        };
        if units.is_empty() {
            return Err(wrong(path, "no unit in it"));
        }
        Ok(Self { units, filtered: false, path: path.to_owned() })
    }

    fn load_toml(path: &Path) -> Result<Self, TemplateError> {
        let text = std::fs::read_to_string(path).map_err(|error| wrong(path, error))?;
        let file: File = toml::from_str(&text).map_err(|error| wrong(path, error))?;
        let mut units = Vec::new();
        for Entry { id, channels, waves_uv } in file.unit {
            let fits = channels.len() == TETRODE_CHANNELS && waves_uv.len() == channels.len();
            if !fits || waves_uv.iter().any(|wave| wave.len() != SNIPPET_SAMPLES) {
                let reason = format!("unit {id}: expected {TETRODE_CHANNELS} channels of {SNIPPET_SAMPLES} samples");
                return Err(wrong(path, reason));
            }
            units.push(Template { id, channels, waves_uv });
        }
        Ok(Self { units, filtered: true, path: path.to_owned() })
    }

    /// Units from elsewhere; `filtered`: their waveforms have gone through the live filter.
    pub fn new(units: Vec<Template>, filtered: bool) -> Self {
        Self { units, filtered, path: PathBuf::new() }
    }

    /// The form that [`Templates::load`] reads back.
    pub fn to_toml(&self) -> String {
        let entry =
            |unit: &Template| Entry { id: unit.id, channels: unit.channels.clone(), waves_uv: unit.waves_uv.clone() };
        let file = File { unit: self.units.iter().map(entry).collect() };
        toml::to_string(&file).expect("plain numbers serialise")
    }

    /// Each unit on the tetrode where it is largest, in the files' order.
    ///
    /// # Errors
    /// A unit on no channel of the layout.
    pub fn on_tetrodes(
        &self,
        layout: &ChannelLayout,
        config: &SpikesConfig,
        array: &ArrayConfig,
    ) -> Result<Vec<KnownUnit>, TemplateError> {
        let high_hz = config.band_high_hz.min(array.rate_hz * 0.45);
        let sections = band_pass(array.rate_hz, config.band_low_hz, high_hz);
        let known = |unit: &Template| {
            let tetrode = unit.tetrode(layout).ok_or_else(|| {
                wrong(&self.path, format!("unit {} is on no channel of the array's tetrodes", unit.id))
            })?;
            let mut rows = unit.rows(layout, tetrode);
            if !self.filtered {
                let mut filter = FilterBank::new(sections, TETRODE_CHANNELS);
                rows.iter_mut().for_each(|row| filter.row(row));
            }
            Ok(KnownUnit { tetrode: tetrode as u16, wave_uv: cut(&rows) })
        };
        self.units.iter().map(known).collect()
    }
}

impl Template {
    fn energy(&self, channel: u16) -> f32 {
        let place = self.channels.iter().position(|c| *c == channel);
        place.map_or(0.0, |place| self.waves_uv[place].iter().map(|x| x * x).sum())
    }

    fn tetrode(&self, layout: &ChannelLayout) -> Option<usize> {
        let energies = layout
            .device_channel
            .as_chunks::<TETRODE_CHANNELS>()
            .0
            .iter()
            .map(|wires| wires.iter().map(|channel| self.energy(*channel)).sum::<f32>());
        let best = energies.enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (best.1 > 0.0).then_some(best.0)
    }

    /// The waveform on a tetrode's four channels, row by row, with silence around it.
    fn rows(&self, layout: &ChannelLayout, tetrode: usize) -> Vec<[f32; TETRODE_CHANNELS]> {
        let length = self.waves_uv.iter().map(Vec::len).max().unwrap_or(0);
        let mut rows = vec![[0.0; TETRODE_CHANNELS]; length + 2 * PAD];
        for wire in 0..TETRODE_CHANNELS {
            let channel = layout.device_channel[tetrode * TETRODE_CHANNELS + wire];
            let Some(place) = self.channels.iter().position(|c| *c == channel) else { continue };
            for (row, value) in rows[PAD..].iter_mut().zip(&self.waves_uv[place]) {
                row[wire] = *value;
            }
        }
        rows
    }
}

/// The snippet around the peak that detection would find.
fn cut(rows: &[[f32; TETRODE_CHANNELS]]) -> Snippet {
    let largest = |row: &[f32; TETRODE_CHANNELS]| {
        row.iter().copied().fold(0.0_f32, |most, x| if x.abs() > most.abs() { x } else { most })
    };
    let (mut peak, mut peak_uv) = (SNIPPET_BEFORE, 0.0);
    for (index, row) in rows[..rows.len() - (SNIPPET_SAMPLES - SNIPPET_BEFORE)].iter().enumerate().skip(SNIPPET_BEFORE)
    {
        let uv = largest(row);
        if outdoes(peak_uv, uv) {
            (peak, peak_uv) = (index, uv);
        }
    }
    let first = peak - SNIPPET_BEFORE;
    std::array::from_fn(|wire| std::array::from_fn(|sample| rows[first + sample][wire]))
}

/// Waveforms of `[unit, sample, channel]`.
fn waves(array: &Npy, path: &Path) -> Result<Vec<Vec<Vec<f32>>>, TemplateError> {
    let &[units, samples, channels] = array.shape.as_slice() else {
        return Err(wrong(path, format!("shape {:?}, expected units x samples x channels", array.shape)));
    };
    let at = |unit: usize, sample: usize, channel: usize| {
        array.values[(unit * samples + sample) * channels + channel] as f32
    };
    let wave = |unit, channel| (0..samples).map(|sample| at(unit, sample, channel)).collect();
    Ok((0..units).map(|unit| (0..channels).map(|channel| wave(unit, channel)).collect()).collect())
}

fn load(path: &Path) -> Result<Npy, TemplateError> {
    npy::load(path).map_err(|error| TemplateError { path: path.to_owned(), reason: error.context })
}

fn analyser(path: &Path) -> Result<Vec<Template>, TemplateError> {
    let units = waves(&load(path)?, path)?.into_iter().enumerate();
    let template = |(id, waves_uv): (usize, Vec<Vec<f32>>)| Template {
        id: id as i64,
        channels: (0..waves_uv.len() as u16).collect(),
        waves_uv,
    };
    Ok(units.map(template).collect())
}

/// A Kilosort or phy folder: the templates of each cluster, weighted by its spikes; clusters called noise are left out.
fn phy(folder: &Path, gain_uv_per_bit: f64) -> Result<Vec<Template>, TemplateError> {
    let path = folder.join("templates.npy");
    let mut templates = waves(&load(&path)?, &path)?;
    let channels = phy_channels(folder, templates.first().map_or(0, Vec::len))?;
    let spikes = phy_spikes(folder)?;
    let unwhiten = folder.join("whitening_mat_inv.npy");
    if unwhiten.is_file() {
        let scale = amplitudes(folder, &spikes, templates.len())?;
        let inverse = load(&unwhiten)?;
        if inverse.shape != [channels.len(), channels.len()] {
            return Err(wrong(
                &unwhiten,
                format!("shape {:?}, expected {} x {}", inverse.shape, channels.len(), channels.len()),
            ));
        }
        for (template, scale) in templates.iter_mut().zip(scale) {
            *template = unwhitened(template, &inverse.values, (scale * gain_uv_per_bit) as f32);
        }
    }
    let sparse = [folder.join("template_ind.npy"), folder.join("templates_ind.npy")].into_iter().find(|p| p.is_file());
    let own = match sparse {
        Some(path) => {
            load(&path)?.values.chunks(templates.first().map_or(1, Vec::len).max(1)).map(<[f64]>::to_vec).collect()
        }
        None => vec![(0..channels.len()).map(|c| c as f64).collect::<Vec<f64>>(); templates.len()],
    };
    let noise = noise_clusters(folder);
    let mut units = Vec::new();
    for (cluster, counts) in by_cluster(&spikes) {
        if noise.contains(&cluster) {
            continue;
        }
        let parts = counts.iter().filter_map(|(t, n)| Some((templates.get(*t)?, own.get(*t)?, *n)));
        units.push(merged(cluster, parts, &channels));
    }
    Ok(units)
}

/// Device channel of each column of the templates.
fn phy_channels(folder: &Path, columns: usize) -> Result<Vec<u16>, TemplateError> {
    let path = folder.join("channel_map.npy");
    if !path.is_file() {
        return Ok((0..columns as u16).collect());
    }
    Ok(load(&path)?.values.iter().map(|channel| *channel as u16).collect())
}

/// Template and cluster of each spike.
fn phy_spikes(folder: &Path) -> Result<Vec<(usize, i64)>, TemplateError> {
    let templates = load(&folder.join("spike_templates.npy"))?.values;
    let clusters = folder.join("spike_clusters.npy");
    let clusters = if clusters.is_file() { load(&clusters)?.values } else { templates.clone() };
    Ok(templates.iter().zip(&clusters).map(|(t, c)| (*t as usize, *c as i64)).collect())
}

/// Mean amplitude of each template's spikes.
fn amplitudes(folder: &Path, spikes: &[(usize, i64)], templates: usize) -> Result<Vec<f64>, TemplateError> {
    let values = load(&folder.join("amplitudes.npy"))?.values;
    let mut sums = vec![(0.0, 0.0); templates];
    for ((template, _), value) in spikes.iter().zip(values) {
        if let Some((sum, count)) = sums.get_mut(*template) {
            *sum += value;
            *count += 1.0;
        }
    }
    Ok(sums.into_iter().map(|(sum, count)| if count > 0.0 { sum / count } else { 0.0 }).collect())
}

fn unwhitened(template: &[Vec<f32>], inverse: &[f64], scale: f32) -> Vec<Vec<f32>> {
    let (channels, samples) = (template.len(), template.first().map_or(0, Vec::len));
    let value = |sample: usize, to: usize| {
        let sum: f64 =
            (0..channels).map(|from| f64::from(template[from][sample]) * inverse[from * channels + to]).sum();
        sum as f32 * scale
    };
    (0..channels).map(|to| (0..samples).map(|sample| value(sample, to)).collect()).collect()
}

fn by_cluster(spikes: &[(usize, i64)]) -> BTreeMap<i64, BTreeMap<usize, f32>> {
    let mut clusters: BTreeMap<i64, BTreeMap<usize, f32>> = BTreeMap::new();
    for (template, cluster) in spikes {
        *clusters.entry(*cluster).or_default().entry(*template).or_default() += 1.0;
    }
    clusters
}

/// Clusters that a curator or Kilosort called noise.
fn noise_clusters(folder: &Path) -> Vec<i64> {
    let names = ["cluster_group.tsv", "cluster_groups.csv", "cluster_KSLabel.tsv"];
    let Some(text) = names.iter().find_map(|name| std::fs::read_to_string(folder.join(name)).ok()) else {
        return Vec::new();
    };
    let id = |line: &str| {
        let (id, label) = line.split_once('\t')?;
        (label.trim() == "noise").then(|| id.trim().parse().ok())?
    };
    text.lines().filter_map(id).collect()
}

/// The weighted mean of templates; `own` holds the columns' places in `channels`.
fn merged<'a>(
    id: i64,
    parts: impl Iterator<Item = (&'a Vec<Vec<f32>>, &'a Vec<f64>, f32)>,
    channels: &[u16],
) -> Template {
    let mut sums: BTreeMap<u16, Vec<f32>> = BTreeMap::new();
    let mut total = 0.0;
    for (waves, own, weight) in parts {
        total += weight;
        for (wave, place) in waves.iter().zip(own) {
            let Some(channel) = channels.get(*place as usize).filter(|_| *place >= 0.0) else { continue };
            let sum = sums.entry(*channel).or_insert_with(|| vec![0.0; wave.len()]);
            sum.iter_mut().zip(wave).for_each(|(sum, x)| *sum += weight * x);
        }
    }
    let scaled = |wave: Vec<f32>| wave.into_iter().map(|x| x / f32::max(total, 1.0)).collect();
    let (channels, waves_uv) = sums.into_iter().map(|(channel, wave)| (channel, scaled(wave))).unzip();
    Template { id, channels, waves_uv }
}

fn wrong(path: &Path, reason: impl std::fmt::Display) -> TemplateError {
    TemplateError { path: path.to_owned(), reason: reason.to_string() }
}
