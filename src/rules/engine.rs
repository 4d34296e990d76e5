//! Runs the rules once a loop pass.
//!
//! ```text
//!            when holds                 held long enough: FIRE or sham
//!  WAITING ─────────────► HOLDING ────────────────────────────────────► LATCHED
//!     ▲ ◄──────────────────┘                                               │
//!     │    when fails                          `release` holds (or `when` fails, if there is none)
//!     └────────────────────────────────────────────────────────────────────┘
//! ```
//! A crossing within the refractory time is passed over. With `repeat` the rule stays in HOLDING and acts again after each
//! refractory time. While an input is unknown, invalid or stale the rule refuses: holding ends, latching stays. A board
//! time that runs backwards (a reset board) puts every rule back to WAITING.

use mimicd_device::{BoardTime, OutputIndex, Span};

use super::compile::{INPUTS_MAX, Program};
use super::decision::{Decision, InputSeen, Outcome, PulseTrain, Refusal, RuleIndex};
use super::error::{RuleError, RuleErrorKind};
use super::signals::{Reading, SignalIndex, SignalNames, SignalTable};
use crate::config::RuleConfig;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Holding { since: BoardTime },
    Latched,
}

/// One rule, ready to run.
#[derive(Clone, Debug)]
struct Rule {
    when: Program,
    release: Option<Program>,
    inputs: Vec<SignalIndex>,
    hold: Span,
    refractory: Span,
    repeat: bool,
    age_max: Span,
    sham_probability: f64,
    sham_seed: u64,
    blocks: Vec<(Span, Span)>,
    pulses: Option<PulseTrain>,
    mark: bool,
    state: State,
    blind: Option<Refusal>,
    decided: Option<BoardTime>,
    decisions: u64,
}

/// All rules of a rig.
#[derive(Clone, Debug)]
pub struct RuleEngine {
    rules: Vec<Rule>,
    zero: Option<BoardTime>,
    last: Option<BoardTime>,
}

impl RuleEngine {
    /// Prepares `configs`. A rule without a limit of its own refuses inputs older than `age_max`.
    ///
    /// # Errors
    /// Everything that is wrong with any rule, at once.
    pub fn new(configs: &[RuleConfig], names: &SignalNames, age_max: Span) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        let rules = configs.iter().filter_map(|config| Rule::new(config, names, age_max, &mut errors)).collect();
        if errors.is_empty() { Ok(Self { rules, zero: None, last: None }) } else { Err(errors) }
    }

    /// Number of rules: at most so many decisions come of one pass.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Begin of the recording, from which blocks count; without one, rules with blocks rest.
    pub fn set_zero(&mut self, zero: Option<BoardTime>) {
        self.zero = zero;
    }

    /// Judges every rule once; adds what they decided to `out`, which should have room for [`len`](Self::len) more:
    /// then nothing allocates.
    pub fn evaluate(&mut self, now: BoardTime, signals: &SignalTable, out: &mut Vec<Decision>) {
        if self.last.is_some_and(|last| now < last) {
            self.rules.iter_mut().for_each(Rule::forget);
        }
        self.last = Some(now);
        let elapsed = self.zero.map(|zero| now - zero);
        for (index, rule) in self.rules.iter_mut().enumerate() {
            out.extend(rule.judge(RuleIndex(index as u16), now, elapsed, signals));
        }
    }
}

impl Rule {
    fn new(config: &RuleConfig, names: &SignalNames, age_max: Span, errors: &mut Vec<RuleError>) -> Option<Self> {
        let mut inputs = Vec::new();
        let mut compile = |key, text: &str| {
            let wrong = |kind: RuleErrorKind| RuleError { rule: config.name.clone(), key, text: text.to_owned(), kind };
            Program::compile(text, names, &mut inputs).map_err(|kinds| errors.extend(kinds.into_iter().map(wrong))).ok()
        };
        let when = compile("when", &config.when);
        let release = match &config.release {
            Some(text) => Some(compile("release", text)?),
            None => None,
        };
        let micros = |micros: u32| Span::from_micros(i64::from(micros));
        let millis = |millis: u32| Span::from_millis(i64::from(millis));
        let block = |&[from_s, to_s]: &[f64; 2]| (Span::from_secs_f64(from_s), Span::from_secs_f64(to_s));
        Some(Self {
            when: when?,
            release,
            inputs,
            hold: millis(config.hold_millis),
            refractory: millis(config.refractory_millis),
            repeat: config.repeat,
            age_max: config.age_max_millis.map_or(age_max, millis),
            sham_probability: config.sham_probability,
            sham_seed: seed_of(&config.name),
            blocks: config.blocks_s.iter().map(block).collect(),
            pulses: config.output.map(|output| PulseTrain {
                output: OutputIndex(output),
                delay: micros(config.delay_micros),
                width: micros(config.pulse_micros),
                count: config.pulses,
                period: micros(config.pulse_period_micros),
            }),
            mark: config.mark.is_some(),
            state: State::Waiting,
            blind: None,
            decided: None,
            decisions: 0,
        })
    }

    fn forget(&mut self) {
        self.state = State::Waiting;
        self.decided = None;
    }

    fn judge(
        &mut self,
        index: RuleIndex,
        now: BoardTime,
        elapsed: Option<Span>,
        signals: &SignalTable,
    ) -> Option<Decision> {
        if !self.is_active(elapsed) {
            self.state = State::Waiting;
            return None;
        }
        let (seen, values) = self.look(now, signals);
        let verdict = values.and_then(|values| self.verdict(&values[..self.inputs.len()]));
        let (when, released) = match verdict {
            Ok(verdict) => verdict,
            Err(refusal) => {
                return self.refuse(refusal).then(|| Decision::new(index, now, Outcome::Refused(refusal), seen));
            }
        };
        self.blind = None;
        if !self.advance(now, when, released) {
            return None;
        }
        let outcome = self.draw();
        let mut decision = Decision::new(index, now, outcome, seen);
        decision.pulses = self.pulses.filter(|_| outcome == Outcome::Fired);
        decision.mark = self.mark;
        Some(decision)
    }

    fn is_active(&self, elapsed: Option<Span>) -> bool {
        self.blocks.is_empty()
            || elapsed.is_some_and(|at| self.blocks.iter().any(|&(from, to)| (from..to).contains(&at)))
    }

    /// The inputs as they stand, and their values if all may be used.
    fn look(
        &self,
        now: BoardTime,
        signals: &SignalTable,
    ) -> ([Option<InputSeen>; INPUTS_MAX], Result<[f64; INPUTS_MAX], Refusal>) {
        let mut seen = [None; INPUTS_MAX];
        let mut values = [0.0; INPUTS_MAX];
        let mut refusal = None;
        for (place, &signal) in self.inputs.iter().enumerate() {
            let (value, wrong) = match signals.reading(signal) {
                Reading::Unknown => (f64::NAN, Some(Refusal::Unknown)),
                Reading::Invalid { .. } => (f64::NAN, Some(Refusal::Invalid)),
                Reading::Value { value, at } if now - at > self.age_max => (value, Some(Refusal::Stale)),
                Reading::Value { value, .. } => (value, None),
            };
            seen[place] = Some(InputSeen { signal, value, age: signals.age(signal, now) });
            values[place] = value;
            refusal = refusal.or(wrong);
        }
        (seen, refusal.map_or(Ok(values), Err))
    }

    /// Whether `when` holds and whether a latched rule is released.
    fn verdict(&self, values: &[f64]) -> Result<(bool, bool), Refusal> {
        let when = self.when.holds(values).ok_or(Refusal::NotFinite)?;
        let released = match &self.release {
            Some(release) => release.holds(values).ok_or(Refusal::NotFinite)?,
            None => !when,
        };
        Ok((when, released))
    }

    /// Whether this refusal is news.
    fn refuse(&mut self, refusal: Refusal) -> bool {
        if matches!(self.state, State::Holding { .. }) {
            self.state = State::Waiting;
        }
        self.blind.replace(refusal) != Some(refusal)
    }

    /// Moves on; `true` when the rule is to decide now.
    fn advance(&mut self, now: BoardTime, when: bool, released: bool) -> bool {
        if self.state == State::Latched && released {
            self.state = State::Waiting;
        }
        if self.state == State::Latched {
            return false;
        }
        if !when {
            self.state = State::Waiting;
            return false;
        }
        let since = match self.state {
            State::Holding { since } => since,
            State::Waiting | State::Latched => now,
        };
        self.state = State::Holding { since };
        if now - since < self.hold {
            return false;
        }
        let resting = self.decided.is_some_and(|decided| now - decided < self.refractory);
        if !self.repeat {
            self.state = State::Latched;
        }
        if !resting {
            self.decided = Some(now);
        }
        !resting
    }

    /// Fire or sham: a pure function of the rule's name and how often it has decided.
    fn draw(&mut self) -> Outcome {
        self.decisions += 1;
        let uniform = (mix(self.sham_seed ^ mix(self.decisions)) >> 11) as f64 / (1u64 << 53) as f64;
        if uniform < self.sham_probability { Outcome::Sham } else { Outcome::Fired }
    }
}

fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0, |seed, byte| mix(seed ^ u64::from(byte)))
}

/// The finaliser of `SplitMix64`.
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
