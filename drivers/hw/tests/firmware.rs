//! The firmware itself, in an emulator, against the real driver. Needs `cargo xtask firmware` and `qemu-system-arm`;
//! skipped with a reason where either is missing.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mimicd_device::{
    BoardCommand, BoardEvent, BoardTime, ButtonKind, DeviceErrorKind, HostTime, OutputIndex, Refusal, SafetyCause,
    Span, SyncBoard as _, TriggerPlan,
};
use mimicd_hw::serial::find::Device;
use mimicd_hw::serial::{SerialBoard, SerialOptions};

const PLAN: TriggerPlan = TriggerPlan {
    period: Span::from_millis(20),
    width: Span::from_millis(1),
    stretch: Span::from_millis(2),
    stretch_every: 20,
    code_seed: 3,
};

fn now() -> HostTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    HostTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

/// Patience for something that takes a fraction of a second on a machine that is not busy.
const LONG: Duration = Duration::from_secs(60);

/// An emulator takes a whole core: one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// The emulated board: its line on one socket, the hand at its panel on another.
struct Emulator {
    _turn: MutexGuard<'static, ()>,
    child: Child,
    _folder: tempfile::TempDir,
    line: PathBuf,
    hand: UnixStream,
}

impl Emulator {
    /// Starts the firmware, or says why not.
    fn start() -> Option<Self> {
        let elf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/firmware/sync-board-mps2.elf");
        if !elf.is_file() {
            println!("skipped: {} is not there; run `cargo xtask firmware`", elf.display());
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let (line, hand) = (folder.path().join("line"), folder.path().join("hand"));
        let listener = UnixListener::bind(&hand).unwrap();
        let child = Command::new("qemu-system-arm")
            // Counted instructions make the board's clock: on a busy machine it runs slow instead of in leaps.
            .args(["-M", "mps2-an385", "-icount", "shift=4", "-nographic", "-monitor", "none", "-chardev"])
            .arg(format!("socket,id=line,path={},server=on,wait=off", line.display()))
            .args(["-serial", "chardev:line", "-chardev"])
            .arg(format!("socket,id=hand,path={}", hand.display()))
            .args(["-serial", "chardev:hand", "-kernel"])
            .arg(&elf)
            .stdin(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            println!("skipped: qemu-system-arm is not installed (Debian: qemu-system-arm)");
            return None;
        };
        let (hand, _) = listener.accept().unwrap();
        Some(Self { _turn: turn, child, _folder: folder, line, hand })
    }

    fn open(&self) -> SerialBoard {
        SerialBoard::open(SerialOptions { device: Device::Unix(self.line.clone()), ..SerialOptions::default() })
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Does what the byte says at the board's panel.
    fn touch(&mut self, what: u8) {
        self.hand.write_all(&[what]).unwrap();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Polls with heartbeats until `last` comes; everything the board said until then.
fn listen(board: &mut SerialBoard, mut last: impl FnMut(BoardEvent) -> bool) -> Vec<BoardEvent> {
    let mut events = Vec::new();
    let came = listen_until(board, |event| {
        events.push(event);
        last(event)
    });
    assert!(came, "not within {LONG:?}; only {events:?}");
    events
}

/// Listens until the board's clock has moved on by `span`.
fn listen_for(board: &mut SerialBoard, span: Span) -> Vec<BoardEvent> {
    let end = board_now(board) + span;
    let mut events = Vec::new();
    while board_now_into(board, &mut events) < end {}
    events
}

fn listen_until(board: &mut SerialBoard, mut done: impl FnMut(BoardEvent) -> bool) -> bool {
    let end = Instant::now() + LONG;
    let mut beat = Instant::now();
    while Instant::now() < end {
        if beat <= Instant::now() {
            beat = Instant::now() + Duration::from_millis(50);
            // While hands are shaken anew nothing is taken.
            board.send(now(), BoardCommand::Heartbeat).ok();
        }
        while let Some((_, event)) = board.poll(now()).unwrap() {
            if done(event) {
                return true;
            }
        }
        board.wait(now() + Span::from_millis(10));
    }
    false
}

fn triggers(events: &[BoardEvent]) -> Vec<(u64, BoardTime)> {
    let trigger = |event: &BoardEvent| match event {
        BoardEvent::Trigger { index, at } => Some((*index, *at)),
        _ => None,
    };
    events.iter().filter_map(trigger).collect()
}

fn board_now(board: &mut SerialBoard) -> BoardTime {
    board_now_into(board, &mut Vec::new())
}

fn board_now_into(board: &mut SerialBoard, events: &mut Vec<BoardEvent>) -> BoardTime {
    board.send(now(), BoardCommand::Ping).unwrap();
    let mut at = None;
    events.extend(listen(board, |event| {
        if let BoardEvent::Pong { at: pong, .. } = event {
            at = Some(pong);
        }
        at.is_some()
    }));
    at.expect("the board answers")
}

#[test]
fn the_firmware_greets_triggers_captures_and_keeps_time_across_a_wrapped_counter() {
    let Some(emulator) = Emulator::start() else { return };
    let mut board = emulator.open();
    println!("{}", board.identity());
    assert!(board.identity().contains("0000000000000385"));
    board.send(now(), BoardCommand::StartTriggers(PLAN)).unwrap();
    // The 32-bit counter wraps 4 s after the start.
    let events = listen(&mut board, |e| matches!(e, BoardEvent::Trigger { index: 260, .. }));
    let triggers = triggers(&events);
    assert_eq!(triggers.len(), 261);
    for (place, (index, at)) in triggers.iter().enumerate() {
        assert_eq!((*index, *at - triggers[0].1), (place as u64, PLAN.offset(*index)));
    }
    let last = triggers.last().unwrap();
    assert!(last.1 > BoardTime::from_nanos(4_500_000_000), "{last:?}");
    let exposed = |camera: u8| {
        let begins =
            |e: &&BoardEvent| matches!(e, BoardEvent::Exposure { camera: c, active: true, .. } if c.0 == camera);
        events.iter().filter(begins).count()
    };
    assert!(exposed(0).abs_diff(triggers.len()) <= 1 && exposed(1).abs_diff(triggers.len()) <= 1);
    assert_eq!(board.stats().lost.load(Ordering::Relaxed), 0);
    println!("{} triggers; {}", triggers.len(), board.stats().line());
}

#[test]
fn the_firmware_raises_outputs_at_their_time_and_lets_go_when_the_host_is_silent() {
    let Some(emulator) = Emulator::start() else { return };
    let mut board = emulator.open();
    board.send(now(), BoardCommand::ArmOutputs(true)).unwrap();
    let at = board_now(&mut board) + Span::from_millis(400);
    let width = Span::from_millis(5);
    board.send(now(), BoardCommand::Pulse { output: OutputIndex(3), at: Some(at), width }).unwrap();
    let events = listen_for(&mut board, Span::from_millis(600));
    let edge = |wanted: BoardEvent| events.contains(&wanted);
    // The wire from output 3 to input 3 carries what the pin really did.
    assert!(edge(BoardEvent::Input { line: 3, level: true, at }), "{events:?}");
    assert!(edge(BoardEvent::Input { line: 3, level: false, at: at + width }), "{events:?}");
    let start = board_now(&mut board);
    for round in 0..5 {
        let later = Some(start + Span::from_millis(900 + round * 300));
        board.send(now(), BoardCommand::Pulse { output: OutputIndex(1), at: later, width }).unwrap();
    }
    // Nothing is said to the board any more.
    let end = Instant::now() + LONG;
    let mut events = Vec::new();
    let tripped = |e: &BoardEvent| matches!(e, BoardEvent::Safety { cause: SafetyCause::HostSilent, .. });
    while !events.iter().any(tripped) && Instant::now() < end {
        events.extend(board.poll(now()).unwrap().map(|(_, event)| event));
        board.wait(now() + Span::from_millis(10));
    }
    events.extend(listen_for(&mut board, Span::from_millis(2_500)));
    assert_eq!(events.iter().filter(|e| tripped(e)).count(), 1, "{events:?}");
    let after = |e: &BoardEvent| matches!(e, BoardEvent::Output { output: OutputIndex(1), level: true, .. });
    assert!(!events.iter().any(after), "pulses that waited are forgotten");
}

#[test]
fn a_hand_at_the_panel_stops_everything_and_only_it_can_release() {
    let Some(mut emulator) = Emulator::start() else { return };
    let mut board = emulator.open();
    board.send(now(), BoardCommand::ArmOutputs(true)).unwrap();
    emulator.touch(b'1');
    let record = |e| matches!(e, BoardEvent::Button { button: ButtonKind::Record, .. });
    assert!(listen_until(&mut board, record));
    emulator.touch(b'4');
    let stopped = |e| matches!(e, BoardEvent::Safety { cause: SafetyCause::EmergencyStop, .. });
    assert!(listen_until(&mut board, stopped));
    let answer = |board: &mut SerialBoard| {
        let id = board.send(now(), BoardCommand::ArmOutputs(true)).unwrap();
        let mut answer = None;
        listen_until(board, |event| {
            if let BoardEvent::Ack { id: of, refused, .. } = event
                && of == id
            {
                answer = Some(refused);
            }
            answer.is_some()
        });
        answer.expect("acknowledged")
    };
    assert_eq!(answer(&mut board), Some(Refusal::HeldSafe));
    emulator.touch(b'0');
    let released = |e| matches!(e, BoardEvent::Button { button: ButtonKind::Arm, .. });
    assert!(listen_until(&mut board, released));
    assert_eq!(answer(&mut board), None);
    emulator.touch(b'o');
    let opened = |e| matches!(e, BoardEvent::Safety { cause: SafetyCause::Interlock, .. });
    assert!(listen_until(&mut board, opened));
    assert_eq!(answer(&mut board), Some(Refusal::HeldSafe));
}

#[test]
fn a_reset_and_a_hang_are_told_as_a_new_epoch() {
    let Some(mut emulator) = Emulator::start() else { return };
    let mut board = emulator.open();
    for what in [b'r', b'h'] {
        board.send(now(), BoardCommand::StartTriggers(PLAN)).unwrap();
        assert!(listen_until(&mut board, |e| matches!(e, BoardEvent::Trigger { .. })));
        emulator.touch(what);
        let started = |e| matches!(e, BoardEvent::Started { .. });
        assert!(listen_until(&mut board, started), "after {}", what as char);
        assert!(triggers(&listen_for(&mut board, Span::from_millis(100))).is_empty(), "the train is gone");
    }
}

#[test]
fn messages_pass_the_firmware_without_a_loss_and_garbage_does_not_stop_it() {
    let Some(emulator) = Emulator::start() else { return };
    let mut board = emulator.open();
    // Half of them from here, half of them from the board. `cargo xtask firmware --emulate` asks for all.
    let wanted = std::env::var("MIMICD_FIRMWARE_MESSAGES").ok().and_then(|text| text.parse::<u32>().ok());
    let each_way = wanted.unwrap_or(5_000) / 2;
    let begun = Instant::now();
    let (mut sent, mut heard) = (0_u32, 0_u32);
    while heard < each_way && begun.elapsed() < 10 * LONG {
        while sent < each_way && sent - heard < 60 && board.send(now(), BoardCommand::Ping).is_ok() {
            sent += 1;
        }
        while let Some((_, event)) = board.poll(now()).unwrap_or_else(|error| panic!("{error} after {heard}")) {
            heard += u32::from(matches!(event, BoardEvent::Pong { .. }));
        }
        board.wait(now() + Span::from_millis(5));
    }
    let stats = board.stats();
    println!("{heard} round trips in {:.1} s; {}", begun.elapsed().as_secs_f64(), stats.line());
    assert_eq!((sent, heard), (each_way, each_way));
    assert_eq!(stats.lost.load(Ordering::Relaxed) + stats.damaged.load(Ordering::Relaxed), 0);
    drop(board);
    garbage(&emulator);
    let mut board = emulator.open();
    board_now(&mut board);
}

/// Writes what no host would: noise, half frames, zeros.
fn garbage(emulator: &Emulator) {
    let mut line = UnixStream::connect(&emulator.line).unwrap();
    let mut state = 1_u64;
    for _ in 0..40 {
        let noise: Vec<u8> = (0..100)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        line.write_all(&noise).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    line.write_all(&[0, 0, 7, 3]).unwrap();
}

#[test]
fn an_emulator_that_ends_is_a_line_that_is_lost() {
    let Some(emulator) = Emulator::start() else { return };
    let mut board = emulator.open();
    drop(emulator);
    let end = Instant::now() + Duration::from_secs(3);
    let kind = loop {
        match board.poll(now()) {
            Err(error) => break error.kind,
            Ok(_) => assert!(Instant::now() < end, "nothing was noticed"),
        }
        board.wait(now() + Span::from_millis(10));
    };
    assert_eq!(kind, DeviceErrorKind::Disconnected);
    assert_eq!(board.reopen().unwrap_err().kind, DeviceErrorKind::NotFound);
}
