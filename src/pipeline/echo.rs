//! Latency by echo, stamped in board time.
//!
//! - *Board echo*: the board says an instant of its own; the host answers at once; the board stamps the answer. Both stamps
//!   are the board's, so no clock map is in the result: link there, driver, link back.
//! - *Loop echo*: an output lights a lamp in a camera's view; exposure, frame, pose and rule answer with another output.
//!   Both edges are the board's own record of what its pins did.

use std::path::Path;
use std::time::{Duration, Instant};

use mimicd_device::{BoardCommand, BoardEvent, BoardTime, DeviceError, HostTime, Span, SyncBoard};

use crate::clock::host_now;
use crate::record::{Manifest, RecordError, tables};

/// An answer that takes longer is no answer.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// What an echo measurement found.
#[derive(Clone, Debug, Default)]
pub struct Echoes {
    /// Latencies, in the order of events.
    pub latencies: Vec<Span>,
    /// Events without an answer.
    pub missed: usize,
}

impl Echoes {
    /// The latency that `share` of the events do not exceed; `None` without events.
    pub fn quantile(&self, share: f64) -> Option<Span> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get(((share * sorted.len() as f64).ceil() as usize).clamp(1, last + 1) - 1).copied()
    }

    /// `p50 …, p90 …, p99 …, p99.9 …, max …` in milliseconds, with N and what was missed.
    pub fn line(&self) -> String {
        let ms = |share: f64| self.quantile(share).map_or(f64::NAN, Span::millis_f64);
        format!(
            "N {}, missed {}: p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms",
            self.latencies.len(),
            self.missed,
            ms(0.5),
            ms(0.9),
            ms(0.99),
            ms(0.999),
            ms(1.0)
        )
    }
}

/// Runs `events` board echoes on a board that nobody else uses; `each` hears of every one.
///
/// # Errors
/// The board's.
pub fn board_echo(board: &mut dyn SyncBoard, events: usize, mut each: impl FnMut()) -> Result<Echoes, DeviceError> {
    let mut echoes = Echoes::default();
    let mut phase = 0_u64;
    for _ in 0..events {
        // Spread over the link's own rhythm: USB polls once a millisecond.
        phase = (phase + 618_034) % 1_000_000;
        std::thread::sleep(Duration::from_nanos(500_000 + phase));
        match one_echo(board)? {
            Some(latency) => echoes.latencies.push(latency),
            None => echoes.missed += 1,
        }
        each();
    }
    Ok(echoes)
}

fn one_echo(board: &mut dyn SyncBoard) -> Result<Option<Span>, DeviceError> {
    let begun = Instant::now();
    let asked = board.send(host_now(), BoardCommand::Echo { at: None })?;
    let mut said: Option<(BoardTime, mimicd_device::CommandId)> = None;
    while begun.elapsed() < ANSWER_MAX {
        while let Some((_, event)) = board.poll(host_now())? {
            match event {
                BoardEvent::Echo { id, at } if id == asked => {
                    said = Some((at, board.send(host_now(), BoardCommand::Ping)?));
                }
                BoardEvent::Pong { id, at, .. } => {
                    if let Some((from, _)) = said.filter(|said| said.1 == id) {
                        return Ok(Some(at - from));
                    }
                }
                _ => {}
            }
        }
        let until: HostTime = host_now() + Span::from_millis(20);
        board.wait(until);
    }
    Ok(None)
}

/// What a recording tells of a loop echo.
#[derive(Clone, Debug, Default)]
pub struct LoopEchoes {
    /// Light on to answering edge: what an experiment sees, waiting for the next exposure included.
    pub light_to_edge: Echoes,
    /// Middle of the exposure that saw it to answering edge: what the loop takes.
    pub exposure_to_edge: Echoes,
}

/// Reads the loop echoes of a recording: `light` is the output that lit the lamp, `answer` the one that answered by the rule
/// `rule`.
///
/// # Errors
/// When the dataset does not read.
pub fn loop_echoes(dataset: &Path, light: u8, answer: u8, rule: &str) -> Result<LoopEchoes, RecordError> {
    let manifest = Manifest::open(dataset)?;
    let (mut lights, mut answers, mut exposures) = (Vec::new(), Vec::new(), Vec::new());
    tables::scan(dataset, &manifest, "events", &["t_ns", "kind", "index", "level"], |batch| {
        let [times, indices, levels] = ["t_ns", "index", "level"].map(|column| tables::integers(batch, column));
        for (((time, kind), index), level) in
            times.into_iter().zip(tables::texts(batch, "kind")).zip(indices).zip(levels)
        {
            let (Some(time), Some(index), Some(1)) = (time, index, level) else { continue };
            if kind == "output" && index == i64::from(light) {
                lights.push(time);
            } else if kind == "output" && index == i64::from(answer) {
                answers.push(time);
            }
        }
    })?;
    tables::scan(dataset, &manifest, "rules", &["t_ns", "rule", "decision"], |batch| {
        let decisions = tables::texts(batch, "rule").into_iter().zip(tables::texts(batch, "decision"));
        for (time, (name, decision)) in tables::integers(batch, "t_ns").into_iter().zip(decisions) {
            exposures.extend(time.filter(|_| name == rule && decision == "fired"));
        }
    })?;
    for times in [&mut lights, &mut answers, &mut exposures] {
        times.sort_unstable();
    }
    Ok(LoopEchoes { light_to_edge: paired(&lights, &answers), exposure_to_edge: paired(&exposures, &answers) })
}

/// Each cause with the first effect after it and before the next cause. The last cause may lack its effect because the
/// recording ended; it does not count.
fn paired(causes: &[i64], effects: &[i64]) -> Echoes {
    let mut echoes = Echoes::default();
    for pair in causes.windows(2) {
        let first = effects.partition_point(|effect| *effect < pair[0]);
        match effects.get(first).filter(|effect| **effect < pair[1]) {
            Some(effect) => echoes.latencies.push(Span::from_nanos(effect - pair[0])),
            None => echoes.missed += 1,
        }
    }
    echoes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_paired_with_their_own_effects() {
        let echoes = paired(&[100, 200, 300, 400], &[50, 130, 260, 410]);
        assert_eq!(echoes.latencies, [Span::from_nanos(30), Span::from_nanos(60)]);
        assert_eq!(echoes.missed, 1, "300 had none before 400");
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_list() {
        let echoes = Echoes { latencies: (1..=1_000).rev().map(Span::from_micros).collect(), missed: 0 };
        let micros = |share| echoes.quantile(share).map(|span| span.nanos() / 1_000);
        assert_eq!(
            [micros(0.5), micros(0.99), micros(0.999), micros(1.0)],
            [Some(500), Some(990), Some(999), Some(1_000)]
        );
        assert_eq!(Echoes::default().quantile(0.5), None);
    }
}
