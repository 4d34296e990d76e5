//! Lights that are watched in camera images: a spot's mean brightness, for rules and for the latency echo.

use mimicd_device::Frame;

use crate::config::Config;
use crate::stream::FrameSet;

/// One spot.
#[derive(Clone, Copy, Debug)]
struct Spot {
    camera: usize,
    /// First and one past the last column and row.
    columns: [usize; 2],
    rows: [usize; 2],
}

/// The watched spots of a rig.
#[derive(Clone, Debug)]
pub struct Lights {
    spots: Vec<Spot>,
}

impl Lights {
    /// The lights of `config`, whose places are checked.
    pub fn new(config: &Config) -> Self {
        let spot = |light: &crate::config::LightConfig| {
            let camera = config.cameras.iter().position(|camera| camera.name == light.camera)?;
            let (width, height) = (config.cameras[camera].width_px, config.cameras[camera].height_px);
            let range = |centre: u32, size: u32| {
                let from = centre.saturating_sub(light.radius_px).min(size - 1) as usize;
                [from, (centre + light.radius_px + 1).min(size) as usize]
            };
            Some(Spot { camera, columns: range(light.x_px, width), rows: range(light.y_px, height) })
        };
        Self { spots: config.lights.iter().filter_map(spot).collect() }
    }

    /// Tells the brightness of each light, 0 to 255; NaN where its camera gave no image.
    pub fn measure(&self, set: &FrameSet, mut tell: impl FnMut(usize, f64)) {
        for (index, spot) in self.spots.iter().enumerate() {
            let frame = set.frames.get(spot.camera).and_then(|frame| frame.as_deref());
            tell(index, frame.map_or(f64::NAN, |frame| spot.mean(frame)));
        }
    }
}

impl Spot {
    /// Mean brightness of the square, 0 to 255.
    fn mean(&self, frame: &Frame) -> f64 {
        let width = frame.geometry.width_px as usize;
        let (mut sum, mut count) = (0_u64, 0_u64);
        for row in self.rows[0]..self.rows[1] {
            for column in self.columns[0]..self.columns[1] {
                if let Some(value) = frame.brightness(row * width + column) {
                    sum += u64::from(value);
                    count += 1;
                }
            }
        }
        if count == 0 { f64::NAN } else { sum as f64 / count as f64 }
    }
}

#[cfg(test)]
mod tests {
    use mimicd_device::{CameraIndex, FrameGeometry, PixelFormat};

    use super::*;

    #[test]
    fn a_spot_is_the_mean_of_its_square() {
        let geometry = |height_px| FrameGeometry { width_px: 8, height_px, format: PixelFormat::Mono8 };
        let mut frame = Frame::blank(CameraIndex(0), geometry(6));
        frame.pixels.fill(10);
        let spot = Spot { camera: 0, columns: [2, 5], rows: [1, 4] };
        assert_eq!(spot.mean(&frame), 10.0);
        (1..4).for_each(|row| frame.pixels[row * 8 + 2..row * 8 + 5].fill(200));
        assert_eq!(spot.mean(&frame), 200.0);
        assert!(spot.mean(&Frame::blank(CameraIndex(0), geometry(0))).is_nan());
    }
}
