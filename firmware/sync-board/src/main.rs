//! The sync board: camera triggers, edges, scheduled outputs within limits, the lab panel's buttons and lamps.
//!
//! What the board decides lies in `mimicd-board`, which the host tests; what it says lies in `mimicd-wire`. Here is only
//! hardware, one module a board, each of which fills `mimicd_board::Hardware` and runs its passes for ever.

#![no_std]
#![no_main]

#[cfg(feature = "mps2")]
mod mps2;
#[cfg(any(feature = "rp2040", feature = "rp2350"))]
mod rp;

/// This firmware's version, major.minor.patch in its bytes.
const FIRMWARE: u32 = version(env!("CARGO_PKG_VERSION"));

const fn version(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let (mut whole, mut part, mut at) = (0, 0, 0);
    while at < bytes.len() {
        if bytes[at] == b'.' {
            whole = whole << 8 | part;
            part = 0;
        } else {
            part = part * 10 + (bytes[at] - b'0') as u32;
        }
        at += 1;
    }
    whole << 8 | part
}
