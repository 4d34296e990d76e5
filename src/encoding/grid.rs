//! Bins of equal length from the recording's start, and rows that fall into them.

/// The grid of bins over rig time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Length of a bin, nanoseconds.
    pub bin_ns: i64,
}

impl Grid {
    /// A grid of bins of `bin_millis`.
    pub fn of_millis(bin_millis: f64) -> Self {
        Self { bin_ns: ((bin_millis * 1e6).round() as i64).max(1) }
    }

    /// The bin of an instant; `None` before the recording.
    pub fn bin(&self, t_ns: i64) -> Option<usize> {
        usize::try_from(t_ns.div_euclid(self.bin_ns)).ok()
    }

    /// The middle of a bin.
    pub fn middle_ns(&self, bin: usize) -> i64 {
        bin as i64 * self.bin_ns + self.bin_ns / 2
    }
}

/// For each bin the row of a source nearest to its middle.
#[derive(Clone, Debug)]
pub struct Slots {
    width: usize,
    values: Vec<f32>,
    /// Distance of each bin's row from its middle, nanoseconds.
    distance: Vec<i64>,
    /// Bins up to the last one that a row lay in.
    bins: usize,
}

/// No row yet.
const NONE: i64 = i64::MAX;

impl Slots {
    /// No bins yet, of rows of `width` values.
    pub fn new(width: usize) -> Self {
        Self { width, values: Vec::new(), distance: Vec::new(), bins: 0 }
    }

    /// Values of a row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Bins up to the last one that a row lay in: a row may be held beyond it, but nothing was recorded there.
    pub const fn bins(&self) -> usize {
        self.bins
    }

    /// Offers a row at `t_ns` to the bins whose middle is at most one bin away.
    ///
    /// # Panics
    /// When the row has another width.
    pub fn offer(&mut self, grid: Grid, t_ns: i64, row: &[f32]) {
        assert_eq!(row.len(), self.width, "values of a row");
        let own = t_ns.div_euclid(grid.bin_ns);
        self.bins = self.bins.max(usize::try_from(own + 1).unwrap_or(0));
        for bin in own - 1..=own + 1 {
            let Ok(bin) = usize::try_from(bin) else { continue };
            let distance = (t_ns - grid.middle_ns(bin)).abs();
            if distance > grid.bin_ns {
                continue;
            }
            if bin >= self.distance.len() {
                self.distance.resize(bin + 1, NONE);
                self.values.resize((bin + 1) * self.width, f32::NAN);
            }
            if distance < self.distance[bin] {
                self.distance[bin] = distance;
                self.values[bin * self.width..(bin + 1) * self.width].copy_from_slice(row);
            }
        }
    }

    /// A bin's row; `None` where none came.
    pub fn row(&self, bin: usize) -> Option<&[f32]> {
        let known = self.distance.get(bin).is_some_and(|distance| *distance != NONE);
        known.then(|| &self.values[bin * self.width..(bin + 1) * self.width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { bin_ns: 20_000_000 };

    #[test]
    fn the_nearest_row_wins_whatever_the_order() {
        let mut slots = Slots::new(1);
        for (t, value) in [(12_000_000, 1.0), (9_000_000, 2.0), (31_000_000, 3.0)] {
            slots.offer(GRID, t, &[value]);
        }
        assert_eq!(slots.row(0), Some(&[2.0][..]));
        assert_eq!(slots.row(1), Some(&[3.0][..]));
        assert_eq!(slots.row(2), Some(&[3.0][..]), "19 ms away: held");
        assert_eq!((slots.row(3), slots.bins()), (None, 2));
        slots.offer(GRID, 50_000_000, &[4.0]);
        assert_eq!(slots.row(2), Some(&[4.0][..]));
    }

    #[test]
    fn a_row_before_the_recording_reaches_only_what_is_near() {
        let mut slots = Slots::new(1);
        slots.offer(GRID, -5_000_000, &[1.0]);
        assert_eq!(slots.row(0), Some(&[1.0][..]));
        slots.offer(GRID, -500_000_000, &[9.0]);
        assert_eq!((slots.row(0), slots.bins()), (Some(&[1.0][..]), 0));
    }

    #[test]
    fn triggers_with_a_gap_code_leave_no_hole() {
        let mut slots = Slots::new(1);
        let mut t = 3_000_000;
        for frame in 0..5_000 {
            slots.offer(GRID, t, &[frame as f32]);
            t += if frame % 50 == 49 { 22_000_000 } else { 20_000_000 };
        }
        assert!((0..5_000).all(|bin| slots.row(bin).is_some()));
    }
}
