//! The RHX client against the emulator: every fault, exact to the sample.

#[allow(dead_code, reason = "the daemon's test asks more of it")]
mod rhx_emulator;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mimicd_device::{
    ArrayIndex, DeviceAlarm, DeviceErrorKind, EphysSource, HostTime, Integrity, Polled, SampleBlock, Span,
};
use mimicd_hw::rhx::{RhxOptions, RhxSource};
use rhx_emulator::{Behaviour, Emulator, Fault, truth, truth_digital};

const BLOCK: u64 = 128;

fn now() -> HostTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    HostTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

fn options(emulator: &Emulator, channels: usize) -> RhxOptions {
    let mut options = RhxOptions::parse("127.0.0.1", ArrayIndex(0), channels).unwrap();
    options.command_port = emulator.command_port;
    options.waveform_port = emulator.waveform_port;
    options.stall_millis = 600;
    options
}

/// What a client saw: pieces of consecutive samples.
#[derive(Debug, Default)]
struct Seen {
    /// (first, end, flags of the first block) of each piece.
    pieces: Vec<(u64, u64, Integrity)>,
    samples: u64,
    errors: Vec<DeviceErrorKind>,
}

/// Reads until `samples` have come, checking every value; `timestamp_of` turns a sample index into RHX's timestamp.
fn read(source: &mut RhxSource, samples: u64, timestamp_of: impl Fn(u64) -> u32) -> Seen {
    let channels = source.channels();
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), channels, source.block_samples_max());
    let mut seen = Seen::default();
    let deadline = Instant::now() + Duration::from_secs(20);
    while seen.samples < samples && Instant::now() < deadline {
        source.wait(now() + Span::from_millis(20));
        match source.poll(now(), &mut block) {
            Ok(Polled::Nothing) => continue,
            Err(error) => {
                seen.errors.push(error.kind);
                assert!(error.kind.reopen_helps(), "{error}");
                while source.reopen().is_err() {
                    assert!(Instant::now() < deadline, "never reopened");
                    std::thread::sleep(Duration::from_millis(5));
                }
                continue;
            }
            Ok(Polled::Ready) => {}
        }
        for (offset, (row, word)) in block.samples.chunks(channels).zip(&block.digital).enumerate() {
            let timestamp = timestamp_of(block.first.0 + offset as u64);
            for (channel, value) in row.iter().enumerate() {
                assert_eq!(*value, truth(channel, timestamp), "channel {channel} at {timestamp}");
            }
            assert_eq!(*word, truth_digital(timestamp), "digital word at {timestamp}");
        }
        seen.samples += block.len() as u64;
        let end = block.end().0;
        match seen.pieces.last_mut() {
            Some(last) if last.1 == block.first.0 && block.integrity.is_empty() => last.1 = end,
            _ => seen.pieces.push((block.first.0, end, block.integrity)),
        }
    }
    assert_eq!(seen.samples, samples, "samples until the deadline; pieces {:?}", seen.pieces);
    seen
}

fn run(behaviour: Behaviour, samples: u64) -> (Seen, RhxSource, Emulator) {
    let emulator = Emulator::start(behaviour);
    let mut source = RhxSource::open(options(&emulator, 32)).unwrap();
    source.start().unwrap();
    let seen = read(&mut source, samples, |index| index as u32);
    (seen, source, emulator)
}

#[test]
fn both_dialects_deliver_every_sample() {
    for version in ["3.3.2", "3.4.0", "3.5.0"] {
        let (seen, source, emulator) = run(Behaviour { version, ..Behaviour::default() }, 200 * BLOCK);
        assert_eq!(seen.pieces, [(0, 200 * BLOCK, Integrity::empty())], "{version}");
        assert_eq!(emulator.value("TCPNumberDataBlocksPerWrite").unwrap(), "1");
        assert_eq!((source.channels(), source.rate_hz()), (32, 30_000.0));
        assert_eq!(source.channel_names()[31], "A-031");
        assert!(source.identity().contains(version), "{}", source.identity());
    }
}

#[test]
fn split_and_merged_segments() {
    for (piece_bytes, merged) in [(1_447, 1), (13, 1), (0, 7), (999, 10)] {
        let behaviour = Behaviour { piece_bytes, merged, blocks: 60, ..Behaviour::default() };
        let (seen, ..) = run(behaviour, 60 * BLOCK);
        assert_eq!(seen.pieces.len(), 1, "pieces of {piece_bytes}, {merged} merged");
    }
}

#[test]
fn silent_sets_and_ragged_answers() {
    let behaviour = Behaviour { silent_sets: 34, ragged_answers: true, blocks: 20, ..Behaviour::default() };
    let (seen, ..) = run(behaviour, 20 * BLOCK);
    assert_eq!(seen.pieces.len(), 1);
}

#[test]
fn a_set_that_never_takes_is_named() {
    let emulator = Emulator::start(Behaviour { silent_sets: 1_000_000, ..Behaviour::default() });
    let mut source = RhxSource::open(options(&emulator, 32)).unwrap();
    let error = source.start().unwrap_err();
    assert_eq!(error.kind, DeviceErrorKind::Unsupported);
    assert!(error.context.contains("A-000.TCPDataOutputEnabled"), "{error}");
}

#[test]
fn more_channels_than_there_are() {
    let emulator = Emulator::start(Behaviour { channels_per_port: vec![32, 64], ..Behaviour::default() });
    let Err(error) = RhxSource::open(options(&emulator, 128)) else { panic!("opened") };
    assert_eq!(error.kind, DeviceErrorKind::Unsupported);
    assert!(error.context.contains("A: 32") && error.context.contains("B: 64"), "{error}");
}

#[test]
fn jumps_are_gaps_of_exactly_that_many_samples() {
    let faults = vec![Fault::Jump { block: 50, samples: 777 }, Fault::JumpInside { block: 90, samples: 33 }];
    let (seen, source, _emulator) = run(Behaviour { faults, blocks: 120, ..Behaviour::default() }, 120 * BLOCK);
    let (first, second) = (50 * BLOCK, 90 * BLOCK + 777 + 40);
    assert_eq!(
        seen.pieces,
        [
            (0, first, Integrity::empty()),
            (first + 777, second, Integrity::GAP_BEFORE),
            (second + 33, 120 * BLOCK + 810, Integrity::GAP_BEFORE),
        ]
    );
    let monitor = source.monitor();
    assert_eq!((monitor.gaps.load(Ordering::Relaxed), monitor.missing.load(Ordering::Relaxed)), (2, 810));
}

#[test]
fn the_counter_wraps_without_a_gap() {
    let behaviour = Behaviour { first_timestamp: u32::MAX - 5_000, blocks: 100, ..Behaviour::default() };
    let (seen, ..) = run(behaviour, 100 * BLOCK);
    let first = u64::from(u32::MAX - 5_000);
    assert_eq!(seen.pieces, [(first, first + 100 * BLOCK, Integrity::empty())]);
}

#[test]
fn a_restart_is_a_clock_step_and_the_index_goes_on_where_the_clock_says() {
    let faults = vec![Fault::Restart { block: 70 }];
    let emulator = Emulator::start(Behaviour { faults, blocks: 100, ..Behaviour::default() });
    let mut source = RhxSource::open(options(&emulator, 32)).unwrap();
    source.start().unwrap();
    let restart = 70 * BLOCK;
    // How much time the emulator took between the two runs is not its to say.
    let again = std::cell::Cell::new(None);
    let timestamp_of = |index| match index {
        index if index < restart => index as u32,
        index => (index - again.get().unwrap_or_else(|| again.replace(Some(index)).unwrap_or(index))) as u32,
    };
    let seen = read(&mut source, 100 * BLOCK, timestamp_of);
    let step = Integrity::GAP_BEFORE | Integrity::CLOCK_STEP;
    let first = seen.pieces[1].0;
    assert!((restart..restart + 15_000).contains(&first), "{first}");
    assert_eq!(seen.pieces, [(0, restart, Integrity::empty()), (first, first + 30 * BLOCK, step)]);
}

#[test]
fn a_short_stall_loses_nothing_and_a_long_one_reconnects() {
    let faults = vec![Fault::Stall { block: 40, millis: 200 }];
    let (seen, ..) = run(Behaviour { faults, blocks: 80, ..Behaviour::default() }, 80 * BLOCK);
    assert_eq!((seen.pieces.len(), seen.errors.len()), (1, 0));
}

#[test]
fn a_closed_waveform_socket_is_reopened_and_the_loss_is_exact() {
    for version in ["3.4.0", "3.5.0"] {
        let faults = vec![Fault::Disconnect { block: 60, lost_blocks: 25 }];
        let behaviour = Behaviour { version, faults, blocks: 145, ..Behaviour::default() };
        let (seen, ..) = run(behaviour, 120 * BLOCK);
        assert_eq!(seen.errors, [DeviceErrorKind::Disconnected]);
        assert_eq!(
            seen.pieces,
            [(0, 60 * BLOCK, Integrity::empty()), (85 * BLOCK, 145 * BLOCK, Integrity::GAP_BEFORE),]
        );
    }
}

#[test]
fn the_command_sockets_loss_is_an_alarm_and_data_flows_on() {
    let faults = vec![Fault::CommandLoss { block: 30 }];
    let (seen, source, _emulator) = run(Behaviour { faults, blocks: 300, ..Behaviour::default() }, 300 * BLOCK);
    assert_eq!((seen.pieces.len(), seen.errors.len()), (1, 0));
    assert_eq!(source.alarm(), Some(DeviceAlarm::CommandLost));
}

#[test]
fn both_sockets_lost_one_after_the_other() {
    let faults = vec![Fault::CommandLoss { block: 30 }, Fault::Disconnect { block: 90, lost_blocks: 5 }];
    let (seen, source, _emulator) = run(Behaviour { faults, blocks: 200, ..Behaviour::default() }, 195 * BLOCK);
    assert_eq!(seen.pieces.len(), 2);
    assert!(source.monitor().command_lost.load(Ordering::Acquire));
}

#[test]
fn a_channel_switched_off_in_mid_stream_is_told_and_mended() {
    let faults = vec![Fault::Toggle { block: 50 }];
    let emulator = Emulator::start(Behaviour { faults, blocks: 1_000, ..Behaviour::default() });
    let mut source = RhxSource::open(options(&emulator, 32)).unwrap();
    source.start().unwrap();
    let seen = read(&mut source, 100 * BLOCK, |index| index as u32);
    assert_eq!(seen.errors, [DeviceErrorKind::Protocol]);
    assert_eq!(seen.pieces.len(), 2, "{:?}", seen.pieces);
    assert_eq!(seen.pieces[0], (0, 50 * BLOCK, Integrity::empty()));
    assert_eq!(seen.pieces[1].2, Integrity::GAP_BEFORE);
}

#[test]
fn garbage_between_blocks_costs_nothing_but_itself() {
    for bytes in [1, 3, 50, 20_000] {
        let faults = vec![Fault::Garbage { block: 40, bytes }];
        let (seen, source, _emulator) = run(Behaviour { faults, blocks: 80, ..Behaviour::default() }, 80 * BLOCK);
        assert_eq!(seen.pieces.len(), 1, "{bytes} bytes of garbage");
        assert_eq!(source.monitor().garbage_bytes.load(Ordering::Relaxed), bytes as u64);
    }
}

/// What the kernel counts of a thread of this process.
#[derive(Clone, Copy, Debug)]
struct ThreadTime {
    ran_ms: f64,
    /// Runnable, but another thread had the processor.
    waited_ms: f64,
    /// Times that it went to sleep by itself: waiting for a socket, a lock, a disk.
    sleeps: u64,
}

impl ThreadTime {
    /// Of a thread of this process; `None` where the kernel does not tell.
    fn of(thread: u32) -> Option<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/self/task/{thread}/{file}")).ok();
        let schedstat = read("schedstat")?;
        let mut nanos = schedstat.split_whitespace().map_while(|word| word.parse::<f64>().ok());
        let status = read("status")?;
        let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        Some(Self {
            ran_ms: nanos.next()? * 1e-6,
            waited_ms: nanos.next()? * 1e-6,
            sleeps: sleeps.trim().parse().ok()?,
        })
    }
}

/// What the reader did with its time, and whether it ever slept anywhere but on its socket.
fn reader_time(source: &RhxSource) -> String {
    let monitor = source.monitor();
    let millis = |nanos: &std::sync::atomic::AtomicU64| nanos.load(Ordering::Relaxed) as f64 * 1e-6;
    let thread = monitor.reader_thread.load(Ordering::Acquire);
    let Some(time) = ThreadTime::of(thread) else { return format!("the kernel does not tell of thread {thread}") };
    // Counted before the wait that it is in now.
    let waits = monitor.waits.load(Ordering::Relaxed);
    assert!(time.sleeps <= waits + 2, "the reader slept {} times, {waits} of them on its socket", time.sleeps);
    format!(
        "the reader ran {:.1} ms and waited {:.1} ms for a processor; it slept {} times, its {waits} looks at the socket allow all of them; between two looks it worked at most {:.3} ms ({:.3} ms with what the machine took)",
        time.ran_ms,
        time.waited_ms,
        time.sleeps,
        millis(&monitor.work_nanos_max),
        millis(&monitor.away_nanos_max),
    )
}

#[test]
fn the_reader_sleeps_on_its_socket_and_nowhere_else() {
    let emulator = Emulator::start(Behaviour { blocks: 2_000, merged: 2, ..Behaviour::default() });
    let mut source = RhxSource::open(options(&emulator, 32)).unwrap();
    source.start().unwrap();
    while emulator.sent_blocks() < 2_000 {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(100));
    println!("poller asleep all the time: {}", reader_time(&source));
    let dropped = source.monitor().dropped.load(Ordering::Relaxed);
    assert!(dropped > 0, "the queue must have been too small for this test");
    let seen = read(&mut source, 2_000 * BLOCK - dropped, |index| index as u32);
    assert_eq!(seen.pieces.len(), 1, "what was kept is the beginning");
    println!("a write of the emulator waited at most {:.2} ms", emulator.blocked_max().as_secs_f64() * 1e3);
}

#[test]
fn a_poller_that_works_costs_the_reader_no_sleep_either() {
    let (_, source, _emulator) = run(Behaviour { blocks: 1_000, ..Behaviour::default() }, 1_000 * BLOCK);
    println!("poller at work: {}", reader_time(&source));
}

#[test]
fn the_command_socket_is_found_again_after_a_click() {
    let faults = vec![Fault::CommandLoss { block: 30 }, Fault::Disconnect { block: 6_000, lost_blocks: 5 }];
    let command_back = Some(Duration::from_millis(300));
    let emulator = Emulator::start(Behaviour { faults, blocks: 7_000, command_back, ..Behaviour::default() });
    let mut source = RhxSource::open(options(&emulator, 32)).unwrap();
    assert_eq!(source.alarm(), None);
    source.start().unwrap();
    let seen = read(&mut source, 6_995 * BLOCK, |index| index as u32);
    assert_eq!(source.alarm(), None, "it was found again");
    assert_eq!(seen.errors, [DeviceErrorKind::Disconnected]);
    assert_eq!(seen.pieces.len(), 2, "{:?}", seen.pieces);
}

#[test]
fn a_run_that_was_going_is_left_going() {
    for (going, after) in [("Stop", "Stop"), ("Record", "Record")] {
        let emulator = Emulator::start(Behaviour { blocks: 40, ..Behaviour::default() });
        emulator.set("RunMode", going);
        let mut source = RhxSource::open(options(&emulator, 32)).unwrap();
        source.start().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        source.stop();
        let until = Instant::now() + Duration::from_secs(5);
        while emulator.value("RunMode").unwrap() != after && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(emulator.value("RunMode").unwrap(), after, "{going}");
    }
}

/// Two arrays of the paper; `cargo test -p mimicd-hw --release --test rhx -- --ignored --nocapture`.
/// `RHX_SOAK_SECS` sets its length in signal, `RHX_SOAK_SPEED` how many times faster than real time it runs.
#[test]
#[ignore = "a soak: minutes to an hour"]
fn soak_256_channels() {
    let number = |name: &str, default: f64| std::env::var(name).ok().and_then(|t| t.parse().ok()).unwrap_or(default);
    let (seconds, speed) = (number("RHX_SOAK_SECS", 60.0), number("RHX_SOAK_SPEED", 1.0));
    let rate = 30_000.0 / BLOCK as f64;
    let blocks = (seconds * rate) as u64 / 8 * 8;
    let emulator = Emulator::start(Behaviour {
        channels_per_port: vec![64; 4],
        blocks,
        merged: 8,
        blocks_per_second: Some(rate * speed),
        ..Behaviour::default()
    });
    // A busy machine may keep the emulator itself from its core for a while.
    let mut source = RhxSource::open(RhxOptions { stall_millis: 10_000, ..options(&emulator, 256) }).unwrap();
    source.start().unwrap();
    let began = Instant::now();
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), 256, 128);
    let mut expected = 0_u64;
    while expected < blocks * BLOCK {
        source.wait(now() + Span::from_millis(50));
        while source.poll(now(), &mut block).unwrap() == Polled::Ready {
            assert_eq!((block.first.0, block.integrity), (expected, Integrity::empty()), "lost samples");
            // Whole rows at both ends, one channel all along.
            for row in [0, block.len() - 1] {
                let timestamp = (block.first.0 + row as u64) as u32;
                let values = &block.samples[row * 256..(row + 1) * 256];
                assert!(values.iter().enumerate().all(|(channel, value)| *value == truth(channel, timestamp)));
            }
            assert!(
                (0..block.len()).all(|row| block.samples[row * 256 + 77] == truth(77, (expected + row as u64) as u32))
            );
            expected = block.end().0;
        }
    }
    println!(
        "{expected} samples of 256 channels ({seconds} s of signal) in {:.0} s, 0 lost; {}; a write waited at most {:.2} ms",
        began.elapsed().as_secs_f64(),
        reader_time(&source),
        emulator.blocked_max().as_secs_f64() * 1e3,
    );
}
