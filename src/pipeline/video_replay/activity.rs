//! How much of each picture changed since the one before, and where.

use std::sync::Arc;

use mimicd_device::Frame;

use crate::stream::FrameSet;

/// Pixels are averaged in squares of this side before they are compared: a codec's noise mostly goes.
const CELL_PX: usize = 4;
/// Change of a cell's mean grey that counts as movement.
const CHANGE_MIN: i32 = 6;
/// Moving cells that are needed before movement has a middle.
const CELLS_MIN: f64 = 8.0;

/// What one camera saw change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Change above the limit, as a share of the largest there can be.
    pub(super) share: f32,
    /// Whether no cell's sum changed at all: the same picture.
    pub(super) identical: bool,
    /// Middle of the change, pixels; none when too little changed.
    pub(super) middle_px: Option<[f64; 2]>,
}

/// Activity of all cameras, set by set.
pub(super) struct Activity {
    cells: Vec<Vec<i32>>,
    seen: Vec<Vec<Seen>>,
}

impl Activity {
    pub(super) fn new(cameras: usize) -> Self {
        Self { cells: vec![Vec::new(); cameras], seen: Vec::new() }
    }

    /// Takes a complete set.
    pub(super) fn see(&mut self, set: &FrameSet) {
        let views = set.frames.iter().flatten().zip(&mut self.cells);
        self.seen.push(views.map(|(frame, before)| compare(frame, before)).collect());
    }

    pub(super) fn frames(&self) -> usize {
        self.seen.len()
    }

    /// All cameras in one set.
    pub(super) fn of(&self, frame: usize) -> &[Seen] {
        &self.seen[frame]
    }

    /// How much changed, `[camera][frame]`.
    pub(super) fn shares(&self) -> Vec<Vec<f32>> {
        self.each(|seen| seen.share)
    }

    /// Which frames equal the one before, `[camera][frame]`.
    pub(super) fn identical(&self) -> Vec<Vec<bool>> {
        self.each(|seen| seen.identical)
    }

    fn each<T>(&self, part: impl Fn(&Seen) -> T) -> Vec<Vec<T>> {
        (0..self.cells.len()).map(|camera| self.seen.iter().map(|set| part(&set[camera])).collect()).collect()
    }
}

/// Compares a frame's cells with those of the frame before, and puts them in their place.
fn compare(frame: &Arc<Frame>, before: &mut Vec<i32>) -> Seen {
    let (columns, rows) = (frame.geometry.width_px as usize / CELL_PX, frame.geometry.height_px as usize / CELL_PX);
    let is_first = before.len() != columns * rows;
    before.resize(columns * rows, 0);
    let (mut sum, mut across, mut down, mut moving) = (0_i64, 0.0, 0.0, 0.0);
    let mut identical = !is_first;
    let mut line = vec![0_i32; columns];
    for row in 0..rows {
        sums(frame, row, &mut line);
        for (column, (now, before)) in line.iter().zip(&mut before[row * columns..(row + 1) * columns]).enumerate() {
            identical &= now == before;
            let change = (now - *before).abs() - CHANGE_MIN * (CELL_PX * CELL_PX) as i32;
            *before = *now;
            if change > 0 && !is_first {
                sum += i64::from(change);
                moving += 1.0;
                across += f64::from(change) * column as f64;
                down += f64::from(change) * row as f64;
            }
        }
    }
    let most = (columns * rows * CELL_PX * CELL_PX * 255).max(1);
    let centre = |weighted: f64| (weighted / sum as f64 + 0.5) * CELL_PX as f64 - 0.5;
    Seen {
        share: (sum as f64 / most as f64) as f32,
        identical,
        middle_px: (moving >= CELLS_MIN).then(|| [centre(across), centre(down)]),
    }
}

/// Sums of the cells of one row of cells.
fn sums(frame: &Frame, row: usize, line: &mut [i32]) {
    let stride = frame.geometry.width_px as usize;
    line.fill(0);
    for y in row * CELL_PX..(row + 1) * CELL_PX {
        let pixels = &frame.pixels[y * stride..(y + 1) * stride];
        for (sum, cell) in line.iter_mut().zip(pixels.as_chunks::<CELL_PX>().0) {
            *sum += cell.iter().map(|pixel| i32::from(*pixel)).sum::<i32>();
        }
    }
}
