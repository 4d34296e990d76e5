//! Sensor noise: a table of normal numbers, entered at another place for every row of every frame.

use super::random::{Dice, mix};

const TABLE: usize = 1 << 16;

/// Adds noise whose strength grows with the signal.
#[derive(Clone, Debug)]
pub(crate) struct SensorNoise {
    /// Normal numbers, 1024 to one standard deviation.
    table: Vec<i16>,
    /// Strength at black, 1/64 grey level.
    read: i16,
    /// Strength added per grey level, 1/1024 grey level.
    slope: i16,
}

impl SensorNoise {
    pub(crate) fn new(read: f64, shot: f64, seed: u64, width: usize) -> Self {
        let mut dice = Dice::new(seed, 0x9015e);
        let table = (0..TABLE + width).map(|_| (dice.normal() * 1024.0).clamp(-8000.0, 8000.0) as i16).collect();
        Self { table, read: (read * 64.0).min(1000.0) as i16, slope: (shot / 255.0 * 1024.0).min(100.0) as i16 }
    }

    /// Noise over `pixels`, rows of `width`; the same `frame_seed` gives the same noise.
    pub(crate) fn add(&self, frame_seed: u64, width: usize, pixels: &mut [u8]) {
        for (row, line) in pixels.chunks_exact_mut(width).enumerate() {
            let start = mix(frame_seed ^ ((row as u64) << 32)) as usize % TABLE;
            add_line(line, &self.table[start..start + width], self.read, self.slope);
        }
    }
}

/// One line; wrapping arithmetic (nothing comes near wrapping) lets the compiler make vector code of it in every profile.
#[inline(never)]
fn add_line(line: &mut [u8], normals: &[i16], read: i16, slope: i16) {
    for (pixel, normal) in line.iter_mut().zip(normals) {
        let level = i16::from(*pixel);
        let strength = read.wrapping_add(level.wrapping_mul(slope) >> 4);
        let noise = (i32::from(*normal).wrapping_mul(i32::from(strength)) >> 16) as i16;
        *pixel = level.wrapping_add(noise).clamp(0, 255) as u8;
    }
}
