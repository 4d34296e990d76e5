//! Keyframes on demand: movement is generated in short chunks as it is asked for, and can be taken up again anywhere.
//!
//! Generation is sequential (each keyframe follows from the last), so asking forward costs a constant amount per second of
//! movement, and asking back costs at most the way from the nearest checkpoint. Memory is bounded: the newest chunks are
//! kept, and of the checkpoints every other one is dropped whenever there are too many.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::animal::{Animal, Key};

/// Keyframes in a chunk: 0.32 s of movement, about 2 ms of work.
pub(crate) const CHUNK: usize = 32;
/// Chunks kept.
const CHUNKS_MAX: usize = 64;
/// Checkpoints kept.
const CHECKPOINTS_MAX: usize = 128;

/// Generates and keeps keyframes.
#[derive(Debug)]
pub(crate) struct Track {
    chunks: BTreeMap<u64, Arc<[Key]>>,
    /// State before the chunk of that index.
    checkpoints: BTreeMap<u64, Animal>,
    /// Chunks between checkpoints.
    stride: u64,
    /// The generator, and the chunk it would make next.
    head: (u64, Animal),
}

impl Track {
    pub(crate) fn new(animal: Animal) -> Self {
        let checkpoints = BTreeMap::from([(0, animal.clone())]);
        Self { chunks: BTreeMap::new(), checkpoints, stride: 32, head: (0, animal) }
    }

    /// The chunk of that index, made now if it is not kept.
    pub(crate) fn chunk(&mut self, index: u64) -> Arc<[Key]> {
        if let Some(chunk) = self.chunks.get(&index) {
            return Arc::clone(chunk);
        }
        let is_ahead = self.head.0 <= index;
        let (at, state) =
            self.checkpoints.range(..=index).next_back().expect("the checkpoint of chunk 0 is never dropped");
        if !is_ahead || *at > self.head.0 {
            self.head = (*at, state.clone());
        }
        loop {
            let made = self.make();
            if made.0 == index {
                return made.1;
            }
        }
    }

    fn make(&mut self) -> (u64, Arc<[Key]>) {
        let index = self.head.0;
        if index.is_multiple_of(self.stride) && !self.checkpoints.contains_key(&index) {
            self.checkpoints.insert(index, self.head.1.clone());
            if self.checkpoints.len() > CHECKPOINTS_MAX {
                self.stride *= 2;
                let stride = self.stride;
                self.checkpoints.retain(|at, _| at.is_multiple_of(stride));
            }
        }
        let animal = &mut self.head.1;
        let chunk: Arc<[Key]> = (0..CHUNK).map(|_| animal.advance()).collect();
        self.head.0 += 1;
        if self.chunks.len() >= CHUNKS_MAX {
            // The furthest from the one just made is the least likely to be asked for again.
            let (first, last) = (self.chunks.keys().next().copied(), self.chunks.keys().next_back().copied());
            let furthest = first.into_iter().chain(last).max_by_key(|at| at.abs_diff(index));
            furthest.and_then(|at| self.chunks.remove(&at));
        }
        self.chunks.insert(index, Arc::clone(&chunk));
        (index, chunk)
    }
}
