//! Local field potential: the raw signal, low-passed and thinned to about 1 kHz.
//!
//! Two stages, so that little runs at the full rate: a triangular average thins by the first factor (its zeros lie on
//! the frequencies that would fold onto zero; 50 dB against what folds below 300 Hz), then a fourth-order Butterworth
//! at a quarter of the final rate thins by the second.

use std::f64::consts::PI;

/// Streaming decimator over all channels.
pub struct LfpDecimator {
    first: usize,
    second: usize,
    sections: [[f32; 5]; 2],
    /// The two overlapping triangular averages: the older (falling weights) and the newer (rising weights).
    falling: Vec<f32>,
    rising: Vec<f32>,
    state: [Vec<f32>; 4],
    /// Rising half of the last triangle, waiting for its falling half.
    half: Vec<f32>,
    output: Vec<f32>,
    phase: usize,
    phase_second: usize,
}

impl LfpDecimator {
    /// Thins `rate_hz` to about `lfp_rate_hz`.
    pub fn new(rate_hz: f64, lfp_rate_hz: f64, channels: usize) -> Self {
        let factor = ((rate_hz / lfp_rate_hz).round() as usize).max(1);
        let first = (1..=6).rev().find(|f| factor.is_multiple_of(*f)).unwrap_or(1);
        let second = factor / first;
        let middle_hz = rate_hz / first as f64;
        let edge = (PI * (middle_hz / second as f64 / 4.0) / middle_hz).tan();
        let row = || vec![0.0_f32; channels];
        Self {
            first,
            second,
            sections: [0.765_366_864_730_18, 1.847_759_065_022_57].map(|damping| low_pass(edge, damping)),
            falling: row(),
            rising: row(),
            state: [row(), row(), row(), row()],
            half: row(),
            output: row(),
            phase: 0,
            phase_second: 0,
        }
    }

    /// Samples in for each one out.
    pub fn factor(&self) -> usize {
        self.first * self.second
    }

    /// Forgets everything; the signal starts anew.
    pub fn reset(&mut self) {
        for row in self.state.iter_mut().chain([&mut self.falling, &mut self.rising, &mut self.half]) {
            row.fill(0.0);
        }
        self.phase = 0;
        self.phase_second = 0;
    }

    /// Takes one row of microvolts; gives a row of the decimated signal when one is complete.
    pub fn push(&mut self, input: &[f32]) -> Option<&[f32]> {
        self.phase += 1;
        let scale = 1.0 / (self.first * self.first) as f32;
        let (up, down) = (self.phase as f32 * scale, (self.first - self.phase) as f32 * scale);
        for ((x, rising), falling) in input.iter().zip(&mut self.rising).zip(&mut self.falling) {
            *rising += up * x;
            *falling += down * x;
        }
        if self.phase < self.first {
            return None;
        }
        self.phase = 0;
        // The rising half is complete with this row; the falling half of the same triangle comes with the next rows.
        self.complete()
    }

    fn complete(&mut self) -> Option<&[f32]> {
        let [a, b] = self.sections;
        let [s0, s1, s2, s3] = &mut self.state;
        for c in 0..self.output.len() {
            let x = self.half[c] + self.falling[c];
            let y = a[0] * x + s0[c];
            s0[c] = a[1] * x - a[3] * y + s1[c];
            s1[c] = a[2] * x - a[4] * y;
            let z = b[0] * y + s2[c];
            s2[c] = b[1] * y - b[3] * z + s3[c];
            s3[c] = b[2] * y - b[4] * z;
            self.output[c] = z;
        }
        std::mem::swap(&mut self.half, &mut self.rising);
        self.rising.fill(0.0);
        self.falling.fill(0.0);
        self.phase_second += 1;
        if self.phase_second < self.second {
            return None;
        }
        self.phase_second = 0;
        Some(&self.output)
    }
}

/// Butterworth low-pass section (bilinear, edge pre-warped): b0 b1 b2 a1 a2.
fn low_pass(edge: f64, damping: f64) -> [f32; 5] {
    let norm = 1.0 / (1.0 + damping * edge + edge * edge);
    let b0 = edge * edge * norm;
    [b0, 2.0 * b0, b0, 2.0 * (edge * edge - 1.0) * norm, (1.0 - damping * edge + edge * edge) * norm].map(|v| v as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amplitude(hz: f64) -> f32 {
        let mut lfp = LfpDecimator::new(30_000.0, 1_000.0, 1);
        assert_eq!(lfp.factor(), 30);
        let (mut peak, mut rows) = (0.0_f32, 0);
        for i in 0..60_000 {
            let x = (2.0 * PI * hz * f64::from(i) / 30_000.0).sin() as f32;
            if let Some(row) = lfp.push(&[x]) {
                rows += 1;
                if rows > 500 {
                    peak = peak.max(row[0].abs());
                }
            }
        }
        assert_eq!(rows, 2_000);
        peak
    }

    #[test]
    fn keeps_the_slow_and_drops_what_would_fold() {
        for hz in [3.0, 40.0, 120.0] {
            assert!((amplitude(hz) - 1.0).abs() < 0.04, "{hz} Hz: {}", amplitude(hz));
        }
        for hz in [760.0, 1_000.0, 5_900.0, 6_100.0, 12_050.0] {
            assert!(amplitude(hz) < 0.013, "{hz} Hz: {}", amplitude(hz));
        }
    }
}
