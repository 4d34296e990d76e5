//! Intan's one-file-per-signal-type form: `info.rhd` (a header), `time.dat` (i32), `amplifier.dat` (i16, sample-major),
//! `digitalin.dat` (u16).

use std::io::{BufReader, Read as _};
use std::path::Path;

use mimicd_device::DeviceError;

use super::bytes;
use super::flat::{Digital, Flat};
use super::recording::{Piece, PieceFinder, Recording, Rows};
use super::rhd_header::{GAIN_UV_PER_BIT, RhdHeader};

/// Opens the folder at `folder`.
pub(super) fn open(folder: &Path) -> Result<Recording, DeviceError> {
    let header = RhdHeader::load(&folder.join("info.rhd"))?;
    let amplifier = folder.join("amplifier.dat");
    if !amplifier.is_file() {
        let what =
            "has info.rhd and no amplifier.dat; one file per channel is not read: save as one file per signal type";
        return Err(bytes::unsupported(folder, what));
    }
    let words = folder.join("digitalin.dat");
    let digital = if words.is_file() { Digital::File(bytes::open(&words)?.0, words) } else { Digital::None };
    let channels = header.amplifiers.len();
    if channels == 0 {
        return Err(bytes::unsupported(&folder.join("info.rhd"), "names no enabled amplifier channel"));
    }
    let (flat, rows) = Flat::open(amplifier.clone(), 0, channels, digital)?;
    let pieces = pieces(&folder.join("time.dat"), rows)?;
    if pieces.is_empty() {
        return Err(bytes::unsupported(&amplifier, "holds no whole row"));
    }
    Ok(Recording {
        identity: format!("Intan RHD {}.{} signal files, {}", header.version.0, header.version.1, folder.display()),
        path: folder.to_owned(),
        channels,
        rate_hz: header.rate_hz,
        gain_uv_per_bit: GAIN_UV_PER_BIT,
        pieces,
        rows: Rows::Flat(flat),
    })
}

/// Pieces by the numbers in `time.dat`. The files grow one after another; only what all of them hold is whole.
fn pieces(path: &Path, rows: u64) -> Result<Vec<Piece>, DeviceError> {
    let (file, length) = bytes::open(path)?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut finder = PieceFinder::default();
    let mut field = [0; 4];
    for _ in 0..rows.min(length / 4) {
        reader.read_exact(&mut field).map_err(|error| bytes::io(path, "reading timestamps", &error))?;
        finder.push(i64::from(i32::from_le_bytes(field)));
    }
    Ok(finder.finish())
}
