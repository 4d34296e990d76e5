//! The serial driver against the board's own logic over a pseudo terminal: as on USB, but for the modem lines.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod board_peer;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use board_peer::Peer;
use mimicd_board::{BoardConfig, Endpoint};
use mimicd_device::{
    BoardCommand, BoardEvent, BoardTime, ButtonKind, DeviceErrorKind, HostTime, OutputIndex, SafetyCause, Span,
    SyncBoard as _, TriggerPlan,
};
use mimicd_hw::serial::find::Device;
use mimicd_hw::serial::{SerialBoard, SerialOptions};
use mimicd_wire::Button;

const PLAN: TriggerPlan = TriggerPlan {
    period: Span::from_millis(5),
    width: Span::from_millis(1),
    stretch: Span::from_millis(1),
    stretch_every: 20,
    code_seed: 3,
};

fn now() -> HostTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    HostTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

fn options(peer: &Peer) -> SerialOptions {
    SerialOptions { device: Device::Port(peer.path()), ..SerialOptions::default() }
}

fn open(peer: &Peer) -> SerialBoard {
    SerialBoard::open(options(peer)).unwrap()
}

/// Polls for `span`, keeping the board's watchdog fed; everything it said.
fn listen(board: &mut SerialBoard, span: Duration) -> Vec<BoardEvent> {
    let mut events = Vec::new();
    listen_until(board, span, |event| {
        events.push(event);
        false
    });
    events
}

/// Polls until `done` or for `span`; whether it was done.
fn listen_until(board: &mut SerialBoard, span: Duration, mut done: impl FnMut(BoardEvent) -> bool) -> bool {
    let end = Instant::now() + span;
    let mut beat = Instant::now();
    while Instant::now() < end {
        if beat <= Instant::now() {
            beat += Duration::from_millis(50);
            board.send(now(), BoardCommand::Heartbeat).unwrap();
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

fn fails(board: &mut SerialBoard, within: Duration) -> DeviceErrorKind {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if let Err(error) = board.poll(now()) {
            return error.kind;
        }
        board.send(now(), BoardCommand::Ping).ok();
        board.wait(now() + Span::from_millis(10));
    }
    panic!("the driver noticed nothing within {within:?}")
}

#[test]
fn it_greets_pings_counts_triggers_and_schedules() {
    let peer = Peer::new(0xABCD, 1);
    let mut board = open(&peer);
    assert!(board.identity().contains("000000000000abcd"), "{}", board.identity());
    board.send(now(), BoardCommand::Ping).unwrap();
    let pong = listen_until(&mut board, Duration::from_secs(2), |event| matches!(event, BoardEvent::Pong { .. }));
    assert!(pong);
    board.send(now(), BoardCommand::StartTriggers(PLAN)).unwrap();
    let triggers: Vec<(u64, BoardTime)> = listen(&mut board, Duration::from_millis(700))
        .iter()
        .filter_map(|event| match event {
            BoardEvent::Trigger { index, at } => Some((*index, *at)),
            _ => None,
        })
        .collect();
    assert!(triggers.len() > 100, "{}", triggers.len());
    for (place, (index, at)) in triggers.iter().enumerate() {
        assert_eq!(*index, place as u64);
        assert_eq!(*at - triggers[0].1, PLAN.offset(*index));
    }
    board.send(now(), BoardCommand::ArmOutputs(true)).unwrap();
    let at = triggers.last().unwrap().1 + Span::from_millis(300);
    let width = Span::from_millis(2);
    let id = board.send(now(), BoardCommand::Pulse { output: OutputIndex(3), at: Some(at), width }).unwrap();
    let rose = listen_until(
        &mut board,
        Duration::from_secs(2),
        |event| matches!(event, BoardEvent::Output { level: true, at: rose, cause, .. } if rose == at && cause == id),
    );
    assert!(rose, "output 3 rises at the board time asked for");
    listen(&mut board, Duration::from_millis(20));
    assert_eq!(peer.edges(3), [(at.nanos() as u64, true), ((at + width).nanos() as u64, false)]);
}

#[test]
fn a_hundred_thousand_messages_pass_without_a_loss() {
    let peer = Peer::new(1, 1);
    let mut board = open(&peer);
    let (mut sent, mut heard, mut refused) = (0_u32, 0_u32, 0_u64);
    let end = Instant::now() + Duration::from_secs(120);
    while heard < 100_000 && Instant::now() < end {
        if sent < 100_000 {
            match board.send(now(), BoardCommand::Ping) {
                Ok(_) => sent += 1,
                Err(error) if error.kind == DeviceErrorKind::WouldBlock => {
                    refused += 1;
                    board.wait(now() + Span::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
            // More under way than the board's own buffer holds would be lost there, and honestly counted.
            while sent - heard > 60 && Instant::now() < end {
                heard += pongs(&mut board);
                board.wait(now() + Span::from_millis(1));
            }
        }
        heard += pongs(&mut board);
    }
    let stats = board.stats();
    println!("{} ({refused} times told to wait)", stats.line());
    assert_eq!((sent, heard), (100_000, 100_000));
    assert_eq!(stats.lost.load(Ordering::Relaxed) + stats.damaged.load(Ordering::Relaxed), 0);
}

fn pongs(board: &mut SerialBoard) -> u32 {
    let mut count = 0;
    while let Some((_, event)) = board.poll(now()).unwrap() {
        count += u32::from(matches!(event, BoardEvent::Pong { .. }));
    }
    count
}

#[test]
fn lost_and_garbled_bytes_cost_messages_that_are_counted_and_nothing_else() {
    let mut peer = Peer::new(1, 1);
    let mut board = open(&peer);
    board.send(now(), BoardCommand::StartTriggers(PLAN)).unwrap();
    assert!(listen_until(&mut board, Duration::from_secs(2), |event| matches!(event, BoardEvent::Trigger { .. })));
    peer.line.lose_one_in.store(400, Ordering::Relaxed);
    peer.line.garble_one_in.store(400, Ordering::Relaxed);
    let damaged = listen(&mut board, Duration::from_secs(3));
    peer.line.lose_one_in.store(0, Ordering::Relaxed);
    peer.line.garble_one_in.store(0, Ordering::Relaxed);
    let clean = listen(&mut board, Duration::from_millis(300));
    let index = |event: &BoardEvent| match event {
        BoardEvent::Trigger { index, .. } => Some(*index),
        _ => None,
    };
    let seen: Vec<u64> = damaged.iter().chain(&clean).filter_map(index).collect();
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "no trigger is misread or read twice");
    let missing = (seen.last().unwrap() - seen[0] + 1) - seen.len() as u64;
    let lost: u64 = damaged
        .iter()
        .chain(&clean)
        .map(|e| if let BoardEvent::Lost { messages } = e { u64::from(*messages) } else { 0 })
        .sum();
    let stats = board.stats();
    println!("{missing} triggers missing, {lost} messages declared lost: {}", stats.line());
    assert!(missing > 10, "the line was bad enough to tell");
    assert_eq!(missing, lost, "every missing message is declared");
    assert_eq!(stats.lost.load(Ordering::Relaxed), lost);
    assert!(stats.damaged.load(Ordering::Relaxed) > 10);
    let (_, counts) = peer.unplug();
    assert_eq!(counts.dropped, 0);
}

#[test]
fn a_command_whose_acknowledgement_is_lost_is_repeated_and_done_once() {
    let peer = Peer::new(1, 1);
    let mut board = open(&peer);
    board.send(now(), BoardCommand::ArmOutputs(true)).unwrap();
    listen(&mut board, Duration::from_millis(50));
    // Everything the board says is lost for a while.
    peer.line.lose_one_in.store(1, Ordering::Relaxed);
    let burst = board.send(now(), BoardCommand::Burst { count: 3, plan: PLAN }).unwrap();
    let at_once = board
        .send(now(), BoardCommand::Pulse { output: OutputIndex(0), at: None, width: Span::from_millis(1) })
        .unwrap();
    listen(&mut board, Duration::from_millis(250));
    peer.line.lose_one_in.store(0, Ordering::Relaxed);
    let events = listen(&mut board, Duration::from_millis(400));
    let acked = |id| events.iter().any(|e| matches!(e, BoardEvent::Ack { id: i, refused: None, .. } if *i == id));
    assert!(acked(burst), "{events:?}");
    assert!(!acked(at_once));
    assert_eq!(peer.edges(0).len(), 2, "a pulse at once is never repeated");
    assert!(board.stats().resent.load(Ordering::Relaxed) >= 1);
    assert_eq!(board.stats().unanswered.load(Ordering::Relaxed), 1);
}

#[test]
fn a_silent_host_trips_the_watchdog_and_a_button_stops_everything() {
    let peer = Peer::new(1, 1);
    let mut board = open(&peer);
    board.send(now(), BoardCommand::ArmOutputs(true)).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let tripped = |event| matches!(event, BoardEvent::Safety { cause: SafetyCause::HostSilent, .. });
    assert!(listen_until(&mut board, Duration::from_secs(1), tripped));
    peer.press(Button::EmergencyStop);
    let events = listen(&mut board, Duration::from_millis(100));
    assert!(events.iter().any(|e| matches!(e, BoardEvent::Button { button: ButtonKind::EmergencyStop, .. })));
    let id = board.send(now(), BoardCommand::ArmOutputs(true)).unwrap();
    let refused = |event| matches!(event, BoardEvent::Ack { id: i, refused: Some(mimicd_device::Refusal::HeldSafe), .. } if i == id);
    assert!(listen_until(&mut board, Duration::from_secs(1), refused));
}

#[test]
fn an_unplugged_board_is_lost_at_once_and_found_again_with_its_train() {
    let mut peer = Peer::new(1, 7);
    let zero = Instant::now();
    let mut board = open(&peer);
    board.send(now(), BoardCommand::StartTriggers(PLAN)).unwrap();
    listen(&mut board, Duration::from_millis(300));
    let (endpoint, _) = peer.unplug();
    assert_eq!(fails(&mut board, Duration::from_secs(2)), DeviceErrorKind::Disconnected);
    assert_eq!(board.reopen().unwrap_err().kind, DeviceErrorKind::NotFound, "there is nothing");
    std::thread::sleep(Duration::from_millis(200));
    peer.plug_in(endpoint, zero);
    board.reopen().unwrap();
    let events = listen(&mut board, Duration::from_millis(300));
    let lost: u32 = events.iter().map(|e| if let BoardEvent::Lost { messages } = e { *messages } else { 0 }).sum();
    assert!(lost > 20, "what happened meanwhile is declared: {lost}");
    assert!(!events.iter().any(|e| matches!(e, BoardEvent::Started { .. })), "the board ran on");
    assert!(
        events.iter().any(|e| matches!(e, BoardEvent::Trigger { index, .. } if *index > 60)),
        "and so did its train"
    );
}

#[test]
fn a_board_that_restarted_says_so_and_another_board_is_not_taken() {
    let mut peer = Peer::new(1, 7);
    let mut board = open(&peer);
    peer.unplug();
    assert_eq!(fails(&mut board, Duration::from_secs(2)), DeviceErrorKind::Disconnected);
    peer.plug_in(Endpoint::new(BoardConfig { serial: 2, ..BoardConfig::default() }, 8), Instant::now());
    let error = board.reopen().unwrap_err();
    assert_eq!(error.kind, DeviceErrorKind::NotFound);
    assert!(error.context.contains("is wanted"), "{error}");
    peer.unplug();
    peer.plug_in(Endpoint::new(BoardConfig { serial: 1, ..BoardConfig::default() }, 8), Instant::now());
    board.reopen().unwrap();
    let events = listen(&mut board, Duration::from_millis(50));
    assert!(matches!(events[0], BoardEvent::Started { epoch: 8, .. }), "{events:?}");
    board.send(now(), BoardCommand::StartTriggers(PLAN)).unwrap();
    assert!(listen_until(&mut board, Duration::from_secs(1), |e| matches!(e, BoardEvent::Trigger { index: 3, .. })));
}

#[test]
fn a_board_that_falls_silent_is_lost_and_a_port_that_is_no_board_is_refused() {
    let peer = Peer::new(1, 1);
    let mut board = open(&peer);
    peer.line.deaf.store(true, Ordering::Relaxed);
    assert_eq!(fails(&mut board, Duration::from_secs(5)), DeviceErrorKind::TimedOut);
    drop(board);
    let error = SerialBoard::open(options(&peer)).err().unwrap();
    assert_eq!(error.kind, DeviceErrorKind::TimedOut);
    assert!(error.context.contains("nobody answers"), "{error}");
    let nowhere = SerialOptions { device: Device::Port("/dev/no-such-port".into()), ..SerialOptions::default() };
    assert_eq!(SerialBoard::open(nowhere).err().unwrap().kind, DeviceErrorKind::NotFound);
}

#[test]
fn the_port_is_ours_alone() {
    let peer = Peer::new(1, 1);
    let _board = open(&peer);
    let error = SerialBoard::open(options(&peer)).err().unwrap();
    assert_eq!(error.kind, DeviceErrorKind::Busy, "{error}");
}

#[test]
fn a_full_queue_is_said_and_nothing_is_lost_by_it() {
    let peer = Peer::new(1, 1);
    let mut board = open(&peer);
    peer.line.deaf.store(true, Ordering::Relaxed);
    let pulse = BoardCommand::Lamp { lamp: 0, on: true };
    let taken = (0..1_000).take_while(|_| board.send(now(), pulse).is_ok()).count();
    assert!((32..1_000).contains(&taken), "{taken} taken");
    let error = board.send(now(), pulse).unwrap_err();
    assert_eq!(error.kind, DeviceErrorKind::WouldBlock, "{error}");
    peer.line.deaf.store(false, Ordering::Relaxed);
    let events = listen(&mut board, Duration::from_millis(500));
    let acked = events.iter().filter(|e| matches!(e, BoardEvent::Ack { refused: None, .. })).count();
    assert_eq!(acked, taken);
}

#[test]
fn another_thread_ends_the_wait() {
    let peer = Peer::new(1, 1);
    let mut board = open(&peer);
    listen(&mut board, Duration::from_millis(50));
    let waker = board.waker();
    let begun = Instant::now();
    let other = std::thread::Builder::new()
        .name("waker".to_owned())
        .spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            waker.wake();
        })
        .unwrap();
    board.wait(now() + Span::from_millis(10_000));
    assert!(begun.elapsed() < Duration::from_secs(5));
    other.join().unwrap();
    waker_before_wait(&mut board);
}

fn waker_before_wait(board: &mut SerialBoard) {
    board.waker().wake();
    let begun = Instant::now();
    board.wait(now() + Span::from_millis(10_000));
    assert!(begun.elapsed() < Duration::from_secs(5), "a wake before the wait is not lost");
}
