//! What can be wrong with a simulated rig before it runs.

/// Why a twin cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// An option is impossible.
    #[error("twin option {key} = {value}: expected {expected}")]
    Option {
        /// Which option.
        key: String,
        /// The value given.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// The rat's body cannot be loaded or moved.
    #[error("twin body: {0}")]
    Body(String),
}

impl SimError {
    /// An option that is impossible.
    pub fn option(key: impl Into<String>, value: impl std::fmt::Display, expected: impl Into<String>) -> Self {
        Self::Option { key: key.into(), value: value.to_string(), expected: expected.into() }
    }
}
