//! What the classifier sees: posture and movement now, and their mean and spread over the last half second.

use std::collections::VecDeque;

/// Values of a body row that count: joint angles, joint velocities, root (the first part of a body row).
const OBSERVED: usize = 67 + 67 + 10;
/// Joint angles and root: where the animal is in its posture.
const POSTURE: usize = 67 + 10;
/// Bins that are looked back on, the present one included.
pub const HISTORY_BINS: usize = 25;
/// Values that the classifier takes: posture now, its mean and spread, mean size of the joint velocities.
pub const INPUTS: usize = 3 * POSTURE + 67;

/// The last bins of a body.
#[derive(Clone, Debug, Default)]
pub struct Window {
    rows: VecDeque<[f32; OBSERVED]>,
}

impl Window {
    /// Takes the bin's body row; without one the past is forgotten.
    pub fn push(&mut self, body: Option<&[f32]>) {
        let observed = body.and_then(|row| <&[f32; OBSERVED]>::try_from(row.get(..OBSERVED)?).ok());
        match observed.filter(|row| row.iter().all(|value| value.is_finite())) {
            Some(row) => {
                if self.rows.len() == HISTORY_BINS {
                    self.rows.pop_front();
                }
                self.rows.push_back(*row);
            }
            None => self.rows.clear(),
        }
    }

    /// Writes the classifier's input; false while nothing is known.
    ///
    /// # Panics
    /// When `out` is no [`INPUTS`] long.
    pub fn write(&self, out: &mut [f32]) -> bool {
        assert_eq!(out.len(), INPUTS, "inputs of the classifier");
        let Some(now) = self.rows.back() else { return false };
        let count = self.rows.len() as f32;
        let place = |at: usize| if at < 67 { at } else { 67 + at };
        for at in 0..POSTURE {
            let column = || self.rows.iter().map(|row| row[place(at)]);
            let mean = column().sum::<f32>() / count;
            let spread = column().map(|value| (value - mean) * (value - mean)).sum::<f32>() / count;
            out[at] = now[place(at)];
            out[POSTURE + at] = mean;
            out[2 * POSTURE + at] = spread.sqrt();
        }
        for at in 0..67 {
            out[3 * POSTURE + at] = self.rows.iter().map(|row| row[67 + at].abs()).sum::<f32>() / count;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_holds_half_a_second_and_forgets_at_a_gap() {
        let mut window = Window::default();
        let mut out = [0.0; INPUTS];
        assert!(!window.write(&mut out));
        for bin in 0..60 {
            window.push(Some(&[bin as f32; OBSERVED]));
        }
        assert!(window.write(&mut out));
        assert_eq!((out[0], out[POSTURE]), (59.0, 47.0));
        assert!((out[2 * POSTURE] - 52.0_f32.sqrt()).abs() < 1e-4, "spread of 25 numbers in a row");
        window.push(None);
        assert!(!window.write(&mut out));
        window.push(Some(&[f32::NAN; OBSERVED]));
        assert!(!window.write(&mut out));
    }
}
