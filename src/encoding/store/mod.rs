//! The feature store: what the animal and the virtual rat did, on one grid of 20-ms bins.
//!
//! Two sources give rows at their own times: the registered body at mid-exposure (`t_ns`), and the virtual rat at the instant
//! of the real animal that it imitates (`reference_t_ns`). In the `delayed` mode that instant lies behind the newest frame by
//! the policy's look-ahead; taking the network's signals at it, not at the frame they were recorded with, is what makes spikes
//! meet the frame they belong to. Each bin takes the row nearest to its middle, at most one bin away; a bin without one is
//! unknown (NaN) and so is every window that touches it. The live store fills by the same rules, row by row.

mod both;
mod layout;
mod read;
mod sets;

pub use super::grid::{Grid, Slots};
pub use both::Store;
pub use layout::{BODY_WIDTH, BodyInput, body_columns, body_row, virtual_columns, virtual_row};
pub use read::{Recorded, Signals, read_recording};
pub use sets::{FeatureColumn, SetSpec, Source, available, latent, select};
