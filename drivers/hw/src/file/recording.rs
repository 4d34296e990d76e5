//! A recording that is open: what it holds, and rows of it.

use std::path::PathBuf;

use mimicd_device::{DeviceError, SampleBlock};

use super::flat::Flat;
use super::rhd::RhdBlocks;

/// Consecutive samples of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Sample index of its first row, as the recording counts.
    pub first: u64,
    /// Rows before it in the recording's files.
    pub row: u64,
    /// Rows.
    pub rows: u64,
}

/// An open recording.
pub struct Recording {
    /// Form and path.
    pub identity: String,
    /// The file or folder.
    pub path: PathBuf,
    /// Electrode channels.
    pub channels: usize,
    /// Sample rate.
    pub rate_hz: f64,
    /// Microvolts of one bit.
    pub gain_uv_per_bit: f64,
    /// What there is, in order; between two pieces samples are missing.
    pub pieces: Vec<Piece>,
    pub(super) rows: Rows,
}

/// Which part of a recording is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub row: u64,
    /// Rows.
    pub count: usize,
    /// First channel.
    pub channel_first: usize,
    /// Channels.
    pub channels: usize,
}

/// Where rows come from.
pub(super) enum Rows {
    Flat(Flat),
    Rhd(RhdBlocks),
}

impl Recording {
    /// Samples per channel.
    pub fn samples(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.rows).sum()
    }

    /// Appends what `window` shows to `block`: samples and one digital word a row.
    ///
    /// # Errors
    /// `Io` when a file cannot be read.
    pub fn read(&mut self, window: Window, block: &mut SampleBlock) -> Result<(), DeviceError> {
        match &mut self.rows {
            Rows::Flat(flat) => flat.read(window, block),
            Rows::Rhd(blocks) => blocks.read(window, block),
        }
    }
}

/// Finds the pieces of a stream from its rows' sample numbers, one at a time.
#[derive(Default)]
pub(super) struct PieceFinder {
    pieces: Vec<Piece>,
    /// Recordings may begin below zero (a pre-trigger); indices do not.
    shift: Option<i64>,
    row: u64,
}

impl PieceFinder {
    pub(super) fn push(&mut self, number: i64) {
        let shift = *self.shift.get_or_insert((-number).max(0));
        let index = (number + shift).max(0) as u64;
        let row = self.row;
        match self.pieces.last_mut() {
            Some(piece) if piece.first + piece.rows == index => piece.rows += 1,
            // A number that falls back cannot be an index; it goes on counting, as after a restart.
            Some(piece) if index < piece.first + piece.rows => {
                let first = piece.first + piece.rows;
                self.pieces.push(Piece { first, row, rows: 1 });
            }
            _ => self.pieces.push(Piece { first: index, row, rows: 1 }),
        }
        self.row += 1;
    }

    pub(super) fn finish(self) -> Vec<Piece> {
        self.pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_the_numbers() {
        let pieces_of = |numbers: &mut dyn Iterator<Item = i64>| {
            let mut finder = PieceFinder::default();
            numbers.for_each(|number| finder.push(number));
            finder.finish()
        };
        let mut numbers = (100..200).chain(250..260).chain([261]);
        let piece = |first, row, rows| Piece { first, row, rows };
        assert_eq!(pieces_of(&mut numbers), [piece(100, 0, 100), piece(250, 100, 10), piece(261, 110, 1)]);
        assert_eq!(pieces_of(&mut (-3..5)), [piece(0, 0, 8)]);
    }
}
