//! The board in virtual time, against a host that may do anything.

use mimicd_board::{Board, BoardConfig, Limits, OUTPUTS, Pin, SCHEDULE, START_LEAD_NS, Sink};
use mimicd_wire::{Button, Cause, Command, CommandBody, Deframer, Event, Plan, Refusal};
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const PLAN: Plan =
    Plan { period_ns: 20_000_000, width_ns: 1_000_000, stretch_ns: 2_000_000, stretch_every: 50, code_seed: 7 };

#[derive(Default)]
struct Notes {
    events: Vec<(u64, Event)>,
    edges: Vec<(u64, Pin, bool)>,
}

impl Sink for Notes {
    fn event(&mut self, at_ns: u64, event: Event) {
        self.events.push((at_ns, event));
    }

    fn drive(&mut self, at_ns: u64, pin: Pin, high: bool) {
        self.edges.push((at_ns, pin, high));
    }
}

impl Notes {
    fn output_edges(&self, output: u8) -> Vec<(u64, bool)> {
        let mine = self.edges.iter().filter(|edge| edge.1 == Pin::Output(output));
        mine.map(|&(at, _, high)| (at, high)).collect()
    }

    fn acks(&self) -> Vec<Option<Refusal>> {
        let ack = |event: &Event| match event {
            Event::Ack { refused, .. } => Some(*refused),
            _ => None,
        };
        self.events.iter().filter_map(|(_, event)| ack(event)).collect()
    }

    fn has(&self, wanted: Event) -> bool {
        self.events.iter().any(|(_, event)| *event == wanted)
    }
}

struct Host {
    board: Board,
    notes: Notes,
    id: u32,
}

impl Host {
    fn new() -> Self {
        Self { board: Board::new(BoardConfig::default(), 1), notes: Notes::default(), id: 0 }
    }

    fn armed() -> Self {
        let mut host = Self::new();
        host.send(0, CommandBody::ArmOutputs(true));
        host.notes = Notes::default();
        host
    }

    fn send(&mut self, at_ns: u64, body: CommandBody) {
        self.id += 1;
        self.board.command(at_ns, Command { id: self.id, body }, &mut self.notes);
    }

    /// Advances in steps, alive all the time.
    fn live(&mut self, from_ns: u64, to_ns: u64) {
        for at in (from_ns..to_ns).step_by(100 * MS as usize) {
            self.send(at, CommandBody::Heartbeat);
        }
        self.board.advance(to_ns, &mut self.notes);
    }
}

#[test]
fn the_train_follows_its_plan_to_the_nanosecond_and_pulses_never_touch() {
    let mut host = Host::new();
    host.send(5 * MS, CommandBody::StartTriggers(PLAN));
    host.live(5 * MS, 20 * SECOND);
    let start = 5 * MS + START_LEAD_NS;
    let rises: Vec<u64> = host.notes.edges.iter().filter(|e| e.1 == Pin::Trigger && e.2).map(|e| e.0).collect();
    assert!(rises.len() > 900);
    for (index, &rise) in rises.iter().enumerate() {
        assert_eq!(rise, start + PLAN.offset_ns(index as u64));
        assert!(host.notes.has(Event::Trigger { index: index as u64 }));
    }
    let levels: Vec<bool> = host.notes.edges.iter().filter(|e| e.1 == Pin::Trigger).map(|e| e.2).collect();
    assert!(levels.chunks(2).all(|pair| pair[0] && pair.get(1).is_none_or(|&low| !low)));
}

#[test]
fn a_burst_fires_exactly_its_count() {
    let mut host = Host::new();
    host.send(0, CommandBody::Burst { count: 17, plan: PLAN });
    host.send(MS, CommandBody::StartTriggers(PLAN));
    host.live(0, 2 * SECOND);
    assert_eq!(host.notes.events.iter().filter(|e| matches!(e.1, Event::Trigger { .. })).count(), 17);
    assert_eq!(host.notes.acks(), [None, Some(Refusal::AlreadyRunning)]);
    host.send(2 * SECOND, CommandBody::StartTriggers(PLAN));
    assert_eq!(host.notes.acks().last(), Some(&None), "free again");
}

#[test]
fn a_repeated_command_is_answered_but_not_done_again() {
    let mut host = Host::armed();
    let pulse = Command { id: 77, body: CommandBody::Pulse { output: 0, at_ns: None, width_ns: 1_000_000 } };
    for at in [0, 5 * MS, 50 * MS] {
        host.board.command(at, pulse, &mut host.notes);
    }
    host.live(50 * MS, SECOND);
    assert_eq!(host.notes.acks(), [None, None, None]);
    assert_eq!(host.notes.output_edges(0), [(0, true), (MS, false)]);
}

#[test]
fn a_scheduled_pulse_rises_at_its_board_time() {
    let mut host = Host::armed();
    host.send(0, CommandBody::Pulse { output: 2, at_ns: Some(123_456_789), width_ns: 2_000_000 });
    host.send(0, CommandBody::Pulse { output: 3, at_ns: Some(123_456_789), width_ns: 1_000_000 });
    host.send(SECOND / 5, CommandBody::Pulse { output: 2, at_ns: Some(1), width_ns: 1 });
    assert_eq!(host.notes.output_edges(2), [(123_456_789, true), (125_456_789, false)]);
    assert_eq!(host.notes.output_edges(3), [(123_456_789, true), (124_456_789, false)]);
    assert_eq!(host.notes.acks(), [None, None, Some(Refusal::TooLate)]);
}

#[test]
fn refusals_say_why() {
    let mut host = Host::new();
    let pulse = |output, width_ns| CommandBody::Pulse { output, at_ns: None, width_ns };
    host.send(0, pulse(0, 1_000));
    host.send(0, CommandBody::ArmOutputs(true));
    for body in [
        pulse(OUTPUTS as u8, 1_000),
        pulse(OUTPUTS as u8 - 1, 1_000),
        pulse(0, 0),
        pulse(0, u32::MAX),
        CommandBody::StartTriggers(Plan { width_ns: 20_000_000, ..PLAN }),
        CommandBody::Burst { count: 0, plan: PLAN },
        CommandBody::Lamp { lamp: 9, on: true },
        CommandBody::Barcode { output: 0, every_ns: 5 * SECOND },
        CommandBody::Hello { version: 99, session: 1 },
    ] {
        host.send(0, body);
    }
    use Refusal::{BadValue, BadVersion, NotArmed, OverLimit};
    let expected = [
        Some(NotArmed),
        None,
        Some(BadValue),
        Some(BadValue),
        Some(BadValue),
        Some(OverLimit),
        Some(BadValue),
        Some(BadValue),
        Some(BadValue),
        Some(BadValue),
        Some(BadVersion),
    ];
    assert_eq!(host.notes.acks(), expected);
    for _ in 0..SCHEDULE + 1 {
        host.send(0, CommandBody::Pulse { output: 1, at_ns: Some(SECOND), width_ns: 1_000 });
    }
    assert_eq!(host.notes.acks().last(), Some(&Some(Refusal::ScheduleFull)));
}

#[test]
fn a_silent_host_trips_the_watchdog_in_mid_pulse_and_waiting_pulses_are_forgotten() {
    let mut host = Host::armed();
    host.send(450 * MS, CommandBody::Pulse { output: 0, at_ns: Some(940 * MS), width_ns: 100_000_000 });
    host.send(450 * MS, CommandBody::Pulse { output: 1, at_ns: Some(2 * SECOND), width_ns: 1_000_000 });
    host.board.advance(5 * SECOND, &mut host.notes);
    assert_eq!(host.notes.output_edges(0), [(940 * MS, true), (950 * MS, false)], "500 ms after the last word");
    assert_eq!(host.notes.output_edges(1), []);
    assert!(host.notes.events.contains(&(950 * MS, Event::Safety(Cause::HostSilent))));
    assert!(!host.board.is_armed());
    host.send(5 * SECOND, CommandBody::Pulse { output: 1, at_ns: None, width_ns: 1_000 });
    assert_eq!(host.notes.acks().last(), Some(&Some(Refusal::NotArmed)));
}

#[test]
fn the_emergency_stop_latches_against_the_host_until_the_arm_button() {
    let mut host = Host::armed();
    host.send(0, CommandBody::Pulse { output: 0, at_ns: None, width_ns: 50_000_000 });
    host.board.button(10 * MS, Button::EmergencyStop, &mut host.notes);
    assert_eq!(host.notes.output_edges(0), [(0, true), (10 * MS, false)]);
    host.send(20 * MS, CommandBody::ArmOutputs(true));
    assert_eq!(host.notes.acks().last(), Some(&Some(Refusal::HeldSafe)));
    host.board.button(30 * MS, Button::Arm, &mut host.notes);
    host.send(40 * MS, CommandBody::ArmOutputs(true));
    assert_eq!(host.notes.acks().last(), Some(&None));
    host.board.interlock(50 * MS, true, &mut host.notes);
    host.send(60 * MS, CommandBody::ArmOutputs(true));
    assert_eq!(host.notes.acks().last(), Some(&Some(Refusal::HeldSafe)));
}

#[test]
fn barcodes_run_on_their_output_only() {
    let mut host = Host::new();
    host.send(0, CommandBody::Barcode { output: 7, every_ns: 5 * SECOND });
    host.live(0, 12 * SECOND);
    let edges = host.notes.output_edges(7);
    let changes = edges.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    assert_eq!(changes, 3 * 16, "three barcodes of 16 levels");
    let told = |(at, event): &(u64, Event)| match *event {
        Event::Output { output: 7, level, cause: 1 } => Some((*at, level)),
        _ => None,
    };
    let told: Vec<(u64, bool)> = host.notes.events.iter().filter_map(told).collect();
    assert_eq!(told, edges[1..], "every change is told in board time");
}

#[test]
fn another_session_finds_nothing_running_and_the_same_one_everything() {
    let mut host = Host::armed();
    let hello = |session| CommandBody::Hello { version: 1, session };
    host.send(0, hello(1));
    host.send(0, CommandBody::ArmOutputs(true));
    host.send(0, CommandBody::StartTriggers(PLAN));
    host.send(0, CommandBody::Pulse { output: 0, at_ns: None, width_ns: 50_000_000 });
    host.send(MS, hello(1));
    assert!(host.board.is_armed() && host.board.train().is_some(), "a link that came back");
    host.send(2 * MS, hello(2));
    assert!(!host.board.is_armed() && host.board.train().is_none(), "a host that was started anew");
    assert_eq!(host.notes.output_edges(0), [(0, true), (2 * MS, false)]);
    host.id = 1;
    host.send(3 * MS, CommandBody::StartTriggers(PLAN));
    assert_eq!(host.notes.acks().last(), Some(&None));
    assert!(host.board.train().is_some(), "the new session's identities are its own");
}

#[test]
fn an_echo_comes_at_its_instant_whatever_the_outputs_state() {
    let mut host = Host::new();
    host.send(0, CommandBody::Echo { at_ns: Some(123_456_789) });
    host.send(MS, CommandBody::Echo { at_ns: None });
    host.send(SECOND, CommandBody::Echo { at_ns: Some(5) });
    assert_eq!(host.notes.acks(), [None, Some(Refusal::ScheduleFull), Some(Refusal::TooLate)]);
    assert!(host.notes.events.contains(&(123_456_789, Event::Echo { id: 1 })));
}

/// What a hostile host may do next.
#[derive(Clone, Debug)]
enum Act {
    Pulse { output: u8, in_ns: Option<u64>, width_ns: u32 },
    Arm(bool),
    Silence(u64),
    Stop,
    Button(bool),
    Interlock(bool),
    Barcode(u64),
    Hello(u32),
    Train(u32),
    Garbage(Vec<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    let width = prop_oneof![4 => 0u32..=30_000_000, 1 => any::<u32>()];
    prop_oneof![
        12 => (0u8..9, proptest::option::of(0u64..3 * SECOND), width)
            .prop_map(|(output, in_ns, width_ns)| Act::Pulse { output, in_ns, width_ns }),
        4 => Just(Act::Arm(true)),
        1 => Just(Act::Arm(false)),
        4 => (0u64..SECOND).prop_map(Act::Silence),
        1 => Just(Act::Stop),
        1 => any::<bool>().prop_map(Act::Button),
        1 => any::<bool>().prop_map(Act::Interlock),
        1 => (0u64..10 * SECOND).prop_map(Act::Barcode),
        1 => (0u32..3).prop_map(Act::Hello),
        1 => any::<u32>().prop_map(Act::Train),
        1 => proptest::collection::vec(any::<u8>(), 0..80).prop_map(Act::Garbage),
    ]
}

const TIGHT: Limits =
    Limits { width_ns_max: 20_000_000, duty_ppm: 50_000, window_ns: SECOND, rise_gap_ns_min: 5_000_000 };

fn play(acts: Vec<Act>) -> Notes {
    let config = BoardConfig { limits: [TIGHT; OUTPUTS], ..BoardConfig::default() };
    let (mut board, mut notes, mut now) = (Board::new(config, 1), Notes::default(), 0);
    for (number, act) in acts.into_iter().enumerate() {
        now += 300_000;
        let mut send = |body| board.command(now, Command { id: number as u32 + 1, body }, &mut notes);
        match act {
            Act::Pulse { output, in_ns, width_ns } => {
                send(CommandBody::Pulse { output, at_ns: in_ns.map(|ns| now + ns), width_ns });
            }
            Act::Arm(on) => send(CommandBody::ArmOutputs(on)),
            Act::Silence(ns) => now += ns,
            Act::Stop => send(CommandBody::SafeState),
            Act::Button(arm) => {
                let button = if arm { Button::Arm } else { Button::EmergencyStop };
                board.button(now, button, &mut notes);
            }
            Act::Interlock(open) => board.interlock(now, open, &mut notes),
            Act::Barcode(every_ns) => send(CommandBody::Barcode { output: 7, every_ns }),
            Act::Hello(session) => send(CommandBody::Hello { version: 1, session }),
            Act::Train(period_ns) => send(CommandBody::StartTriggers(Plan { period_ns, ..PLAN })),
            Act::Garbage(bytes) => {
                let mut deframer = Deframer::new();
                for byte in bytes.into_iter().chain([0]) {
                    if let Some(Ok(packet)) = deframer.push::<Command>(byte) {
                        board.command(now, packet.message, &mut notes);
                    }
                }
            }
        }
    }
    board.advance(now + 10 * SECOND, &mut notes);
    notes
}

/// High time within `[from, from + window)`.
fn high_ns(edges: &[(u64, bool)], from: u64, window: u64) -> u64 {
    let inside = |at: u64| at.clamp(from, from + window);
    edges.chunks(2).map(|pulse| inside(pulse.get(1).map_or(u64::MAX, |fall| fall.0)) - inside(pulse[0].0)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_host_exceeds_width_rate_or_duty(acts in proptest::collection::vec(act(), 1..300)) {
        let notes = play(acts);
        for output in 0..OUTPUTS as u8 - 1 {
            let edges = notes.output_edges(output);
            prop_assert!(edges.iter().enumerate().all(|(index, edge)| edge.1 == (index % 2 == 0)), "edges alternate");
            prop_assert!(edges.len().is_multiple_of(2), "and end low");
            for pulse in edges.chunks(2) {
                prop_assert!(pulse[1].0 - pulse[0].0 <= u64::from(TIGHT.width_ns_max));
            }
            for pair in edges.chunks(2).collect::<Vec<_>>().windows(2) {
                prop_assert!(pair[1][0].0 - pair[0][0].0 >= u64::from(TIGHT.rise_gap_ns_min));
            }
            // The worst windows begin at a rise or end at a fall.
            let allowed = TIGHT.window_ns * u64::from(TIGHT.duty_ppm) / 1_000_000;
            for &(at, high) in &edges {
                let from = if high { at } else { at.saturating_sub(TIGHT.window_ns) };
                prop_assert!(high_ns(&edges, from, TIGHT.window_ns) <= allowed, "output {output} from {from}");
            }
        }
        prop_assert!(notes.edges.windows(2).all(|pair| pair[0].0 <= pair[1].0), "in the order of time");
    }

    #[test]
    fn virtual_time_beyond_2_to_the_32_changes_nothing(start in 0u64..1 << 60) {
        let mut host = Host::new();
        host.board.advance(start, &mut host.notes);
        host.send(start, CommandBody::StartTriggers(PLAN));
        host.live(start, start + SECOND);
        let first = host.notes.edges[0].0;
        prop_assert_eq!(first, start + START_LEAD_NS);
        prop_assert_eq!(host.notes.events.iter().filter(|e| matches!(e.1, Event::Trigger { .. })).count(), 50);
    }
}
