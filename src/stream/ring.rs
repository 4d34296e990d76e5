//! Bounded single-producer single-consumer rings that count, and a doorbell to wake the consumer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use ringbuf::traits::{Consumer as _, Observer as _, Producer as _, Split as _};
use ringbuf::{HeapCons, HeapProd, HeapRb};

/// What went through a ring. Occupancy is `pushed - popped`; there is no third counter that could disagree.
#[derive(Debug, Default)]
pub struct RingCounts {
    pushed: AtomicU64,
    popped: AtomicU64,
    refused: AtomicU64,
}

impl RingCounts {
    /// Items taken in.
    pub fn pushed(&self) -> u64 {
        self.pushed.load(Ordering::Relaxed)
    }

    /// Items handed out.
    pub fn popped(&self) -> u64 {
        self.popped.load(Ordering::Relaxed)
    }

    /// Items refused because the ring was full.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Wakes one sleeping consumer. Ringing is a flag and, only when somebody sleeps, an unpark: cheap on edge threads.
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Doorbell {
    /// A doorbell nobody listens to yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Makes the calling thread the one that [`wait`](Self::wait)s. Later calls change nothing.
    pub fn listen(&self) {
        self.sleeper.get_or_init(std::thread::current);
    }

    /// Wakes the listener, or lets its next wait return at once.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::Release)
            && let Some(thread) = self.sleeper.get()
        {
            thread.unpark();
        }
    }

    /// Sleeps until rung or for `timeout`; returns whether it was rung. Only the listener calls this.
    pub fn wait(&self, timeout: Duration) -> bool {
        if self.rung.swap(false, Ordering::Acquire) {
            return true;
        }
        std::thread::park_timeout(timeout);
        self.rung.swap(false, Ordering::Acquire)
    }
}

/// The sending half of a ring.
pub struct Producer<T> {
    inner: HeapProd<T>,
    counts: Arc<RingCounts>,
    doorbell: Option<Arc<Doorbell>>,
}

impl<T> Producer<T> {
    /// Puts `item` in.
    ///
    /// # Errors
    /// The item comes back when the ring is full; the refusal is counted.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        let result = self.inner.try_push(item);
        match &result {
            Ok(()) => {
                self.counts.pushed.fetch_add(1, Ordering::Relaxed);
                if let Some(doorbell) = &self.doorbell {
                    doorbell.ring();
                }
            }
            Err(_) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        result
    }

    /// Free places as far as this side knows.
    pub fn vacant(&self) -> usize {
        self.inner.vacant_len()
    }

    /// The ring's counters.
    pub fn counts(&self) -> &Arc<RingCounts> {
        &self.counts
    }
}

/// The receiving half of a ring.
pub struct Consumer<T> {
    inner: HeapCons<T>,
    counts: Arc<RingCounts>,
}

impl<T> Consumer<T> {
    /// Takes the oldest item out.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.inner.try_pop();
        if item.is_some() {
            self.counts.popped.fetch_add(1, Ordering::Relaxed);
        }
        item
    }

    /// Items waiting.
    pub fn len(&self) -> usize {
        self.inner.occupied_len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Whether the producer is gone and nothing is left.
    pub fn is_finished(&self) -> bool {
        !self.inner.write_is_held() && self.inner.is_empty()
    }

    /// The ring's counters.
    pub fn counts(&self) -> &Arc<RingCounts> {
        &self.counts
    }
}

/// A ring of `capacity` places.
///
/// # Panics
/// If `capacity` is zero.
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    build(capacity, None)
}

/// A ring whose pushes ring `doorbell`.
///
/// # Panics
/// If `capacity` is zero.
pub fn ring_with_doorbell<T>(capacity: usize, doorbell: &Arc<Doorbell>) -> (Producer<T>, Consumer<T>) {
    build(capacity, Some(Arc::clone(doorbell)))
}

fn build<T>(capacity: usize, doorbell: Option<Arc<Doorbell>>) -> (Producer<T>, Consumer<T>) {
    assert!(capacity > 0, "a ring needs at least one place");
    let (producer, consumer) = HeapRb::new(capacity).split();
    let counts = Arc::new(RingCounts::default());
    (Producer { inner: producer, counts: Arc::clone(&counts), doorbell }, Consumer { inner: consumer, counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_hands_the_item_back_and_counts() {
        let (mut producer, mut consumer) = ring(2);
        assert_eq!(producer.push(1), Ok(()));
        assert_eq!(producer.push(2), Ok(()));
        assert_eq!(producer.push(3), Err(3));
        assert_eq!(consumer.pop(), Some(1));
        let counts = consumer.counts();
        assert_eq!((counts.pushed(), counts.popped(), counts.refused()), (2, 1, 1));
    }

    #[test]
    fn the_consumer_learns_that_the_producer_is_gone() {
        let (mut producer, mut consumer) = ring(2);
        producer.push(1).expect("room for one");
        drop(producer);
        assert!(!consumer.is_finished());
        consumer.pop();
        assert!(consumer.is_finished());
    }

    #[test]
    fn a_doorbell_rung_before_the_wait_is_not_lost() {
        let doorbell = Doorbell::new();
        doorbell.listen();
        let (mut producer, _consumer) = ring_with_doorbell(1, &doorbell);
        producer.push(()).expect("room for one");
        assert!(doorbell.wait(Duration::from_secs(60)));
        assert!(!doorbell.wait(Duration::from_millis(1)));
    }
}
