//! A command sent twice under one key is done once and answered twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::Acknowledgement;
use crate::pipeline::Command;

/// Keys remembered; the oldest is forgotten.
const KEYS_MAX: usize = 512;
/// Longest key.
pub(super) const KEY_CHARS_MAX: usize = 128;

/// One command under one key; the cell is filled when it has been acknowledged.
type Entry = (String, Command, Arc<OnceCell<Acknowledgement>>);

/// The commands given lately under a key.
#[derive(Debug, Default)]
pub(super) struct Keys {
    entries: Mutex<VecDeque<Entry>>,
}

impl Keys {
    /// The cell of `key`; `None` if the key was used for another command.
    pub(super) fn cell(&self, key: &str, command: &Command) -> Option<Arc<OnceCell<Acknowledgement>>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, earlier, cell)) = entries.iter().find(|(used, ..)| used == key) {
            return (earlier == command).then(|| cell.clone());
        }
        if entries.len() == KEYS_MAX {
            entries.pop_front();
        }
        let cell = Arc::new(OnceCell::new());
        entries.push_back((key.to_owned(), command.clone(), cell.clone()));
        Some(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_one_command() {
        let keys = Keys::default();
        let first = keys.cell("k", &Command::Arm).expect("new");
        assert!(Arc::ptr_eq(&first, &keys.cell("k", &Command::Arm).expect("the same")));
        assert!(keys.cell("k", &Command::Stop).is_none());
        for n in 0..KEYS_MAX {
            keys.cell(&n.to_string(), &Command::Arm);
        }
        assert!(keys.cell("k", &Command::Stop).is_some(), "forgotten by now");
    }
}
