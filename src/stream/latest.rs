//! The newest value, shared with threads that may look at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

/// A slot that holds the newest value of something.
///
/// The publisher never waits: if a reader holds the slot at that instant, the update is skipped and counted.
/// Readers copy out what they need and leave.
#[derive(Debug, Default)]
pub struct Latest<T> {
    value: Mutex<T>,
    published: AtomicU64,
    skipped: AtomicU64,
}

impl<T> Latest<T> {
    /// A slot that holds `value`.
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), published: AtomicU64::new(0), skipped: AtomicU64::new(0) }
    }

    /// Lets `update` change the value in place unless a reader holds it; returns whether it did.
    pub fn publish(&self, update: impl FnOnce(&mut T)) -> bool {
        let mut guard = match self.value.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.skipped.fetch_add(1, Ordering::Relaxed);
                return false;
            }
        };
        update(&mut guard);
        self.published.fetch_add(1, Ordering::Release);
        true
    }

    /// Reads the value in place. Keep `look` short: the publisher skips while it runs.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many updates there have been; changes when there is something new to read.
    pub fn version(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Updates skipped because a reader held the slot.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_makes_the_publisher_skip_not_wait() {
        let slot = Latest::new(1);
        assert!(slot.publish(|value| *value = 2));
        slot.read(|value| {
            assert_eq!(*value, 2);
            assert!(!slot.publish(|_| unreachable!("the slot is held")));
        });
        assert_eq!((slot.version(), slot.skipped()), (1, 1));
    }
}
