//! Sample-major int16 files, and the digital words beside them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use mimicd_device::{DeviceError, SampleBlock};

use super::bytes;
use super::recording::Window;

/// A file of rows of little-endian 16-bit values.
pub(super) struct Flat {
    file: File,
    path: PathBuf,
    /// Bytes before the first row.
    header: u64,
    /// Values of a row.
    columns: usize,
    digital: Digital,
    buffer: Vec<u8>,
}

/// Where digital words come from.
pub(super) enum Digital {
    /// There are none.
    None,
    /// A column of the same file.
    Column(usize),
    /// A file of one word a row.
    File(File, PathBuf),
    /// Words from a row on, in order; zero before the first.
    Changes(Vec<(u64, u16)>),
}

impl Flat {
    /// Opens `path`, rows of `columns` values after `header` bytes; also tells how many whole rows there are.
    pub(super) fn open(
        path: PathBuf,
        header: u64,
        columns: usize,
        digital: Digital,
    ) -> Result<(Self, u64), DeviceError> {
        let (file, length) = bytes::open(&path)?;
        let rows = length.saturating_sub(header) / (2 * columns as u64);
        Ok((Self { file, path, header, columns, digital, buffer: Vec::new() }, rows))
    }

    pub(super) fn read(&mut self, window: Window, block: &mut SampleBlock) -> Result<(), DeviceError> {
        let Window { row, count, channel_first, channels } = window;
        let SampleBlock { samples, digital, .. } = block;
        let row_bytes = 2 * self.columns;
        self.buffer.resize(count * row_bytes, 0);
        let read = self.file.read_exact_at(&mut self.buffer, self.header + row * row_bytes as u64);
        read.map_err(|error| bytes::io(&self.path, "reading samples", &error))?;
        let value = |b: &[u8]| i16::from_le_bytes([b[0], b[1]]);
        for row in self.buffer.chunks_exact(row_bytes) {
            samples.extend(row[2 * channel_first..2 * (channel_first + channels)].chunks_exact(2).map(value));
        }
        match &self.digital {
            Digital::None => digital.resize(digital.len() + count, 0),
            Digital::Column(column) => {
                digital.extend(self.buffer.chunks_exact(row_bytes).map(|row| value(&row[2 * column..]) as u16));
            }
            Digital::File(file, path) => {
                self.buffer.resize(2 * count, 0);
                let read = file.read_exact_at(&mut self.buffer, 2 * row);
                read.map_err(|error| bytes::io(path, "reading digital words", &error))?;
                digital.extend(self.buffer.chunks_exact(2).map(|b| value(b) as u16));
            }
            Digital::Changes(changes) => {
                let mut next = changes.partition_point(|(at, _)| *at <= row);
                let mut word = if next > 0 { changes[next - 1].1 } else { 0 };
                for at in row..row + count as u64 {
                    while next < changes.len() && changes[next].0 <= at {
                        word = changes[next].1;
                        next += 1;
                    }
                    digital.push(word);
                }
            }
        }
        Ok(())
    }
}
