//! Cuts a rectangle out of a frame and resamples it into a network's image.

use std::ops::Range;

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

/// Neighbouring pixels that are weighted at once: two samples up to two pixels apart, each between two pixels.
const WINDOW: usize = 4;

/// Neighbouring pixels (or rows) and their weights in one output.
#[derive(Clone, Copy, Debug)]
struct Window {
    first: usize,
    weights: [f32; WINDOW],
    /// How many of them count.
    len: usize,
}

/// The most of the frame's rows that are blended into one.
const LINES_MAX: usize = TAPS_MAX * 2;

/// What the weights of a row of bytes are counted in: 256 of them times a byte fill a 16-bit word, in which eight pixels
/// are weighted at once.
const WEIGHT_UNITS: u16 = 256;

/// The frame's rows that one output row draws from, downwards, and their weights.
#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    lines: [(usize, f32); LINES_MAX],
    len: usize,
}

/// Rows of the image that are made at once, side by side: what is picked for a column then fills a vector.
const ROWS: usize = 4;

/// Frames up to this wide are resampled without allocating.
const FRAME_WIDTH_MAX: usize = 8192;

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

/// Lowest and highest value seen, in lanes, which the compiler vectorises.
struct LaneRange {
    lowest: [f32; LANES],
    highest: [f32; LANES],
}

const LANES: usize = 8;

impl LaneRange {
    const fn new() -> Self {
        Self { lowest: [f32::MAX; LANES], highest: [f32::MIN; LANES] }
    }

    fn take(&mut self, values: &[f32]) {
        let (whole, rest) = values.as_chunks::<LANES>();
        for chunk in whole {
            self.take_chunk(chunk);
        }
        self.take_chunk(rest);
    }

    /// Takes those of the rows that count.
    fn take_rows(&mut self, rows: &[[f32; ROWS]], counts: [bool; ROWS]) {
        if counts == [true; ROWS] {
            return self.take(rows.as_flattened());
        }
        for row in (0..ROWS).filter(|row| counts[*row]) {
            rows.iter().for_each(|values| self.take_chunk(&values[row..=row]));
        }
    }

    #[inline(always)]
    fn take_chunk(&mut self, chunk: &[f32]) {
        for (lane, &value) in chunk.iter().enumerate() {
            self.lowest[lane] = if value < self.lowest[lane] { value } else { self.lowest[lane] };
            self.highest[lane] = if value > self.highest[lane] { value } else { self.highest[lane] };
        }
    }

    fn brightness(&self) -> Brightness {
        Brightness {
            lowest: self.lowest.into_iter().fold(f32::MAX, f32::min),
            highest: self.highest.into_iter().fold(f32::MIN, f32::max),
        }
    }
}

/// Samples along one axis that are averaged into one pixel, for a reduction of `step`.
fn taps_of(step: f32) -> usize {
    if step <= 1.5 { 1 } else { (step.round() as usize).clamp(2, TAPS_MAX) }
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
    /// What each output column inside the frame draws from the blended row, as many windows for each.
    columns: Vec<Window>,
    /// [`ROWS`] rows of the image, side by side.
    rows: Vec<[f32; ROWS]>,
    /// The part of the frame's rows that is looked at, blended into [`ROWS`] rows, one after the other.
    blended: Vec<f32>,
    /// The same side by side, and [`WINDOW`] more, which weigh nothing.
    source: Vec<[f32; ROWS]>,
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
            rows: vec![[0.0; ROWS]; spec.width_px as usize],
            blended: Vec::with_capacity(ROWS * FRAME_WIDTH_MAX),
            source: Vec::with_capacity(FRAME_WIDTH_MAX),
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
        match frame.geometry.format {
            PixelFormat::Mono8 => {
                fetch(frame, crop);
                self.resample(frame, crop, image, |lines, first, row| match lines.len {
                    0 => row.fill(0.0),
                    1..=2 => blend::<2>(pixels, stride, first, lines.all(), row),
                    3 => blend::<3>(pixels, stride, first, lines.all(), row),
                    4 => blend::<4>(pixels, stride, first, lines.all(), row),
                    5..=6 => blend::<6>(pixels, stride, first, lines.all(), row),
                    _ => blend::<LINES_MAX>(pixels, stride, first, lines.all(), row),
                })
            }
            PixelFormat::Yuyv => self.resample(frame, crop, image, |lines, first, row| {
                row.fill(0.0);
                for &(line, weight) in lines.all() {
                    let luma = pixels[2 * (line * stride + first)..].chunks_exact(2);
                    row.iter_mut().zip(luma).for_each(|(sum, pair)| *sum += weight * f32::from(pair[0]));
                }
            }),
            PixelFormat::Mono16 => self.fill_wide(frame, crop, image, self.mono16_shift),
            format @ (PixelFormat::Mono10 | PixelFormat::Mono12) => {
                self.fill_wide(frame, crop, image, format.bits() - 8)
            }
            _ => self.fill_mosaic(frame, crop, image),
        }
    }

    /// Grey of 16-bit words whose lowest `shift` bits are fractions.
    fn fill_wide(&mut self, frame: &Frame, crop: &CropBox, image: &mut [f32], shift: u32) -> Brightness {
        let (pixels, stride) = (&frame.pixels[..], frame.geometry.width_px as usize);
        let unit = 1.0 / (1u32 << shift) as f32;
        self.resample(frame, crop, image, |lines, first, row| {
            row.fill(0.0);
            for &(line, weight) in lines.all() {
                let values = pixels[2 * (line * stride + first)..].chunks_exact(2);
                row.iter_mut().zip(values).for_each(|(sum, pair)| {
                    *sum += weight * unit * f32::from(u16::from_le_bytes([pair[0], pair[1]]));
                });
            }
        })
    }

    /// Mean of the mosaic's two-by-two cell: red, two greens and blue, whatever their order.
    fn fill_mosaic(&mut self, frame: &Frame, crop: &CropBox, image: &mut [f32]) -> Brightness {
        let (pixels, stride) = (&frame.pixels[..], frame.geometry.width_px as usize);
        let bytes = frame.geometry.format.bytes_per_pixel();
        let unit = 0.25 / (1u32 << (frame.geometry.format.bits() - 8)) as f32;
        let value = |at: usize| match bytes {
            1 => f32::from(pixels[at]),
            _ => f32::from(u16::from_le_bytes([pixels[2 * at], pixels[2 * at + 1]])),
        };
        self.resample(frame, crop, image, |lines, first, row| {
            row.fill(0.0);
            for &(line, weight) in lines.all() {
                for (sum, x) in row.iter_mut().zip(first..) {
                    let at = (line & !1) * stride + (x & !1);
                    let cell = [at, at + 1, at + stride, at + stride + 1];
                    *sum += weight * unit * cell.into_iter().map(value).sum::<f32>();
                }
            }
        })
    }

    /// Bilinear up to a reduction of 1.5; beyond it the mean of evenly spread samples. `blend(lines, first, row)` makes the
    /// row the sum of the frame's lines from column `first` on, each times its weight.
    fn resample(
        &mut self,
        frame: &Frame,
        crop: &CropBox,
        image: &mut [f32],
        blend: impl Fn(&Lines, usize, &mut [f32]),
    ) -> Brightness {
        let step = crop.width_px / self.width as f32;
        match (taps_of(step), windows_of(step)) {
            (1, _) => self.resample_rows::<1, 2>(frame, crop, image, blend),
            (_, 1) => self.resample_rows::<1, WINDOW>(frame, crop, image, blend),
            (_, 2) => self.resample_rows::<2, WINDOW>(frame, crop, image, blend),
            _ => self.resample_rows::<TAPS_MAX, WINDOW>(frame, crop, image, blend),
        }
    }

    /// [`Cropper::resample`] with `WINDOWS` windows of `PIXELS` pixels for a column. Rows are blended before columns are
    /// picked, and picked side by side: the first runs over neighbours and the second over rows, so that both are vectorised.
    fn resample_rows<const WINDOWS: usize, const PIXELS: usize>(
        &mut self,
        frame: &Frame,
        crop: &CropBox,
        image: &mut [f32],
        blend: impl Fn(&Lines, usize, &mut [f32]),
    ) -> Brightness {
        let (frame_width, frame_height) = (frame.geometry.width_px as usize, frame.geometry.height_px as usize);
        let (step_x, step_y) = (crop.width_px / self.width as f32, crop.height_px / self.height as f32);
        let (inside, first) = self.place_columns(crop.left_px, step_x, frame_width);
        let mut range = LaneRange::new();
        self.rows.fill([0.0; ROWS]);
        for top in (0..self.height).step_by(ROWS) {
            let mut is_whole = [false; ROWS];
            let blended = self.blended.chunks_exact_mut(self.source.len() - WINDOW);
            for ((out_y, blended), is_whole) in (top..self.height).zip(blended).zip(&mut is_whole) {
                let start = crop.top_px + out_y as f32 * step_y;
                let mut lines = Lines::default();
                *is_whole = each_window(start, step_y, frame_height, |window| lines.add(window));
                blend(&lines, first, blended);
            }
            self.interleave();
            for (out, windows) in self.rows[inside.clone()].iter_mut().zip(self.columns.as_chunks::<WINDOWS>().0) {
                let mut sums = [0.0; ROWS];
                for window in windows {
                    let Some(pixels) = self.source[window.first..].first_chunk::<PIXELS>() else { continue };
                    for (pixel, weight) in pixels.iter().zip(&window.weights) {
                        sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value * weight);
                    }
                }
                *out = sums;
            }
            // What lies outside the frame is black and says nothing about the camera.
            range.take_rows(&self.rows[inside.clone()], is_whole);
            self.write_rows(top, image);
        }
        range.brightness()
    }

    /// What each output column draws from, counted from the first source column, for the output columns that lie inside the
    /// frame. Gives those output columns and the first source column, and sizes the blended rows.
    fn place_columns(&mut self, left_px: f32, step_x: f32, frame_width: usize) -> (Range<usize>, usize) {
        self.columns.clear();
        let start_of = |out_x: usize| left_px + out_x as f32 * step_x;
        let is_inside = |out_x: &usize| each_window(start_of(*out_x), step_x, frame_width, |_| ());
        let start = (0..self.width).find(is_inside).unwrap_or(self.width);
        let end = (start..self.width).rfind(is_inside).map_or(start, |last| last + 1);
        let (mut first, mut beyond) = (usize::MAX, 0);
        for out_x in start..end {
            each_window(start_of(out_x), step_x, frame_width, |window| {
                first = first.min(window.first);
                beyond = beyond.max(window.first + window.len);
                self.columns.push(*window);
            });
        }
        self.columns.iter_mut().for_each(|window| window.first -= first);
        // Beside the frame nothing is picked, of one column.
        let (first, looked_at) = if start < end { (first, beyond - first) } else { (0, 1) };
        self.source.resize(looked_at + WINDOW, [0.0; ROWS]);
        self.blended.resize(ROWS * looked_at, 0.0);
        (start..end, first)
    }

    /// Puts the blended rows side by side.
    fn interleave(&mut self) {
        let length = self.source.len() - WINDOW;
        let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &self.blended[row * length..][..length]);
        for (x, out) in self.source[..length].iter_mut().enumerate() {
            *out = std::array::from_fn(|row| rows[row][x]);
        }
    }

    /// Writes the rows from `top` on that there are.
    fn write_rows(&self, top: usize, image: &mut [f32]) {
        for channel in 0..self.channels {
            let (gain, offset) = (self.gain[channel], self.offset[channel]);
            for (row, out_y) in (top..self.height).take(ROWS).enumerate() {
                let values = self.rows.iter().map(|values| values[row] * gain + offset);
                match self.layout {
                    Layout::Nchw => {
                        let start = (channel * self.height + out_y) * self.width;
                        image[start..start + self.width].iter_mut().zip(values).for_each(|(out, value)| *out = value);
                    }
                    Layout::Nhwc => {
                        let outs = image[out_y * self.width * self.channels + channel..].iter_mut();
                        outs.step_by(self.channels).zip(values).for_each(|(out, value)| *out = value);
                    }
                }
            }
        }
    }
}

impl Window {
    /// Adds a sample between pixel `at` and the next.
    fn add(&mut self, (at, next): (usize, f32), weight: f32) {
        let offset = at - self.first;
        self.weights[offset] += (1.0 - next) * weight;
        self.weights[offset + 1] += next * weight;
        self.len = offset + 2;
    }
}

impl Lines {
    fn all(&self) -> &[(usize, f32)] {
        &self.lines[..self.len]
    }

    /// Adds the rows of a window, some of which may be there.
    fn add(&mut self, window: &Window) {
        for (line, weight) in (window.first..).zip(window.weights).take(window.len) {
            match self.lines[..self.len].iter_mut().rfind(|(there, _)| *there == line) {
                Some((_, sum)) => *sum += weight,
                None => {
                    self.lines[self.len] = (line, weight);
                    self.len += 1;
                }
            }
        }
    }
}

/// Samples that share a window: two where they are at most two pixels apart.
fn samples_of_window(step: f32) -> usize {
    if step <= 2.0 * taps_of(step) as f32 { 2 } else { 1 }
}

/// Windows that one output draws from, for a reduction of `step`.
fn windows_of(step: f32) -> usize {
    taps_of(step).div_ceil(samples_of_window(step))
}

/// Gives the windows that an output from `start` to `start + step` draws from, in order; whether all its samples lie within
/// the `pixels` there are.
fn each_window(start: f32, step: f32, pixels: usize, mut give: impl FnMut(&Window)) -> bool {
    let taps = taps_of(step);
    let (weight, shared) = (1.0 / taps as f32, samples_of_window(step));
    let mut is_whole = true;
    for tap in (0..taps).step_by(shared) {
        let mut window: Option<Window> = None;
        for tap in tap..(tap + shared).min(taps) {
            let Some(place) = between(start + (tap as f32 + 0.5) * weight * step, pixels) else {
                is_whole = false;
                continue;
            };
            window.get_or_insert(Window { first: place.0, weights: [0.0; WINDOW], len: 0 }).add(place, weight);
        }
        if let Some(window) = window {
            give(&window);
        }
    }
    is_whole
}

/// Bytes that the processor fetches at once.
const CACHE_LINE: usize = 64;

/// Reads a byte of every cache line of the crop. Another core has just written the frame: asked for one after the other, as
/// rows are blended, each line would be waited for; asked for at once, they arrive together.
fn fetch(frame: &Frame, crop: &CropBox) {
    let (width, height) = (frame.geometry.width_px as usize, frame.geometry.height_px as usize);
    // Negative edges saturate at 0.
    let columns = (crop.left_px as usize).min(width)..((crop.left_px + crop.width_px) as usize + 1).min(width);
    let rows = (crop.top_px as usize).min(height)..((crop.top_px + crop.height_px) as usize + 1).min(height);
    let mut sum = 0u8;
    for row in frame.pixels.chunks_exact(width).skip(rows.start).take(rows.len()) {
        sum = row[columns.clone()].iter().step_by(CACHE_LINE).fold(sum, |sum, byte| sum.wrapping_add(*byte));
    }
    std::hint::black_box(sum);
}

/// Blends up to `LINES` rows of bytes from column `first` on.
fn blend<const LINES: usize>(pixels: &[u8], stride: usize, first: usize, lines: &[(usize, f32)], row: &mut [f32]) {
    let weights = units_of::<LINES>(lines);
    let last = lines.len() - 1;
    let lines: [&[u8]; LINES] =
        std::array::from_fn(|line| &pixels[lines[line.min(last)].0 * stride + first..][..row.len()]);
    for (x, out) in row.iter_mut().enumerate() {
        let sum =
            (0..LINES).map(|line| u16::from(lines[line][x]).wrapping_mul(weights[line])).fold(0, u16::wrapping_add);
        *out = f32::from(sum) * (1.0 / WEIGHT_UNITS as f32);
    }
}

/// The weights of lines in whole units. Those of a row wholly inside the frame are [`WEIGHT_UNITS`] together, so that
/// rounding moves a sample by a small part of a pixel and leaves the brightness alone.
fn units_of<const LINES: usize>(lines: &[(usize, f32)]) -> [u16; LINES] {
    let mut units = [0; LINES];
    let (mut given, mut wanted) = (0, 0.0);
    for (unit, (_, weight)) in units.iter_mut().zip(lines) {
        wanted += weight * f32::from(WEIGHT_UNITS);
        let upto = (wanted.round() as u16).min(WEIGHT_UNITS);
        (*unit, given) = (upto - given, upto);
    }
    units
}

/// The pixel at or before `at` and the weight of the one after it; `None` outside the `pixels` there are.
fn between(at: f32, pixels: usize) -> Option<(usize, f32)> {
    if !(at >= -0.5 && at < pixels as f32 - 0.5) {
        return None;
    }
    let first = (at.max(0.0) as usize).min(pixels - 2);
    Some((first, (at - first as f32).clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use mimicd_device::{CameraIndex, FrameGeometry};

    use super::*;

    /// A frame whose pixel at (x, y) has a value that no neighbour has.
    fn frame(format: PixelFormat) -> Frame {
        let geometry = FrameGeometry { width_px: 90, height_px: 70, format };
        let mut frame = Frame::blank(CameraIndex(0), geometry);
        let value = |x: usize, y: usize| (x * 37 + y * 101 + (x * y) % 29) % 251;
        for y in 0..70 {
            for x in 0..90 {
                match format {
                    PixelFormat::Mono16 => {
                        let wide = (value(x, y) as u16) << 4;
                        frame.pixels[2 * (y * 90 + x)..][..2].copy_from_slice(&wide.to_le_bytes());
                    }
                    PixelFormat::Yuyv => frame.pixels[2 * (y * 90 + x)] = value(x, y) as u8,
                    _ => frame.pixels[y * 90 + x] = value(x, y) as u8,
                }
            }
        }
        frame
    }

    fn spec(side: u32) -> NetworkSpec {
        toml::from_str(&format!(
            "file = \"f\"\nwidth_px = {side}\nheight_px = {side}\n[decode]\nkind = \"heatmap\"\noutput = \"o\""
        ))
        .unwrap()
    }

    /// The definition, pixel by pixel: the mean of bilinear samples, black outside.
    fn plain(crop: &CropBox, side: usize, out: [usize; 2]) -> f32 {
        let image = frame(PixelFormat::Mono8);
        let step = crop.width_px / side as f32;
        let taps = taps_of(step);
        let at = |start: f32, out: usize, tap: usize| start + (out as f32 + (tap as f32 + 0.5) / taps as f32) * step;
        let whole = (0..taps).all(|tap| between(at(crop.left_px, out[0], tap), 90).is_some());
        let pairs = (0..taps * taps).map(|k| (at(crop.left_px, out[0], k % taps), at(crop.top_px, out[1], k / taps)));
        let samples = pairs.map(|(x, y)| match (between(x, 90), between(y, 70)) {
            (Some((x0, right)), Some((y0, down))) if whole => {
                let pixel = |x: usize, y: usize| f32::from(image.pixels[y * 90 + x]);
                let top = pixel(x0, y0) * (1.0 - right) + pixel(x0 + 1, y0) * right;
                let below = pixel(x0, y0 + 1) * (1.0 - right) + pixel(x0 + 1, y0 + 1) * right;
                top * (1.0 - down) + below * down
            }
            _ => 0.0,
        });
        samples.sum::<f32>() / (taps * taps) as f32
    }

    #[test]
    fn resamples_as_defined_in_every_format_and_at_every_edge() {
        for (side, crop) in [
            (24, CropBox { left_px: 20.3, top_px: 11.8, width_px: 30.0, height_px: 30.0 }),
            (16, CropBox { left_px: -9.0, top_px: -4.2, width_px: 40.0, height_px: 40.0 }),
            (16, CropBox { left_px: 60.7, top_px: 40.1, width_px: 55.0, height_px: 55.0 }),
            (24, CropBox { left_px: 30.0, top_px: 30.0, width_px: 6.0, height_px: 6.0 }),
            (18, CropBox { left_px: 5.5, top_px: 52.0, width_px: 20.0, height_px: 20.0 }),
            (16, CropBox { left_px: 120.0, top_px: 20.0, width_px: 30.0, height_px: 30.0 }),
            (16, CropBox { left_px: -70.0, top_px: -70.0, width_px: 30.0, height_px: 30.0 }),
        ] {
            let mut image = vec![f32::NAN; side * side];
            // Of bytes, whose lines are weighted in whole units, a line may weigh a unit more or less, of a picture in which
            // neighbours differ by up to 250 levels.
            for (format, limit) in [(PixelFormat::Mono8, 0.5), (PixelFormat::Mono16, 2e-3), (PixelFormat::Yuyv, 2e-3)] {
                Cropper::new(&spec(side as u32), 12).fill(&frame(format), &crop, &mut image);
                for (index, &value) in image.iter().enumerate() {
                    let expected = plain(&crop, side, [index % side, index / side]);
                    assert!((value - expected).abs() < limit, "{format:?} {crop:?} {index}: {value}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn a_saturated_view_is_blind_also_at_the_frames_edge() {
        let mut frame = frame(PixelFormat::Mono8);
        frame.pixels.fill(255);
        let crop = CropBox { left_px: -10.0, top_px: -10.0, width_px: 40.0, height_px: 40.0 };
        let mut image = vec![0.0; 16 * 16];
        assert!(Cropper::new(&spec(16), 12).fill(&frame, &crop, &mut image).is_blind());
    }
}
