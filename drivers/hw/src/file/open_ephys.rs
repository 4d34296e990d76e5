//! Open Ephys' binary form: `structure.oebin` (JSON), `continuous/<stream>/continuous.dat`, sample numbers and TTL events
//! as `.npy`.

use std::path::Path;

use mimicd_device::DeviceError;
use serde::Deserialize;

use super::flat::{Digital, Flat};
use super::recording::{Piece, PieceFinder, Recording, Rows};
use super::{bytes, npy};

#[derive(Deserialize)]
struct Structure {
    #[serde(default)]
    continuous: Vec<Stream>,
    #[serde(default)]
    events: Vec<Events>,
}

#[derive(Deserialize)]
struct Stream {
    folder_name: String,
    sample_rate: f64,
    num_channels: usize,
    channels: Vec<Channel>,
}

#[derive(Deserialize)]
struct Channel {
    channel_name: String,
    bit_volts: f64,
    #[serde(default)]
    units: String,
}

#[derive(Deserialize)]
struct Events {
    folder_name: String,
}

impl Channel {
    /// Electrodes are given in microvolts; converter and auxiliary channels in volts or under names of their own.
    fn is_electrode(&self) -> bool {
        let name = self.channel_name.to_uppercase();
        !(self.units.eq_ignore_ascii_case("v") || name.starts_with("ADC") || name.starts_with("AUX"))
    }
}

impl Stream {
    fn folder(&self) -> &str {
        self.folder_name.trim_end_matches('/')
    }

    fn electrodes(&self) -> usize {
        self.channels.iter().take_while(|channel| channel.is_electrode()).count()
    }
}

/// Opens the recording in `folder`; `wanted` names one of its continuous streams.
pub(super) fn open(folder: &Path, wanted: Option<&str>) -> Result<Recording, DeviceError> {
    let path = folder.join("structure.oebin");
    let text = std::fs::read_to_string(&path).map_err(|error| bytes::io(&path, "reading", &error))?;
    let structure: Structure = serde_json::from_str(&text).map_err(|error| bytes::wrong(&path, error))?;
    let fits = |stream: &&Stream| {
        stream.electrodes() > 0 && wanted.is_none_or(|name| stream.folder() == name || stream.folder_name == name)
    };
    let mut streams = structure.continuous.iter().filter(fits);
    let stream = streams.next().ok_or_else(|| bytes::unsupported(&path, "names no stream of electrode channels"))?;
    if streams.next().is_some() {
        let names: Vec<&str> = structure.continuous.iter().map(Stream::folder).collect();
        let what =
            format_args!("has several streams ({}); give the path of one continuous/<stream> folder", names.join(", "));
        return Err(bytes::unsupported(&path, what));
    }
    open_stream(folder, &path, stream, &structure.events)
}

fn open_stream(folder: &Path, path: &Path, stream: &Stream, events: &[Events]) -> Result<Recording, DeviceError> {
    let channels = stream.electrodes();
    let gain = stream.channels[0].bit_volts;
    if stream.channels[..channels].iter().any(|channel| (channel.bit_volts - gain).abs() > 1e-9 * gain.abs()) {
        return Err(bytes::unsupported(
            path,
            format_args!("stream {} has channels of different gain", stream.folder()),
        ));
    }
    let place = folder.join("continuous").join(stream.folder());
    let (_, length) = bytes::open(&place.join("continuous.dat"))?;
    let rows = length / (2 * stream.num_channels as u64);
    let pieces = pieces(&place, rows)?;
    let digital = digital(folder, stream, events, &pieces)?;
    let (flat, _) = Flat::open(place.join("continuous.dat"), 0, stream.num_channels, digital)?;
    Ok(Recording {
        identity: format!("Open Ephys binary, {}", place.display()),
        path: place,
        channels,
        rate_hz: stream.sample_rate,
        gain_uv_per_bit: gain,
        pieces,
        rows: Rows::Flat(flat),
    })
}

fn pieces(place: &Path, rows: u64) -> Result<Vec<Piece>, DeviceError> {
    let (newer, older) = (place.join("sample_numbers.npy"), place.join("timestamps.npy"));
    let numbers = if newer.is_file() {
        npy::integers(&newer)?
    } else if npy::is_integers(&older) {
        npy::integers(&older)?
    } else {
        (0..rows as i64).collect()
    };
    let whole = numbers.len().min(rows as usize);
    let mut finder = PieceFinder::default();
    numbers.into_iter().take(whole).for_each(|number| finder.push(number));
    let pieces = finder.finish();
    if pieces.is_empty() { Err(bytes::unsupported(place, "holds no whole row")) } else { Ok(pieces) }
}

/// The TTL events of the stream's own processor, as words by row.
fn digital(folder: &Path, stream: &Stream, events: &[Events], pieces: &[Piece]) -> Result<Digital, DeviceError> {
    let own = |event: &&Events| event.folder_name.contains(stream.folder()) && event.folder_name.contains("TTL");
    let Some(event) = events.iter().find(own) else { return Ok(Digital::None) };
    let place = folder.join("events").join(event.folder_name.trim_end_matches('/'));
    let numbers = ["sample_numbers.npy", "timestamps.npy"].map(|name| place.join(name));
    let states = ["states.npy", "channel_states.npy"].map(|name| place.join(name));
    let there = |paths: &[std::path::PathBuf; 2]| paths.iter().find(|path| path.is_file()).cloned();
    let (Some(numbers), Some(states)) = (there(&numbers), there(&states)) else { return Ok(Digital::None) };
    let mut word = 0_u16;
    let mut changes = Vec::new();
    for (number, state) in npy::integers(&numbers)?.into_iter().zip(npy::integers(&states)?) {
        let line = state.unsigned_abs().saturating_sub(1);
        if line < 16 {
            word = if state > 0 { word | 1 << line } else { word & !(1 << line) };
            changes.push((row_of(pieces, number.max(0) as u64), word));
        }
    }
    Ok(Digital::Changes(changes))
}

/// The row of a sample number; of the first row after it when it lies in a gap.
fn row_of(pieces: &[Piece], number: u64) -> u64 {
    let piece = pieces.iter().find(|piece| number < piece.first + piece.rows);
    piece.map_or(u64::MAX, |piece| piece.row + number.saturating_sub(piece.first))
}
