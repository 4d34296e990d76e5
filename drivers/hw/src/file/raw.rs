//! Raw int16 described by a TOML:
//!
//! ```toml
//! file = "tetrode.raw"        # beside the TOML
//! columns = 5                 # values of a row, all channels and the digital word
//! channels = 4                # of them electrodes, the first ones; all when left out
//! rate_hz = 30000.0
//! gain_uv_per_bit = 0.195
//! digital_column = 4          # optional: the column (0-based) that holds the digital word
//! header_bytes = 0            # optional
//! first_sample = 0            # optional: index of the first row
//! ```

use std::path::{Path, PathBuf};

use mimicd_device::DeviceError;
use serde::Deserialize;

use super::bytes;
use super::flat::{Digital, Flat};
use super::recording::{Piece, Recording, Rows};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    file: PathBuf,
    columns: usize,
    channels: Option<usize>,
    rate_hz: f64,
    gain_uv_per_bit: f64,
    digital_column: Option<usize>,
    #[serde(default)]
    header_bytes: u64,
    #[serde(default)]
    first_sample: u64,
}

/// Opens the raw file that the TOML at `path` describes.
pub(super) fn open(path: &Path) -> Result<Recording, DeviceError> {
    let text = std::fs::read_to_string(path).map_err(|error| bytes::io(path, "reading", &error))?;
    let about: Description = toml::from_str(&text).map_err(|error| bytes::wrong(path, error))?;
    let channels = about.channels.unwrap_or(about.columns);
    let sound = channels >= 1 && channels <= about.columns && about.digital_column.is_none_or(|c| c < about.columns);
    let range = about.rate_hz.is_finite() && about.rate_hz > 0.0 && about.gain_uv_per_bit > 0.0;
    if !sound || !range {
        let what = "expected 1 <= channels <= columns, digital_column < columns, rate_hz and gain_uv_per_bit above 0";
        return Err(bytes::wrong(path, what));
    }
    let file = path.parent().unwrap_or(Path::new(".")).join(&about.file);
    let digital = about.digital_column.map_or(Digital::None, Digital::Column);
    let (flat, rows) = Flat::open(file.clone(), about.header_bytes, about.columns, digital)?;
    if rows == 0 {
        return Err(bytes::unsupported(&file, "holds no whole row"));
    }
    Ok(Recording {
        identity: format!("raw int16, {}", file.display()),
        path: file,
        channels,
        rate_hz: about.rate_hz,
        gain_uv_per_bit: about.gain_uv_per_bit,
        pieces: vec![Piece { first: about.first_sample, row: 0, rows }],
        rows: Rows::Flat(flat),
    })
}
