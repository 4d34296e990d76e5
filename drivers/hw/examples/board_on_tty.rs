//! A sync board on a terminal: the firmware's own logic behind a USB gadget, for the bench of `tests/vm`.
//!
//! `board_on_tty /dev/ttyGS0`: runs until it is stopped, also while nobody is plugged in, as a board with its own supply.

use std::error::Error;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use mimicd_board::{BoardConfig, Endpoint, Pin, Pins};
use serialport::TTYPort;

struct NoPins;

impl Pins for NoPins {
    fn drive(&mut self, _at_ns: u64, _pin: Pin, _high: bool) {}
}

/// The terminal; `None` while it cannot be opened.
fn open(path: &str) -> Option<TTYPort> {
    TTYPort::open(&serialport::new(path, 115_200).timeout(Duration::from_micros(300))).ok()
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("which terminal? e.g. /dev/ttyGS0")?;
    let config = BoardConfig { serial: 0xB0A2D, ..BoardConfig::default() };
    let mut endpoint = Endpoint::new(config, std::process::id());
    let start = Instant::now();
    let mut line = open(&path);
    println!("board on {path}");
    let mut bytes = [0; 256];
    loop {
        let read = line.as_mut().map(|line| line.read(&mut bytes));
        let now_ns = start.elapsed().as_nanos() as u64;
        match read {
            Some(Ok(count)) => bytes[..count].iter().for_each(|&byte| endpoint.receive(now_ns, byte, &mut NoPins)),
            Some(Err(error)) if error.kind() == ErrorKind::TimedOut => {}
            // Hung up: the cable is out. The terminal has to be opened anew.
            Some(Err(_)) => line = None,
            None => {
                std::thread::sleep(Duration::from_millis(1));
                line = open(&path);
            }
        }
        endpoint.advance(now_ns, &mut NoPins);
        let sent = line.as_mut().and_then(|line| line.write(endpoint.outgoing()).ok()).unwrap_or(0);
        endpoint.sent(sent);
    }
}
