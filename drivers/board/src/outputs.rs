//! The output lines: scheduled pulses within their limits.

use mimicd_wire::Refusal;

use crate::{Limits, Meter};

/// Output lines of a board.
pub const OUTPUTS: usize = 8;
/// Pulses that may wait for their time.
pub const SCHEDULE: usize = 32;

/// A pulse that waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pulse {
    pub(crate) at_ns: u64,
    pub(crate) width_ns: u32,
    pub(crate) output: u8,
    pub(crate) cause: u32,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    high: bool,
    cause: u32,
    falls_ns: u64,
    rose_ns: Option<u64>,
    meter: Meter,
}

/// What became due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Fall { output: u8, cause: u32 },
    Rise(Pulse),
}

#[derive(Clone, Debug)]
pub(crate) struct Outputs {
    limits: [Limits; OUTPUTS],
    lines: [Line; OUTPUTS],
    schedule: [Option<Pulse>; SCHEDULE],
}

impl Outputs {
    pub(crate) fn new(limits: [Limits; OUTPUTS]) -> Self {
        let line =
            |limits: Limits| Line { high: false, cause: 0, falls_ns: 0, rose_ns: None, meter: Meter::new(&limits) };
        Self { limits, lines: limits.map(line), schedule: [None; SCHEDULE] }
    }

    /// Checks what can be checked before the time comes.
    pub(crate) fn check(&self, output: u8, width_ns: u32) -> Result<(), Refusal> {
        let limits = self.limits.get(usize::from(output)).ok_or(Refusal::BadValue)?;
        match width_ns {
            0 => Err(Refusal::BadValue),
            width if width > limits.width_ns_max => Err(Refusal::OverLimit),
            _ => Ok(()),
        }
    }

    pub(crate) fn schedule(&mut self, pulse: Pulse) -> Result<(), Refusal> {
        let place = self.schedule.iter_mut().find(|place| place.is_none()).ok_or(Refusal::ScheduleFull)?;
        *place = Some(pulse);
        Ok(())
    }

    /// Raises a checked output now, within its limits.
    pub(crate) fn raise(&mut self, now_ns: u64, pulse: Pulse) -> Result<(), Refusal> {
        let output = usize::from(pulse.output);
        let (limits, line) = (&self.limits[output], &mut self.lines[output]);
        let too_soon = line.rose_ns.is_some_and(|rose| now_ns < rose + u64::from(limits.rise_gap_ns_min));
        if line.high || too_soon || !line.meter.pay(limits, now_ns, pulse.width_ns) {
            return Err(Refusal::OverLimit);
        }
        line.high = true;
        line.cause = pulse.cause;
        line.rose_ns = Some(now_ns);
        line.falls_ns = now_ns + u64::from(pulse.width_ns);
        Ok(())
    }

    /// Earliest thing to do.
    pub(crate) fn next_at_ns(&self) -> Option<u64> {
        let falls = self.lines.iter().filter(|line| line.high).map(|line| line.falls_ns);
        let rises = self.schedule.iter().flatten().map(|pulse| pulse.at_ns);
        falls.chain(rises).min()
    }

    /// Takes one thing that is due at or before `now_ns`; falls come before rises, then lower outputs first.
    pub(crate) fn take_due(&mut self, now_ns: u64) -> Option<Due> {
        if let Some(output) = self.lines.iter().position(|line| line.high && line.falls_ns <= now_ns) {
            return self.fall(output);
        }
        let place = (0..SCHEDULE)
            .filter(|&place| self.schedule[place].is_some_and(|pulse| pulse.at_ns <= now_ns))
            .min_by_key(|&place| self.schedule[place].map(|pulse| (pulse.at_ns, pulse.output)))?;
        self.schedule[place].take().map(Due::Rise)
    }

    /// Takes one output down and forgets every waiting pulse; `None` when all are low.
    pub(crate) fn make_safe(&mut self) -> Option<Due> {
        self.schedule = [None; SCHEDULE];
        let output = self.lines.iter().position(|line| line.high)?;
        self.fall(output)
    }

    fn fall(&mut self, output: usize) -> Option<Due> {
        let line = &mut self.lines[output];
        line.high = false;
        Some(Due::Fall { output: output as u8, cause: line.cause })
    }
}
