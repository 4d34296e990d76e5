//! Small pictures for the panel.
//!
//! Tier: service. Takes the newest frames from a slot, shrinks them, leaves them in another slot. It rests when nobody looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use mimicd_device::Frame;

use super::Preview;
use super::shared::Shared;
use crate::stream::Latest;

/// Previews are at most this wide.
const WIDTH_MAX: usize = 320;
/// About 12 a second.
const EVERY: Duration = Duration::from_millis(80);

/// The preview maker's slots.
#[derive(Debug)]
pub struct Previews {
    slots: Vec<Latest<Preview>>,
    wanted: AtomicBool,
}

impl Previews {
    /// Slots for `cameras` cameras.
    pub fn new(cameras: usize) -> Arc<Self> {
        let slots = (0..cameras).map(|_| Latest::new(Preview::default())).collect();
        Arc::new(Self { slots, wanted: AtomicBool::new(false) })
    }

    /// Tells the maker whether anyone is looking.
    pub fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Copies the latest picture of `camera` if it is newer than `into`.
    pub fn read(&self, camera: usize, into: &mut Preview) -> bool {
        let Some(slot) = self.slots.get(camera) else { return false };
        slot.read(|latest| {
            let newer = latest.sequence != into.sequence;
            if newer {
                into.clone_from(latest);
            }
            newer
        })
    }

    fn make(&self, shared: &Shared) {
        let frames = shared.frames.read(Clone::clone);
        for (slot, newest) in self.slots.iter().zip(frames) {
            let Some(frame) = newest.frame else { continue };
            slot.publish(|preview| {
                shrink(&frame, preview);
                preview.marks.clone_from(&newest.marks);
                preview.sequence += 1;
            });
        }
    }
}

/// The preview thread; it ends when this is dropped.
pub struct PreviewThread {
    quit: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl PreviewThread {
    /// Starts it.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(previews: &Arc<Previews>, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let (maker, shared) = (Arc::clone(previews), Arc::clone(shared));
        let quit = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&quit);
        let handle = Builder::new().name("previews".to_owned()).spawn(move || {
            while !end.load(Ordering::Acquire) {
                if maker.wanted.load(Ordering::Relaxed) {
                    maker.make(&shared);
                }
                std::thread::sleep(EVERY);
            }
        })?;
        Ok(Self { quit, handle: Some(handle) })
    }
}

impl Drop for PreviewThread {
    fn drop(&mut self) {
        self.quit.store(true, Ordering::Release);
        if let Some(handle) = self.handle.take() {
            handle.join().ok(); // A preview thread that panicked has shown its message and took nothing with it.
        }
    }
}

/// Averages square blocks of pixels into `preview`, which is at most `WIDTH_MAX` wide.
pub fn shrink(frame: &Frame, preview: &mut Preview) {
    let (width, height) = (frame.geometry.width_px as usize, frame.geometry.height_px as usize);
    let step = width.div_ceil(WIDTH_MAX).max(1);
    let (small_width, small_height) = (width / step, height / step);
    preview.width_px = small_width as u16;
    preview.height_px = small_height as u16;
    preview.grey.clear();
    let mut columns = vec![0u32; width];
    for y in 0..small_height {
        columns.fill(0);
        for row in y * step..(y + 1) * step {
            add_row(frame, row, &mut columns);
        }
        let mean = |block: &[u32]| (block.iter().sum::<u32>() / (step * step) as u32).min(255) as u8;
        preview.grey.extend(columns.chunks_exact(step).map(mean));
    }
}

/// Adds a row's brightness to `columns`: neighbours to neighbours, which the compiler makes fast.
fn add_row(frame: &Frame, row: usize, columns: &mut [u32]) {
    let width = columns.len();
    if frame.geometry.format.bytes_per_pixel() == 1 {
        let pixels = &frame.pixels[row * width..][..width];
        columns.iter_mut().zip(pixels).for_each(|(sum, &pixel)| *sum += u32::from(pixel));
        return;
    }
    for (x, sum) in columns.iter_mut().enumerate() {
        *sum += frame.brightness(row * width + x).map_or(0, u32::from);
    }
}

#[cfg(test)]
mod tests {
    use mimicd_device::{CameraIndex, FrameGeometry, PixelFormat};

    use super::*;

    #[test]
    fn a_frame_is_averaged_down() {
        let geometry = FrameGeometry { width_px: 640, height_px: 4, format: PixelFormat::Mono8 };
        let mut frame = Frame::blank(CameraIndex(0), geometry);
        frame.pixels.iter_mut().enumerate().for_each(|(i, pixel)| *pixel = if i % 2 == 0 { 100 } else { 50 });
        let mut preview = Preview::default();
        shrink(&frame, &mut preview);
        assert_eq!((preview.width_px, preview.height_px), (320, 2));
        assert!(preview.grey.iter().all(|&grey| grey == 75));
    }

    #[test]
    fn wide_values_and_luma_give_the_same_picture() {
        let of = |format: PixelFormat, spread: fn(u8) -> [u8; 2]| {
            let mut frame = Frame::blank(CameraIndex(0), FrameGeometry { width_px: 700, height_px: 9, format });
            let values = (0..700 * 9).map(|at| (at * 37 % 251) as u8);
            let bytes = format.bytes_per_pixel();
            for (pixel, value) in frame.pixels.chunks_exact_mut(bytes).zip(values) {
                pixel.copy_from_slice(&spread(value)[..bytes]);
            }
            let mut preview = Preview::default();
            shrink(&frame, &mut preview);
            assert_eq!((preview.width_px, preview.height_px), (233, 3), "{format:?}");
            preview.grey
        };
        let plain = of(PixelFormat::Mono8, |value| [value, 0]);
        assert_eq!(of(PixelFormat::Yuyv, |value| [value, 128]), plain);
        assert_eq!(of(PixelFormat::Mono12, |value| (u16::from(value) << 4).to_le_bytes()), plain);
    }
}
