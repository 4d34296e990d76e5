//! The line under everything that can happen to it.

use mimicd_wire::frame::{FRAME_MAX, decode};
use mimicd_wire::{
    Arrival, Button, Cause, Command, CommandBody, Damage, Deframer, ENCODED_MAX, Event, Packet, Plan, Refusal,
    Sequence, encode,
};
use proptest::prelude::*;

fn plan() -> impl Strategy<Value = Plan> {
    any::<[u32; 5]>().prop_map(|[period_ns, width_ns, stretch_ns, stretch_every, code_seed]| Plan {
        period_ns,
        width_ns,
        stretch_ns,
        stretch_every,
        code_seed,
    })
}

fn command() -> impl Strategy<Value = Command> {
    let body = prop_oneof![
        any::<(u16, u32)>().prop_map(|(version, session)| CommandBody::Hello { version, session }),
        proptest::option::of(0..u64::MAX).prop_map(|at_ns| CommandBody::Echo { at_ns }),
        Just(CommandBody::Ping),
        Just(CommandBody::Heartbeat),
        plan().prop_map(CommandBody::StartTriggers),
        Just(CommandBody::StopTriggers),
        (any::<u32>(), plan()).prop_map(|(count, plan)| CommandBody::Burst { count, plan }),
        (any::<u8>(), proptest::option::of(0..u64::MAX), any::<u32>())
            .prop_map(|(output, at_ns, width_ns)| CommandBody::Pulse { output, at_ns, width_ns }),
        any::<bool>().prop_map(CommandBody::ArmOutputs),
        Just(CommandBody::SafeState),
        (any::<u8>(), any::<bool>()).prop_map(|(lamp, on)| CommandBody::Lamp { lamp, on }),
        (any::<u8>(), any::<u64>()).prop_map(|(output, every_ns)| CommandBody::Barcode { output, every_ns }),
    ];
    (any::<u32>(), body).prop_map(|(id, body)| Command { id, body })
}

fn event() -> impl Strategy<Value = Event> {
    let button = prop_oneof![
        Just(Button::Arm),
        Just(Button::Record),
        Just(Button::Stop),
        Just(Button::Mark),
        Just(Button::EmergencyStop)
    ];
    let cause = prop_oneof![
        Just(Cause::HostSilent),
        Just(Cause::EmergencyStop),
        Just(Cause::Interlock),
        Just(Cause::LimitExceeded),
        Just(Cause::Commanded)
    ];
    let refusal = prop_oneof![
        Just(Refusal::BadValue),
        Just(Refusal::NotArmed),
        Just(Refusal::TooLate),
        Just(Refusal::ScheduleFull),
        Just(Refusal::OverLimit),
        Just(Refusal::HeldSafe),
        Just(Refusal::BadVersion),
        Just(Refusal::AlreadyRunning),
        Just(Refusal::Unsupported)
    ];
    prop_oneof![
        (any::<u16>(), any::<[u32; 3]>(), any::<u64>(), any::<[u8; 2]>()).prop_map(
            |(version, [firmware, epoch, tick_ns], serial, [outputs, inputs])| Event::Hello {
                version,
                firmware,
                serial,
                epoch,
                tick_ns,
                outputs,
                inputs
            }
        ),
        any::<u32>().prop_map(|epoch| Event::Started { epoch }),
        any::<u64>().prop_map(|index| Event::Trigger { index }),
        (any::<u8>(), any::<bool>()).prop_map(|(camera, active)| Event::Exposure { camera, active }),
        (any::<u8>(), any::<bool>()).prop_map(|(line, level)| Event::Input { line, level }),
        button.prop_map(Event::Button),
        (any::<u8>(), any::<bool>(), any::<u32>()).prop_map(|(output, level, cause)| Event::Output {
            output,
            level,
            cause
        }),
        any::<u32>().prop_map(|id| Event::Pong { id }),
        (any::<u32>(), proptest::option::of(refusal)).prop_map(|(id, refused)| Event::Ack { id, refused }),
        cause.prop_map(Event::Safety),
        any::<u32>().prop_map(|id| Event::Echo { id }),
    ]
}

fn packet() -> impl Strategy<Value = Packet<Event>> {
    (any::<u32>(), any::<u64>(), event()).prop_map(|(sequence, time_ns, message)| Packet { sequence, time_ns, message })
}

fn on_the_line(packet: &Packet<Event>) -> Vec<u8> {
    let mut line = [0; ENCODED_MAX];
    let len = encode(packet, &mut line);
    line[..len].to_vec()
}

fn heard(bytes: &[u8]) -> Vec<Result<Packet<Event>, Damage>> {
    let mut deframer = Deframer::new();
    bytes.iter().filter_map(|&byte| deframer.push(byte)).collect()
}

proptest! {
    #[test]
    fn commands_come_back_as_they_went(sequence: u32, time_ns: u64, message in command()) {
        let packet = Packet { sequence, time_ns, message };
        let mut line = [0xAA; ENCODED_MAX];
        let len = encode(&packet, &mut line);
        prop_assert!(line[..len - 1].iter().all(|&byte| byte != 0) && line[len - 1] == 0);
        prop_assert_eq!(decode::<Command>(&mut line[..len - 1]), Ok(packet));
    }

    #[test]
    fn events_come_back_in_order(packets in proptest::collection::vec(packet(), 1..20)) {
        let bytes: Vec<u8> = packets.iter().flat_map(on_the_line).collect();
        prop_assert_eq!(heard(&bytes), packets.into_iter().map(Ok).collect::<Vec<_>>());
    }

    #[test]
    fn after_any_garbage_the_second_frame_is_heard(garbage in proptest::collection::vec(any::<u8>(), 0..300), one in packet(), two in packet()) {
        let mut bytes = garbage;
        bytes.extend(on_the_line(&one));
        bytes.extend(on_the_line(&two));
        prop_assert_eq!(heard(&bytes).pop(), Some(Ok(two)));
    }

    #[test]
    fn dropped_and_changed_bytes_never_make_a_message_that_was_not_sent(
        packets in proptest::collection::vec(packet(), 1..12),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::of(any::<u8>())), 1..6),
    ) {
        let mut bytes: Vec<u8> = packets.iter().flat_map(on_the_line).collect();
        for (place, change) in damage {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match change {
                Some(byte) => bytes[at] = byte,
                None => {
                    bytes.remove(at);
                }
            }
        }
        // What is heard is a subsequence of what was sent.
        let mut sent = packets.iter();
        for packet in heard(&bytes).into_iter().flatten() {
            prop_assert!(sent.any(|original| *original == packet), "{packet:?} was never sent");
        }
    }

    #[test]
    fn one_changed_bit_is_always_found(packet in packet(), place: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = on_the_line(&packet);
        let at = place.index(bytes.len() - 1);
        bytes[at] ^= 1 << bit;
        prop_assert!(heard(&bytes).into_iter().all(|result| result.is_err()));
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..ENCODED_MAX)) {
        decode::<Event>(&mut bytes.clone()).ok();
        decode::<Command>(&mut bytes).ok();
    }

    #[test]
    fn losses_and_repetitions_are_told_apart(start: u32, fates in proptest::collection::vec(0u8..3, 1..200)) {
        let mut sequence = Sequence::default();
        prop_assert_eq!(sequence.take(start), Arrival::Fresh { lost: 0 });
        let mut lost = 0;
        for (step, fate) in fates.into_iter().enumerate() {
            let number = start.wrapping_add(1 + step as u32);
            if fate == 0 {
                lost += 1;
                continue;
            }
            prop_assert_eq!(sequence.take(number), Arrival::Fresh { lost });
            lost = 0;
            if fate == 2 {
                prop_assert_eq!(sequence.take(number), Arrival::Repeated);
            }
        }
    }
}

#[test]
fn the_layout_is_that_of_the_specification() {
    let packet = Packet {
        sequence: 0x0403_0201,
        time_ns: 0x1122_3344_5566_7788,
        message: Command { id: 7, body: CommandBody::Pulse { output: 3, at_ns: None, width_ns: 5_000_000 } },
    };
    let mut line = [0; ENCODED_MAX];
    let len = encode(&packet, &mut line);
    let mut unstuffed = line[..len - 1].to_vec();
    let plain = cobs::decode_in_place(&mut unstuffed).unwrap();
    let expected = [
        0x07, 0x01, 0x02, 0x03, 0x04, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, // kind, sequence, time
        0x07, 0x00, 0x00, 0x00, 0x03, // id, output
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, // at once
        0x40, 0x4B, 0x4C, 0x00, // width
    ];
    assert_eq!(unstuffed[..plain - 4], expected);
}

#[test]
fn the_longest_message_fits() {
    let plan = Plan { period_ns: 1, width_ns: 1, stretch_ns: 1, stretch_every: 1, code_seed: 1 };
    let longest = Command { id: u32::MAX, body: CommandBody::Burst { count: u32::MAX, plan } };
    let mut line = [0; ENCODED_MAX];
    let len = encode(&Packet { sequence: u32::MAX, time_ns: u64::MAX, message: longest }, &mut line);
    assert!(len - 2 <= FRAME_MAX, "{len}");
}

#[test]
fn frames_of_another_version_are_whole_but_unknown() {
    // A command is no event: to the event reader its kind is unknown, not damaged.
    let packet = Packet { sequence: 1, time_ns: 2, message: Command { id: 3, body: CommandBody::Ping } };
    let mut line = [0; ENCODED_MAX];
    let len = encode(&packet, &mut line);
    assert_eq!(heard(&line[..len]), [Err(Damage::UnknownKind)]);
    assert_eq!(heard(&[1; 100]), []);
    assert_eq!(heard(&[&[1; 100][..], &[0]].concat()), [Err(Damage::TooLong)]);
    assert_eq!(heard(&[0, 0, 0]), []);
}
