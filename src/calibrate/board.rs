//! The board: a chessboard with a marker in every white square (ChArUco).
//!
//! Board coordinates: origin at the outer corner of the first square, x along the columns, y along the rows (down, as
//! printed), so that z points into the board, away from who looks at it. Inner corners are numbered row by row from 0, as
//! OpenCV numbers them.

use std::sync::{Mutex, PoisonError};

use calib_targets_charuco::{CharucoBoard, CharucoBoardSpec, Dictionary, resolve_dictionary};
use nalgebra::Vector3;

use super::CalibrateError;

/// A ChArUco board as printed.
#[derive(Clone, Debug)]
pub struct Board {
    columns: u32,
    rows: u32,
    square_m: f64,
    marker_m: f64,
    dictionary: Dictionary,
    /// Marker in each square, row by row; `None` where the square is black.
    markers: Vec<Option<u32>>,
    /// OpenCV's layout before 4.6, where that differs.
    is_legacy: bool,
    /// What the detector looks for.
    sought: Sought,
}

/// The board that a detector of the layout since 4.6 looks for.
#[derive(Clone, Copy, Debug)]
struct Sought {
    /// Rows above the board's first, which are not printed.
    rows_above: u32,
    dictionary: Dictionary,
}

impl Board {
    /// A board of `columns` x `rows` squares of `square_m`, with markers of `marker_m` (black border included) from an
    /// OpenCV dictionary by its name (`DICT_4X4_50`, `DICT_APRILTAG_36h11`, …). Layout as OpenCV prints it since 4.6; see
    /// [`Board::legacy`].
    ///
    /// # Errors
    /// [`CalibrateError::Board`] with the value that cannot be.
    pub fn new(
        columns: u32,
        rows: u32,
        square_m: f64,
        marker_m: f64,
        dictionary: &str,
    ) -> Result<Self, CalibrateError> {
        let refuse = |text: String| Err(CalibrateError::Board(text));
        if !(3..=64).contains(&columns) || !(3..=64).contains(&rows) {
            return refuse(format!("{columns} x {rows} squares, expected 3 to 64 each way"));
        }
        if !(1e-4..=2.0).contains(&square_m) {
            return refuse(format!("squares of {} mm, expected 0.1 to 2000 mm", square_m * 1e3));
        }
        if !(marker_m > 0.0 && marker_m < square_m) {
            let (marker, square) = (marker_m * 1e3, square_m * 1e3);
            return refuse(format!("markers of {marker} mm, expected less than a square ({square} mm)"));
        }
        let Some(dictionary) = resolve_dictionary(dictionary) else {
            return refuse(format!("dictionary {dictionary:?}, expected one of OpenCV's, such as DICT_4X4_50"));
        };
        let sought = Sought { rows_above: 0, dictionary };
        let markers = Vec::new();
        let mut board = Self { columns, rows, square_m, marker_m, dictionary, markers, is_legacy: false, sought };
        let layout = CharucoBoard::new(board.spec()).map_err(|error| CalibrateError::Board(error.to_string()))?;
        board.markers = vec![None; (columns * rows) as usize];
        for (marker, square) in layout.iter_marker_positions() {
            board.markers[(square.v as u32 * columns + square.u as u32) as usize] = Some(marker);
        }
        Ok(board)
    }

    /// The board as OpenCV printed it before 4.6 (`setLegacyPattern(true)` in later ones): of an even number of rows, the
    /// first square is white and has the first marker. Of an odd number it is the same board.
    ///
    /// # Errors
    /// [`CalibrateError::Board`] when the dictionary is too small: finding such a board takes half a row of markers more.
    pub fn legacy(mut self) -> Result<Self, CalibrateError> {
        if self.rows % 2 == 1 {
            return Ok(self);
        }
        let is_white = |square: u32| (square % self.columns + square / self.columns).is_multiple_of(2);
        let mut markers = 0..;
        self.markers =
            (0..self.columns * self.rows).map(|square| is_white(square).then(|| markers.next()).flatten()).collect();
        // With a row above it, it is a board of the present layout; the markers of that row come first.
        let above = (self.columns / 2) as usize;
        let (needed, codes) = (markers.start as usize + above, self.dictionary.codes().len());
        if needed > codes {
            let name = self.dictionary.name();
            return Err(CalibrateError::Board(format!(
                "{needed} markers of {name}, which has {codes}; expected a larger one"
            )));
        }
        self.sought = Sought { rows_above: 1, dictionary: with_markers_before(self.dictionary, above)? };
        self.is_legacy = true;
        Ok(self)
    }

    /// The same squares in another number and with another dictionary; `None` where such a board cannot be.
    pub(super) fn with(&self, columns: u32, rows: u32, dictionary: &str) -> Option<Self> {
        let board = Self::new(columns, rows, self.square_m, self.marker_m, dictionary).ok()?;
        if self.is_legacy { board.legacy().ok() } else { Some(board) }
    }

    /// The board in the other of OpenCV's two layouts; `None` where they do not differ, or such a board cannot be.
    pub(super) fn in_other_layout(&self) -> Option<Self> {
        let board = Self::new(self.columns, self.rows, self.square_m, self.marker_m, self.dictionary.name()).ok()?;
        if self.is_legacy { Some(board) } else { board.legacy().ok().filter(|board| board.is_legacy) }
    }

    /// Columns and rows of squares.
    pub fn squares(&self) -> [u32; 2] {
        [self.columns, self.rows]
    }

    /// Side of a square, metres.
    pub fn square_m(&self) -> f64 {
        self.square_m
    }

    /// Name of the dictionary.
    pub fn dictionary(&self) -> &str {
        self.dictionary.name()
    }

    /// Inner corners.
    pub fn points(&self) -> u32 {
        (self.columns - 1) * (self.rows - 1)
    }

    /// Column and row of an inner corner.
    pub(super) fn cell(&self, point: u32) -> [u32; 2] {
        [point % (self.columns - 1), point / (self.columns - 1)]
    }

    /// Place of an inner corner on the board, metres.
    pub fn point_m(&self, point: u32) -> Vector3<f64> {
        let [column, row] = self.cell(point);
        Vector3::new(f64::from(column + 1) * self.square_m, f64::from(row + 1) * self.square_m, 0.0)
    }

    /// Middle of the board, metres.
    pub fn middle_m(&self) -> Vector3<f64> {
        Vector3::new(0.5 * f64::from(self.columns), 0.5 * f64::from(self.rows), 0.0) * self.square_m
    }

    /// Whether the print is black at a place of the board, metres; `None` beside it.
    pub fn is_black(&self, x_m: f64, y_m: f64) -> Option<bool> {
        let (x, y) = (x_m / self.square_m, y_m / self.square_m);
        if !(x >= 0.0 && y >= 0.0 && x < f64::from(self.columns) && y < f64::from(self.rows)) {
            return None;
        }
        let (column, row) = (x as u32, y as u32);
        let Some(marker) = self.marker(column, row) else { return Some(true) };
        let bits = self.dictionary.marker_size();
        let share = self.marker_m / self.square_m;
        // A marker's cell: its border is one cell wide.
        let cell = |at: f64| ((at.fract() - 0.5) / share + 0.5) * (bits + 2) as f64;
        let (u, v) = (cell(x), cell(y));
        let side = (bits + 2) as f64;
        if !(u >= 0.0 && v >= 0.0 && u < side && v < side) {
            return Some(false);
        }
        let (u, v) = (u as usize, v as usize);
        let is_border = u == 0 || v == 0 || u == bits + 1 || v == bits + 1;
        let code = self.dictionary.codes()[marker as usize];
        Some(is_border || code >> ((v - 1) * bits + u - 1) & 1 == 1)
    }

    /// The board as an SVG in its true size, with a white margin of half a square, to be printed.
    pub fn to_svg(&self) -> String {
        use std::fmt::Write as _;
        let mm = self.square_m * 1e3;
        let bits = self.dictionary.marker_size();
        let cell = self.marker_m * 1e3 / (bits + 2) as f64;
        let inset = 0.5 * (self.square_m - self.marker_m) * 1e3;
        let (width, height) = (mm * f64::from(self.columns + 1), mm * f64::from(self.rows + 1));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}mm\" height=\"{height}mm\" \
             viewBox=\"{0} {0} {width} {height}\" shape-rendering=\"crispEdges\">\n\
             <rect x=\"{0}\" y=\"{0}\" width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n<path d=\"",
            -0.5 * mm
        );
        let mut black = |x: f64, y: f64, side: f64| {
            // Writing to a string does not fail.
            let _ = write!(svg, "M{x:.4} {y:.4}h{side:.4}v{side:.4}h-{side:.4}z");
        };
        for (column, row) in (0..self.rows).flat_map(|row| (0..self.columns).map(move |column| (column, row))) {
            let (left, top) = (mm * f64::from(column), mm * f64::from(row));
            if self.marker(column, row).is_none() {
                black(left, top, mm);
                continue;
            }
            let middle = |at: usize| inset + (at as f64 + 0.5) * cell;
            for (u, v) in (0..bits + 2).flat_map(|v| (0..bits + 2).map(move |u| (u, v))) {
                if self.is_black((left + middle(u)) * 1e-3, (top + middle(v)) * 1e-3) == Some(true) {
                    black(left + middle(u) - 0.5 * cell, top + middle(v) - 0.5 * cell, cell);
                }
            }
        }
        svg.push_str("\" fill=\"#000\"/>\n</svg>\n");
        svg
    }

    fn marker(&self, column: u32, row: u32) -> Option<u32> {
        self.markers[(row * self.columns + column) as usize]
    }

    /// The board that a detector is to look for.
    pub(super) fn spec(&self) -> CharucoBoardSpec {
        let (share, rows) = ((self.marker_m / self.square_m) as f32, self.rows + self.sought.rows_above);
        CharucoBoardSpec::new(rows, self.columns, self.square_m as f32, share, self.sought.dictionary)
    }

    /// The inner corner that such a detector has numbered `corner`; `None` for one that this board has not.
    pub(super) fn point_of(&self, corner: u32) -> Option<u32> {
        corner.checked_sub(self.sought.rows_above * (self.columns - 1)).filter(|&point| point < self.points())
    }
}

/// The dictionary with `count` markers before its first: its last ones, which are no longer at the end.
fn with_markers_before(dictionary: Dictionary, count: usize) -> Result<Dictionary, CalibrateError> {
    // The detector wants codes that live for ever: each list is made once.
    static MADE: Mutex<Vec<(&str, usize, &[u64])>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let name = dictionary.name();
    let codes = match made.iter().find(|(of, before, _)| (*of, *before) == (name, count)) {
        Some((_, _, codes)) => *codes,
        None => {
            let mut codes = dictionary.codes().to_vec();
            codes.rotate_right(count);
            let codes = &*Box::leak(codes.into_boxed_slice());
            made.push((name, count, codes));
            codes
        }
    };
    Dictionary::from_static_codes(name, dictionary.marker_size(), dictionary.max_correction_bits(), codes)
        .map_err(|error| CalibrateError::Board(error.to_string()))
}

impl std::fmt::Display for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let layout = if self.is_legacy { ", legacy pattern" } else { "" };
        write!(f, "a ChArUco board of {} x {} squares, {}{layout}", self.columns, self.rows, self.dictionary.name())
    }
}
