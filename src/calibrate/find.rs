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
        let corners = labelled.iter().filter_map(|corner| {
            let pixel = Vector2::new(f64::from(corner.position.x), f64::from(corner.position.y));
            self.board.point_of(corner.id).map(|point| Seen { point, pixel })
        });
        Found { corners: corners.collect(), crossings: crossings.len() }
    }

    /// What an image without the board shows instead: another layout, another dictionary, another number of squares, a grid
    /// without readable markers, or nothing. In words, to follow "expected …".
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
        let others = turned.chain(other_dictionaries).chain(other_squares);
        let others = others.filter_map(|(columns, rows, dictionary)| self.board.with(columns, rows, dictionary));
        for board in self.board.in_other_layout().into_iter().chain(others) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE_PX: f64 = 40.0;
    /// Edges between pixels, as in any image.
    const MARGIN_PX: f64 = 30.3;

    /// The print of a board, seen straight from the front.
    fn print_of(board: &Board) -> (Vec<u8>, u32, u32) {
        let [columns, rows] = board.squares().map(|n| (f64::from(n) * SQUARE_PX + 2.0 * MARGIN_PX) as usize);
        let grey = |at: usize| {
            // Four by four samples a pixel.
            let place = |pixel: usize, quarter: usize| {
                (pixel as f64 + 0.125 + 0.25 * quarter as f64 - MARGIN_PX) / SQUARE_PX * board.square_m()
            };
            let is_black =
                |k: &usize| board.is_black(place(at % columns, k % 4), place(at / columns, k / 4)) == Some(true);
            230 - 12 * (0..16).filter(is_black).count() as u8
        };
        ((0..columns * rows).map(grey).collect(), columns as u32, rows as u32)
    }

    fn expect_all_corners(board: &Board) {
        let (pixels, width, height) = print_of(board);
        let found = BoardFinder::new(board).unwrap().find(&pixels, width, height);
        assert_eq!(found.corners.len(), board.points() as usize, "{board}");
        for seen in &found.corners {
            let place = board.point_m(seen.point) / board.square_m() * SQUARE_PX;
            let off = seen.pixel - Vector2::new(place.x, place.y).add_scalar(MARGIN_PX - 0.5);
            assert!(off.norm() < 0.7, "{board}: corner {} is {off} px off", seen.point);
        }
    }

    #[test]
    fn every_corner_of_either_layout_is_found_and_numbered() {
        for (columns, rows) in [(7, 6), (8, 6), (6, 5)] {
            let board = Board::new(columns, rows, 0.02, 0.015, "DICT_5X5_100").unwrap();
            expect_all_corners(&board);
            expect_all_corners(&board.legacy().unwrap());
        }
    }

    #[test]
    fn a_board_of_the_other_layout_is_named() {
        let board = Board::new(8, 6, 0.02, 0.015, "DICT_4X4_50").unwrap();
        let legacy = board.clone().legacy().unwrap();
        for (printed, wanted, words) in
            [(&legacy, &board, "DICT_4X4_50, legacy pattern"), (&board, &legacy, "DICT_4X4_50")]
        {
            let (pixels, width, height) = print_of(printed);
            let finder = BoardFinder::new(wanted).unwrap();
            assert!(finder.find(&pixels, width, height).corners.len() < 8, "{wanted} in a print of {printed}");
            let said = finder.explain(&pixels, width, height).unwrap();
            assert!(said.ends_with(words), "{said}");
        }
    }

    #[test]
    fn a_legacy_board_wants_half_a_row_of_markers_more() {
        let board = Board::new(10, 10, 0.02, 0.015, "DICT_4X4_50").unwrap();
        let refusal = board.legacy().unwrap_err().to_string();
        assert!(refusal.contains("55 markers of DICT_4X4_50, which has 50"), "{refusal}");
        let odd = Board::new(7, 5, 0.02, 0.015, "DICT_4X4_50").unwrap();
        assert_eq!(
            odd.clone().legacy().unwrap().to_string(),
            odd.to_string(),
            "the layouts differ in even numbers of rows"
        );
    }
}
