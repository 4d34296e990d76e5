//! SpikeGLX: `x.bin` (int16, sample-major) and `x.meta` (`key=value` lines). The last column, where there is one, is the
//! digital word (imec SY, NI-DAQ DW).

use std::collections::BTreeMap;
use std::path::Path;

use mimicd_device::DeviceError;

use super::bytes;
use super::flat::{Digital, Flat};
use super::recording::{Piece, Recording, Rows};

/// Opens a recording by its `.bin` or `.meta`.
pub(super) fn open(path: &Path) -> Result<Recording, DeviceError> {
    let meta = Meta::load(&path.with_extension("meta"))?;
    let bin = path.with_extension("bin");
    let kind = meta.text("typeThis")?;
    let columns = meta.number("nSavedChans")? as usize;
    let (rate_key, counts_key) = match kind {
        "imec" => ("imSampRate", "snsApLfSy"),
        "nidq" => ("niSampRate", "snsMnMaXaDw"),
        "obx" => ("obSampRate", "snsXaDwSy"),
        other => {
            return Err(bytes::unsupported(&meta.path, format_args!("typeThis={other}, expected imec, nidq or obx")));
        }
    };
    let counts = meta.list(counts_key)?;
    let channels = if kind == "imec" && counts.first() == Some(&0.0) {
        counts.get(1).copied().unwrap_or(0.0) as usize
    } else {
        counts.first().copied().unwrap_or(0.0) as usize
    };
    if channels == 0 || columns < channels {
        let what = format_args!("{counts_key} and nSavedChans name {channels} electrode channels of {columns}");
        return Err(bytes::unsupported(&meta.path, what));
    }
    let digital = if columns > channels { Digital::Column(columns - 1) } else { Digital::None };
    let (flat, rows) = Flat::open(bin.clone(), 0, columns, digital)?;
    if rows == 0 {
        return Err(bytes::unsupported(&bin, "holds no whole row"));
    }
    let first = meta.number("firstSample").unwrap_or(0.0).max(0.0) as u64;
    Ok(Recording {
        identity: format!("SpikeGLX {kind}, {}", bin.display()),
        path: bin,
        channels,
        rate_hz: meta.number(rate_key)?,
        gain_uv_per_bit: meta.gain_uv_per_bit(kind)?,
        pieces: vec![Piece { first, row: 0, rows }],
        rows: Rows::Flat(flat),
    })
}

struct Meta {
    path: std::path::PathBuf,
    values: BTreeMap<String, String>,
}

impl Meta {
    fn load(path: &Path) -> Result<Self, DeviceError> {
        let text = std::fs::read_to_string(path).map_err(|error| bytes::io(path, "reading", &error))?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let values =
            pairs.map(|(key, value)| (key.trim_start_matches('~').to_owned(), value.trim().to_owned())).collect();
        Ok(Self { path: path.to_owned(), values })
    }

    fn text(&self, key: &str) -> Result<&str, DeviceError> {
        let value = self.values.get(key).map(String::as_str);
        value.ok_or_else(|| bytes::wrong(&self.path, format_args!("has no {key}")))
    }

    fn number(&self, key: &str) -> Result<f64, DeviceError> {
        let text = self.text(key)?;
        text.parse().map_err(|_| bytes::wrong(&self.path, format_args!("{key}={text}, expected a number")))
    }

    fn list(&self, key: &str) -> Result<Vec<f64>, DeviceError> {
        let text = self.text(key)?;
        let numbers: Result<Vec<f64>, _> = text.split(',').map(str::parse).collect();
        numbers.map_err(|_| bytes::wrong(&self.path, format_args!("{key}={text}, expected numbers")))
    }

    /// Input range over the converter's steps and the amplifier's gain.
    fn gain_uv_per_bit(&self, kind: &str) -> Result<f64, DeviceError> {
        let (range, steps, gain) = match kind {
            "imec" => {
                let steps = self.number("imMaxInt").unwrap_or(512.0);
                let is_lfp = self.list("snsApLfSy")?.first() == Some(&0.0);
                (self.number("imAiRangeMax")?, steps, self.imec_gain(is_lfp)?)
            }
            "nidq" => {
                let steps = self.number("niMaxInt").unwrap_or(32_768.0);
                (self.number("niAiRangeMax")?, steps, self.number("niMNGain").unwrap_or(1.0))
            }
            _ => (self.number("obAiRangeMax")?, self.number("obMaxInt").unwrap_or(32_768.0), 1.0),
        };
        Ok(range / steps / gain * 1e6)
    }

    /// Gain of the probe's channels: named by newer files, fixed for 2.0 probes, else in the channel table.
    fn imec_gain(&self, is_lfp: bool) -> Result<f64, DeviceError> {
        let named = if is_lfp { "imChan0lfGain" } else { "imChan0apGain" };
        if let Ok(gain) = self.number(named) {
            return Ok(gain);
        }
        let probe = self.number("imDatPrb_type").unwrap_or(0.0);
        if [21.0, 24.0].contains(&probe) {
            return Ok(80.0);
        }
        // (header)(channel bank reference apGain lfGain [filter])...
        let table = self.text("imroTbl")?;
        let column = if is_lfp { 4 } else { 3 };
        let gains: Vec<f64> = table
            .split(')')
            .skip(1)
            .filter_map(|entry| entry.trim_start_matches('(').split(' ').nth(column)?.parse().ok())
            .collect();
        match gains.first() {
            Some(gain) if gains.iter().all(|other| other == gain) => Ok(*gain),
            Some(_) => Err(bytes::unsupported(&self.path, "imroTbl has channels of different gain")),
            None => Err(bytes::wrong(&self.path, "imroTbl names no gain")),
        }
    }
}
