//! Frames to video files: one encoder process per camera, one feeding thread per process.
//!
//! Frame ↔ row: the collector numbers frames (`part`, `frame`) as it hands them over; the feeder writes them in that order.
//! When an encoder dies, everything numbered for its part and not in its file is declared lost, and a new part begins.
//! At stop the frames of every file are counted; rows of a part = frames counted + declared gaps.

mod encoder;
mod feeder;
mod sync;
mod trial;

pub use encoder::{count_frames, raw_video_arguments};
pub(super) use encoder::{is_closed, part_of};
pub(super) use feeder::{Feeder, FinishedPart, Offer};
pub(super) use sync::keep_durable;
pub use trial::try_encoder;
