//! Why a rig could not be calibrated.

use std::path::PathBuf;

/// Every message names the camera or file, the value, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// The board cannot exist.
    #[error("board: {0}")]
    Board(String),
    /// A file of points cannot be read or written.
    #[error("{}: {reason}", path.display())]
    Points {
        /// Which file.
        path: PathBuf,
        /// Line, value and what was expected.
        reason: String,
    },
    /// A camera never saw the board.
    #[error("camera {camera}: no board seen in {frames} frames; expected {expected}{hint}")]
    NoBoard {
        /// Which camera.
        camera: String,
        /// Frames looked at.
        frames: usize,
        /// The board that was looked for.
        expected: String,
        /// What is there instead, where something is.
        hint: String,
    },
    /// A camera saw the board too rarely.
    #[error(
        "camera {camera}: the board is usable in {found} frames, expected at least {least}: show it more often, tilted \
         and in every part of the image"
    )]
    TooFewViews {
        /// Which camera.
        camera: String,
        /// Usable views.
        found: usize,
        /// How many it takes.
        least: usize,
    },
    /// Cameras that no chain of common views joins.
    #[error("cameras {} and cameras {} never see the board together: show it to one of each at the same time", .0.join(", "), .1.join(", "))]
    Disconnected(Vec<String>, Vec<String>),
    /// A camera's views do not determine its lens.
    #[error(
        "camera {camera}: its views of the board do not determine its lens ({reason}); tilt the board in more ways"
    )]
    Undetermined {
        /// Which camera.
        camera: String,
        /// What went wrong.
        reason: String,
    },
    /// The solver ended somewhere useless.
    #[error("the cameras do not fit together: {0}")]
    Misfit(String),
    /// The world asked for cannot be had.
    #[error("world: {0}")]
    World(String),
}
