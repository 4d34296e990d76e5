//! Scores as text and CSV.

use std::fmt::Write;

use super::run::{Row, Run};
use crate::imitation::PARTS;

/// The numbers of one run or of several together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Frames scored.
    pub frames: usize,
    /// Mean frames until the first fall.
    pub survived: f64,
    /// Falls in all.
    pub falls: usize,
    /// Mean root error, metres.
    pub root_m: f64,
    /// Mean orientation error, radians.
    pub orientation_rad: f64,
    /// Mean absolute hinge error, radians.
    pub joints_rad: f64,
    /// Mean position error of each part, metres.
    pub parts_m: [f64; PARTS.len()],
    /// Mean lag, seconds.
    pub lag_s: f64,
}

impl Summary {
    /// Over all frames of the runs; `None` where there are none.
    pub fn of<'a>(runs: impl Iterator<Item = &'a Run> + Clone) -> Option<Self> {
        let rows = || runs.clone().flat_map(|run| run.rows.iter());
        let frames = rows().count();
        if frames == 0 {
            return None;
        }
        let mean = |of: &dyn Fn(&Row) -> f64| rows().map(of).sum::<f64>() / frames as f64;
        let mut parts_m = [0.0; PARTS.len()];
        for (index, part) in parts_m.iter_mut().enumerate() {
            *part = mean(&|row| row.parts_m[index]);
        }
        let count = runs.clone().count();
        Some(Self {
            frames,
            survived: runs.clone().map(|run| run.survived_frames as f64).sum::<f64>() / count as f64,
            falls: runs.clone().map(Run::falls).sum(),
            root_m: mean(&|row| row.root_m),
            orientation_rad: mean(&|row| row.orientation_rad),
            joints_rad: mean(&|row| row.joints_rad),
            parts_m,
            lag_s: mean(&|row| row.lag_s),
        })
    }

    /// Mean of the two hands, metres.
    pub fn hands_m(&self) -> f64 {
        0.5 * (self.parts_m[3] + self.parts_m[4])
    }

    /// Mean of the two feet, metres.
    pub fn feet_m(&self) -> f64 {
        0.5 * (self.parts_m[5] + self.parts_m[6])
    }
}

const HEADER: &str = "motion           behaviour  frames  survived  falls  root mm  turn deg  joints deg  head mm  hands mm  feet mm  lag ms";

fn line(out: &mut String, name: &str, behaviour: &str, s: &Summary) {
    let _ = writeln!(
        out,
        "{name:<16} {behaviour:<9} {:>7} {:>9.1} {:>6} {:>8.1} {:>9.1} {:>11.2} {:>8.1} {:>9.1} {:>8.1} {:>7.1}",
        s.frames,
        s.survived,
        s.falls,
        s.root_m * 1e3,
        s.orientation_rad.to_degrees(),
        s.joints_rad.to_degrees(),
        s.parts_m[0] * 1e3,
        s.hands_m() * 1e3,
        s.feet_m() * 1e3,
        s.lag_s * 1e3,
    );
}

/// The table of a set of runs: each motion, each behaviour, all; and, where `held_out` names motions, those together.
pub(super) fn text(title: &str, runs: &[Run], held_out: &[String]) -> String {
    let mut out = format!("{title}\n{HEADER}\n");
    for run in runs {
        if let Some(summary) = Summary::of(std::iter::once(run)) {
            line(&mut out, &run.motion, run.behaviour, &summary);
        }
    }
    for behaviour in ["still", "walk", "rear"] {
        if let Some(summary) = Summary::of(runs.iter().filter(|run| run.behaviour == behaviour)) {
            line(&mut out, "mean", behaviour, &summary);
        }
    }
    let is_held_out = |run: &&Run| held_out.contains(&run.motion);
    if let Some(summary) = Summary::of(runs.iter().filter(is_held_out)) {
        line(&mut out, "mean", "held out", &summary);
    }
    if let Some(summary) = Summary::of(runs.iter()) {
        line(&mut out, "mean", "all", &summary);
    }
    out
}

/// Every frame of every run as columns, units in their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frames {
    /// Policy, look-ahead mode, motion, behaviour, reason of a reset (empty: none).
    pub words: [Vec<String>; FRAME_WORDS.len()],
    /// One column for each of [`Frames::number_names`].
    pub numbers: Vec<Vec<f64>>,
}

/// Names of [`Frames::words`].
pub const FRAME_WORDS: [&str; 5] = ["policy", "look_ahead", "motion", "behaviour", "reset"];
const FRAME_NUMBERS: [&str; 6] = ["time_s", "since_reset_s", "lag_s", "root_m", "orientation_rad", "joints_rad"];

impl Frames {
    /// Names of [`Frames::numbers`].
    pub fn number_names() -> Vec<String> {
        let parts = PARTS.iter().map(|(part, _)| format!("{part}_m"));
        FRAME_NUMBERS.iter().map(|&name| name.to_owned()).chain(parts).collect()
    }

    /// Rows in all.
    pub fn len(&self) -> usize {
        self.words[0].len()
    }

    /// True where nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn add(&mut self, policy: &str, mode: &str, runs: &[Run]) {
        self.numbers.resize(FRAME_NUMBERS.len() + PARTS.len(), Vec::new());
        for (run, row) in runs.iter().flat_map(|run| run.rows.iter().map(move |row| (run, row))) {
            let reset = row.reset.map_or("", |reason| reason.as_str());
            let words = [policy, mode, &run.motion, run.behaviour, reset];
            for (column, word) in self.words.iter_mut().zip(words) {
                column.push(word.to_owned());
            }
            let numbers = [row.time_s, row.since_reset_s, row.lag_s, row.root_m, row.orientation_rad, row.joints_rad];
            for (column, number) in self.numbers.iter_mut().zip(numbers.into_iter().chain(row.parts_m)) {
                column.push(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imitation::ResetReason;

    fn run(root_m: f64, reset: Option<ResetReason>) -> Run {
        let row = Row {
            time_s: 0.02,
            since_reset_s: 0.02,
            root_m,
            orientation_rad: 0.1,
            joints_rad: 0.1,
            parts_m: [0.01; PARTS.len()],
            lag_s: 0.1,
            reset,
        };
        Run { motion: "m".into(), behaviour: "walk", rows: vec![row; 10], survived_frames: 10 }
    }

    #[test]
    fn summaries_are_means_over_frames_and_falls_are_counted() {
        let runs = [run(0.01, None), run(0.03, Some(ResetReason::Turned))];
        let all = Summary::of(runs.iter()).unwrap();
        assert!((all.root_m - 0.02).abs() < 1e-12 && all.falls == 10 && all.frames == 20);
        assert!(Summary::of(runs[..0].iter()).is_none());
        let table = text("t", &runs, &["m".to_owned()]);
        assert!(table.contains("held out") && table.lines().count() == 7, "{table}");
        let mut frames = Frames::default();
        frames.add("p", "delayed", &runs);
        assert_eq!((frames.len(), Frames::number_names().len()), (20, frames.numbers.len()));
        assert_eq!((frames.words[4][19].as_str(), frames.numbers[3][19]), ("turned over", 0.03));
    }
}
