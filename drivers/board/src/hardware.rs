//! What hardware a board needs, and the pass over it that every firmware runs.
//!
//! An interrupt captures inputs and queues them; everything else happens here, in one loop without an operating system.
//! An edge that is due within [`NEAR_NS`] is waited for rather than met in the middle of other work, so that scheduled
//! outputs are as exact as the counter, however long the line takes.

use mimicd_wire::Button;

use crate::{Endpoint, Pins, Train};

/// No single piece of work of a pass takes longer; an edge closer than this is waited for.
pub const NEAR_NS: u64 = 120_000;
/// Bytes taken in a pass at most, so that a flood cannot hold up the edges.
const BYTES_MAX: usize = 32;

/// Something that an input did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A camera's exposure line.
    Exposure {
        /// Which camera (0-based).
        camera: u8,
        /// New level.
        active: bool,
    },
    /// A TTL input.
    Input {
        /// Which line (0-based).
        line: u8,
        /// New level.
        level: bool,
    },
    /// A button was pressed.
    Button(Button),
    /// The interlock.
    Interlock {
        /// Whether it is open, and outputs must rest.
        open: bool,
    },
}

/// A change with the board time at which it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// When.
    pub at_ns: u64,
    /// What.
    pub change: Change,
}

/// A board's hardware.
pub trait Hardware: Pins {
    /// The board's time.
    fn now_ns(&mut self) -> u64;

    /// A byte from the host, if one is there.
    fn read(&mut self) -> Option<u8>;

    /// Gives bytes to the line; how many it took.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// The oldest captured change.
    fn capture(&mut self) -> Option<Capture>;

    /// The running train, once a pass, for hardware that makes the trigger pulses by itself.
    fn follow(&mut self, _now_ns: u64, _train: Option<&Train>) {}
}

/// One pass: edges, captures, line.
pub fn pass<H: Hardware>(endpoint: &mut Endpoint, hardware: &mut H) {
    let mut now_ns = hardware.now_ns();
    while let Some(at_ns) = endpoint.next_at_ns().filter(|&at| at < now_ns + NEAR_NS) {
        while now_ns < at_ns {
            now_ns = hardware.now_ns();
        }
        endpoint.advance(now_ns, hardware);
        hardware.follow(now_ns, endpoint.board().train());
    }
    while let Some(capture) = hardware.capture() {
        take(endpoint, capture, hardware);
    }
    for _ in 0..BYTES_MAX {
        let Some(byte) = hardware.read() else { break };
        let now_ns = hardware.now_ns();
        endpoint.receive(now_ns, byte, hardware);
    }
    hardware.follow(now_ns, endpoint.board().train());
    let count = hardware.write(endpoint.outgoing());
    endpoint.sent(count);
}

fn take<H: Hardware>(endpoint: &mut Endpoint, capture: Capture, hardware: &mut H) {
    let at_ns = capture.at_ns;
    match capture.change {
        Change::Exposure { camera, active } => endpoint.exposure(at_ns, camera, active, hardware),
        Change::Input { line, level } => endpoint.input(at_ns, line, level, hardware),
        Change::Button(button) => endpoint.button(at_ns, button, hardware),
        Change::Interlock { open } => endpoint.interlock(at_ns, open, hardware),
    }
}

/// Makes one press out of a contact that bounces: the first edge counts at once, the next only after a rest.
#[derive(Clone, Copy, Debug)]
pub struct Debounce {
    pressed: bool,
    changed_ns: u64,
}

impl Debounce {
    /// Contacts rest within this time.
    pub const REST_NS: u64 = 20_000_000;

    /// A contact that is open at first.
    pub const fn new() -> Self {
        Self { pressed: false, changed_ns: 0 }
    }

    /// The contact at `now_ns`; whether this is a press.
    pub const fn take(&mut self, now_ns: u64, closed: bool) -> bool {
        if closed == self.pressed || now_ns.saturating_sub(self.changed_ns) < Self::REST_NS {
            return false;
        }
        self.pressed = closed;
        self.changed_ns = now_ns;
        closed
    }
}

impl Default for Debounce {
    fn default() -> Self {
        Self::new()
    }
}

/// What a pulse generator is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Make a pulse that rises `after_ns` after the last one (or after the start) and stays high for `width_ns`.
    Pulse {
        /// Time since the rise before.
        after_ns: u64,
        /// Time high.
        width_ns: u32,
        /// Whether the time counts from now: the generator rests.
        start: bool,
    },
    /// Forget pulses that have not begun.
    Abort,
}

/// Keeps a pulse generator one trigger ahead of the train, so that its edges owe nothing to how fast the firmware runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Feeder {
    /// Start of the train that is fed, its index to be fed next, and the rise and fall fed last.
    train: Option<Fed>,
}

#[derive(Clone, Copy, Debug)]
struct Fed {
    start_ns: u64,
    next: u64,
    rise_ns: u64,
    fall_ns: u64,
    /// The pulse before the last one fed has fallen by then.
    before_fall_ns: u64,
}

impl Feeder {
    /// A generator that rests.
    pub const fn new() -> Self {
        Self { train: None }
    }

    /// What to tell the generator now; call it until it says nothing.
    pub fn next(&mut self, now_ns: u64, train: Option<&Train>) -> Option<Feed> {
        match (self.train, train) {
            (None, None) => None,
            (None, Some(train)) => Some(self.begin(now_ns, train)),
            (Some(fed), Some(train)) if fed.start_ns == train.start_ns => self.go_on(now_ns, fed, train),
            (Some(fed), _) => self.end(now_ns, fed),
        }
    }

    fn begin(&mut self, now_ns: u64, train: &Train) -> Feed {
        let rise_ns = train.start_ns;
        let fall_ns = rise_ns + u64::from(train.plan.width_ns);
        self.train = Some(Fed { start_ns: train.start_ns, next: 1, rise_ns, fall_ns, before_fall_ns: 0 });
        Feed::Pulse { after_ns: rise_ns.saturating_sub(now_ns), width_ns: train.plan.width_ns, start: true }
    }

    fn go_on(&mut self, now_ns: u64, fed: Fed, train: &Train) -> Option<Feed> {
        // One ahead: the pulse fed last has begun.
        if now_ns < fed.rise_ns || train.end.is_some_and(|end| fed.next >= end) {
            return None;
        }
        let stretch = if train.plan.is_stretched(fed.next) { u64::from(train.plan.stretch_ns) } else { 0 };
        let rise_ns = fed.rise_ns + u64::from(train.plan.period_ns) + stretch;
        let fall_ns = rise_ns + u64::from(train.plan.width_ns);
        self.train = Some(Fed { next: fed.next + 1, rise_ns, fall_ns, before_fall_ns: fed.fall_ns, ..fed });
        Some(Feed::Pulse { after_ns: rise_ns - fed.rise_ns, width_ns: train.plan.width_ns, start: false })
    }

    fn end(&mut self, now_ns: u64, fed: Fed) -> Option<Feed> {
        if now_ns >= fed.fall_ns {
            self.train = None;
            return None;
        }
        // A pulse that has begun ends by itself; one that has not is forgotten, once the one before it is over.
        if now_ns >= fed.rise_ns || now_ns < fed.before_fall_ns {
            return None;
        }
        self.train = None;
        Some(Feed::Abort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoardConfig, Pin};
    use mimicd_wire::{Command, CommandBody, Deframer, ENCODED_MAX, Event, Packet, Plan, encode};

    const MS: u64 = 1_000_000;
    const PLAN: Plan =
        Plan { period_ns: 2_000_000, width_ns: 500_000, stretch_ns: 700_000, stretch_every: 10, code_seed: 5 };

    /// Hardware whose counter moves with each look at it, and now and then by a long stretch of other work.
    #[derive(Default)]
    struct Bench {
        now_ns: u64,
        looks: u64,
        incoming: Vec<u8>,
        outgoing: Vec<u8>,
        captures: Vec<Capture>,
        edges: Vec<(u64, Pin, bool)>,
        feeder: Feeder,
        fed: Vec<(u64, Feed)>,
    }

    impl Pins for Bench {
        fn drive(&mut self, _at_ns: u64, pin: Pin, high: bool) {
            self.edges.push((self.now_ns, pin, high));
        }
    }

    impl Hardware for Bench {
        fn now_ns(&mut self) -> u64 {
            self.looks += 1;
            self.now_ns += 1_000;
            self.now_ns
        }

        fn read(&mut self) -> Option<u8> {
            (!self.incoming.is_empty()).then(|| self.incoming.remove(0))
        }

        fn write(&mut self, bytes: &[u8]) -> usize {
            // A USB stack that is busy for up to 100 µs.
            self.now_ns += self.looks * 7_919 % 100_000;
            let count = bytes.len().min(64);
            self.outgoing.extend(&bytes[..count]);
            count
        }

        fn capture(&mut self) -> Option<Capture> {
            self.captures.pop()
        }

        fn follow(&mut self, now_ns: u64, train: Option<&Train>) {
            while let Some(feed) = self.feeder.next(now_ns, train) {
                self.fed.push((now_ns, feed));
            }
        }
    }

    struct Rig {
        endpoint: Endpoint,
        bench: Bench,
        sequence: u32,
    }

    impl Rig {
        fn new() -> Self {
            Self { endpoint: Endpoint::new(BoardConfig::default(), 1), bench: Bench::default(), sequence: 0 }
        }

        fn say(&mut self, body: CommandBody) {
            self.sequence += 1;
            let message = Command { id: self.sequence, body };
            let mut line = [0; ENCODED_MAX];
            let len = encode(&Packet { sequence: self.sequence, time_ns: 0, message }, &mut line);
            self.bench.incoming.extend(&line[..len]);
        }

        fn run(&mut self, to_ns: u64) {
            while self.bench.now_ns < to_ns {
                pass(&mut self.endpoint, &mut self.bench);
            }
        }

        fn heard(&self) -> Vec<Packet<Event>> {
            let mut deframer = Deframer::new();
            self.bench.outgoing.iter().filter_map(|&byte| deframer.push(byte)).flatten().collect()
        }
    }

    #[test]
    fn edges_are_as_exact_as_the_counter_however_busy_the_line_is() {
        let mut rig = Rig::new();
        rig.say(CommandBody::ArmOutputs(true));
        for round in 0..20 {
            let at_ns = Some(3 * MS + round * 2_345_678);
            rig.say(CommandBody::Pulse { output: (round % 7) as u8, at_ns, width_ns: 1_234_567 });
        }
        rig.say(CommandBody::StartTriggers(PLAN));
        rig.run(60 * MS);
        let late: Vec<u64> = rig
            .heard()
            .iter()
            .filter_map(|packet| match packet.message {
                Event::Output { output, level, .. } => {
                    let driven = |edge: &&(u64, Pin, bool)| {
                        edge.1 == Pin::Output(output) && edge.2 == level && edge.0 >= packet.time_ns
                    };
                    rig.bench.edges.iter().find(driven).map(|edge| edge.0 - packet.time_ns)
                }
                _ => None,
            })
            .collect();
        assert_eq!(late.len(), 40);
        assert!(late.iter().all(|&late| late <= 2_000), "{late:?}");
    }

    #[test]
    fn the_generator_is_fed_one_ahead_and_the_sum_is_the_train() {
        let mut rig = Rig::new();
        rig.say(CommandBody::StartTriggers(PLAN));
        rig.run(100 * MS);
        let first = rig.heard().iter().find_map(|p| (p.message == Event::Trigger { index: 0 }).then_some(p.time_ns));
        let mut rise = None;
        for (number, &(now_ns, feed)) in rig.bench.fed.iter().enumerate() {
            let Feed::Pulse { after_ns, width_ns, start } = feed else { panic!("aborted") };
            assert_eq!((width_ns, start), (PLAN.width_ns, number == 0));
            let at = rise.map_or(now_ns + after_ns, |rise: u64| rise + after_ns);
            assert!(at > now_ns, "fed before its time");
            assert_eq!(at, first.expect("it fires") + PLAN.offset_ns(number as u64));
            rise = Some(at);
        }
        assert!(rig.bench.fed.len() > 40);
    }

    #[test]
    fn a_burst_ends_by_itself_and_a_stopped_train_forgets_what_has_not_begun() {
        let mut rig = Rig::new();
        rig.say(CommandBody::Burst { count: 5, plan: PLAN });
        rig.run(50 * MS);
        assert_eq!(rig.bench.fed.len(), 5);
        assert!(rig.bench.fed.iter().all(|fed| fed.1 != Feed::Abort));
        rig.say(CommandBody::StartTriggers(PLAN));
        rig.run(90 * MS);
        rig.say(CommandBody::StopTriggers);
        rig.run(120 * MS);
        assert_eq!(rig.bench.fed.iter().filter(|fed| fed.1 == Feed::Abort).count(), 1);
        let triggers = rig.heard().iter().filter(|p| matches!(p.message, Event::Trigger { .. })).count();
        // The one fed ahead was forgotten.
        assert_eq!(rig.bench.fed.len() - 2, triggers);
    }

    #[test]
    fn captures_keep_their_own_time_and_the_interlock_acts() {
        let mut rig = Rig::new();
        rig.say(CommandBody::ArmOutputs(true));
        rig.say(CommandBody::Pulse { output: 0, at_ns: None, width_ns: 50_000_000 });
        rig.run(5 * MS);
        rig.bench.captures = vec![
            Capture { at_ns: 4_900_000, change: Change::Interlock { open: true } },
            Capture { at_ns: 4_800_000, change: Change::Input { line: 2, level: true } },
        ];
        rig.run(6 * MS);
        let heard = rig.heard();
        let input = heard.iter().find(|p| p.message == Event::Input { line: 2, level: true });
        assert_eq!(input.map(|p| p.time_ns), Some(4_800_000));
        assert!(rig.bench.edges.iter().any(|edge| edge.1 == Pin::Output(0) && !edge.2));
        assert!(!rig.endpoint.board().is_armed());
    }

    #[test]
    fn a_bouncing_contact_is_one_press() {
        let mut contact = Debounce::new();
        let levels =
            [(30, true), (31, false), (32, true), (60, true), (100, false), (101, true), (130, false), (200, true)];
        let presses = levels.iter().filter(|&&(at, closed)| contact.take(at * MS, closed)).count();
        assert_eq!(presses, 2);
    }
}
