//! Intan's traditional `.rhd` files: data blocks after a header. Several files in a row make one recording, as RHX cuts them.
//!
//! ```text
//! block = timestamps i32 × N, then per channel u16 × N (amplifiers), × N/4 (auxiliaries), × 1 (supplies, temperatures),
//!         × N (converters), then one digital-input word × N and one digital-output word × N if any is enabled
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use mimicd_device::{DeviceError, SampleBlock};

use super::bytes;
use super::recording::{Piece, PieceFinder, Recording, Rows, Window};
use super::rhd_header::{GAIN_UV_PER_BIT, RhdHeader};

struct Part {
    file: File,
    path: PathBuf,
    header_bytes: u64,
    blocks: u64,
}

/// Blocks of one or more files.
pub(super) struct RhdBlocks {
    parts: Vec<Part>,
    header: RhdHeader,
    /// The block that was read last, and which it is.
    block: Vec<u8>,
    held: Option<u64>,
}

/// Opens `paths` as one recording.
pub(super) fn open(paths: &[PathBuf]) -> Result<Recording, DeviceError> {
    let first = paths.first().map_or(Path::new("."), PathBuf::as_path);
    let header = RhdHeader::load(first)?;
    let block_bytes = header.block_bytes() as u64;
    let mut parts = Vec::new();
    for path in paths {
        let own = RhdHeader::load(path)?;
        if own.amplifiers != header.amplifiers
            || own.rate_hz != header.rate_hz
            || own.block_bytes() != header.block_bytes()
        {
            let what = format_args!("other channels or another rate than {}; replay it by itself", first.display());
            return Err(bytes::unsupported(path, what));
        }
        let (file, length) = bytes::open(path)?;
        let blocks = length.saturating_sub(own.length) / block_bytes;
        parts.push(Part { file, path: path.clone(), header_bytes: own.length, blocks });
    }
    let mut rows = RhdBlocks { parts, block: vec![0; header.block_bytes()], held: None, header };
    let pieces = rows.pieces()?;
    if pieces.is_empty() || rows.header.amplifiers.is_empty() {
        return Err(bytes::unsupported(first, "holds no whole data block of amplifier samples"));
    }
    let header = &rows.header;
    let files = if paths.len() > 1 { format!(" and {} more", paths.len() - 1) } else { String::new() };
    Ok(Recording {
        identity: format!("Intan RHD {}.{}, {}{files}", header.version.0, header.version.1, first.display()),
        path: first.to_owned(),
        channels: header.amplifiers.len(),
        rate_hz: header.rate_hz,
        gain_uv_per_bit: GAIN_UV_PER_BIT,
        pieces,
        rows: Rows::Rhd(rows),
    })
}

impl RhdBlocks {
    fn pieces(&mut self) -> Result<Vec<Piece>, DeviceError> {
        let n = self.header.block_samples();
        let mut stamps = vec![0_u8; 4 * n];
        let mut finder = PieceFinder::default();
        for part in &self.parts {
            for block in 0..part.blocks {
                let at = part.header_bytes + block * self.header.block_bytes() as u64;
                part.file
                    .read_exact_at(&mut stamps, at)
                    .map_err(|e| bytes::io(&part.path, "reading timestamps", &e))?;
                stamps.as_chunks::<4>().0.iter().for_each(|b| finder.push(i64::from(i32::from_le_bytes(*b))));
            }
        }
        Ok(finder.finish())
    }

    fn hold(&mut self, block: u64) -> Result<(), DeviceError> {
        if self.held == Some(block) {
            return Ok(());
        }
        let mut at = block;
        for part in &self.parts {
            if at < part.blocks {
                let offset = part.header_bytes + at * self.header.block_bytes() as u64;
                let read = part.file.read_exact_at(&mut self.block, offset);
                read.map_err(|error| bytes::io(&part.path, "reading a data block", &error))?;
                self.held = Some(block);
                return Ok(());
            }
            at -= part.blocks;
        }
        let path = self.parts.last().map_or(Path::new(""), |part| part.path.as_path());
        Err(bytes::wrong(path, format_args!("has no data block {block}")))
    }

    pub(super) fn read(&mut self, window: Window, out: &mut SampleBlock) -> Result<(), DeviceError> {
        let Window { row, count, channel_first, channels } = window;
        let n = self.header.block_samples();
        let digital_offset = self.header.digital_offset();
        for row in row..row + count as u64 {
            self.hold(row / n as u64)?;
            let inside = (row % n as u64) as usize;
            let word = |at: usize| u16::from_le_bytes([self.block[at], self.block[at + 1]]);
            let amplifier = |channel: usize| (word(4 * n + 2 * (channel * n + inside)) ^ 0x8000) as i16;
            out.samples.extend((channel_first..channel_first + channels).map(amplifier));
            out.digital.push(if self.header.digital_inputs > 0 { word(digital_offset + 2 * inside) } else { 0 });
        }
        Ok(())
    }
}
