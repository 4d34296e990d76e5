//! An RHX of our own: speaks both dialects, sends a signal that is a function of the timestamp, and misbehaves to order.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const MAGIC: u32 = 0x2EF0_7A08;
const FRAMES: u32 = 128;

/// What goes wrong, and with which block (counted from the run's start).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Timestamps jump ahead: samples lost on USB.
    Jump { block: u64, samples: u32 },
    /// The same, in the middle of a block.
    JumpInside { block: u64, samples: u32 },
    /// The counter starts again at 0.
    Restart { block: u64 },
    /// Nothing is sent for a while; nothing is lost.
    Stall { block: u64, millis: u64 },
    /// The waveform socket is closed; meanwhile this many blocks are acquired and lost.
    Disconnect { block: u64, lost_blocks: u32 },
    /// The command socket is closed, for good unless [`Behaviour::command_back`] says otherwise.
    CommandLoss { block: u64 },
    /// From here on one channel fewer is sent, until channels are chosen again.
    Toggle { block: u64 },
    /// Bytes that belong to nothing.
    Garbage { block: u64, bytes: usize },
}

/// Lines of the digital input, in nanoseconds of the host's monotonic clock: given an interval, the pulses that touch it, each
/// with its beginning, its end and its bits.
pub(crate) type Lines = Arc<dyn Fn(i64, i64) -> Vec<(i64, i64, u16)> + Send + Sync>;

/// Samples that are taken in real time by a crystal of the emulator's own, so that timestamps mean instants.
#[derive(Clone)]
pub(crate) struct Crystal {
    /// Samples a second, really.
    pub(crate) rate_hz: f64,
    /// What the digital input is wired to.
    pub(crate) lines: Lines,
}

/// From the last sample of a block to its way into the socket, as RHX has it.
const LATENCY_NS: i64 = 4_000_000;

/// How the emulator is.
#[derive(Clone)]
pub(crate) struct Behaviour {
    pub(crate) version: &'static str,
    pub(crate) channels_per_port: Vec<usize>,
    /// First timestamp of a run.
    pub(crate) first_timestamp: u32,
    /// Blocks to send before falling silent (the socket stays open).
    pub(crate) blocks: u64,
    /// Write in pieces of about this size; 0 = whole blocks.
    pub(crate) piece_bytes: usize,
    /// Blocks merged into one write, whatever was asked.
    pub(crate) merged: usize,
    /// This many `set`s are forgotten in silence.
    pub(crate) silent_sets: usize,
    /// Put a stray answer in front of each answer, and send answers in two halves.
    pub(crate) ragged_answers: bool,
    /// Value on the wire, minus 32,768, of a channel at a timestamp.
    pub(crate) signal: fn(usize, u32) -> i16,
    /// Digital word at a timestamp, where there is no crystal.
    pub(crate) digital: fn(u32) -> u16,
    /// Takes samples in real time, whatever `blocks_per_second` says.
    pub(crate) crystal: Option<Crystal>,
    /// A lost command socket is offered again after this long: somebody has clicked.
    pub(crate) command_back: Option<Duration>,
    /// A closed waveform socket is not offered again for this long.
    pub(crate) away: Duration,
    /// Blocks per second; `None` = as fast as the socket takes them.
    pub(crate) blocks_per_second: Option<f64>,
    pub(crate) faults: Vec<Fault>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            version: "3.4.0",
            channels_per_port: vec![32, 0, 0, 0],
            first_timestamp: 0,
            blocks: 200,
            piece_bytes: 0,
            merged: 1,
            silent_sets: 0,
            ragged_answers: false,
            signal: truth,
            digital: truth_digital,
            crystal: None,
            command_back: None,
            away: Duration::ZERO,
            blocks_per_second: Some(2_000.0),
            faults: Vec::new(),
        }
    }
}

/// Value on the wire, minus 32,768, of a channel at a timestamp.
pub(crate) fn truth(channel: usize, timestamp: u32) -> i16 {
    let mixed = (timestamp ^ (channel as u32).wrapping_mul(0x9E37_79B1)).wrapping_mul(0x85EB_CA6B);
    (mixed >> 16) as i16
}

/// Digital word at a timestamp.
pub(crate) fn truth_digital(timestamp: u32) -> u16 {
    ((timestamp / 150) & 1) as u16 | (((timestamp / 1_000) & 1) << 3) as u16
}

struct State {
    behaviour: Behaviour,
    /// What is still to go wrong.
    faults: Mutex<Vec<Fault>>,
    /// Samples that were taken and never sent whole: first timestamp and count, in order.
    lost: Mutex<Vec<(u32, u32)>>,
    /// Host time of timestamp 0 in the present run; 0 = no run yet.
    zero_ns: AtomicI64,
    away_until: Mutex<Option<Instant>>,
    values: Mutex<BTreeMap<String, String>>,
    /// Counts whatever may change which channels are sent.
    choices: AtomicU64,
    silent_left: AtomicU64,
    toggled: AtomicBool,
    running: AtomicBool,
    listening: AtomicBool,
    command_dead: AtomicBool,
    stop: AtomicBool,
    sent_blocks: AtomicU64,
    blocked_nanos: AtomicU64,
}

fn named(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).unwrap()
}

/// A running emulator; dropped, it goes away.
pub(crate) struct Emulator {
    pub(crate) command_port: u16,
    pub(crate) waveform_port: u16,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

impl Emulator {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        // The waveform port is the one after the command port, as RHX has it.
        let (command, waveform) = (0..100)
            .find_map(|_| {
                let command = TcpListener::bind("127.0.0.1:0").ok()?;
                let next = command.local_addr().ok()?.port().checked_add(1)?;
                Some((command, TcpListener::bind(("127.0.0.1", next)).ok()?))
            })
            .expect("two ports in a row");
        let ports = (command.local_addr().unwrap().port(), waveform.local_addr().unwrap().port());
        let state = Arc::new(State {
            faults: Mutex::new(behaviour.faults.clone()),
            lost: Mutex::default(),
            zero_ns: AtomicI64::new(0),
            away_until: Mutex::default(),
            silent_left: AtomicU64::new(behaviour.silent_sets as u64),
            values: Mutex::new(first_values(&behaviour)),
            choices: AtomicU64::new(0),
            behaviour,
            toggled: AtomicBool::new(false),
            running: AtomicBool::new(false),
            listening: AtomicBool::new(false),
            command_dead: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sent_blocks: AtomicU64::new(0),
            blocked_nanos: AtomicU64::new(0),
        });
        let threads = vec![
            named("emulator-commands", {
                let state = Arc::clone(&state);
                move || serve_commands(command, &state)
            }),
            named("emulator-waveform", {
                let state = Arc::clone(&state);
                move || serve_waveform(&waveform, &state)
            }),
        ];
        Self { command_port: ports.0, waveform_port: ports.1, state, threads }
    }

    /// Somebody sets a value in RHX's own window.
    pub(crate) fn set(&self, name: &str, value: &str) {
        obey(&format!("set {name} {value}"), &self.state);
    }

    /// Makes something go wrong a few blocks from now; `fault` is given the block.
    pub(crate) fn inject(&self, fault: impl FnOnce(u64) -> Fault) {
        self.state.faults.lock().unwrap().push(fault(self.sent_blocks() + 8));
    }

    /// Samples that were taken and never sent whole so far: first timestamp and count.
    pub(crate) fn lost(&self) -> Vec<(u32, u32)> {
        self.state.lost.lock().unwrap().clone()
    }

    /// Host time in nanoseconds at which the crystal took `timestamp`.
    pub(crate) fn taken_ns(&self, timestamp: u32) -> i64 {
        let crystal = self.state.behaviour.crystal.as_ref().expect("a crystal");
        instant(self.state.zero_ns.load(Ordering::Acquire), crystal.rate_hz, timestamp)
    }

    pub(crate) fn sent_blocks(&self) -> u64 {
        self.state.sent_blocks.load(Ordering::Acquire)
    }

    /// Longest time that one write had to wait for the client.
    pub(crate) fn blocked_max(&self) -> Duration {
        Duration::from_nanos(self.state.blocked_nanos.load(Ordering::Acquire))
    }

    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.state.values.lock().unwrap().get(&name.to_lowercase()).cloned()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn first_values(behaviour: &Behaviour) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut put = |name: &str, value: &str| values.insert(name.to_lowercase(), value.to_owned());
    put("Version", behaviour.version);
    put("Type", "ControllerRecordUSB3");
    put("SampleRateHertz", "30000");
    put("RunMode", "Stop");
    put("TCPNumberDataBlocksPerWrite", "10");
    put(status_name(behaviour), "Disconnected");
    for (port, count) in ('A'..).zip(&behaviour.channels_per_port) {
        put(&format!("{port}.NumberAmplifierChannels"), &count.to_string());
        for channel in 0..*count {
            put(&format!("{port}-{channel:03}.TCPDataOutputEnabled"), "False");
        }
    }
    put("DIGITAL-IN-01.TCPDataOutputEnabled", "False");
    values
}

fn status_name(behaviour: &Behaviour) -> &'static str {
    if behaviour.version.starts_with("3.5") {
        "TCPWaveformDataSocket.Status"
    } else {
        "TCPWaveformDataOutputConnectionStatus"
    }
}

fn serve_commands(mut listener: TcpListener, state: &State) {
    loop {
        serve_command_client(&listener, state);
        let Some(back) = state.behaviour.command_back.filter(|_| !state.stop.load(Ordering::Acquire)) else { return };
        // Until somebody clicks nobody listens.
        let port = listener.local_addr().unwrap();
        drop(listener);
        std::thread::sleep(back);
        listener = TcpListener::bind(port).unwrap();
        state.command_dead.store(false, Ordering::Release);
    }
}

/// Serves one client until its socket is lost.
fn serve_command_client(listener: &TcpListener, state: &State) {
    let mut stream = loop {
        listener.set_nonblocking(true).unwrap();
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) if state.stop.load(Ordering::Acquire) => return,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !state.stop.load(Ordering::Acquire) && !state.command_dead.load(Ordering::Acquire) {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(length) => text.push_str(std::str::from_utf8(&bytes[..length]).unwrap()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        while let Some(end) = text.find(';') {
            let command: String = text.drain(..=end).collect();
            let answer = obey(command.trim_end_matches(';').trim(), state);
            if answer.is_empty() {
                continue;
            }
            if state.behaviour.ragged_answers {
                let ragged = format!("Return: CurrentTimeSeconds 17{answer}");
                let (one, two) = ragged.split_at(ragged.len() - 3);
                stream.write_all(one.as_bytes()).ok();
                std::thread::sleep(Duration::from_micros(300));
                stream.write_all(two.as_bytes()).ok();
            } else {
                stream.write_all(answer.as_bytes()).ok();
            }
        }
    }
}

fn obey(command: &str, state: &State) -> String {
    let mut words = command.splitn(3, ' ');
    let (verb, name, value) = (words.next().unwrap(), words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut values = state.values.lock().unwrap();
    let key = name.to_lowercase();
    match verb.to_lowercase().as_str() {
        "get" => match values.get(&key) {
            Some(value) => format!("Return: {name} {value}"),
            None => "Unrecognized parameter".to_owned(),
        },
        "execute" if key == "clearalldataoutputs" => {
            values
                .iter_mut()
                .filter(|(k, _)| k.ends_with(".tcpdataoutputenabled"))
                .for_each(|(_, v)| *v = "False".into());
            state.toggled.store(false, Ordering::Release);
            state.choices.fetch_add(1, Ordering::AcqRel);
            String::new()
        }
        _ if is_away(state) && (key == "connecttcpwaveformdataoutput" || key == "tcpwaveformdatasocket.status") => {
            String::new()
        }
        "execute" if key == "connecttcpwaveformdataoutput" && !state.behaviour.version.starts_with("3.5") => {
            values.insert(status_name(&state.behaviour).to_lowercase(), "Pending".into());
            state.listening.store(true, Ordering::Release);
            String::new()
        }
        "set" => {
            let left = state.silent_left.load(Ordering::Acquire);
            if left > 0 {
                state.silent_left.store(left - 1, Ordering::Release);
                return String::new();
            }
            let Some(held) = values.get_mut(&key) else { return "Unrecognized parameter".to_owned() };
            let mut chars = value.chars();
            *held = chars.next().map(|c| c.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default();
            state.choices.fetch_add(1, Ordering::AcqRel);
            if key == "runmode" {
                state.running.store(!value.eq_ignore_ascii_case("stop"), Ordering::Release);
            }
            if key == "tcpwaveformdatasocket.status" {
                state.listening.store(true, Ordering::Release);
            }
            String::new()
        }
        _ => "Unrecognized command".to_owned(),
    }
}

fn is_away(state: &State) -> bool {
    state.away_until.lock().unwrap().is_some_and(|until| Instant::now() < until)
}

/// Host time at which a crystal takes `timestamp`.
fn instant(zero_ns: i64, rate_hz: f64, timestamp: u32) -> i64 {
    zero_ns + (f64::from(timestamp) * 1e9 / rate_hz).round() as i64
}

/// The host's monotonic clock.
fn now_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn sleep_until(at_ns: i64) {
    std::thread::sleep(Duration::from_nanos((at_ns - now_ns()).max(0) as u64));
}

/// Accepts waveform clients one after another; the acquisition goes on between them.
fn serve_waveform(listener: &TcpListener, state: &State) {
    listener.set_nonblocking(true).unwrap();
    let first = state.behaviour.first_timestamp;
    let mut run = Run { timestamp: first, block: 0, due: None, chosen: (u64::MAX, Vec::new(), false) };
    while !state.stop.load(Ordering::Acquire) {
        if !state.listening.load(Ordering::Acquire) && !state.command_dead.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        let status = status_name(&state.behaviour).to_lowercase();
        state.values.lock().unwrap().insert(status.clone(), "Connected".into());
        state.listening.store(false, Ordering::Release);
        run.serve(stream, state);
        state.values.lock().unwrap().insert(status, "Disconnected".into());
    }
}

struct Run {
    timestamp: u32,
    block: u64,
    due: Option<Instant>,
    /// Channels that are sent and whether a digital word is, as of so many choices.
    chosen: (u64, Vec<usize>, bool),
}

impl Run {
    fn serve(&mut self, mut stream: TcpStream, state: &State) {
        let behaviour = &state.behaviour;
        let mut pending = Vec::new();
        self.catch_up(state);
        while !state.stop.load(Ordering::Acquire) {
            if !state.running.load(Ordering::Acquire) || self.block >= behaviour.blocks {
                self.write(&mut stream, &mut pending, state);
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            if let Some(rate) = behaviour.blocks_per_second.filter(|_| behaviour.crystal.is_none()) {
                self.keep_pace(rate);
            }
            let inside = match self.faults(&mut pending, state) {
                Ok(inside) => inside,
                Err(()) => {
                    self.write(&mut stream, &mut pending, state);
                    return;
                }
            };
            self.append_block(&mut pending, state, inside);
            self.block += 1;
            state.sent_blocks.store(self.block, Ordering::Release);
            if self.block.is_multiple_of(behaviour.merged as u64) && !self.write(&mut stream, &mut pending, state) {
                return;
            }
        }
    }

    /// A crystal goes on while nobody is connected: what it took meanwhile is lost.
    fn catch_up(&mut self, state: &State) {
        let zero_ns = state.zero_ns.load(Ordering::Acquire);
        let Some(crystal) = state.behaviour.crystal.as_ref().filter(|_| zero_ns != 0) else { return };
        let taken = ((now_ns() - zero_ns) as f64 * crystal.rate_hz * 1e-9) as u32;
        self.lose(state, taken.saturating_sub(self.timestamp));
    }

    fn lose(&mut self, state: &State, samples: u32) {
        let mut lost = state.lost.lock().unwrap();
        match lost.last_mut() {
            Some((first, count)) if *first + *count == self.timestamp => *count += samples,
            _ if samples == 0 => {}
            _ => lost.push((self.timestamp, samples)),
        }
        self.timestamp = self.timestamp.wrapping_add(samples);
    }

    /// Does what is due before this block. `Err` = close the socket.
    fn faults(&mut self, pending: &mut Vec<u8>, state: &State) -> Result<u32, ()> {
        let mut inside = 0;
        let mut close = false;
        for fault in state.faults.lock().unwrap().clone() {
            match fault {
                Fault::Jump { block, samples } if block == self.block => self.lose(state, samples),
                Fault::JumpInside { block, samples } if block == self.block => inside = samples,
                Fault::Restart { block } if block == self.block => self.timestamp = 0,
                Fault::Stall { block, millis } if block == self.block => {
                    std::thread::sleep(Duration::from_millis(millis));
                }
                Fault::Disconnect { block, lost_blocks } if block == self.block => {
                    self.lose(state, lost_blocks * FRAMES);
                    *state.away_until.lock().unwrap() = Some(Instant::now() + state.behaviour.away);
                    self.block += u64::from(lost_blocks.max(1));
                    close = true;
                }
                Fault::CommandLoss { block } if block == self.block => {
                    state.command_dead.store(true, Ordering::Release);
                }
                Fault::Toggle { block } if block == self.block => {
                    state.toggled.store(true, Ordering::Release);
                    state.choices.fetch_add(1, Ordering::AcqRel);
                }
                Fault::Garbage { block, bytes } if block == self.block => {
                    pending.extend((0..bytes).map(|i| (i * 31) as u8));
                }
                _ => {}
            }
        }
        if close { Err(()) } else { Ok(inside) }
    }

    /// Waits until the next block is due. A front end has no past to catch up with: after a pause it goes on at its rate.
    fn keep_pace(&mut self, rate: f64) {
        let now = Instant::now();
        let due = self.due.filter(|due| now.saturating_duration_since(*due) < Duration::from_millis(50)).unwrap_or(now);
        std::thread::sleep(due.saturating_duration_since(now));
        self.due = Some(due + Duration::from_secs_f64(1.0 / rate));
    }

    fn append_block(&mut self, bytes: &mut Vec<u8>, state: &State, inside: u32) {
        self.look_at_choices(state);
        let (choices, channels, digital) = std::mem::take(&mut self.chosen);
        if channels.len() != state.behaviour.channels_per_port.iter().sum::<usize>() || !digital {
            let first = self.timestamp;
            self.lose(state, FRAMES);
            self.timestamp = first;
        }
        let levels = state.behaviour.crystal.as_ref().map(|crystal| self.levels(crystal, state, inside));
        bytes.extend(MAGIC.to_le_bytes());
        for frame in 0..FRAMES {
            if frame == 40 && inside > 0 {
                self.lose(state, inside);
            }
            bytes.extend(self.timestamp.to_le_bytes());
            let start = bytes.len();
            bytes.resize(start + 2 * channels.len(), 0);
            for (&channel, place) in channels.iter().zip(bytes[start..].chunks_exact_mut(2)) {
                let value = (state.behaviour.signal)(channel, self.timestamp) as u16 ^ 0x8000;
                place.copy_from_slice(&value.to_le_bytes());
            }
            if digital {
                let word = match &levels {
                    Some(levels) => levels[frame as usize],
                    None => (state.behaviour.digital)(self.timestamp),
                };
                bytes.extend(word.to_le_bytes());
            }
            self.timestamp = self.timestamp.wrapping_add(1);
        }
        self.chosen = (choices, channels, digital);
    }

    fn look_at_choices(&mut self, state: &State) {
        let choices = state.choices.load(Ordering::Acquire);
        if self.chosen.0 == choices {
            return;
        }
        let values = state.values.lock().unwrap();
        let enabled = |name: &str| values.get(&format!("{name}.tcpdataoutputenabled")).is_some_and(|v| v == "True");
        let mut channels: Vec<usize> = Vec::new();
        let mut number = 0;
        for (port, count) in ('a'..).zip(&state.behaviour.channels_per_port) {
            for channel in 0..*count {
                if enabled(&format!("{port}-{channel:03}")) {
                    channels.push(number);
                }
                number += 1;
            }
        }
        if state.toggled.load(Ordering::Acquire) {
            channels.pop();
        }
        self.chosen = (choices, channels, enabled("digital-in-01"));
    }

    /// Digital words of the next block; waits until its last sample has been taken.
    fn levels(&self, crystal: &Crystal, state: &State, inside: u32) -> Vec<u16> {
        let at = |zero_ns, timestamp| instant(zero_ns, crystal.rate_hz, timestamp);
        let mut zero_ns = state.zero_ns.load(Ordering::Acquire);
        if zero_ns == 0 {
            zero_ns = now_ns() - at(0, self.timestamp);
            state.zero_ns.store(zero_ns, Ordering::Release);
        }
        let jump = |frame: u32| if frame >= 40 { inside } else { 0 };
        let taken = |frame: u32| at(zero_ns, self.timestamp + frame + jump(frame));
        sleep_until(taken(FRAMES) + LATENCY_NS);
        let pulses = (crystal.lines)(taken(0), taken(FRAMES));
        let level = |at_ns: i64| {
            let high = pulses.iter().filter(|(rise, fall, _)| (*rise..*fall).contains(&at_ns));
            high.fold(0, |word, (_, _, bits)| word | bits)
        };
        (0..FRAMES).map(|frame| level(taken(frame))).collect()
    }

    fn write(&self, stream: &mut TcpStream, pending: &mut Vec<u8>, state: &State) -> bool {
        let piece = if state.behaviour.piece_bytes == 0 { usize::MAX } else { state.behaviour.piece_bytes };
        let mut rest = pending.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            let began = Instant::now();
            if stream.write_all(now).is_err() {
                return false;
            }
            state.blocked_nanos.fetch_max(began.elapsed().as_nanos() as u64, Ordering::AcqRel);
            rest = later;
        }
        pending.clear();
        true
    }
}
