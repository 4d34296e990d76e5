//! Finding the board in an image, through `calib-targets` (pure Rust; ChESS corners, ArUco and AprilTag dictionaries).

use calib_targets_charuco::{CharucoDetector, CharucoParams, GrayImageView};
use nalgebra::Vector2;

use super::{Board, CalibrateError, Seen};

/// Dictionaries that boards are commonly printed with, tried when the one given shows nothing.
const USUAL_DICTIONARIES: [&str; 8] = [
    "DICT_4X4_50",
    "DICT_4X4_250",
    "DICT_5X5_50",
    "DICT_5X5_250",
    "DICT_6X6_50",
    "DICT_6X6_250",
    "DICT_7X7_250",
    "DICT_APRILTAG_36h11",
];
/// Squares each way that are tried when the number given shows nothing.
const USUAL_SQUARES: std::ops::RangeInclusive<u32> = 4..=14;

/// What an image shows of a board.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The board's inner corners, row by row; empty where the board is not seen.
    pub corners: Vec<Seen>,
    /// Crossings of black and white in the image, whether the board's or not.
    pub crossings: usize,
}

/// Finds a board's inner corners in grey images.
pub struct BoardFinder {
    board: Board,
    detector: CharucoDetector,
}

impl BoardFinder {
    /// A finder of `board`.
    ///
    /// # Errors
    /// [`CalibrateError::Board`] when the detector refuses the board.
    pub fn new(board: &Board) -> Result<Self, CalibrateError> {
        let detector = CharucoDetector::new(CharucoParams::for_board(board.spec()))
            .map_err(|error| CalibrateError::Board(error.to_string()))?;
        Ok(Self { board: board.clone(), detector })
    }

    /// The board's inner corners in an 8-bit grey image.
    ///
    /// # Panics
    /// When `pixels` is not `width_px * height_px` long.
    pub fn find(&self, pixels: &[u8], width_px: u32, height_px: u32) -> Found {
        assert_eq!(pixels.len(), (width_px * height_px) as usize, "one byte a pixel");
        let image = GrayImageView { width: width_px as usize, height: height_px as usize, data: pixels };
        let crossings = self.detector.detect_corners(&image);
        // A miss is the ordinary case of a frame without the board.
        let labelled =
            self.detector.detect_with_corners(&image, &crossings).map(|found| found.corners).unwrap_or_default();
        let corners = labelled.iter().filter(|corner| corner.id < self.board.points()).map(|corner| Seen {
            point: corner.id,
            pixel: Vector2::new(f64::from(corner.position.x), f64::from(corner.position.y)),
        });
        Found { corners: corners.collect(), crossings: crossings.len() }
    }

    /// What an image without the board shows instead: another dictionary, another number of squares, a grid without
    /// readable markers, or nothing. In words, to follow "expected …".
    pub fn explain(&self, pixels: &[u8], width_px: u32, height_px: u32) -> Option<String> {
        let image = GrayImageView { width: width_px as usize, height: height_px as usize, data: pixels };
        let corners = self.detector.detect_corners(&image);
        // Fewer corners than a third of the board's are texture of the room.
        if corners.len() < (self.board.points() as usize / 3).max(8) {
            return None;
        }
        let [columns, rows] = self.board.squares();
        let own = self.board.dictionary();
        let other_dictionaries = USUAL_DICTIONARIES.iter().map(|name| (columns, rows, *name));
        let turned = std::iter::once((rows, columns, own));
        let other_squares =
            USUAL_SQUARES.flat_map(|columns| USUAL_SQUARES.map(move |rows| (columns, rows))).map(|(c, r)| (c, r, own));
        let mut best: Option<(usize, Board)> = None;
        for (columns, rows, dictionary) in turned.chain(other_dictionaries).chain(other_squares) {
            let Some(board) = self.board.with(columns, rows, dictionary) else { continue };
            let Ok(detector) = CharucoDetector::new(CharucoParams::for_board(board.spec())) else { continue };
            let Ok(found) = detector.detect_with_corners(&image, &corners) else { continue };
            if best.as_ref().is_none_or(|(most, _)| found.corners.len() > *most) {
                best = Some((found.corners.len(), board));
            }
        }
        let (_, board) = best.filter(|(corners, _)| *corners >= 8)?;
        Some(format!("the image fits {board}"))
    }
}
