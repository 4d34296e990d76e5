//! A separable Gaussian blur of a grey image.

/// Blurs `pixels` (rows of `width`) with standard deviation `sigma_px`; edges repeat.
pub(crate) fn gaussian(pixels: &mut [u8], width: usize, sigma_px: f64) {
    let reach = (3.0 * sigma_px).ceil() as usize;
    let weights: Vec<f32> =
        (0..=2 * reach).map(|k| (-0.5 * ((k as f64 - reach as f64) / sigma_px).powi(2)).exp() as f32).collect();
    let total: f32 = weights.iter().sum();
    let height = pixels.len() / width;
    let mut line = vec![0.0f32; width.max(height)];
    for row in 0..height {
        let row_pixels = &mut pixels[row * width..(row + 1) * width];
        for (value, pixel) in line.iter_mut().zip(&*row_pixels) {
            *value = f32::from(*pixel);
        }
        for (column, pixel) in row_pixels.iter_mut().enumerate() {
            *pixel = weighted(&line[..width], column, reach, &weights, total);
        }
    }
    for column in 0..width {
        for row in 0..height {
            line[row] = f32::from(pixels[row * width + column]);
        }
        for row in 0..height {
            pixels[row * width + column] = weighted(&line[..height], row, reach, &weights, total);
        }
    }
}

fn weighted(line: &[f32], centre: usize, reach: usize, weights: &[f32], total: f32) -> u8 {
    let mut sum = 0.0;
    for (k, weight) in weights.iter().enumerate() {
        sum += weight * line[(centre + k).saturating_sub(reach).min(line.len() - 1)];
    }
    (sum / total + 0.5) as u8
}
