//! A sync board on a terminal, and the cameras on its trigger line: the firmware's own logic behind a USB gadget, and pictures
//! written into v4l2loopback devices, for the benches of `tests/vm`.
//!
//! usage: board_on_tty TERMINAL [--restart-if FILE] [--log FILE] [--camera DEVICE WIDTH HEIGHT]...
//!
//! Runs until it is stopped, also while nobody is plugged in, as a board with its own supply. With --restart-if it is fed by
//! the bus while FILE exists: when the plug is pulled it is off, and when it is back it starts anew. Every trigger gives one
//! grey picture to each camera; the log has a line for each: train, trigger, camera, CLOCK_MONOTONIC in ns before and after.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mimicd_board::{BoardConfig, Endpoint, Pin, Pins};
use rustix::time::{ClockId, clock_gettime};
use serialport::TTYPort;
use v4l::video::Output as _;
use v4l::{Device, Format, FourCC};

/// What hangs on the trigger line.
#[derive(Default)]
struct Cameras {
    devices: Vec<(Device, usize)>,
    picture: Vec<u8>,
    log: Option<BufWriter<File>>,
    train: u64,
    next: u64,
}

impl Cameras {
    fn add(&mut self, path: &str, width: u32, height: u32) -> Result<(), Box<dyn Error>> {
        let mut device = Device::with_path(path)?;
        let set = device.set_format(&Format::new(width, height, FourCC::new(b"GREY")))?;
        println!("{path}: {}x{} {}", set.width, set.height, set.fourcc);
        let bytes = (width * height) as usize;
        self.picture.resize(self.picture.len().max(bytes), 0);
        // What a reader needs to be able to begin: the device has a picture.
        device.write_all(&self.picture[..bytes])?;
        self.devices.push((device, bytes));
        Ok(())
    }

    fn expose(&mut self) {
        let (train, trigger) = (self.train, self.next);
        self.next += 1;
        self.picture.fill((trigger.wrapping_mul(37) % 251) as u8);
        for (number, (device, bytes)) in self.devices.iter_mut().enumerate() {
            let before = monotonic_ns();
            if let Err(error) = device.write_all(&self.picture[..*bytes]) {
                println!("camera {number}, train {train}, trigger {trigger}: {error}");
            }
            if let Some(log) = &mut self.log {
                let after = monotonic_ns();
                writeln!(log, "{train} {trigger} {number} {before} {after}").and_then(|()| log.flush()).ok();
            }
        }
    }
}

impl Pins for Cameras {
    fn drive(&mut self, _at_ns: u64, pin: Pin, high: bool) {
        if pin == Pin::Trigger && high {
            self.expose();
        }
    }
}

fn monotonic_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// The terminal; `None` while it cannot be opened.
fn open(path: &str) -> Option<TTYPort> {
    TTYPort::open(&serialport::new(path, 115_200).timeout(Duration::from_micros(300))).ok()
}

fn started(epoch: u32) -> Endpoint {
    Endpoint::new(BoardConfig { serial: 0xB0A2D, ..BoardConfig::default() }, epoch)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let path = words.next().ok_or("which terminal? e.g. /dev/ttyGS0")?;
    let (mut cameras, mut bus_powered_if) = (Cameras::default(), None);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or_else(|| format!("{word}: a value is missing"));
        match word.as_str() {
            "--restart-if" => bus_powered_if = Some(PathBuf::from(next()?)),
            "--log" => cameras.log = Some(BufWriter::new(File::create(next()?)?)),
            "--camera" => cameras.add(&next()?, next()?.parse()?, next()?.parse()?)?,
            _ => return Err(format!("{word}: expected --restart-if, --log or --camera").into()),
        }
    }
    let (mut epoch, mut start) = (std::process::id(), Instant::now());
    let mut endpoint = started(epoch);
    let mut train = None;
    let mut line = open(&path);
    println!("board on {path}");
    let mut bytes = [0; 256];
    loop {
        let read = line.as_mut().map(|line| line.read(&mut bytes));
        let now_ns = start.elapsed().as_nanos() as u64;
        match read {
            // Nobody at the other end.
            Some(Ok(0)) => std::thread::sleep(Duration::from_micros(300)),
            Some(Ok(count)) => bytes[..count].iter().for_each(|&byte| endpoint.receive(now_ns, byte, &mut cameras)),
            Some(Err(error)) if error.kind() == ErrorKind::TimedOut => {}
            // Hung up: the cable is out. The terminal has to be opened anew.
            Some(Err(_)) => {
                line = None;
                std::thread::sleep(Duration::from_millis(1));
                if bus_powered_if.as_ref().is_some_and(|file| file.exists()) {
                    line = Some(wait_for_power(&path));
                    (epoch, start) = (epoch + 1, Instant::now());
                    endpoint = started(epoch);
                    println!("board restarted, epoch {epoch}");
                }
            }
            None => {
                std::thread::sleep(Duration::from_millis(1));
                line = open(&path);
            }
        }
        let now = endpoint.board().train().map(|train| (epoch, train.start_ns));
        if now.is_some() && now != train {
            (train, cameras.train, cameras.next) = (now, cameras.train + 1, 0);
        }
        endpoint.advance(start.elapsed().as_nanos() as u64, &mut cameras);
        let sent = line.as_mut().and_then(|line| line.write(endpoint.outgoing()).ok()).unwrap_or(0);
        endpoint.sent(sent);
    }
}

/// Off, until the plug is in again.
fn wait_for_power(path: &str) -> TTYPort {
    loop {
        std::thread::sleep(Duration::from_millis(1));
        if let Some(line) = open(path) {
            return line;
        }
    }
}
