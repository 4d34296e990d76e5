//! Which channel is which wire of which tetrode: probeinterface JSON, read and written.
//!
//! A tetrode is a probe of four contacts, or four contacts on one shank of a larger probe. `device_channel_indices` are
//! channels of the array, 0-based; -1 = not connected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TETRODE_CHANNELS;
use super::layout::ChannelLayout;

/// Version of the format that is written.
const VERSION: &str = "0.2.21";
/// Half the distance of two wires of a twisted tetrode, and the distance of two tetrodes of a written map.
const WIRE_UM: f64 = 10.0;
const TETRODE_UM: f64 = 250.0;

/// Why a probe file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The file cannot be read.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system or the parser said.
        reason: String,
    },
    /// The file is no map of tetrodes, or not of this array.
    #[error("{}: {reason}", path.display())]
    Map {
        /// Which.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Group {
    specification: String,
    version: String,
    probes: Vec<ProbeJson>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct ProbeJson {
    #[serde(default)]
    ndim: u32,
    #[serde(default)]
    si_units: String,
    #[serde(default)]
    annotations: serde_json::Value,
    #[serde(default)]
    contact_annotations: serde_json::Value,
    contact_positions: Vec<Vec<f64>>,
    #[serde(default)]
    contact_plane_axes: Vec<Vec<Vec<f64>>>,
    #[serde(default)]
    contact_shapes: Vec<String>,
    #[serde(default)]
    contact_shape_params: Vec<serde_json::Value>,
    device_channel_indices: Option<Vec<i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shank_ids: Option<Vec<serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact_ids: Option<Vec<serde_json::Value>>,
}

/// One tetrode of a probe file.
#[derive(Clone, Debug, PartialEq)]
pub struct TetrodeMap {
    /// Channel of each wire.
    pub channels: [u16; TETRODE_CHANNELS],
    /// Position of each wire in the probe's plane, in micrometres.
    pub positions_um: [[f64; 2]; TETRODE_CHANNELS],
}

/// The tetrodes of an array.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeMap {
    /// In file order.
    pub tetrodes: Vec<TetrodeMap>,
}

impl ProbeMap {
    /// Four channels in a row make a tetrode.
    pub fn in_rows(channels: usize) -> Self {
        let tetrode = |index: usize| TetrodeMap {
            channels: std::array::from_fn(|wire| (index * TETRODE_CHANNELS + wire) as u16),
            positions_um: [[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]]
                .map(|[x, y]| [index as f64 * TETRODE_UM + x * WIRE_UM, y * WIRE_UM]),
        };
        Self { tetrodes: (0..channels / TETRODE_CHANNELS).map(tetrode).collect() }
    }

    /// Reads a probeinterface JSON.
    ///
    /// # Errors
    /// A file that cannot be read, is no probeinterface JSON, or does not describe tetrodes.
    pub fn load(path: &Path) -> Result<Self, ProbeError> {
        let file = |reason: String| ProbeError::File { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| file(error.to_string()))?;
        let group: Group = serde_json::from_str(&text).map_err(|error| file(error.to_string()))?;
        let map = |reason: String| ProbeError::Map { path: path.to_owned(), reason };
        if group.specification != "probeinterface" {
            return Err(map(format!("specification {:?}, expected \"probeinterface\"", group.specification)));
        }
        let mut tetrodes = Vec::new();
        for (index, probe) in group.probes.iter().enumerate() {
            tetrodes_of(index, probe, &mut tetrodes).map_err(map)?;
        }
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = tetrodes.iter().flat_map(|t| t.channels).find(|channel| !seen.insert(*channel)) {
            return Err(map(format!("channel {twice} is named twice")));
        }
        if tetrodes.is_empty() { Err(map("no tetrode in it".to_owned())) } else { Ok(Self { tetrodes }) }
    }

    /// The map as probeinterface JSON: one probe of four contacts for each tetrode.
    pub fn to_json(&self) -> String {
        let probes = self.tetrodes.iter().map(|tetrode| ProbeJson {
            ndim: 2,
            si_units: "um".to_owned(),
            annotations: serde_json::json!({}),
            contact_annotations: serde_json::json!({}),
            contact_positions: tetrode.positions_um.iter().map(|p| p.to_vec()).collect(),
            contact_plane_axes: vec![vec![vec![1.0, 0.0], vec![0.0, 1.0]]; TETRODE_CHANNELS],
            contact_shapes: vec!["circle".to_owned(); TETRODE_CHANNELS],
            contact_shape_params: vec![serde_json::json!({"radius": 6.0}); TETRODE_CHANNELS],
            device_channel_indices: Some(tetrode.channels.iter().map(|c| i64::from(*c)).collect()),
            shank_ids: None,
            contact_ids: None,
        });
        let group =
            Group { specification: "probeinterface".to_owned(), version: VERSION.to_owned(), probes: probes.collect() };
        serde_json::to_string_pretty(&group).expect("plain numbers and texts serialise")
    }

    /// The channel order of the spike stage for an array of `channels` channels.
    ///
    /// # Errors
    /// A channel that the array does not have.
    pub fn layout(&self, channels: usize, dead: &[usize], path: &Path) -> Result<ChannelLayout, ProbeError> {
        let beyond = self.tetrodes.iter().flat_map(|t| t.channels).find(|channel| usize::from(*channel) >= channels);
        if let Some(channel) = beyond {
            let reason = format!("names channel {channel}; the array has {channels} (0 to {})", channels - 1);
            return Err(ProbeError::Map { path: path.to_owned(), reason });
        }
        let tetrodes: Vec<[u16; TETRODE_CHANNELS]> = self.tetrodes.iter().map(|t| t.channels).collect();
        Ok(ChannelLayout::of_tetrodes(&tetrodes, dead))
    }
}

/// Appends the tetrodes of one probe.
fn tetrodes_of(index: usize, probe: &ProbeJson, tetrodes: &mut Vec<TetrodeMap>) -> Result<(), String> {
    let contacts = probe.contact_positions.len();
    let channels = probe.device_channel_indices.as_ref();
    let channels = channels.ok_or_else(|| format!("probe {index} has no device_channel_indices; wire it first"))?;
    if channels.len() != contacts {
        return Err(format!("probe {index} has {contacts} contacts and {} device_channel_indices", channels.len()));
    }
    let shank = |contact: usize| match &probe.shank_ids {
        Some(ids) => ids.get(contact).map_or_else(String::new, ToString::to_string),
        None => String::new(),
    };
    // In order of the shanks' first contacts.
    let mut order: Vec<String> = Vec::new();
    let mut shanks: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for contact in (0..contacts).filter(|contact| channels[*contact] >= 0) {
        let name = shank(contact);
        if !shanks.contains_key(&name) {
            order.push(name.clone());
        }
        shanks.entry(name).or_default().push(contact);
    }
    for name in order {
        let wires: &[usize; TETRODE_CHANNELS] = shanks[&name].as_slice().try_into().map_err(|_| {
            let place = if name.is_empty() { String::new() } else { format!(" shank {name}") };
            format!("probe {index}{place} has {} connected contacts, expected {TETRODE_CHANNELS}", shanks[&name].len())
        })?;
        let position = |contact: usize| {
            let p = &probe.contact_positions[contact];
            [p.first().copied().unwrap_or(0.0), p.get(1).copied().unwrap_or(0.0)]
        };
        let channel = |contact: usize| u16::try_from(channels[contact]).unwrap_or(u16::MAX);
        tetrodes.push(TetrodeMap { channels: wires.map(channel), positions_um: wires.map(position) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<ProbeMap, ProbeError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        ProbeMap::load(file.path())
    }

    #[test]
    fn what_is_written_is_read() {
        let map = ProbeMap::in_rows(128);
        assert_eq!(load(&map.to_json()).expect("reads"), map);
    }

    #[test]
    fn shanks_of_one_probe_are_tetrodes_and_unconnected_contacts_are_left_out() {
        let text = r#"{"specification": "probeinterface", "version": "0.2.21", "probes": [{
            "ndim": 2, "si_units": "um", "annotations": {}, "contact_annotations": {},
            "contact_positions": [[0,0],[0,1],[9,0],[0,2],[0,3],[9,1],[9,2],[9,3],[9,4]],
            "device_channel_indices": [7, 6, 0, 5, 4, 1, -1, 2, 3],
            "shank_ids": ["1","1","0","1","1","0","0","0","0"]}]}"#;
        let channels: Vec<_> = load(text).expect("reads").tetrodes.iter().map(|t| t.channels).collect();
        assert_eq!(channels, [[7, 6, 5, 4], [0, 1, 2, 3]]);
    }

    #[test]
    fn maps_that_are_no_tetrodes_are_named() {
        let probe = |channels: &str| {
            format!(
                r#"{{"specification": "probeinterface", "version": "0", "probes": [{{"contact_positions": [[0,0],[0,1],[1,0],[1,1]], "device_channel_indices": {channels}}}]}}"#
            )
        };
        let message = |text: &str| load(text).expect_err("refused").to_string();
        assert!(message(&probe("[0, 1, 2, -1]")).contains("probe 0 has 3 connected contacts, expected 4"));
        assert!(message(&probe("null")).contains("wire it first"));
        assert!(message(&probe("[0, 1, 2, 2]")).contains("channel 2 is named twice"));
        assert!(message("{}").contains("missing field"));
        let map = load(&probe("[0, 1, 2, 9]")).expect("reads");
        let error = map.layout(8, &[], Path::new("p.json")).expect_err("beyond");
        assert_eq!(error.to_string(), "p.json: names channel 9; the array has 8 (0 to 7)");
    }
}
