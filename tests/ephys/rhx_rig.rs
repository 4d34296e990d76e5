//! The daemon on a whole rig whose arrays are two RHX: the protocol's emulator at both ends of a real socket, the twin's cameras
//! and board, panel, supervisor, recorder.
//!
//! The emulators sit outside the twin, but are wired to its board: their samples are taken in real time by crystals of their own,
//! and the digital input shows the board's trigger line at those instants. What they make is a function of channel and
//! timestamp, so the dataset is held against it sample by sample.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command as Program;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mimicd::config::Config;
use mimicd::panel::{Client, Desk, Library, Panel};
use mimicd::pipeline::{Command, RigHost, StartRequest};
use mimicd::record::{Manifest, tables, verify};
use mimicd::supervisor::{Shutdown, Supervisor, SupervisorOptions, watchdog::Pulse};
use mimicd_device::CameraIndex;
use mimicd_sim::TruthLog;
use serde_json::Value;

#[allow(dead_code, reason = "the emulator does more than this test asks of it")]
#[path = "../../drivers/hw/tests/rhx_emulator/mod.rs"]
mod rhx_emulator;

use rhx_emulator::{Behaviour, Crystal, Emulator, Fault, Lines};

const CHANNELS: usize = 128;
/// The trigger's pulse, as the config has it.
const PULSE_NS: i64 = 1_000_000;
/// A sample of the array.
const SAMPLE_NS: f64 = 33_333.0;

/// A spike at 30 kHz, in bits of 0.195 uV: 230 uV at its largest.
const SPIKE: [i16; 24] = [
    -20, -80, -220, -480, -840, -1_120, -1_180, -980, -620, -240, 60, 250, 350, 380, 360, 310, 250, 190, 140, 100, 65,
    40, 20, 10,
];
/// Where its peak is.
const PEAK: u32 = 6;
/// Each tetrode fires this often, in samples, at a place of its own.
const EVERY: u32 = 3_001;

/// Noise of 14 uV and a unit on each tetrode.
fn signal(channel: usize, timestamp: u32) -> i16 {
    let mixed = (timestamp ^ (channel as u32).wrapping_mul(0x9E37_79B1)).wrapping_mul(0x85EB_CA6B);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2C1B_3C6D);
    let noise = (mixed >> 24) as i16 - 128;
    let tetrode = channel as u32 / 4;
    match SPIKE.get(((timestamp + tetrode * 97) % EVERY) as usize) {
        Some(spike) => noise + spike / (1 + channel as i16 % 4),
        None => noise,
    }
}

/// The board's trigger line on bit 0, as soon as there is a twin.
fn trigger_line(truth: &Arc<OnceLock<TruthLog>>) -> Lines {
    let truth = Arc::clone(truth);
    // The oldest pulse that may still matter: its train and its index.
    let oldest = Mutex::new((0_usize, 0_u64));
    Arc::new(move |from_ns, to_ns| {
        let Some(truth) = truth.get() else { return Vec::new() };
        let mut oldest = oldest.lock().expect("nobody panicked");
        let (mut train, mut index) = *oldest;
        let mut pulses = Vec::new();
        loop {
            match truth.trigger(train, index, CameraIndex(0)).map(|trigger| trigger.rise.nanos()) {
                Some(rise_ns) if rise_ns >= to_ns => return pulses,
                Some(rise_ns) => {
                    index += 1;
                    if rise_ns + PULSE_NS <= from_ns {
                        *oldest = (train, index);
                    } else {
                        pulses.push((rise_ns, rise_ns + PULSE_NS, 1));
                    }
                }
                None if truth.trigger(train + 1, 0, CameraIndex(0)).is_some() => (train, index) = (train + 1, 0),
                None => return pulses,
            }
        }
    })
}

fn emulator(version: &'static str, ppm: f64, truth: &Arc<OnceLock<TruthLog>>) -> Emulator {
    Emulator::start(Behaviour {
        version,
        channels_per_port: vec![32; 4],
        blocks: u64::MAX,
        // RHX reads its USB in bursts of eight blocks.
        merged: 8,
        signal,
        crystal: Some(Crystal { rate_hz: 30_000.0 * (1.0 + ppm * 1e-6), lines: trigger_line(truth) }),
        command_back: Some(Duration::from_millis(2_500)),
        away: Duration::from_millis(1_800),
        ..Behaviour::default()
    })
}

/// Two cameras of the twin with pictures that cost little, and both arrays.
fn config(home: &Path, ports: [u16; 2]) -> Config {
    let above = env!("CARGO_MANIFEST_DIR");
    let camera =
        |n: u32| format!("[[camera]]\nname = \"cam{n}\"\nbackend = \"twin\"\nwidth_px = 640\nheight_px = 400\n");
    let array = |name: &str, port: u16| {
        format!(
            "[[array]]\nname = \"{name}\"\nbackend = \"rhx\"\ndevice = \"127.0.0.1:{port}/ABCD\"\nchannels = {CHANNELS}\ntrigger_bit = 0\n"
        )
    };
    let text = format!(
        r#"
[rig]
name = "rhx"
real_time = false
calibration = "{above}/configs/twin-calibration.toml"
[board]
backend = "twin"
stretch_every = 40
{}{}{}{}
[pose]
model = "{above}/models/pose-twin/pose-twin.toml"
[body]
mjcf = "{above}/.deps/rat/rodent.xml"
subject = "{above}/configs/subjects/twin.toml"
[imitation]
policy = "{above}/models/policy-servo/policy.toml"
assist_weights = 1.0
[record]
folder = "{}"
video = "none"
lane_kib = 16384
disk_margin_bytes = 0
refuse_below_minutes = 0
[panel]
ip_port = "127.0.0.1:0"
[twin]
scene = "pattern"
"#,
        camera(1),
        camera(2),
        array("A", ports[0]),
        array("B", ports[1]),
        home.display()
    );
    Config::parse(&text, &home.join("rhx.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What `mimicd run` is made of, in this process, so that the emulators can be wired to the twin's board.
struct Daemon {
    client: Client,
    shutdown: Shutdown,
    supervisor: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start(config: Config, truth: &Arc<OnceLock<TruthLog>>) -> Self {
        let (panel_config, library) = (config.panel.clone(), Library::new(config.record.folder.clone()));
        let rig_name = config.rig.name.clone();
        let mut rig = RigHost::new(config).unwrap_or_else(|error| panic!("{error}"));
        let slot = Arc::clone(truth);
        rig.on_truth(move |truth| assert!(slot.set(truth.clone()).is_ok(), "armed once"));
        let view = rig.view();
        let (desk, orders) = Desk::new();
        let panel = Panel::open(&panel_config, view.clone(), Arc::clone(&desk), library).expect("a panel");
        let client = Client::new(panel.address(), None);
        let shutdown = Shutdown::default();
        let until = shutdown.clone();
        let options = SupervisorOptions { rig_name, state_folder: None };
        let run = move || {
            Supervisor::new(Box::new(rig), view, desk, orders, options, Arc::new(Pulse::default())).run(&until);
            drop(panel);
        };
        let supervisor = std::thread::Builder::new().name("supervisor".to_owned()).spawn(run).expect("a thread");
        Self { client, shutdown, supervisor: Some(supervisor) }
    }

    fn order(&self, command: &Command) -> Value {
        let (status, body) = self.client.command(command).expect("an answer");
        assert_eq!(status, 200, "{}: {body:#}", command.word());
        body
    }

    /// Lines of the event log, oldest first.
    fn events(&self) -> Vec<String> {
        let (_, events) = self.client.events().expect("an event log");
        let line = |line: &Value| Some(format!("{}: {}", line["source"].as_str()?, line["text"].as_str()?));
        events.as_array().into_iter().flatten().filter_map(line).collect()
    }

    /// Waits for a line that begins with `start` after the first `before` lines; gives how many there are then.
    fn wait_for(&self, before: usize, start: &str) -> usize {
        let began = Instant::now();
        loop {
            let events = self.events();
            if let Some(place) = events.iter().skip(before).position(|line| line.starts_with(start)) {
                return before + place + 1;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "no line {start:?} after {before} of {events:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.shutdown.request();
        if let Some(supervisor) = self.supervisor.take() {
            assert!(supervisor.join().is_ok() || std::thread::panicking(), "the supervisor panicked");
        }
    }
}

fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Everything that the emulator can do, one thing after the other, each as it is told of.
fn misbehave(daemon: &Daemon, a: &Emulator, b: &Emulator) {
    a.inject(|block| Fault::Jump { block, samples: 777 });
    daemon.wait_for(0, "array.A: 777 samples are missing before sample");
    pause(1_200);
    a.inject(|block| Fault::JumpInside { block, samples: 33 });
    daemon.wait_for(0, "array.A: 33 samples are missing before sample");
    // A pause that RHX makes up for costs nothing.
    a.inject(|block| Fault::Stall { block, millis: 400 });
    b.inject(|block| Fault::CommandLoss { block });
    daemon.wait_for(0, "array.B: has lost its command connection and delivers on; click Connect");
    daemon.wait_for(0, "rig: degraded: array B has lost its command connection");
    daemon.wait_for(0, "array.B: all is well again");
    daemon.wait_for(0, "rig: no longer degraded: array B has lost its command connection");
    let before = daemon.events().len();
    a.inject(|block| Fault::Disconnect { block, lost_blocks: 0 });
    let seen = daemon.wait_for(before, "array.A: lost: RHX at 127.0.0.1");
    daemon.wait_for(before, "rig: degraded: array A does not deliver");
    daemon.wait_for(seen, "array.A: is back");
    b.inject(|block| Fault::Toggle { block });
    let seen = daemon.wait_for(before, "array.B: lost: RHX at 127.0.0.1");
    let back = daemon.wait_for(seen, "array.B: is back");
    pause(1_000);
    // Longer than RHX may be silent.
    b.inject(|block| Fault::Stall { block, millis: 5_000 });
    let seen = daemon.wait_for(back, "array.B: lost: RHX at 127.0.0.1");
    daemon.wait_for(seen, "array.B: is back");
    pause(5_000);
}

/// A gap of an array as the manifest declares it: first sample, count, cause.
type Declared = (i64, i64, String);

fn gaps_of(manifest: &Manifest, array: &str) -> Vec<Declared> {
    let stream = format!("ephys_{array}");
    let own = manifest.gaps.iter().filter(|gap| gap.stream == stream);
    own.map(|gap| (gap.first.expect("a place"), gap.count.expect("a length"), gap.cause.clone())).collect()
}

/// Samples of the recorded part of an array that do not come: first index and count.
fn lost_while_recording(emulator: &Emulator, span: (i64, i64)) -> Vec<(i64, i64)> {
    let lost = emulator.lost().into_iter().map(|(first, count)| (i64::from(first), i64::from(count)));
    lost.filter(|(first, _)| (span.0..span.1).contains(first)).collect()
}

/// Compares every sample, its digital word and its time; gives the first index, one past the last, and the largest error of a
/// time in nanoseconds.
fn compare_samples(
    folder: &Path,
    manifest: &Manifest,
    (array, emulator): (&str, &Emulator),
    truth: &TruthLog,
) -> (i64, i64, f64) {
    let columns: Vec<String> = (0..CHANNELS).map(|channel| format!("ch{channel:03}")).collect();
    let mut wanted: Vec<&str> = columns.iter().map(String::as_str).collect();
    wanted.extend(["sample_index", "t_ns", "digital"]);
    let from = manifest.notes["trigger_from"].as_u64().expect("a trigger");
    let zero = truth.trigger(1, from, CameraIndex(0)).expect("a trigger").rise;
    let line = trigger_line(&Arc::new(OnceLock::from(truth.clone())));
    let rig_ns = |sample: i64| {
        let at = mimicd_device::HostTime::from_nanos(emulator.taken_ns(sample as u32));
        (truth.board_at(at) - truth.board_at(zero)).nanos()
    };
    let (mut first, mut end, mut error_ns) = (None, 0, 0.0_f64);
    tables::scan(folder, manifest, &format!("ephys_{array}"), &wanted, |batch| {
        let whole = |name| tables::integers(batch, name).into_iter().map(|value| value.expect("a value"));
        let indices: Vec<i64> = whole("sample_index").collect();
        first.get_or_insert(indices[0]);
        end = indices[indices.len() - 1] + 1;
        for (index, t_ns) in indices.iter().zip(whole("t_ns")).step_by(64) {
            error_ns = error_ns.max((t_ns - rig_ns(*index)).abs() as f64);
        }
        let pulses = line(emulator.taken_ns(indices[0] as u32), emulator.taken_ns(end as u32));
        for (index, word) in indices.iter().zip(whole("digital")) {
            let at_ns = emulator.taken_ns(*index as u32);
            let high = pulses.iter().any(|(rise, fall, _)| (*rise..*fall).contains(&at_ns));
            assert_eq!(word, i64::from(high), "digital word of {array} at {index}");
        }
        for (channel, name) in columns.iter().enumerate() {
            for (value, index) in whole(name).zip(&indices) {
                let made = signal(channel, *index as u32);
                assert_eq!(value, i64::from(made), "array {array}, channel {channel} at {index}");
            }
        }
    })
    .expect("readable");
    (first.expect("samples"), end, error_ns)
}

/// Share of the spikes that were made and recorded with the 2 ms around them that were found within half a millisecond.
fn found_spikes(folder: &Path, manifest: &Manifest, place: i64, span: (i64, i64), gaps: &[Declared]) -> (usize, usize) {
    let mut found: HashMap<i64, Vec<i64>> = HashMap::new();
    tables::scan(folder, manifest, "spikes", &["array", "tetrode", "sample_index"], |batch| {
        let [arrays, tetrodes, samples] =
            ["array", "tetrode", "sample_index"].map(|column| tables::integers(batch, column));
        for ((array, tetrode), sample) in arrays.into_iter().zip(tetrodes).zip(samples) {
            if array == Some(place) {
                found.entry(tetrode.expect("a tetrode")).or_default().push(sample.expect("a sample"));
            }
        }
    })
    .expect("readable");
    let is_whole = |at: i64| {
        // The filter needs a moment after a gap.
        let beside = |from: i64, to: i64| at + 60 < from || at - 3_000 > to;
        beside(i64::MIN + 100, span.0) && at + 60 < span.1 && gaps.iter().all(|gap| beside(gap.0, gap.0 + gap.1))
    };
    let (mut right, mut all) = (0, 0);
    for tetrode in 0..CHANNELS as i64 / 4 {
        let every = i64::from(EVERY);
        let first = (span.0 + tetrode * 97) / every * every - tetrode * 97 + i64::from(PEAK);
        for at in (0..).map(|turn| first + turn * every).take_while(|at| *at < span.1).filter(|at| is_whole(*at)) {
            all += 1;
            right += usize::from(found.get(&tetrode).is_some_and(|train| train.iter().any(|s| (s - at).abs() <= 15)));
        }
    }
    (right, all)
}

fn judge(folder: &Path, emulators: [&Emulator; 2], truth: &TruthLog) {
    let verdict = verify(folder).expect("a dataset");
    println!("{verdict}");
    assert!(verdict.ok(), "{verdict}");
    let manifest = Manifest::open(folder).expect("a manifest");
    for (place, (array, emulator)) in ["A", "B"].into_iter().zip(emulators).enumerate() {
        let (first, end, error_ns) = compare_samples(folder, &manifest, (array, emulator), truth);
        let declared = gaps_of(&manifest, array);
        let lost = lost_while_recording(emulator, (first, end));
        let (right, all) = found_spikes(folder, &manifest, place as i64, (first, end), &declared);
        println!(
            "array {array}: samples {first} to {end} as made, lost {lost:?}, declared {declared:?}; times within {:.1} us of the truth; {right} of {all} spikes found",
            error_ns * 1e-3
        );
        let causes: Vec<&str> = declared.iter().map(|gap| gap.2.as_str()).collect();
        let begins = |gaps: &[(i64, i64)]| gaps.iter().map(|gap| gap.0).collect::<Vec<_>>();
        let plain: Vec<(i64, i64)> = declared.iter().map(|gap| (gap.0, gap.1)).collect();
        if array == "A" {
            assert_eq!(causes, ["device", "device", "reopened"], "{declared:?}");
            assert_eq!(plain, lost, "each loss of {array} to the sample");
        } else {
            assert_eq!(causes, ["reopened", "reopened"], "{declared:?}");
            // Lost from the first block of other channels on, and again after the silence; what was sent to a socket that
            // nobody reads any more is lost too, so where those gaps end is not the emulator's to say.
            assert_eq!(begins(&plain)[0], begins(&lost)[0], "{declared:?} {lost:?}");
        }
        assert!(error_ns < SAMPLE_NS, "times of {array} are {error_ns} ns off");
        assert!(right as f64 > 0.98 * all as f64 && all > 1_000, "{right} of {all} spikes of {array} found");
    }
    let rows = |table: &str| manifest.tables.get(table).map_or(0, |table| table.rows);
    assert!(rows("truth_frames") > 0, "the cameras are the twin's");
    assert_eq!(rows("truth_samples") + rows("truth_spikes"), 0, "nothing is told as true of an array that is not");
}

#[test]
fn a_rig_with_two_rhx_records_every_sample_or_declares_it_missing() {
    if !crate::set_up::is_set_up() {
        return;
    }
    let load = || std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned();
    println!("load of the machine at the beginning: {}", load());
    let home = tempfile::tempdir().expect("a folder");
    let truth = Arc::new(OnceLock::new());
    let (a, b) = (emulator("3.4.0", 37.0, &truth), emulator("3.5.0", -52.0, &truth));
    let daemon = Daemon::start(config(home.path(), [a.command_port, b.command_port]), &truth);
    daemon.order(&Command::Arm);
    let request = StartRequest { subject: "rat".to_owned(), ..StartRequest::default() };
    let started = daemon.order(&Command::Start(request));
    let name = started["recording"].as_str().unwrap_or_else(|| panic!("{started:#}")).to_owned();
    pause(2_000);
    misbehave(&daemon, &a, &b);
    daemon.order(&Command::Stop);
    println!("load of the machine at the end: {}\n{}", load(), daemon.events().join("\n"));
    drop(daemon);
    let folder = home.path().join(name);
    judge(&folder, [&a, &b], truth.get().expect("there was a twin"));
    let done = Program::new(env!("CARGO_BIN_EXE_mimicd")).arg("verify").arg(&folder).output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

#[test]
fn the_preset_of_a_rig_with_rhx_passes_the_check() {
    if !crate::set_up::is_set_up() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/rig-rhx.toml");
    let done = Program::new(env!("CARGO_BIN_EXE_mimicd")).arg("check").arg(&path).output().expect("it runs");
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && text.contains("6 cameras, 2 arrays"), "{text}");
}
