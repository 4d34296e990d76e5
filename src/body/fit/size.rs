//! How large the animal is against the stock body.
//!
//! Limb lengths tell (see [`Detected::size`](crate::body::convention::Detected)). What a fit leaves over does not: offsets make
//! up for almost any scale, and a larger body always fits a little closer; [`try_scales`] shows it in the report.

use std::path::Path;

use super::{FitOptions, fit};
use crate::body::{BodyError, Subject};
use crate::pose::Keypoint;

/// Scales tried, against the first guess.
const TRIED: [f64; 5] = [0.9, 0.95, 1.0, 1.05, 1.1];
/// Rounds and frames of each short fit.
const ROUNDS: usize = 10;
const FRAMES: usize = 150;

/// Fits briefly at scales around that of `subject`; gives each with the mean distance that it left, metres.
///
/// # Errors
/// As [`fit`].
pub fn try_scales(
    mjcf: &Path,
    subject: &Subject,
    names: &[String],
    frames: &[&[Keypoint]],
    mut progress: impl FnMut(),
) -> Result<Vec<(f64, f64)>, BodyError> {
    let stride = frames.len().div_ceil(FRAMES).max(1);
    let few: Vec<&[Keypoint]> = frames.iter().step_by(stride).copied().collect();
    let options = FitOptions { rounds: ROUNDS, proportions: false, ..FitOptions::default() };
    let mut tried = Vec::new();
    for factor in TRIED {
        let mut trial = subject.clone();
        trial.resize(factor);
        let rounds = fit(mjcf, &mut trial, names, &few, &options, |_| ())?;
        tried.push((trial.scale, rounds.last().map_or(f64::NAN, |round| round.mean_m)));
        progress();
    }
    Ok(tried)
}
