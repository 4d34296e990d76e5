//! The sync board on a serial line (USB CDC-ACM, UART), or on a socket where it is emulated.
//!
//! Duty: find the board, hold its line alone, shake hands, turn commands into frames and frames into events, repeat what
//! was not acknowledged, say what was lost. One thread owns it (tier: edge); after opening, nothing allocates and nothing
//! blocks but [`SyncBoard::wait`](mimicd_device::SyncBoard::wait).
//!
//! - [`find`]: which port it is, by USB id and serial number.
//! - `line`: the byte stream: a terminal or a socket, never blocking.
//! - `outbox`: frames on their way out and commands that wait for their acknowledgement.
//! - [`SerialBoard`]: the driver. [`LinkStats`]: what went over the line, for anyone to read.
//!
//! ```text
//!            open / reopen                 Hello answered                    end of file, error, silence
//!  CLOSED ───────────────────► GREETING ───────────────────► TALKING ───────────────────────────────► CLOSED
//!                                  │ no answer for 2 s, another board, another version ──► CLOSED
//! ```

mod board;
mod descriptor;
pub mod find;
mod line;
mod outbox;
mod stats;

pub use board::{SerialBoard, SerialOptions};
pub use stats::LinkStats;
