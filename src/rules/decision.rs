//! What a rule decided, and from what.

use mimicd_device::{BoardTime, OutputIndex, Span};

use super::compile::INPUTS_MAX;
use super::signals::SignalIndex;

/// A rule's place in the config (0-based).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub u16);

/// Why a rule could not judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// An input has never had a value.
    Unknown,
    /// The stage that makes an input has no answer at present.
    Invalid,
    /// An input is older than the rule allows.
    Stale,
    /// The condition divides by zero or the like.
    NotFinite,
}

/// What came of a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The rule acts.
    Fired,
    /// It would have acted, but chance made this one a sham: recorded like the others, no output.
    Sham,
    /// It cannot judge. Reported once, when it begins or its reason changes.
    Refused(Refusal),
}

/// A train of output pulses relative to the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PulseTrain {
    /// Which output.
    pub output: OutputIndex,
    /// From the decision to the first rising edge; zero = at once.
    pub delay: Span,
    /// Width of each pulse.
    pub width: Span,
    /// Number of pulses.
    pub count: u16,
    /// From rising edge to rising edge.
    pub period: Span,
}

impl PulseTrain {
    /// Board times of the rising edges for a decision at `decided`; `None` = at once.
    pub fn rises(self, decided: BoardTime) -> impl Iterator<Item = Option<BoardTime>> {
        (0..i64::from(self.count)).map(move |pulse| {
            let offset = self.delay.nanos() + pulse * self.period.nanos();
            (offset > 0).then(|| decided + Span::from_nanos(offset))
        })
    }
}

/// One input of a decision as the rule saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputSeen {
    /// Which signal.
    pub signal: SignalIndex,
    /// Its value; NaN where it had none.
    pub value: f64,
    /// Its age at the decision; `None` if it never had a value.
    pub age: Option<Span>,
}

/// A decision of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Which rule.
    pub rule: RuleIndex,
    /// When.
    pub at: BoardTime,
    /// What came of it.
    pub outcome: Outcome,
    /// What to do; only for [`Outcome::Fired`].
    pub pulses: Option<PulseTrain>,
    /// Whether to put a mark; its text is in the rule's config.
    pub mark: bool,
    inputs: [Option<InputSeen>; INPUTS_MAX],
}

impl Decision {
    pub(super) const fn new(
        rule: RuleIndex,
        at: BoardTime,
        outcome: Outcome,
        inputs: [Option<InputSeen>; INPUTS_MAX],
    ) -> Self {
        Self { rule, at, outcome, pulses: None, mark: false, inputs }
    }

    /// What the rule looked at, in the order of its text.
    pub fn inputs(&self) -> impl Iterator<Item = &InputSeen> {
        self.inputs.iter().flatten()
    }

    /// Age of the oldest input.
    pub fn oldest(&self) -> Option<Span> {
        self.inputs().filter_map(|input| input.age).max()
    }
}
