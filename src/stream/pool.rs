//! Recycling slots: memory that goes from an edge thread to its readers and comes back when the last one lets go.

use std::sync::Arc;

/// A fixed number of `Arc` slots. A slot is free again when every clone handed out has been dropped.
///
/// The number of slots is the sum of what its holders may hold at once, plus one being filled; the caller names them. The
/// first free slot is taken, not the one that has rested longest: only as many slots are ever touched as are really held,
/// and the one taken is likely to be in the cache.
pub struct Pool<T> {
    slots: Vec<Arc<T>>,
    touched: usize,
}

impl<T> Pool<T> {
    /// A pool of `slots` slots made by `make`.
    ///
    /// # Panics
    /// If `slots` is zero.
    pub fn new(slots: usize, mut make: impl FnMut() -> T) -> Self {
        assert!(slots > 0, "a pool needs at least one slot");
        Self { slots: (0..slots).map(|_| Arc::new(make())).collect(), touched: 0 }
    }

    /// Finds a free slot, lets `fill` write it and, if `fill` returns `Ok(true)`, hands a clone out.
    ///
    /// Returns `Ok(None)` when `fill` had nothing; a slot is then still free.
    ///
    /// # Errors
    /// [`PoolError::Exhausted`] when every slot is held by a reader, or whatever `fill` returns.
    pub fn lease<E>(&mut self, fill: impl FnOnce(&mut T) -> Result<bool, E>) -> Result<Option<Arc<T>>, PoolError<E>> {
        for (place, shared) in self.slots.iter_mut().enumerate() {
            let Some(slot) = Arc::get_mut(shared) else { continue };
            self.touched = self.touched.max(place + 1);
            return match fill(slot) {
                Ok(true) => Ok(Some(Arc::clone(shared))),
                Ok(false) => Ok(None),
                Err(error) => Err(PoolError::Fill(error)),
            };
        }
        Err(PoolError::Exhausted)
    }

    /// Slots in all.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Never: a pool has at least one slot.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The most slots that were held at once, with the one being filled: as many have memory of the machine behind them.
    pub fn touched(&self) -> usize {
        self.touched
    }

    /// Slots that no reader holds.
    pub fn free(&self) -> usize {
        self.slots.iter().filter(|slot| Arc::strong_count(slot) == 1).count()
    }
}

/// Why a lease failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolError<E> {
    /// Every slot is held; the item is dropped at its source.
    Exhausted,
    /// Filling failed.
    Fill(E),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: u32) -> impl FnOnce(&mut u32) -> Result<bool, ()> {
        move |slot| {
            *slot = value;
            Ok(true)
        }
    }

    #[test]
    fn slots_come_back_when_the_last_reader_lets_go() {
        let mut pool = Pool::new(2, || 0);
        let first = pool.lease(put(1)).expect("free").expect("filled");
        let again = Arc::clone(&first);
        let second = pool.lease(put(2)).expect("free").expect("filled");
        assert_eq!(pool.lease(put(3)), Err(PoolError::Exhausted));
        drop(first);
        assert_eq!(pool.lease(put(3)), Err(PoolError::Exhausted), "a clone is still out");
        drop(again);
        assert_eq!(pool.free(), 1);
        assert_eq!(*pool.lease(put(3)).expect("free").expect("filled"), 3);
        assert_eq!(*second, 2);
    }

    #[test]
    fn no_more_slots_are_touched_than_are_held() {
        let mut pool = Pool::new(8, || 0);
        for value in 1..=100 {
            let held = pool.lease(put(value)).expect("free").expect("filled");
            let next = pool.lease(put(value)).expect("free").expect("filled");
            drop((held, next));
        }
        assert_eq!(pool.slots.iter().filter(|slot| ***slot > 0).count(), 2);
        assert_eq!(pool.touched(), 2);
    }

    #[test]
    fn nothing_to_fill_keeps_the_slot_free() {
        let mut pool = Pool::new(1, || 0);
        assert_eq!(pool.lease(|_| Ok::<_, ()>(false)), Ok(None));
        assert_eq!(pool.free(), 1);
    }
}
