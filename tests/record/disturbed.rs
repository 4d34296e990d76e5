//! The loop while the recorder suffers: a disk that fails, a disk at half the rate, encoders that are killed.
//!
//! One recording of the real daemon on the twin. Each disturbance comes several times, and each time the same length of calm
//! before it is its pair: both were on the same machine within seconds. At the end the disk fails for good: the recording ends by
//! itself, is sealed once the disk is back, and everything adds up.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mimicd::panel::Client;
use mimicd::record::{Manifest, tables, verify};

use super::running::{Daemon, config, wait};
use super::twin::{has_ffmpeg, own};

/// A frame is lost on purpose at this universe time, so that universe time is found in the recording.
const MARKER_S: f64 = 20.0;
/// What the daemon writes a second, halved: 15.4 MB of journal, 9.5 MB of sealed samples, and rows.
const HALF_RATE: u64 = 13_000_000;
/// The disk that fails for good, and for how long.
const END_S: f64 = 245.0;
const END_FOR_S: f64 = 6.0;

/// One kind of disturbance: its name, when it begins, for how long it lasts.
struct Kind {
    name: &'static str,
    begins_s: Vec<f64>,
    for_s: f64,
}

/// In universe seconds.
fn plan() -> [Kind; 3] {
    let every = |count: u32, from: f64, step: f64| (0..count).map(|k| from + step * f64::from(k)).collect();
    [
        Kind { name: "input/output errors for 1.5 s", begins_s: every(10, 25.0, 6.0), for_s: 1.5 },
        Kind { name: "disk at half the rate for 10 s", begins_s: every(3, 100.0, 30.0), for_s: 10.0 },
        Kind { name: "an encoder killed, 3 s", begins_s: every(10, 178.0, 6.0), for_s: 3.0 },
    ]
}

fn script([eio, slow, _]: &[Kind; 3]) -> String {
    let mut text = format!("[[twin.fault]]\nkind = \"frame_dropped\"\ncamera = 0\nat_s = {MARKER_S}\n");
    for at_s in &eio.begins_s {
        text += &format!("[[twin.fault]]\nkind = \"disk_failing\"\nat_s = {at_s:.1}\nfor_s = {:.1}\n", eio.for_s);
    }
    for at_s in &slow.begins_s {
        text += &format!(
            "[[twin.fault]]\nkind = \"disk_slow\"\nat_s = {at_s:.1}\nfor_s = {:.1}\nbytes_per_s = {HALF_RATE}\n",
            slow.for_s
        );
    }
    text + &format!("[[twin.fault]]\nkind = \"disk_failing\"\nat_s = {END_S:.1}\nfor_s = {END_FOR_S:.1}\n")
}

/// Kills one encoder of the daemon.
fn kill_an_encoder(daemon: &Daemon) {
    let parent = daemon.child.id().to_string();
    let is_encoder = |stat: &str| {
        let (name, rest) = stat.split_once(") ").unwrap_or_default();
        name.ends_with("(ffmpeg") && rest.split(' ').nth(1) == Some(&parent)
    };
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let encoder = processes
        .filter(|entry| fs::read_to_string(entry.path().join("stat")).is_ok_and(|stat| is_encoder(&stat)))
        .find_map(|entry| entry.file_name().into_string().ok())
        .expect("an encoder runs");
    let killed = std::process::Command::new("kill").args(["-KILL", &encoder]).status().expect("kill is there");
    assert!(killed.success());
}

/// Times in the recording and both latencies in ms: mid-exposure to action, arrival to action.
fn latencies(folder: &Path, manifest: &Manifest) -> Vec<(i64, [f64; 2])> {
    let mut rows = Vec::new();
    tables::scan(folder, manifest, "latency", &["t_ns", "arrival_us", "action_us"], |batch| {
        let (arrival, action) = (tables::floats(batch, "arrival_us"), tables::floats(batch, "action_us"));
        let times = tables::integers(batch, "t_ns");
        for ((t_ns, arrival), action) in times.into_iter().zip(arrival).zip(action) {
            if let (Some(t_ns), true) = (t_ns, action.is_finite() && arrival.is_finite()) {
                rows.push((t_ns, [action * 1e-3, (action - arrival) * 1e-3]));
            }
        }
    })
    .expect("the latency table reads");
    rows
}

fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Prints pairs and pools of one disturbance; returns the pooled ratio of p50 and the median ratio of p99 of the loop.
fn compare(kind: &Kind, begins_ns: &[i64], rows: &[(i64, [f64; 2])]) -> (f64, f64) {
    let length = (kind.for_s * 1e9) as i64;
    let within = |from: i64, which: usize| -> Vec<f64> {
        rows.iter().filter(|(t, _)| (from..from + length).contains(t)).map(|(_, values)| values[which]).collect()
    };
    let mut found = (f64::NAN, f64::NAN);
    for (which, name) in ["mid-exposure -> action", "arrival -> action"].into_iter().enumerate() {
        let (mut calm, mut troubled, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for &begin in begins_ns {
            let (before, during) = (within(begin - length, which), within(begin, which));
            ratios.push(quantile(during.clone(), 0.99) / quantile(before.clone(), 0.99));
            calm.extend(before);
            troubled.extend(during);
        }
        let at = |values: &[f64], share| quantile(values.to_vec(), share);
        let line = |values: &[f64]| {
            format!("p50 {:.2} p99 {:.2} p99.9 {:.2} ms", at(values, 0.5), at(values, 0.99), at(values, 0.999))
        };
        let (p50, p99) = (at(&troubled, 0.5) / at(&calm, 0.5), quantile(ratios.clone(), 0.5));
        println!(
            "{}, {} pairs, {name}: calm {} ({} ticks), disturbed {} ({} ticks); p50 x {p50:.3}, median of the pairs' p99 x {p99:.3}",
            kind.name,
            ratios.len(),
            line(&calm),
            calm.len(),
            line(&troubled),
            troubled.len()
        );
        found = (p50, p99);
    }
    found
}

#[test]
fn the_loop_does_not_feel_the_recorders_trouble() {
    if std::env::var_os("MIMICD_LONG").is_none() {
        println!("skipped: takes five minutes; set MIMICD_LONG=1");
        return;
    }
    if own(".deps/rat/rodent.xml").is_none() || !has_ffmpeg() {
        println!("skipped: no body model or no ffmpeg; run `cargo xtask setup`");
        return;
    }
    let load = || fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned();
    println!("load of the machine at the beginning: {}", load());
    let kinds = plan();
    let home = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&config(home.path(), &script(&kinds), "disk_margin_bytes = 0"), 1);
    let client = Client::new(daemon.address.parse().expect("an address"), None);
    let universe = Instant::now();
    let started = daemon.ctl(&["start", "--subject", "rat"]);
    assert_eq!(started["accepted"], true, "{started:#}");
    let name = started["recording"].as_str().expect("a name").to_owned();
    for at_s in &kinds[2].begins_s {
        std::thread::sleep(Duration::from_secs_f64(*at_s).saturating_sub(universe.elapsed()));
        daemon.ctl(&["mark", "an encoder dies"]);
        kill_an_encoder(&daemon);
    }
    assert_eq!(daemon.state(), "recording", "hiccups did not end it");
    wait(120, || (daemon.state() == "armed").then_some(()));
    let (_, events) = client.events().expect("the event log");
    let texts: Vec<_> = events.as_array().into_iter().flatten().filter_map(|line| line["text"].as_str()).collect();
    drop(daemon);
    println!("load of the machine at the end: {}", load());

    let folder = home.path().join("recordings").join(name);
    let verdict = verify(&folder).expect("verifies");
    println!("{verdict}");
    assert!(verdict.ok(), "nothing is lost undeclared: {verdict}");
    let named = [
        "degraded: the disk answers with input/output errors",
        "degraded: the disk does not keep up",
        "degraded: the encoder of camera",
        "stopping the recording: the disk has answered with input/output errors",
    ];
    for cause in named {
        assert!(texts.iter().any(|text| text.starts_with(cause)), "{cause:?} is not in the event log: {texts:#?}");
    }
    let manifest = Manifest::open(&folder).expect("a manifest");
    let of =
        |cause: &str| manifest.gaps.iter().filter(|gap| gap.cause == cause).filter_map(|gap| gap.count).sum::<i64>();
    println!(
        "declared: {} rows, frames and samples for the disk, {} frames of video for dead encoders, {} for full queues",
        of("disk_failing") + of("lane_full"),
        of("encoder_died"),
        of("video_queue_full")
    );
    assert!(
        of("encoder_died") + of("video_queue_full") > 0,
        "killed encoders cost frames of video: {:?}",
        manifest.gaps
    );

    let lost = |gap: &&mimicd::record::GapEntry| gap.stream == "frames/cam1" && gap.count == Some(1);
    let zero_ns = manifest.gaps.iter().find(lost).expect("the marker frame").t_ns - (MARKER_S * 1e9) as i64;
    let rows = latencies(&folder, &manifest);
    let mut deaths = Vec::new();
    tables::scan(&folder, &manifest, "events", &["t_ns", "text"], |batch| {
        let texts = tables::texts(batch, "text").into_iter().zip(tables::integers(batch, "t_ns"));
        deaths.extend(texts.filter(|(text, _)| text == "an encoder dies").filter_map(|(_, t_ns)| t_ns));
    })
    .expect("the events read");
    assert_eq!(deaths.len(), kinds[2].begins_s.len());
    for (place, kind) in kinds.iter().enumerate() {
        let scripted: Vec<i64> = kind.begins_s.iter().map(|at_s| zero_ns + (at_s * 1e9) as i64).collect();
        let (p50, p99) = compare(kind, if place == 2 { &deaths } else { &scripted }, &rows);
        // Wide enough for a machine with other work, far below what waiting for a disk or an encoder would cost.
        assert!(p50 < 1.2 && p99 < 1.6, "{}: p50 x {p50:.3}, p99 x {p99:.3}", kind.name);
    }
}
