//! Cuts a rectangle out of a frame and resamples it into a network's image.

use mimicd_device::{Frame, PixelFormat};

use super::manifest::{Layout, NetworkSpec};

/// A rectangle of a view, in pixels of the frame (a pixel's centre is at its integer coordinate).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CropBox {
    /// Left edge.
    pub left_px: f32,
    /// Top edge.
    pub top_px: f32,
    /// Width; 0 when the view was not used.
    pub width_px: f32,
    /// Height.
    pub height_px: f32,
}

impl CropBox {
    /// A square around a centre.
    pub fn square(centre_px: [f64; 2], side_px: f64) -> Self {
        let side = side_px as f32;
        Self {
            left_px: centre_px[0] as f32 - 0.5 * side,
            top_px: centre_px[1] as f32 - 0.5 * side,
            width_px: side,
            height_px: side,
        }
    }

    /// A whole frame.
    pub fn whole(width_px: u32, height_px: u32) -> Self {
        Self { left_px: -0.5, top_px: -0.5, width_px: width_px as f32, height_px: height_px as f32 }
    }
}

/// The most samples along one axis that are averaged into one pixel.
const TAPS_MAX: usize = 4;

/// What the resampled pixels look like before normalisation, for refusing blind views.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Brightness {
    pub(super) lowest: f32,
    pub(super) highest: f32,
}

impl Brightness {
    /// Whether there is nothing to see: a covered, unlit or saturated camera.
    pub(super) fn is_blind(self) -> bool {
        self.highest - self.lowest < 6.0
    }
}

/// Resamples crops into one image of a batch. Allocates only when made.
pub(super) struct Cropper {
    width: usize,
    height: usize,
    channels: usize,
    layout: Layout,
    /// (pixel * scale - mean) / sd as gain and offset for each channel.
    gain: Vec<f32>,
    offset: Vec<f32>,
    /// Source column and weight of its right neighbour, `taps` for each output column.
    columns: Vec<(usize, f32)>,
    row: Vec<f32>,
    mono16_shift: u32,
}

impl Cropper {
    pub(super) fn new(spec: &NetworkSpec, mono16_bits: u32) -> Self {
        let at = |values: &[f32], channel: usize| values[channel.min(values.len() - 1)];
        let gain: Vec<f32> = (0..spec.channels).map(|c| spec.scale / at(&spec.sd, c)).collect();
        let offset = (0..spec.channels).map(|c| -at(&spec.mean, c) / at(&spec.sd, c)).collect();
        Self {
            width: spec.width_px as usize,
            height: spec.height_px as usize,
            channels: spec.channels,
            layout: spec.layout,
            gain,
            offset,
            columns: Vec::with_capacity(spec.width_px as usize * TAPS_MAX),
            row: vec![0.0; spec.width_px as usize],
            mono16_shift: mono16_bits.saturating_sub(8),
        }
    }

    /// Floats of one image.
    pub(super) fn image_len(&self) -> usize {
        self.width * self.height * self.channels
    }

    /// Fills `image` with the crop; what lies outside the frame is black.
    pub(super) fn fill(&mut self, frame: &Frame, crop: &CropBox, image: &mut [f32]) -> Brightness {
        let pixels = &frame.pixels[..];
        let stride = frame.geometry.width_px as usize;
        let shift = self.mono16_shift;
        match frame.geometry.format {
            PixelFormat::Mono8 => self.resample(frame, crop, image, |y, x| f32::from(pixels[y * stride + x])),
            PixelFormat::Yuyv => self.resample(frame, crop, image, |y, x| f32::from(pixels[2 * (y * stride + x)])),
            PixelFormat::Mono16 => self.resample(frame, crop, image, |y, x| {
                let at = 2 * (y * stride + x);
                f32::from(u16::from_le_bytes([pixels[at], pixels[at + 1]])) / (1u32 << shift) as f32
            }),
            // Mean of the mosaic's two-by-two cell: red, two greens and blue, whatever their order.
            PixelFormat::BayerRg8 | PixelFormat::BayerGb8 | PixelFormat::BayerGr8 | PixelFormat::BayerBg8 => self
                .resample(frame, crop, image, |y, x| {
                    let at = (y & !1) * stride + (x & !1);
                    let cell = [pixels[at], pixels[at + 1], pixels[at + stride], pixels[at + stride + 1]];
                    0.25 * cell.iter().map(|&v| f32::from(v)).sum::<f32>()
                }),
        }
    }

    /// Bilinear up to a reduction of 1.5; beyond it the mean of evenly spread samples.
    fn resample(
        &mut self,
        frame: &Frame,
        crop: &CropBox,
        image: &mut [f32],
        sample: impl Fn(usize, usize) -> f32,
    ) -> Brightness {
        let (frame_width, frame_height) = (frame.geometry.width_px as usize, frame.geometry.height_px as usize);
        let (step_x, step_y) = (crop.width_px / self.width as f32, crop.height_px / self.height as f32);
        let taps_of = |step: f32| if step <= 1.5 { 1 } else { (step.round() as usize).clamp(2, TAPS_MAX) };
        let (taps_x, taps_y) = (taps_of(step_x), taps_of(step_y));
        let inside = self.place_columns(crop.left_px, step_x, taps_x, frame_width);
        let mut brightness = Brightness { lowest: f32::MAX, highest: f32::MIN };
        for out_y in 0..self.height {
            self.row.fill(0.0);
            for tap in 0..taps_y {
                let y = crop.top_px + (out_y as f32 + (tap as f32 + 0.5) / taps_y as f32) * step_y;
                let Some((y0, down)) = between(y, frame_height) else { continue };
                let weight = 1.0 / (taps_x * taps_y) as f32;
                for out_x in inside.0..inside.1 {
                    let mut sum = 0.0;
                    for &(x0, right) in &self.columns[out_x * taps_x..(out_x + 1) * taps_x] {
                        let top = sample(y0, x0) + (sample(y0, x0 + 1) - sample(y0, x0)) * right;
                        let below = sample(y0 + 1, x0) + (sample(y0 + 1, x0 + 1) - sample(y0 + 1, x0)) * right;
                        sum += top + (below - top) * down;
                    }
                    self.row[out_x] += sum * weight;
                }
            }
            for &value in &self.row[inside.0..inside.1] {
                brightness.lowest = brightness.lowest.min(value);
                brightness.highest = brightness.highest.max(value);
            }
            self.write_row(out_y, image);
        }
        brightness
    }

    /// Source columns of every output column; gives the range of output columns that lie inside the frame.
    fn place_columns(&mut self, left_px: f32, step_x: f32, taps: usize, frame_width: usize) -> (usize, usize) {
        self.columns.clear();
        let (mut first, mut last) = (self.width, 0);
        for out_x in 0..self.width {
            let mut whole = true;
            for tap in 0..taps {
                let x = left_px + (out_x as f32 + (tap as f32 + 0.5) / taps as f32) * step_x;
                let place = between(x, frame_width);
                whole &= place.is_some();
                self.columns.push(place.unwrap_or_default());
            }
            if whole {
                first = first.min(out_x);
                last = out_x + 1;
            }
        }
        (first.min(last), last)
    }

    fn write_row(&self, out_y: usize, image: &mut [f32]) {
        for channel in 0..self.channels {
            let (gain, offset) = (self.gain[channel], self.offset[channel]);
            match self.layout {
                Layout::Nchw => {
                    let start = (channel * self.height + out_y) * self.width;
                    for (out, value) in image[start..start + self.width].iter_mut().zip(&self.row) {
                        *out = value * gain + offset;
                    }
                }
                Layout::Nhwc => {
                    let start = out_y * self.width * self.channels + channel;
                    for (out, value) in image[start..].iter_mut().step_by(self.channels).zip(&self.row) {
                        *out = value * gain + offset;
                    }
                }
            }
        }
    }
}

/// The pixel at or before `at` and the weight of the one after it; `None` outside the `pixels` there are.
fn between(at: f32, pixels: usize) -> Option<(usize, f32)> {
    if !(at >= -0.5 && at < pixels as f32 - 0.5) {
        return None;
    }
    let first = (at.max(0.0) as usize).min(pixels - 2);
    Some((first, (at - first as f32).clamp(0.0, 1.0)))
}
