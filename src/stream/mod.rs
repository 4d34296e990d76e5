//! How data moves between threads: bounded rings, recycling pools, latest-value slots, gathering.
//!
//! | part | full / busy | who waits |
//! |---|---|---|
//! | [`ring`] | push is refused, the value comes back, the loss is counted | nobody |
//! | [`Pool`] | no slot: the caller drops the item at its source and counts it | nobody |
//! | [`Latest`] | a publisher that meets a reader skips this update and counts it | the reader, for one copy |
//! | [`Gatherer`] | an open set older than its wait is closed without the missing cameras | nobody |
//!
//! Nothing here allocates after construction. `ringbuf` is named only in this layer.

mod gather;
mod latest;
mod pool;
mod ring;

pub use gather::{FrameSet, GatherCounts, Gatherer, MatchedFrame, SetState};
pub use latest::Latest;
pub use pool::{Pool, PoolError};
pub use ring::{Consumer, Doorbell, Producer, RingCounts, ring, ring_with_doorbell};
