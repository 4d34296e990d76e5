//! Calibration of a rig from what its cameras saw of a board: lenses, camera poses, and how well they are known.
//!
//! Terms: a *board* is a ChArUco board (or any grid whose inner corners carry the same numbers); a *view* is what one
//! camera saw of it in one frame; cameras run in step, so that frame `n` of every camera is one instant.
//!
//! The way there: corners are found in every view ([`BoardFinder`]) or read from a file ([`BoardViews::load`]); every
//! camera is solved by itself (focal length from homographies, then all its parameters); camera poses are chained along
//! the pairs that see the board together; one bundle adjustment over all cameras and all places of the board, with a
//! robust loss, gives the result; corners that lie far off are dropped and it is solved again ([`solve`]). The world is
//! then put where the lab wants it ([`World`]).
//!
//! Service code: it allocates and takes seconds. Lengths in metres, pixels with integer centres, `a_from_b` transforms.

mod board;
mod bundle;
mod error;
mod find;
mod homography;
mod plot;
mod report;
mod solve;
mod start;
mod transform;
mod views;
mod world;

pub use board::Board;
pub use error::CalibrateError;
pub use find::{BoardFinder, Found};
pub use report::{CameraReport, Report};
pub use solve::{Solution, SolveOptions, solve};
pub use views::{BoardViews, Seen, View, ViewCamera};
pub use world::{Moved, World};
