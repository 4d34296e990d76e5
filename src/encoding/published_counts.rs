//! A published file's counts and labels, for a recording made from it.

use std::path::Path;

use super::behaviour::Labels;
use super::grid::Grid;
use super::units::{SpikeCounts, UnitKey};
use crate::export::{Published, PublishedError};

/// Counts and labels of a published file, frame by bin. Its units stand on one array, one a tetrode.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn counts_and_labels(path: &Path, grid: Grid) -> Result<(SpikeCounts, Labels), PublishedError> {
    let published = Published::read(path)?;
    let mut counts = SpikeCounts::new(grid);
    counts.reach(published.frames);
    for unit in 0..published.units {
        counts.insert(UnitKey { array: 0, tetrode: unit as u16, unit: 1 }, published.counts(unit));
    }
    let source = format!("motion mapper of {}", path.display());
    Ok((counts, Labels::of_numbers(&published.motion_mapper, &source)))
}
