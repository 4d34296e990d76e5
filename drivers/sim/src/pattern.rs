//! Test pictures: moving stripes that carry the frame's number, cheap at any size and proof against video codecs.
//!
//! 48 bits stand in three rows of 16 squares at the top left: 32 of the number, 8 of the camera, 8 of checksum, most
//! significant first, white for one. Squares are 8 px wide, or less in pictures too small for that.

const COLUMNS: usize = 16;
const ROWS: usize = 3;
const SQUARE_PX_MAX: usize = 8;
const STRIPE_PERIOD_PX: usize = 256;

/// Draws test pictures of one camera.
#[derive(Clone, Debug)]
pub struct Pattern {
    width_px: usize,
    camera: u8,
    stripes: Vec<u8>,
}

impl Pattern {
    /// A drawer for `camera`'s pictures of `width_px`.
    pub fn new(width_px: usize, camera: u8) -> Self {
        let wave = |x: usize| {
            let phase = x as f64 / STRIPE_PERIOD_PX as f64 * core::f64::consts::TAU;
            (128.0 + 80.0 * phase.sin() + 30.0 * (5.0 * phase).sin()) as u8
        };
        Self { width_px, camera, stripes: (0..width_px + STRIPE_PERIOD_PX).map(wave).collect() }
    }

    /// Draws picture `number` into `pixels` (8-bit grey, rows tightly packed).
    pub fn draw(&self, number: u32, pixels: &mut [u8]) {
        let shift = number as usize * 3 + usize::from(self.camera) * 31;
        for (y, row) in pixels.chunks_exact_mut(self.width_px).enumerate() {
            let from = (shift + y * 2) % STRIPE_PERIOD_PX;
            row.copy_from_slice(&self.stripes[from..from + self.width_px]);
        }
        let code = encode(number, self.camera);
        let square = square_px(self.width_px, pixels.len() / self.width_px);
        for (y, row) in pixels.chunks_exact_mut(self.width_px).take(ROWS * square).enumerate() {
            for (x, cell) in row.chunks_exact_mut(square).take(COLUMNS).enumerate() {
                let bit = COLUMNS * ROWS - 1 - (y / square * COLUMNS + x);
                cell.fill(if code >> bit & 1 == 1 { 235 } else { 16 });
            }
        }
    }
}

/// Number and camera of a test picture; `None` if the squares are damaged or it is no test picture.
pub fn read_pattern(width_px: usize, pixels: &[u8]) -> Option<(u32, u8)> {
    let square = square_px(width_px, pixels.len() / width_px.max(1));
    if width_px < COLUMNS * square || pixels.len() < width_px * ROWS * square {
        return None;
    }
    let mut code = 0u64;
    for bit in 0..COLUMNS * ROWS {
        let (x, y) = (bit % COLUMNS * square + square / 2, bit / COLUMNS * square + square / 2);
        code = code << 1 | u64::from(pixels[y * width_px + x] > 127);
    }
    let (number, camera) = ((code >> 16) as u32, (code >> 8) as u8);
    (encode(number, camera) == code).then_some((number, camera))
}

fn square_px(width_px: usize, height_px: usize) -> usize {
    (width_px / COLUMNS).min(height_px / ROWS).clamp(1, SQUARE_PX_MAX)
}

fn encode(number: u32, camera: u8) -> u64 {
    let sum = number.to_be_bytes().iter().fold(camera ^ 0x5A, |sum, &byte| sum.rotate_left(3) ^ byte);
    u64::from(number) << 16 | u64::from(camera) << 8 | u64::from(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_picture() {
        for (width, height) in [(16, 16), (320, 256), (1320, 1048)] {
            let mut pixels = vec![0; width * height];
            for number in [0, 1, 77, 0xDEAD_BEEF, u32::MAX] {
                Pattern::new(width, 5).draw(number, &mut pixels);
                assert_eq!(read_pattern(width, &pixels), Some((number, 5)));
            }
            pixels.fill(90);
            assert_eq!(read_pattern(width, &pixels), None);
        }
    }
}
