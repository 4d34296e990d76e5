//! Any bytes on the line: no panic in either reader, and the board logic survives whatever they spell.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimicd_board::{Board, BoardConfig, Pin, Sink};
use mimicd_wire::{Command, Deframer, ENCODED_MAX, Event, Packet, encode};

struct Echo;

impl Sink for Echo {
    fn event(&mut self, at_ns: u64, event: Event) {
        let mut line = [0; ENCODED_MAX];
        let packet = Packet { sequence: 0, time_ns: at_ns, message: event };
        let len = encode(&packet, &mut line);
        let mut deframer = Deframer::new();
        let heard = line[..len].iter().find_map(|&byte| deframer.push(byte));
        assert_eq!(heard, Some(Ok(packet)));
    }

    fn drive(&mut self, _at_ns: u64, _pin: Pin, _high: bool) {}
}

fuzz_target!(|bytes: &[u8]| {
    let (mut to_board, mut to_host) = (Deframer::new(), Deframer::new());
    let mut board = Board::new(BoardConfig::default(), 1);
    for (place, &byte) in bytes.iter().enumerate() {
        let _ = to_host.push::<Event>(byte);
        if let Some(Ok(packet)) = to_board.push::<Command>(byte) {
            board.command(place as u64 * 1_000, packet.message, &mut Echo);
        }
    }
    board.advance(bytes.len() as u64 * 1_000 + 1_000_000_000, &mut Echo);
});
