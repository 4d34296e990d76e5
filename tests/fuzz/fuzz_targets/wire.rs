//! Any bytes on the line: no panic in either reader, and the board logic survives whatever they spell.
//!
//! The first byte chooses how the rest is taken. Even: as it is, to both readers. Odd: in pieces of up to 52 bytes, each after
//! a length and a pause, that are given the checksum and the stuffing of a real frame: what mutation never finds by itself
//! is the checksum, and so the board's commands would never be reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimicd_board::{Board, BoardConfig, Limits, OUTPUTS, Pin, Sink};
use mimicd_wire::{Command, Deframer, ENCODED_MAX, Event, Packet, encode};

/// Says again what it hears, and holds the outputs to their limits.
#[derive(Default)]
struct Watch {
    high_since: [Option<u64>; OUTPUTS],
    rose: [Option<u64>; OUTPUTS],
}

impl Sink for Watch {
    fn event(&mut self, at_ns: u64, event: Event) {
        let mut line = [0; ENCODED_MAX];
        let packet = Packet { sequence: 0, time_ns: at_ns, message: event };
        let len = encode(&packet, &mut line);
        let mut deframer = Deframer::new();
        let heard = line[..len].iter().find_map(|&byte| deframer.push(byte));
        assert_eq!(heard, Some(Ok(packet)));
    }

    fn drive(&mut self, at_ns: u64, pin: Pin, high: bool) {
        let Pin::Output(output) = pin else { return };
        // The barcode output has no limits.
        if usize::from(output) == OUTPUTS - 1 {
            return;
        }
        let limits = BoardConfig::default().limits[usize::from(output)];
        let Limits { width_ns_max, rise_gap_ns_min, .. } = limits;
        let since = &mut self.high_since[usize::from(output)];
        if high {
            assert!(since.is_none(), "output {output} rises while it is high");
            let rose = self.rose[usize::from(output)].replace(at_ns);
            assert!(rose.is_none_or(|rose| at_ns - rose >= u64::from(rise_gap_ns_min)), "output {output} rises too soon");
            *since = Some(at_ns);
        } else if let Some(since) = since.take() {
            assert!(at_ns - since <= u64::from(width_ns_max), "output {output} was high for {} ns", at_ns - since);
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

/// `content` with its checksum, stuffed (COBS), ended by a zero.
fn framed(content: &[u8]) -> Vec<u8> {
    let whole = [content, &crc32(content).to_le_bytes()].concat();
    let pieces = whole.split(|&byte| byte == 0);
    let stuffed = pieces.flat_map(|piece| std::iter::once(piece.len() as u8 + 1).chain(piece.iter().copied()));
    stuffed.chain([0]).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((how, mut rest)) = bytes.split_first() else { return };
    let (mut to_board, mut to_host) = (Deframer::new(), Deframer::new());
    let (mut board, mut watch, mut now) = (Board::new(BoardConfig::default(), 1), Watch::default(), 0_u64);
    let mut hear = |line: &[u8], now: &mut u64, step: u64, watch: &mut Watch| {
        for &byte in line {
            *now += step;
            let _ = to_host.push::<Event>(byte);
            if let Some(Ok(packet)) = to_board.push::<Command>(byte) {
                board.command(*now, packet.message, watch);
            }
        }
        board.advance(*now, watch);
    };
    if how % 2 == 0 {
        hear(rest, &mut now, 1_000, &mut watch);
    } else {
        while let [len, pause, tail @ ..] = rest {
            let (piece, left) = tail.split_at(tail.len().min(usize::from(*len % 53)));
            // From nothing to a second and a half: the watchdog is tripped by some and not by others.
            now += u64::from(*pause).pow(2) * 23_000;
            hear(&framed(piece), &mut now, 1_000, &mut watch);
            rest = left;
        }
    }
    now += 2_000_000_000;
    board.advance(now, &mut watch);
    assert!(watch.high_since.iter().all(Option::is_none), "a silent host leaves no output high");
});
