//! What can be wrong with a rule.

use std::fmt;

/// One thing that is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleErrorKind {
    /// Not a condition of the language.
    #[error("at character {}: {reason}", offset + 1)]
    Syntax {
        /// Byte offset into the text.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },
    /// No such signal.
    #[error("at character {}: no signal is called {name}{}", offset + 1, Suggestion(nearest))]
    UnknownSignal {
        /// The name given.
        name: String,
        /// Byte offset into the text.
        offset: usize,
        /// A known name that is near.
        nearest: Option<String>,
    },
    /// A number where a condition belongs, or the other way round.
    #[error("found {found}, expected {expected}: compare numbers with < or >, join conditions with and, or, not")]
    Mixed {
        /// What stands there.
        found: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// The whole is a number.
    #[error("is a number, expected a condition such as pose.Snout.height_m > 0.08")]
    NotACondition,
    /// Too deeply nested to run in bounded memory.
    #[error("needs {depth} intermediate values, expected at most {depth_max}: use fewer parentheses")]
    TooDeep {
        /// Values needed.
        depth: usize,
        /// Values there are.
        depth_max: usize,
    },
    /// More signals than a decision can carry.
    #[error("looks at {count} signals, expected at most {count_max}")]
    TooManySignals {
        /// Signals named.
        count: usize,
        /// Signals possible.
        count_max: usize,
    },
}

struct Suggestion<'a>(&'a Option<String>);

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, "; the nearest is {nearest}"),
            None => write!(f, "; `mimicd rules signals` lists all"),
        }
    }
}

/// What is wrong with a rule, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule.{rule}.{key} = {text:?}: {kind}")]
pub struct RuleError {
    /// Which rule.
    pub rule: String,
    /// Which key of it.
    pub key: &'static str,
    /// The text given.
    pub text: String,
    /// What is wrong.
    pub kind: RuleErrorKind,
}
