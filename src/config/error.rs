//! What can be wrong with a config file.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong, with the key, the value and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot be read: {reason}")]
    Unreadable {
        /// What the operating system said.
        reason: String,
    },
    /// Not TOML, an unknown key, a missing key or a wrong type; the reason names line and key.
    #[error("{reason}")]
    Syntax {
        /// What the parser said.
        reason: String,
    },
    /// A value outside what is possible.
    #[error("{key} = {value}: expected {expected}")]
    Value {
        /// Dotted key.
        key: String,
        /// The value given.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// A file named by the config is not there.
    #[error("{key} = \"{}\": no such file", path.display())]
    MissingFile {
        /// Dotted key.
        key: String,
        /// The path after resolving.
        path: PathBuf,
    },
}

impl ConfigError {
    /// A value that is not possible.
    pub fn value(key: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self::Value { key: key.into(), value: value.to_string(), expected: expected.into() }
    }
}

/// Everything that is wrong with one config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    path: PathBuf,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(super) fn new(path: &Path, errors: Vec<ConfigError>) -> Self {
        Self { path: path.to_owned(), errors }
    }

    pub(super) fn one(path: &Path, error: ConfigError) -> Self {
        Self::new(path, vec![error])
    }

    /// The failures, in file-section order.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        write!(f, "{}: {count} error{}", self.path.display(), if count == 1 { "" } else { "s" })?;
        for error in &self.errors {
            write!(f, "\n  - {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
