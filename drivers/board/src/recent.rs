//! Memory of the last commands, so that a repeated one is acknowledged again but not done again.

use mimicd_wire::Refusal;

/// How many commands are remembered.
pub const RECENT: usize = 64;

/// The last [`RECENT`] command identities and what became of them.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    entries: [(u32, Option<Refusal>); RECENT],
    next: usize,
}

impl Recent {
    pub(crate) const fn new() -> Self {
        Self { entries: [(0, None); RECENT], next: 0 }
    }

    /// What became of command `id`, if it is remembered.
    pub(crate) fn find(&self, id: u32) -> Option<Option<Refusal>> {
        self.entries.iter().find(|entry| entry.0 == id && id != 0).map(|entry| entry.1)
    }

    pub(crate) fn remember(&mut self, id: u32, refused: Option<Refusal>) {
        self.entries[self.next] = (id, refused);
        self.next = (self.next + 1) % RECENT;
    }
}
