//! Proof of the frames' identity by the cameras' exposure lines, where an array samples them (`exposure_bits`): the line of a
//! camera that answered a trigger rises after that trigger and before the next. A frame of a trigger on which its camera's line
//! did not rise is a frame of another trigger.

use std::collections::BTreeMap;
use std::path::Path;

use mimicd_device::Integrity;
use serde::Serialize;
use serde_json::Value;

use super::board::heard;
use crate::record::error::RecordError;
use crate::record::manifest::Manifest;
use crate::record::schema::{EPHYS_PREFIX, FRAMES};
use crate::record::tables;

/// What the maps of two clocks and a sample may be apart.
const SLACK_NS: i64 = 200_000;

/// One camera's account on one array.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExposureAccount {
    /// The camera.
    pub camera: String,
    /// The array's table.
    pub array: String,
    /// Frames of proved identity, of triggers that the array sampled from their edge to the next.
    pub checked: u64,
    /// Frames among them on whose trigger the line did not rise: must be 0.
    pub silent: u64,
    /// Trigger of the first of those.
    pub first_silent: Option<i64>,
    /// Exposures on triggers of which there is no frame: it was lost on its way.
    pub frameless: u64,
}

impl ExposureAccount {
    /// Whether every frame that could be checked has its exposure.
    pub const fn adds_up(&self) -> bool {
        self.silent == 0
    }
}

/// Accounts of every array with exposure lines, camera by camera; `lines` have seen the arrays' samples.
pub(super) fn exposures(
    folder: &Path,
    manifest: &Manifest,
    lines: &[Lines],
) -> Result<Vec<ExposureAccount>, RecordError> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let triggers = heard(folder, manifest)?;
    let mut frames = vec![BTreeMap::new(); manifest.catalog.cameras.len()];
    tables::scan(folder, manifest, FRAMES, &["camera", "trigger_index", "integrity"], |batch| {
        let [cameras, indices, flags] =
            ["camera", "trigger_index", "integrity"].map(|name| tables::integers(batch, name));
        for ((camera, index), flags) in cameras.into_iter().zip(indices).zip(flags) {
            if let (Some(camera), Some(index), Some(flags)) = (camera, index, flags)
                && let Some(frames) = frames.get_mut(camera as usize)
            {
                frames.insert(index, is_proved(flags));
            }
        }
    })?;
    let cameras = || manifest.catalog.cameras.iter().zip(&frames);
    let of_array = |lines: &Lines| {
        let times = times(&triggers, lines);
        let each = cameras().zip(&lines.rises);
        each.map(|((camera, frames), rises)| account(&camera.name, &lines.array, &times, frames, rises))
            .collect::<Vec<_>>()
    };
    Ok(lines.iter().flat_map(of_array).collect())
}

/// Whether a frame says for sure which trigger it is of.
fn is_proved(flags: i64) -> bool {
    let flags = Integrity::from_bits_truncate(flags as u32);
    !flags.intersects(Integrity::UNPROVED_MATCH | Integrity::CLOCK_STEP)
}

/// The exposure lines of every array that samples some, before a sample was seen.
pub(super) fn lines(config: &Value) -> Vec<Lines> {
    let arrays = config.get("arrays").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let wired = arrays.iter().filter_map(|array| {
        let name = array.get("name")?.as_str()?;
        let bit = |value: &Value| value.as_u64().filter(|bit| *bit < 16).map(|bit| bit as u8);
        // One that is no bit of the word leaves nothing that could be told from the others.
        let bits: Option<Vec<u8>> = array.get("exposure_bits")?.as_array()?.iter().map(bit).collect();
        let bits = bits.filter(|bits| !bits.is_empty())?;
        Some(Lines::new(format!("{EPHYS_PREFIX}{name}"), bit(array.get("trigger_bit")?)?, bits))
    });
    wired.collect()
}

/// The trigger line and the exposure lines as an array's samples show them.
pub(super) struct Lines {
    /// The array's table.
    pub(super) array: String,
    /// The trigger line's, then in camera order.
    bits: Vec<u8>,
    /// The word before, and the index that goes on from it.
    last: Option<(i64, i64)>,
    /// Times of the first and the last sample of each run without a gap.
    runs: Vec<(i64, i64)>,
    /// When the trigger line rose.
    edges: Vec<i64>,
    /// When each exposure line rose.
    rises: Vec<Vec<i64>>,
}

impl Lines {
    fn new(array: String, trigger_bit: u8, exposure_bits: Vec<u8>) -> Self {
        let rises = vec![Vec::new(); exposure_bits.len()];
        let bits = std::iter::once(trigger_bit).chain(exposure_bits).collect();
        Self { array, bits, last: None, runs: Vec::new(), edges: Vec::new(), rises }
    }

    /// Takes the next sample's digital word in.
    pub(super) fn add(&mut self, index: i64, time: i64, word: i64) {
        match (self.last, self.runs.last_mut()) {
            (Some((before, next)), Some(run)) if next == index => {
                run.1 = time;
                let risen = word & !before;
                let lines = std::iter::once(&mut self.edges).chain(&mut self.rises);
                for (bit, rises) in self.bits.iter().zip(lines).filter(|_| risen != 0) {
                    if risen >> bit & 1 == 1 {
                        rises.push(time);
                    }
                }
            }
            // What the lines did in a gap is unknown.
            _ => self.runs.push((time, time)),
        }
        self.last = Some((word, index + 1));
    }
}

/// Index, edge, and edge of the next one of every trigger whose time the array sampled whole: both edges where the board says
/// (its clock and the array's are mapped well just then), and no gap between.
fn times(triggers: &[(i64, i64)], lines: &Lines) -> Vec<(i64, i64, i64)> {
    let edge = |time: i64| {
        let at = lines.edges.partition_point(|&edge| edge < time - SLACK_NS);
        lines.edges.get(at).copied().filter(|&edge| edge <= time + SLACK_NS)
    };
    let whole = |pair: &[(i64, i64)]| {
        let (from, until) = (edge(pair[0].1)?, edge(pair[1].1)?);
        let run = lines.runs[..lines.runs.partition_point(|run| run.0 <= from)].last()?;
        (pair[1].0 == pair[0].0 + 1 && run.1 >= until).then_some((pair[0].0, from, until))
    };
    triggers.windows(2).filter_map(whole).collect()
}

/// `frames` are the triggers that the camera's frames say they are of, and whether that is proved.
fn account(
    camera: &str,
    array: &str,
    times: &[(i64, i64, i64)],
    frames: &BTreeMap<i64, bool>,
    rises: &[i64],
) -> ExposureAccount {
    let mut found =
        ExposureAccount { camera: camera.to_owned(), array: array.to_owned(), ..ExposureAccount::default() };
    for &(index, from, until) in times {
        let at = rises.partition_point(|&rise| rise < from);
        let is_exposed = rises.get(at).is_some_and(|&rise| rise < until);
        match frames.get(&index) {
            None => found.frameless += u64::from(is_exposed),
            Some(false) => {}
            Some(true) => {
                found.checked += 1;
                if !is_exposed {
                    found.silent += 1;
                    found.first_silent.get_or_insert(index);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_NS: i64 = 20_000_000;
    const SAMPLE_NS: i64 = 33_333;

    fn triggers() -> Vec<(i64, i64)> {
        (0..20).map(|index| (index, index * PERIOD_NS)).collect()
    }

    /// Samples of a trigger line, high for 1 ms of each trigger, and of two exposure lines, of which the second is high for 2 ms
    /// of each but the 5th; without the samples of `gap`.
    fn lines(gap: std::ops::Range<i64>) -> Lines {
        let mut lines = Lines::new("array".to_owned(), 0, vec![3, 1]);
        for index in (0..20 * PERIOD_NS / SAMPLE_NS).filter(|index| !gap.contains(index)) {
            let (trigger, since) = (index * SAMPLE_NS / PERIOD_NS, index * SAMPLE_NS % PERIOD_NS);
            let is_exposed = trigger != 5 && since < 2_000_000;
            lines.add(index, index * SAMPLE_NS, i64::from(since < 1_000_000) | i64::from(is_exposed) << 1);
        }
        lines
    }

    fn account_of(
        lines: &Lines,
        triggers: &[(i64, i64)],
        frames: impl IntoIterator<Item = (i64, bool)>,
    ) -> ExposureAccount {
        account("cam", "array", &times(triggers, lines), &frames.into_iter().collect(), &lines.rises[1])
    }

    fn proved(indices: impl IntoIterator<Item = i64>) -> BTreeMap<i64, bool> {
        indices.into_iter().map(|index| (index, true)).collect()
    }

    #[test]
    fn every_frame_has_its_exposure_and_one_that_has_not_is_of_another_trigger() {
        let lines = lines(0..0);
        assert!(lines.rises[0].is_empty() && lines.edges.len() == 19);
        // The edge of the first trigger is before the second sample, and the end of the last one's time is not known.
        let good = account_of(&lines, &triggers(), proved((0..20).filter(|index| *index != 5)));
        assert_eq!((good.checked, good.silent, good.frameless), (17, 0, 0));
        let shifted = account_of(&lines, &triggers(), proved((0..20).filter(|index| *index != 7)));
        assert_eq!((shifted.silent, shifted.first_silent, shifted.frameless), (1, Some(5), 1));
        assert!(good.adds_up() && !shifted.adds_up());
    }

    #[test]
    fn what_was_not_sampled_and_who_does_not_claim_to_be_proved_is_not_held_against_it() {
        let lost = (9 * PERIOD_NS - 300_000) / SAMPLE_NS;
        let lines = lines(lost..lost + 30);
        assert_eq!(lines.runs.len(), 2);
        let account = |frames| account_of(&lines, &triggers(), frames);
        // Two triggers' times are not whole: the edge of the 9th is in the gap.
        let found = account(proved(0..20));
        assert_eq!((found.checked, found.silent, found.first_silent), (16, 1, Some(5)));
        let mut frames = proved(0..20);
        frames.insert(5, false);
        assert_eq!((account(frames.clone()).checked, account(frames).silent), (15, 0));
        let flags = |flags: Integrity| is_proved(i64::from(flags.bits()));
        assert!(flags(Integrity::GAP_BEFORE) && !flags(Integrity::GAP_BEFORE | Integrity::UNPROVED_MATCH));
    }

    #[test]
    fn triggers_that_are_not_where_the_board_says_prove_nothing() {
        let lines = lines(0..0);
        // The 6th was not heard of: it hides the end of the 5th. The 12th to 14th are on a clock that is being found again.
        let board = triggers().into_iter().filter(|(index, _)| *index != 6);
        let board: Vec<_> =
            board.map(|(index, at)| (index, at + if (12..15).contains(&index) { 4_000_000 } else { 0 })).collect();
        let found = account_of(&lines, &board, proved(0..20));
        assert_eq!((found.checked, found.silent), (12, 0));
    }

    #[test]
    fn arrays_without_lines_or_with_impossible_ones_are_left_alone() {
        let array = |bits: &[u64]| serde_json::json!({"name": "A", "trigger_bit": 0, "exposure_bits": bits});
        let found = super::lines(&serde_json::json!({"arrays": [array(&[1, 2]), array(&[]), array(&[1, 64])]}));
        assert!(found.len() == 1 && found[0].array == "ephys_A" && found[0].bits == [0, 1, 2]);
        assert!(super::lines(&Value::Null).is_empty());
    }
}
