//! Recordings of other programs and the direct front end, through the array trait. Every file is built byte by byte here.

mod recordings;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use mimicd_device::{ArrayIndex, DeviceErrorKind, EphysSource, HostTime, Integrity, Polled, SampleBlock, Span};
use mimicd_hw::direct::{DirectOptions, DirectSource, seal_frame};
use mimicd_hw::file::{FileOptions, FileSource, Pace};
use mimicd_wire::samples::SamplesHeader;
use recordings::{value, word};
use serialport::SerialPort as _;

fn now() -> HostTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    HostTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

/// Pieces of consecutive samples: first, end, flags of the first block.
type Pieces = Vec<(u64, u64, Integrity)>;

/// Reads a source to its end, checking every value against the truth of its row.
fn read_all(source: &mut FileSource, channel_first: usize, digital: bool) -> Pieces {
    let channels = source.channels();
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), channels, source.block_samples_max());
    let mut pieces: Pieces = Vec::new();
    source.start().unwrap();
    loop {
        match source.poll(now(), &mut block) {
            Ok(Polled::Nothing) => source.wait(now() + Span::from_millis(20)),
            Err(error) => {
                assert!(source.is_over(), "{error}");
                assert_eq!(source.reopen().unwrap_err().kind, DeviceErrorKind::NotFound);
                return pieces;
            }
            Ok(Polled::Ready) => {
                for (offset, (row, seen)) in block.samples.chunks(channels).zip(&block.digital).enumerate() {
                    let index = block.first.0 + offset as u64;
                    let wanted: Vec<i16> = (0..channels).map(|c| value(index, channel_first + c)).collect();
                    assert_eq!(row, wanted, "row {index}");
                    assert_eq!(*seen, if digital { word(index) } else { 0 }, "digital word {index}");
                }
                match pieces.last_mut() {
                    Some(last) if last.1 == block.first.0 && block.integrity.is_empty() => last.1 = block.end().0,
                    _ => pieces.push((block.first.0, block.end().0, block.integrity)),
                }
            }
        }
    }
}

fn open(path: &Path) -> FileSource {
    FileSource::open(FileOptions { pace: Pace::Fast, block_samples: 37, ..FileOptions::new(path) }).unwrap()
}

const NONE: Integrity = Integrity::empty();
const GAP: Integrity = Integrity::GAP_BEFORE;

#[test]
fn intan_traditional_of_both_block_lengths_and_in_several_files() {
    for (version, block) in [((1, 2), 60), ((3, 1), 128)] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("rat.rhd");
        recordings::rhd(&path, version, 12, &[(1_000, 20 * block), (1_000 + 20 * block + 77, 5 * block)]);
        let mut source = open(&path);
        assert_eq!((source.channels(), source.rate_hz(), source.gain_uv_per_bit()), (12, 30_000.0, 0.195));
        let gap = 1_000 + 20 * block + 77;
        assert_eq!(
            read_all(&mut source, 0, true),
            [(1_000, 1_000 + 20 * block, NONE), (gap, gap + 5 * block, GAP)],
            "{version:?}"
        );
    }
    let home = tempfile::tempdir().unwrap();
    recordings::rhd(&home.path().join("rat_1.rhd"), (3, 0), 8, &[(0, 256)]);
    recordings::rhd(&home.path().join("rat_2.rhd"), (3, 0), 8, &[(256, 384)]);
    assert_eq!(read_all(&mut open(home.path()), 0, true), [(0, 640, NONE)]);
}

#[test]
fn a_traditional_file_cut_short_gives_its_whole_blocks() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("cut.rhd");
    recordings::rhd(&path, (2, 0), 8, &[(0, 384)]);
    let length = std::fs::metadata(&path).unwrap().len();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(length - 9).unwrap();
    assert_eq!(read_all(&mut open(&path), 0, true), [(0, 256, NONE)]);
}

#[test]
fn intan_signal_files() {
    let home = tempfile::tempdir().unwrap();
    recordings::signal_files(home.path(), 16, &[(500, 900), (1_500, 100)]);
    for path in [home.path().to_owned(), home.path().join("info.rhd")] {
        assert_eq!(read_all(&mut open(&path), 0, true), [(500, 1_400, NONE), (1_500, 1_600, GAP)]);
    }
}

#[test]
fn open_ephys_binary() {
    let home = tempfile::tempdir().unwrap();
    recordings::open_ephys(home.path(), 8, &[(7_000, 500), (7_600, 250)]);
    for path in ["", "structure.oebin", "continuous/Rhythm-100.0"] {
        let mut source = open(&home.path().join(path));
        assert_eq!((source.channels(), source.gain_uv_per_bit()), (8, 0.195));
        assert_eq!(read_all(&mut source, 0, true), [(7_000, 7_500, NONE), (7_600, 7_850, GAP)]);
    }
}

#[test]
fn spike_glx_of_probe_and_converter() {
    let home = tempfile::tempdir().unwrap();
    let (imec, nidq) = (home.path().join("rat_g0_t0.imec0.ap.bin"), home.path().join("rat_g0_t0.nidq.bin"));
    recordings::spike_glx(&imec, true, 12, 40_000, 800);
    recordings::spike_glx(&nidq, false, 4, 0, 300);
    let mut source = open(&imec);
    // 0.6 V over 512 steps at gain 500.
    assert!((source.gain_uv_per_bit() - 2.343_75).abs() < 1e-9);
    assert_eq!(read_all(&mut source, 0, true), [(40_000, 40_800, NONE)]);
    let mut source = open(&nidq.with_extension("meta"));
    assert_eq!(source.rate_hz(), 25_000.0);
    assert_eq!(read_all(&mut source, 0, true), [(0, 300, NONE)]);
}

#[test]
fn raw_and_some_of_its_channels() {
    let home = tempfile::tempdir().unwrap();
    let path = recordings::raw(home.path(), 8, 600);
    assert_eq!(read_all(&mut open(&path), 0, true), [(0, 600, NONE)]);
    let some = FileOptions { channel_first: 4, channels: Some(4), pace: Pace::Fast, ..FileOptions::new(&path) };
    assert_eq!(read_all(&mut FileSource::open(some).unwrap(), 4, true), [(0, 600, NONE)]);
    let Err(error) = FileSource::open(FileOptions { channels: Some(12), ..FileOptions::new(&path) }) else {
        panic!("opened")
    };
    assert_eq!(error.kind, DeviceErrorKind::Unsupported);
    assert!(error.context.contains("12 channels from 0 on were asked; it has 8"), "{error}");
}

#[test]
fn in_real_time_a_block_is_handed_out_when_its_last_sample_would_have_been_taken() {
    let home = tempfile::tempdir().unwrap();
    let path = recordings::raw(home.path(), 4, 15_000);
    let mut source = FileSource::open(FileOptions::new(&path)).unwrap();
    let began = Instant::now();
    assert_eq!(read_all(&mut source, 0, true), [(0, 15_000, NONE)]);
    let took = began.elapsed().as_secs_f64();
    assert!((0.5..0.9).contains(&took), "half a second of samples took {took:.3} s");
}

#[test]
fn files_that_are_nothing_are_named() {
    let home = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| std::fs::write(home.path().join(name), content).unwrap();
    put("text.rhd", b"not a recording at all");
    put("short.rhd", &[0x02, 0x27, 0x91, 0xC6, 3, 0]);
    put("raw.toml", b"file = \"x.raw\"\ncolumns = 4\nrate_hz = 30000.0\ngain_uv_per_bit = -1.0\n");
    put("lonely.bin", b"");
    put("words.txt", b"");
    let cases = [
        ("text.rhd", "expected 0xc6912702"),
        ("short.rhd", "its header ends at byte 6"),
        ("raw.toml", "gain_uv_per_bit above 0"),
        ("lonely.bin", "lonely.meta"),
        ("words.txt", "no recording that is known"),
        ("absent.rhd", "no such file"),
        ("empty", "no recording that is known"),
    ];
    std::fs::create_dir(home.path().join("empty")).unwrap();
    for (name, words) in cases {
        let Err(error) = FileSource::open(FileOptions::new(home.path().join(name))) else { panic!("{name} opened") };
        assert!(error.context.contains(words), "{name}: {error}");
    }
}

fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
    std::thread::Builder::new().name("front-end".to_owned()).spawn(body).unwrap()
}

/// A front end that sends 1-ms frames of 256 channels, as scripted.
fn front_end(
    script: impl FnOnce(&mut std::net::TcpStream) + Send + 'static,
) -> (DirectSource, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let thread = spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.set_nodelay(true).unwrap();
        script(&mut stream);
    });
    (DirectSource::new(DirectOptions::parse(&address, ArrayIndex(0), 256, 30_000.0).unwrap()), thread)
}

fn frame(first: u64, sequence: u32) -> Vec<u8> {
    let header = SamplesHeader { channels: 256, rows: 30, sequence, first };
    let rows = first..first + 30;
    let samples: Vec<i16> = rows.clone().flat_map(|row| (0..256).map(move |c| value(row, c))).collect();
    let digital: Vec<u16> = rows.map(word).collect();
    let mut line = Vec::new();
    seal_frame(&header, &samples, &digital, &mut line);
    line
}

fn take(source: &mut DirectSource, blocks: usize) -> Pieces {
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), 256, source.block_samples_max());
    let mut pieces: Pieces = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut taken = 0;
    while taken < blocks {
        assert!(Instant::now() < deadline, "{taken} of {blocks} blocks; {pieces:?}");
        if source.poll(now(), &mut block).unwrap() == Polled::Nothing {
            source.wait(now() + Span::from_millis(20));
            continue;
        }
        taken += 1;
        for (offset, row) in block.samples.chunks(256).enumerate() {
            let index = block.first.0 + offset as u64;
            assert_eq!((row[0], row[255], block.digital[offset]), (value(index, 0), value(index, 255), word(index)));
        }
        match pieces.last_mut() {
            Some(last) if last.1 == block.first.0 && block.integrity.is_empty() => last.1 = block.end().0,
            _ => pieces.push((block.first.0, block.end().0, block.integrity)),
        }
    }
    pieces
}

#[test]
fn direct_frames_survive_damage_with_gaps_of_exactly_what_was_damaged() {
    let (mut source, thread) = front_end(|line| {
        for i in 0..100_u32 {
            let mut bytes = frame(u64::from(i) * 30, i);
            match i {
                20 => bytes[700] ^= 1,                                                // damaged in flight
                40 => bytes.truncate(5_000),                                          // cut short
                60 => bytes.splice(0..0, [0x53, 0x44, 0x43, 0x4D, 9]).for_each(drop), // a magic that is none
                _ => {}
            }
            line.write_all(&bytes).unwrap();
        }
        std::thread::sleep(Duration::from_millis(300));
    });
    source.start().unwrap();
    let pieces = take(&mut source, 98);
    assert_eq!(pieces, [(0, 600, NONE), (630, 1_200, GAP), (1_230, 3_000, GAP)]);
    thread.join().unwrap();
}

#[test]
fn a_direct_front_end_that_ends_or_sends_other_channels_is_named() {
    let (mut source, thread) = front_end(|line| line.write_all(&frame(0, 0)).unwrap());
    source.start().unwrap();
    take(&mut source, 1);
    thread.join().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), 256, 300);
    assert_eq!(source.poll(now(), &mut block).unwrap_err().kind, DeviceErrorKind::Disconnected);
    assert_eq!(source.reopen().unwrap_err().kind, DeviceErrorKind::NotFound);

    let (mut source, thread) = front_end(|line| {
        let header = SamplesHeader { channels: 64, rows: 30, sequence: 0, first: 0 };
        let mut bytes = Vec::new();
        seal_frame(&header, &[0; 64 * 30], &[0; 30], &mut bytes);
        line.write_all(&bytes).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    });
    source.start().unwrap();
    std::thread::sleep(Duration::from_millis(150));
    let error = source.poll(now(), &mut block).unwrap_err();
    assert!(error.context.contains("frames of 64 channels, the config says 256"), "{error}");
    thread.join().unwrap();
}

#[test]
fn a_serial_line_carries_the_same_frames() {
    let (mut front, line) = serialport::TTYPort::pair().unwrap();
    let path = line.name().unwrap();
    let options = DirectOptions::parse(&path, ArrayIndex(0), 256, 30_000.0).unwrap();
    // The pair's own end would hold the line.
    drop(line);
    let mut source = DirectSource::new(options);
    source.start().unwrap();
    let thread = spawn(move || {
        for i in 0..40_u32 {
            front.write_all(&frame(u64::from(i) * 30, i)).unwrap();
        }
        front
    });
    assert_eq!(take(&mut source, 40), [(0, 1_200, NONE)]);
    source.stop();
    drop(thread.join().unwrap());
}

/// From the last byte of a millisecond to the polled block.
#[test]
fn a_direct_block_is_there_within_the_millisecond_budget() {
    let (mut source, thread) = front_end(|line| {
        let began = Instant::now();
        for i in 0..1_000_u32 {
            let mut bytes = frame(u64::from(i) * 30, i);
            let due = began + Duration::from_millis(u64::from(i));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // The time of sending travels in the digital words, which the receiver here does not check.
            bytes.truncate(bytes.len() - 4);
            let at = bytes.len() - 60;
            for (k, byte) in now().nanos().to_le_bytes().into_iter().enumerate() {
                bytes[at + k] = byte;
            }
            let sum = crc32(&bytes);
            bytes.extend(sum.to_le_bytes());
            line.write_all(&bytes).unwrap();
        }
        std::thread::sleep(Duration::from_millis(200));
    });
    source.start().unwrap();
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), 256, source.block_samples_max());
    let mut ages = Vec::new();
    while ages.len() < 1_000 {
        source.wait(now() + Span::from_millis(20));
        while source.poll(now(), &mut block).unwrap() == Polled::Ready {
            let sent = block.digital[..4].iter().rev().fold(0_i64, |sum, word| sum << 16 | i64::from(*word));
            ages.push(now().nanos() - sent);
        }
    }
    thread.join().unwrap();
    ages.sort_unstable();
    let millis = |part: usize| ages[ages.len() * part / 1_000] as f64 * 1e-6;
    println!(
        "direct, 256 channels, 1-ms frames: age of a block p50 {:.3} p99 {:.3} p99.9 {:.3} ms",
        millis(500),
        millis(990),
        millis(999)
    );
    // A shared test machine stalls now and then; the median does not.
    assert!(millis(500) < 2.0, "median {:.3} ms", millis(500));
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes);
    hasher.finalize()
}
