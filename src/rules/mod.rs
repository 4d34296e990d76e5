//! Closed-loop rules: conditions over named signals, answered by output pulses and marks.
//!
//! Duty: once a loop pass, judge every rule and say what it decided and from what. Tier: loop; nothing here blocks or
//! allocates after construction.
//!
//! - [`SignalNames`] and [`SignalTable`]: what rules may look at; [`PoseSignals`] and [`PostureSignals`] fill the pose part.
//! - [`RuleEngine`]: the rules, checked at load against the names, then run.
//! - [`Decision`]: fired, sham or refused, with each input's value and age.
//!
//! An input that is unknown, invalid or older than the rule's limit makes the rule refuse: nothing acts on it.

mod compile;
mod decision;
mod engine;
mod error;
mod parse;
mod pose;
mod posture;
mod signals;

pub use compile::INPUTS_MAX;
pub use decision::{Decision, InputSeen, Outcome, PulseTrain, Refusal, RuleIndex};
pub use engine::RuleEngine;
pub use error::{RuleError, RuleErrorKind};
pub use pose::PoseSignals;
pub use posture::PostureSignals;
pub use signals::{Reading, SignalIndex, SignalNames, SignalTable};
