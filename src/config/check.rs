//! Small rules that several sections share.

use std::ops::RangeInclusive;
use std::path::Path;

use super::ConfigError;

/// A finite number within `range`.
pub(super) fn within(key: &str, value: f64, range: RangeInclusive<f64>, errors: &mut Vec<ConfigError>) {
    if !range.contains(&value) {
        errors.push(ConfigError::value(key, value, format!("{} to {}", range.start(), range.end())));
    }
}

/// A file that is there.
pub(super) fn file(key: &str, path: &Path, errors: &mut Vec<ConfigError>) {
    if !path.is_file() {
        errors.push(ConfigError::MissingFile { key: key.to_owned(), path: path.to_owned() });
    }
}

/// A name that is safe as a file name: letters, digits, `-` and `_`, 1 to 64 of them.
pub(super) fn slug(key: &str, name: &str, errors: &mut Vec<ConfigError>) {
    let fits =
        (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !fits {
        errors.push(ConfigError::value(key, format!("{name:?}"), "1 to 64 letters, digits, '-' or '_'"));
    }
}

/// Names that differ from each other.
pub(super) fn distinct<'a>(key: &str, names: impl Iterator<Item = &'a str>, errors: &mut Vec<ConfigError>) {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            errors.push(ConfigError::value(key, format!("{name:?}"), "a name that is used once"));
        }
    }
}
