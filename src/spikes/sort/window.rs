//! The part of a snippet that sorting looks at, aligned below one sample.

use crate::spikes::{SNIPPET_BEFORE, SNIPPET_SAMPLES, Snippet, TETRODE_CHANNELS};

/// Samples per channel that sorting looks at (1.07 ms at 30 kHz).
pub(super) const WINDOW_SAMPLES: usize = 32;
/// Of those, before the alignment point.
const WINDOW_BEFORE: usize = 10;
/// All samples of a window, channel by channel.
pub(super) const WINDOW: usize = WINDOW_SAMPLES * TETRODE_CHANNELS;
/// How far the alignment point may lie from the peak.
const SEARCH: usize = 6;

/// A window; microvolts, or noise sigmas once scaled.
pub(super) type Window = [f32; WINDOW];

const _: () = assert!(SNIPPET_BEFORE >= WINDOW_BEFORE + SEARCH + 2);
const _: () = assert!(SNIPPET_BEFORE + SEARCH + (WINDOW_SAMPLES - WINDOW_BEFORE) + 2 < SNIPPET_SAMPLES);

/// Cuts the window out of `snippet` around the energy peak of all four channels together, to a fraction of a sample.
///
/// The largest single value flips between channels and between trough and hump from spike to spike; the energy of all
/// channels seldom does. Without the fraction, a sharp spike's flanks spread its cluster by more than the noise.
pub(super) fn aligned(snippet: &Snippet, scale: &[f32; TETRODE_CHANNELS]) -> Window {
    let energy = |at: usize| -> f32 { snippet.iter().zip(scale).map(|(wave, s)| (wave[at] * s).powi(2)).sum() };
    let (mut best, mut best_energy) = (SNIPPET_BEFORE, energy(SNIPPET_BEFORE));
    for at in SNIPPET_BEFORE - SEARCH..=SNIPPET_BEFORE + SEARCH {
        let e = energy(at);
        if e > best_energy {
            (best, best_energy) = (at, e);
        }
    }
    let (before, after) = (energy(best - 1), energy(best + 1));
    let bend = before - 2.0 * best_energy + after;
    let shift = if bend < 0.0 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 };
    let (start, fraction) =
        if shift < 0.0 { (best - WINDOW_BEFORE - 1, 1.0 + shift) } else { (best - WINDOW_BEFORE, shift) };
    cut(snippet, scale, start, fraction)
}

/// A window from the middle of `snippet`, `fraction` of a sample off: what noise looks like to [`aligned`].
pub(super) fn unaligned(snippet: &Snippet, scale: &[f32; TETRODE_CHANNELS], fraction: f32) -> Window {
    cut(snippet, scale, SNIPPET_BEFORE - WINDOW_BEFORE, fraction)
}

fn cut(snippet: &Snippet, scale: &[f32; TETRODE_CHANNELS], start: usize, fraction: f32) -> Window {
    let weights = cubic(fraction);
    let mut window = [0.0; WINDOW];
    for ((out, wave), s) in window.chunks_exact_mut(WINDOW_SAMPLES).zip(snippet).zip(scale) {
        for (i, value) in out.iter_mut().enumerate() {
            let points = &wave[start + i - 1..start + i + 3];
            *value = s * points.iter().zip(&weights).map(|(x, w)| x * w).sum::<f32>();
        }
    }
    window
}

/// Weights of four neighbouring samples for a point `t` after the second (Catmull and Rom's cubic).
fn cubic(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [0.5 * (-t3 + 2.0 * t2 - t), 0.5 * (3.0 * t3 - 5.0 * t2 + 2.0), 0.5 * (-3.0 * t3 + 4.0 * t2 + t), 0.5 * (t3 - t2)]
}
