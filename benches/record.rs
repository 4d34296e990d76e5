//! What recording costs: 256 channels at 30 kHz and the tables of six cameras, through lanes, journal and sealed Parquet.
//!
//! `cargo bench --bench record`: processor time of the recorder's threads at real rate, writing and reading speed beside
//! pyarrow's with the same layout in the same run. `-- --hours 1` adds an hour of data as fast as it goes, with the memory
//! watched (sealed parts are removed as they come, so that the disk is not what is measured).
#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mimicd::config::{RecordConfig, VideoCodec};
use mimicd::pipeline::{TableShapes, schemas};
use mimicd::record::{
    ArrayInfo, BlockStamp, CameraInfo, FrameStamp, Manifest, RecordLane, Recorder, RecordingInfo, RowWriter,
    ScalarKind, TableId, TableSchema, tables,
};
use mimicd_device::{
    ArrayIndex, CameraIndex, Frame, FrameGeometry, Integrity, PixelFormat, RigTime, SampleBlock, SampleIndex, Span,
};

const CHANNELS: usize = 128;
const ARRAYS: usize = 2;
const CAMERAS: usize = 6;
const RATE_HZ: f64 = 30_000.0;
/// Samples of a block: 10 ms.
const BLOCK: usize = 300;
const PERIOD_NS: i64 = 20_000_000;
const STEP_NS: i64 = 10_000_000;
/// Raw bytes of a second of samples.
const RAW_PER_SECOND: f64 = RATE_HZ * 2.0 * (CHANNELS * ARRAYS) as f64;
/// Journal that may wait while data comes faster than it would on a rig.
const JOURNAL_MAX: u64 = 400_000_000;
/// Unit of the processor times in `/proc` (USER_HZ, the same on every Linux).
const TICKS_HZ: f64 = 100.0;
/// Blocks of noise and spikes that are fed again and again.
const STOCK: usize = 128;

/// A rig's worth of data without a rig.
struct Feed {
    edges: Vec<RecordLane>,
    rows: RecordLane,
    tables: Vec<(TableId, TableSchema)>,
    stock: Vec<Vec<i16>>,
    frame: Arc<Frame>,
    step: i64,
}

impl Feed {
    fn new(recorder: &mut Recorder, tables: &[TableSchema]) -> Self {
        let own = tables.iter().filter(|table| !["gaps", "frames", "events", "rules"].contains(&table.name.as_str()));
        let geometry = FrameGeometry { width_px: 64, height_px: 48, format: PixelFormat::Mono8 };
        Self {
            tables: own.map(|table| (recorder.table(&table.name).unwrap(), table.clone())).collect(),
            edges: (0..ARRAYS).map(|array| recorder.lane(&format!("array{array}"))).collect(),
            rows: recorder.lane("rows"),
            stock: (0..STOCK).map(noise).collect(),
            frame: Arc::new(Frame::blank(CameraIndex(0), geometry)),
            step: 0,
        }
    }

    /// Whether ten milliseconds of everything would be taken.
    fn has_room(&self) -> bool {
        self.edges.iter().all(|lane| lane.blocks_vacant() > 0) && self.rows.has_room() && self.rows.has_room_for_frame()
    }

    /// Ten milliseconds of everything.
    fn step(&mut self) {
        let at = RigTime::from_nanos(self.step * STEP_NS);
        for (array, lane) in self.edges.iter_mut().enumerate() {
            let mut block = SampleBlock::with_capacity(ArrayIndex(array as u8), CHANNELS, BLOCK);
            block.first = SampleIndex(self.step as u64 * BLOCK as u64);
            block.samples.extend_from_slice(&self.stock[(self.step as usize + 31 * array) % STOCK]);
            block.digital.resize(BLOCK, (self.step & 1) as u16);
            let nanos_per_sample = 1e9 / RATE_HZ;
            lane.block(Arc::new(block), BlockStamp { at, nanos_per_sample, integrity: Integrity::empty() });
        }
        if (self.step * STEP_NS) % PERIOD_NS == 0 {
            self.tick(at);
        }
        self.step += 1;
    }

    /// The rows of one frame set, and ten spikes.
    fn tick(&mut self, at: RigTime) {
        let trigger = self.step * STEP_NS / PERIOD_NS;
        for camera in 0..CAMERAS {
            let mut frame = Frame::blank(CameraIndex(camera as u8), self.frame.geometry);
            frame.counter = trigger as u64;
            let stamp = FrameStamp {
                trigger_index: Some(trigger as u64),
                at,
                uncertainty: Span::from_micros(2),
                integrity: Integrity::empty(),
            };
            while !self.rows.has_room_for_frame() {
                std::thread::sleep(Duration::from_micros(300));
            }
            self.rows.frame(Arc::new(frame), stamp);
        }
        for (table, schema) in &self.tables {
            let rows = if schema.name == "spikes" { 10 } else { 1 };
            for _ in 0..rows {
                self.rows.row(*table, at, |row| fill(row, schema, trigger));
            }
        }
    }
}

/// Noise of about 10 µV, from a fixed seed: delta-packing sees what it sees on a rig.
fn noise(seed: usize) -> Vec<i16> {
    let mut state = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as i64 % 64 - 32
    };
    // The sum of four uniform values is close to a Gaussian of 37 bits (7 µV).
    (0..CHANNELS * BLOCK).map(|_| (next() + next() + next() + next()) as i16).collect()
}

fn fill(row: &mut RowWriter<'_>, schema: &TableSchema, trigger: i64) {
    for column in &schema.columns {
        let wave = |place: usize| ((trigger as f64) * 0.02 + place as f64).sin();
        let len = column.len;
        match (column.kind, len) {
            (ScalarKind::Bool, 1) => row.bool(true),
            (ScalarKind::I16, 1) => row.i16(0),
            (ScalarKind::I16, _) => row.i16s((0..len).map(|place| (wave(place) * 300.0) as i16)),
            (ScalarKind::I32, 1) => row.i32(1),
            (ScalarKind::I64, 1) => row.i64(trigger),
            (ScalarKind::U16, 1) => row.u16(0),
            (ScalarKind::U16, _) => row.u16s((0..len).map(|_| 0)),
            (ScalarKind::U32, 1) => row.u32(0),
            (ScalarKind::U32, _) => row.u32s((0..len).map(|_| 63)),
            (ScalarKind::F32, 1) => row.f32(wave(0) as f32),
            (ScalarKind::F32, _) => row.f32s((0..len).map(|place| wave(place) as f32)),
            (ScalarKind::F64, 1) => row.f64(wave(0)),
            (ScalarKind::F64, _) => row.f64s((0..len).map(wave)),
            (ScalarKind::Text, _) => row.text("tracking"),
            (kind, len) => panic!("no table has a column of {len} × {kind:?}"),
        }
    }
}

fn start(home: &Path) -> (Recorder, Vec<TableSchema>) {
    let config = RecordConfig {
        folder: home.to_owned(),
        video: VideoCodec::None,
        part_seconds: 10,
        lane_kib: 16_384,
        disk_margin_bytes: 0,
        refuse_below_minutes: 0,
        ..RecordConfig::default()
    };
    let tables = schemas(&TableShapes {
        keypoints: 23,
        cameras: CAMERAS,
        signals: vec![("latent".to_owned(), 60)],
        action_sd: false,
        encoding: false,
    });
    let camera = |index: usize| CameraInfo {
        name: format!("cam{index}"),
        width_px: 64,
        height_px: 48,
        format: PixelFormat::Mono8,
        rate_hz: 50.0,
    };
    let array =
        |name: &str| ArrayInfo { name: name.to_owned(), channels: CHANNELS, rate_hz: RATE_HZ, gain_uv_per_bit: 0.195 };
    let info = RecordingInfo::new("bench", "bench", SystemTime::now(), serde_json::json!({}));
    let cameras = (0..CAMERAS).map(camera).collect();
    let recorder = Recorder::start(&config, info, tables.clone(), cameras, vec![array("A"), array("B")]).unwrap();
    (recorder, tables)
}

/// Processor seconds of this process's threads, by name.
fn thread_seconds() -> BTreeMap<String, f64> {
    let mut seconds = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let name = head.split_once('(').map_or("", |(_, name)| name).to_owned();
        let fields: Vec<&str> = tail.split(' ').collect();
        let used: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        *seconds.entry(name).or_default() += used / TICKS_HZ;
    }
    seconds
}

/// Processor seconds of the whole process, threads that have ended included, and of the calling thread.
fn process_seconds() -> (f64, f64) {
    let of = |path: &str| {
        let stat = fs::read_to_string(path).unwrap();
        let tail = stat.rsplit_once(") ").unwrap().1;
        let fields: Vec<f64> = tail.split(' ').filter_map(|field| field.parse().ok()).collect();
        // The state before them is no number: utime and stime are the eleventh and twelfth that follow.
        (fields[10] + fields[11]) / TICKS_HZ
    };
    (of("/proc/self/stat"), of("/proc/thread-self/stat"))
}

/// Bytes of journal that wait to be sealed.
fn journal_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder.join("journal")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn resident_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}

/// At real rate: processor time by thread.
fn at_real_rate(home: &Path, seconds: u64) -> PathBuf {
    let (mut recorder, tables) = start(home);
    let mut feed = Feed::new(&mut recorder, &tables);
    let (before, began, process) = (thread_seconds(), Instant::now(), process_seconds());
    let main = fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned();
    for step in 0..seconds * 100 {
        feed.step();
        let due = Duration::from_nanos((step + 1) * STEP_NS as u64);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    let (after, took) = (thread_seconds(), began.elapsed().as_secs_f64());
    drop(feed);
    let report = recorder.seal().unwrap();
    println!(
        "\n{ARRAYS} arrays x {CHANNELS} channels x 30 kHz, tables of {CAMERAS} cameras at 50 Hz, {took:.1} s at real rate"
    );
    for (name, seconds) in &after {
        let used = (seconds - before.get(name).copied().unwrap_or(0.0)) / took * 100.0;
        if name.starts_with("rec-") {
            println!("  {name:<16} {used:5.1} % of one core");
        } else if *name == main {
            println!("  {:<16} {used:5.1} % of one core (the feeder: making blocks and rows, and the lanes)", "feeder");
        }
    }
    let now = process_seconds();
    let total = ((now.0 - process.0) - (now.1 - process.1)) / took * 100.0;
    println!(
        "  recorder in all  {total:5.1} % of one core, sealed to the end; {} lost; stop took {:.2} s",
        report.lost, report.seal_seconds
    );
    report.folder
}

/// As fast as it goes: speed and memory.
fn as_fast_as_it_goes(home: &Path, seconds: u64, watch: bool) -> PathBuf {
    let (mut recorder, tables) = start(home);
    let folder = recorder.folder().to_owned();
    let mut feed = Feed::new(&mut recorder, &tables);
    let (before, began, process) = (thread_seconds(), Instant::now(), process_seconds());
    let mut memory = Vec::new();
    for step in 0..seconds * 100 {
        while !feed.has_room() {
            std::thread::sleep(Duration::from_micros(300));
        }
        feed.step();
        // Sealing takes longest: the journal may not grow without bound meanwhile.
        while step % 100 == 0 && journal_bytes(&folder) > JOURNAL_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
        if step % 6_000 == 5_999 && watch {
            memory.push(resident_mib());
            println!(
                "  minute {:>3}: {:.0} MiB resident, {:.0} s taken",
                memory.len(),
                resident_mib(),
                began.elapsed().as_secs_f64()
            );
            remove_sealed(&folder);
        }
    }
    let (after, fed) = (thread_seconds(), began.elapsed());
    drop(feed);
    let report = recorder.seal().unwrap();
    let took = began.elapsed().as_secs_f64();
    let now = process_seconds();
    let used = (now.0 - process.0) - (now.1 - process.1);
    let spent = |name: &str| after.get(name).copied().unwrap_or(0.0) - before.get(name).copied().unwrap_or(0.0);
    let sealer = used - spent("rec-collector") - spent("rec-journal") - spent("rec-sync");
    let raw = RAW_PER_SECOND * seconds as f64;
    println!(
        "\nas fast as it goes: {seconds} s of data in {took:.1} s ({:.1} x real time); {:.0} MB/s raw per core in all, \
         {:.0} MB/s per core into sealed Parquet; {} lost; sealed {:.2} s after the last block",
        seconds as f64 / took,
        raw / used * 1e-6,
        raw / sealer * 1e-6,
        report.lost,
        took - fed.as_secs_f64()
    );
    if let [_, first, .., last] = memory.as_slice() {
        println!("memory after minute 2: {first:.0} MiB, at the end: {last:.0} MiB");
    }
    report.folder
}

/// Sealed sample parts go, so that an hour fits on any disk.
fn remove_sealed(folder: &Path) {
    for table in ["ephys_A", "ephys_B"] {
        for part in fs::read_dir(folder.join("tables").join(table)).unwrap().flatten() {
            if part.path().extension().is_some_and(|extension| extension == "parquet") {
                fs::remove_file(part.path()).ok(); // Whatever is left is removed a minute later.
            }
        }
    }
}

/// Reads one channel and all of them back.
fn read_back(folder: &Path) {
    let manifest = Manifest::open(folder).unwrap();
    let seconds = manifest.arrays["ephys_A"].samples as f64 / RATE_HZ;
    let one = median(5, || tables::scan(folder, &manifest, "ephys_A", &["ch064"], |_| {}).unwrap());
    let names: Vec<String> = (0..CHANNELS).map(|channel| format!("ch{channel:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = median(3, || tables::scan(folder, &manifest, "ephys_A", &names, |_| {}).unwrap());
    let raw = RATE_HZ * 2.0 * seconds;
    println!(
        "reading {seconds:.0} s back (our reader): one channel {:.1} ms, all {CHANNELS} {:.0} MB/s",
        one * 1e3,
        raw * CHANNELS as f64 / all * 1e-6
    );
}

fn median(times: usize, mut work: impl FnMut()) -> f64 {
    let mut taken: Vec<f64> = (0..times)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed().as_secs_f64()
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken[times / 2]
}

/// pyarrow writing and reading the same layout, in the same run.
fn beside_pyarrow(folder: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".deps/peers-venv/bin/python");
    if !python.exists() {
        println!("pyarrow: skipped: no .deps/peers-venv; run `cargo xtask setup --peers`");
        return;
    }
    let output = Command::new(python).arg(root.join("tests/peers/write_tables.py")).arg(folder).output().unwrap();
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1)?.parse::<f64>().ok()
    };
    // As the other benches: a filter that does not name this one skips it.
    let filter =
        arguments.iter().skip(1).find(|argument| !argument.starts_with('-') && argument.parse::<f64>().is_err());
    if filter.is_some_and(|filter| !"record".contains(filter.as_str())) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    at_real_rate(home.path(), 20);
    std::thread::sleep(Duration::from_millis(1_100));
    let folder = as_fast_as_it_goes(home.path(), 20, false);
    read_back(&folder);
    beside_pyarrow(&folder);
    if let Some(hours) = value("--hours") {
        std::thread::sleep(Duration::from_millis(1_100));
        println!("\n{hours} h of data, sealed parts removed each minute:");
        as_fast_as_it_goes(home.path(), (hours * 3_600.0) as u64, true);
    }
}
