//! What a verdict says in words: how the virtual rat fared, how many true spikes were found, and who had the processors.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::record::error::RecordError;
use crate::record::manifest::Manifest;
use crate::record::tables;
use crate::telemetry::ProcessorTime;

/// A detected spike is a true one when it lies within this many samples of it (0.5 ms at 30 kHz).
const SAME_SPIKE_SAMPLES: i64 = 15;

/// Resets of the virtual rat by reason, over how many steps.
pub(super) fn resets(folder: &Path, manifest: &Manifest) -> Result<Vec<String>, RecordError> {
    let (mut steps, mut reasons) = (0_u64, BTreeMap::<String, u64>::new());
    tables::scan(folder, manifest, "virtual", &["reset"], |batch| {
        for reason in tables::texts(batch, "reset") {
            steps += 1;
            if !reason.is_empty() {
                *reasons.entry(reason).or_default() += 1;
            }
        }
    })?;
    if steps == 0 {
        return Ok(Vec::new());
    }
    let list: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    Ok(vec![format!("virtual rat  {steps} steps; resets: {list}")])
}

/// Whether the machine had the time that the loop wanted: what to look at when latencies are long.
pub(super) fn processors(_: &Path, manifest: &Manifest) -> Result<Vec<String>, RecordError> {
    let noted = manifest.notes.get("processors").cloned().and_then(|note| serde_json::from_value(note).ok());
    Ok(noted.map(|time: ProcessorTime| told(&time)).into_iter().collect())
}

fn told(time: &ProcessorTime) -> String {
    let all = (time.busy_s + time.idle_s + time.stolen_s).max(f64::MIN_POSITIVE);
    format!(
        "processors   {}, {:.0} % busy; {:.1} s of their time went to other machines of the same host; the loop ran {:.1} s and waited {:.1} s for one",
        time.processors,
        100.0 * time.busy_s / all,
        time.stolen_s,
        time.thread_ran_s,
        time.thread_waited_s
    )
}

/// How long after a block's arrival its spikes were known, array by array.
pub(super) fn detection(_: &Path, manifest: &Manifest) -> Result<Vec<String>, RecordError> {
    let times = |note: &str| -> BTreeMap<String, [f32; 3]> {
        manifest.notes.get(note).cloned().and_then(|note| serde_json::from_value(note).ok()).unwrap_or_default()
    };
    let worked = times("detection_work_ms");
    let mut lines: Vec<String> = times("detection_ms")
        .into_iter()
        .map(|(array, known)| detected(&array, known, worked.get(&array).copied()))
        .collect();
    let spikes = manifest.notes.get("processors_spikes").cloned().and_then(|note| serde_json::from_value(note).ok());
    if let Some(ProcessorTime { thread_ran_s, thread_waited_s, .. }) = spikes.filter(|_| !lines.is_empty()) {
        lines.push(format!(
            "detection    the spike thread ran {thread_ran_s:.1} s and waited {thread_waited_s:.1} s for a processor"
        ));
    }
    Ok(lines)
}

fn detected(array: &str, [p50, p99, most]: [f32; 3], worked: Option<[f32; 3]>) -> String {
    let known = format!("p50 {p50:.2}, p99 {p99:.2}, max {most:.2} ms after their block came");
    let work = worked.map(|[p50, p99, most]| format!("; work on a block p50 {p50:.2}, p99 {p99:.2}, max {most:.2} ms"));
    format!("detection    ephys_{array}: spikes known {known}{}", work.unwrap_or_default())
}

/// Spikes of each tetrode, sorted.
type Trains = HashMap<(i64, i64), Vec<i64>>;

/// Share of a simulated rig's spikes that were detected, by size.
pub(super) fn spikes(folder: &Path, manifest: &Manifest) -> Result<Vec<String>, RecordError> {
    let mut found = Trains::new();
    each_spike(folder, manifest, "spikes", |tetrode, sample, _| found.entry(tetrode).or_default().push(sample))?;
    found.values_mut().for_each(|train| train.sort_unstable());
    let (mut small, mut large) = (Share::default(), Share::default());
    each_spike(folder, manifest, "truth_spikes", |tetrode, sample, peak_uv| {
        let is_found = found.get(&tetrode).is_some_and(|train| has_near(train, sample));
        let share = if peak_uv.abs() < LARGE_UV { &mut small } else { &mut large };
        share.add(is_found);
    })?;
    let detected: usize = found.values().map(Vec::len).sum();
    if small.all + large.all == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "spikes       {detected} detected; found of the true ones: {large} of {LARGE_UV} uV or more, {small} of smaller ones"
    )])
}

/// Five times the noise of the twin's arrays after its median reference (about 10 uV).
const LARGE_UV: f64 = 50.0;

#[derive(Default)]
struct Share {
    found: u64,
    all: u64,
}

impl Share {
    fn add(&mut self, is_found: bool) {
        self.all += 1;
        self.found += u64::from(is_found);
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = 100.0 * self.found as f64 / self.all.max(1) as f64;
        write!(f, "{percent:.1} % ({} of {})", self.found, self.all)
    }
}

fn has_near(train: &[i64], sample: i64) -> bool {
    let from = train.partition_point(|at| *at < sample - SAME_SPIKE_SAMPLES);
    train.get(from).is_some_and(|at| *at <= sample + SAME_SPIKE_SAMPLES)
}

fn each_spike(
    folder: &Path,
    manifest: &Manifest,
    table: &str,
    mut each: impl FnMut((i64, i64), i64, f64),
) -> Result<(), RecordError> {
    tables::scan(folder, manifest, table, &["array", "tetrode", "sample_index", "peak_uv"], |batch| {
        let [arrays, tetrodes, samples] =
            ["array", "tetrode", "sample_index"].map(|column| tables::integers(batch, column));
        let peaks_uv = tables::floats(batch, "peak_uv");
        for (((array, tetrode), sample), peak_uv) in arrays.into_iter().zip(tetrodes).zip(samples).zip(peaks_uv) {
            if let (Some(array), Some(tetrode), Some(sample)) = (array, tetrode, sample) {
                each((array, tetrode), sample, peak_uv);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_told_with_their_share() {
        let time = ProcessorTime {
            processors: 2,
            busy_s: 48.0,
            idle_s: 11.0,
            stolen_s: 1.0,
            thread_ran_s: 20.04,
            thread_waited_s: 0.3,
        };
        assert!(told(&time).starts_with("processors   2, 80 % busy; 1.0 s of their time"), "{}", told(&time));
        assert!(told(&time).ends_with("the loop ran 20.0 s and waited 0.3 s for one"), "{}", told(&time));
    }

    #[test]
    fn work_is_told_apart_from_waiting() {
        let alone = detected("A", [0.3, 8.0, 21.5], None);
        assert_eq!(alone, "detection    ephys_A: spikes known p50 0.30, p99 8.00, max 21.50 ms after their block came");
        let both = detected("A", [0.3, 8.0, 21.5], Some([0.2, 0.4, 1.0]));
        assert_eq!(both, alone + "; work on a block p50 0.20, p99 0.40, max 1.00 ms");
    }

    #[test]
    fn near_means_within_half_a_millisecond() {
        let train = [100, 200, 300];
        assert!(has_near(&train, 215) && has_near(&train, 85));
        assert!(!has_near(&train, 216) && !has_near(&train, 84) && !has_near(&[], 0));
    }
}
