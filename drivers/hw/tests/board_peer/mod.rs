//! A board at the far end of a pseudo terminal: the firmware's own logic, on a line that may be cut, garbled and starved.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mimicd_board::{BoardConfig, Endpoint, LineCounts, Pin, Pins};
use mimicd_wire::Button;
use serialport::{SerialPort as _, TTYPort};

/// What the line does to bytes on their way to the host.
#[derive(Default)]
pub struct Line {
    /// Of so many bytes, one is lost; 0 = none.
    pub lose_one_in: AtomicU32,
    /// Of so many bytes, one is changed; 0 = none.
    pub garble_one_in: AtomicU32,
    /// The board takes nothing in and says nothing.
    pub deaf: AtomicBool,
}

#[derive(Default)]
struct Wires {
    /// Edges of outputs, with the board time at which they were due.
    edges: Vec<(u64, u8, bool)>,
    pressed: Option<Button>,
}

struct Probe(Arc<Mutex<Wires>>);

impl Pins for Probe {
    fn drive(&mut self, at_ns: u64, pin: Pin, high: bool) {
        if let Pin::Output(output) = pin {
            self.0.lock().unwrap().edges.push((at_ns, output, high));
        }
    }
}

/// A board that runs in a thread of its own.
pub struct Peer {
    folder: tempfile::TempDir,
    pub line: Arc<Line>,
    wires: Arc<Mutex<Wires>>,
    quit: Arc<AtomicBool>,
    thread: Option<JoinHandle<(Endpoint, LineCounts)>>,
}

impl Peer {
    /// Plugs a board in.
    pub fn new(serial: u64, epoch: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut peer = Self { folder, line: Arc::default(), wires: Arc::default(), quit: Arc::default(), thread: None };
        peer.plug_in(Endpoint::new(BoardConfig { serial, ..BoardConfig::default() }, epoch), Instant::now());
        peer
    }

    /// Where the host finds the board, whatever terminal it is on.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("board")
    }

    /// Plugs a board in whose clock counts from `zero`.
    pub fn plug_in(&mut self, endpoint: Endpoint, zero: Instant) {
        let (master, slave) = TTYPort::pair().unwrap();
        let path = self.path();
        std::fs::remove_file(&path).ok();
        symlink(slave.name().unwrap(), path).unwrap();
        self.quit = Arc::default();
        let (quit, line, wires) = (Arc::clone(&self.quit), Arc::clone(&self.line), Arc::clone(&self.wires));
        self.thread = Some(
            std::thread::Builder::new()
                .name("board".to_owned())
                // The slave stays open until the host has it: a master without a slave reads an error.
                .spawn(move || run(endpoint, zero, master, slave, &line, wires, &quit))
                .unwrap(),
        );
    }

    /// Pulls the plug; gives the board, which runs on in its own time.
    pub fn unplug(&mut self) -> (Endpoint, LineCounts) {
        self.quit.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap()
    }

    pub fn press(&self, button: Button) {
        self.wires.lock().unwrap().pressed = Some(button);
    }

    pub fn edges(&self, output: u8) -> Vec<(u64, bool)> {
        let wires = self.wires.lock().unwrap();
        wires.edges.iter().filter(|edge| edge.1 == output).map(|&(at, _, high)| (at, high)).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.quit.store(true, Ordering::Release);
        self.thread.take().map(JoinHandle::join);
    }
}

fn run(
    mut endpoint: Endpoint,
    zero: Instant,
    mut master: TTYPort,
    _slave: TTYPort,
    line: &Line,
    wires: Arc<Mutex<Wires>>,
    quit: &AtomicBool,
) -> (Endpoint, LineCounts) {
    let mut pins = Probe(Arc::clone(&wires));
    let mut damage = Damage { seed: 1 };
    master.set_timeout(Duration::from_micros(200)).unwrap();
    let mut bytes = [0; 512];
    while !quit.load(Ordering::Acquire) {
        let count = master.read(&mut bytes).unwrap_or(0);
        let now_ns = zero.elapsed().as_nanos() as u64;
        if line.deaf.load(Ordering::Relaxed) {
            endpoint.sent(endpoint.outgoing().len());
            continue;
        }
        bytes[..count].iter().for_each(|&byte| endpoint.receive(now_ns, byte, &mut pins));
        if let Some(button) = wires.lock().unwrap().pressed.take() {
            endpoint.button(now_ns, button, &mut pins);
        }
        endpoint.advance(now_ns, &mut pins);
        let out: Vec<u8> = endpoint.outgoing().to_vec();
        let through = damage.of(&out, line);
        // A terminal that is full takes the rest later; what was damaged stays damaged.
        if through.is_empty() || master.write_all(&through).is_ok() {
            endpoint.sent(out.len());
        }
    }
    let counts = endpoint.counts();
    (endpoint, counts)
}

struct Damage {
    seed: u64,
}

impl Damage {
    fn strikes(&mut self, one_in: &AtomicU32) -> bool {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let one_in = one_in.load(Ordering::Relaxed);
        one_in > 0 && (self.seed >> 33).is_multiple_of(u64::from(one_in))
    }

    fn of(&mut self, bytes: &[u8], line: &Line) -> Vec<u8> {
        let mut through = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if !self.strikes(&line.lose_one_in) {
                through.push(if self.strikes(&line.garble_one_in) { byte ^ 0x55 } else { byte });
            }
        }
        through
    }
}
