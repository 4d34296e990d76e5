//! GigE Vision and USB3 Vision cameras, through Aravis.
//!
//! Aravis receives on a thread of its own, asks for lost packets again and hands buffers over; each image is copied once, into
//! the pool slot that it is given. What the buffer's status says becomes flags: missing packets, a timeout or a wrong size
//! are `CORRUPT`, images that never began show as gaps of the block id.
//!
//! A camera is named by its Aravis id (`Vendor-Model-Serial`), its IP address or its user-defined name. `controls` takes the
//! camera's own features (`TriggerMode`, `Gain`, …: the standard feature names have capitals) and settings of the link, which
//! are ours (small letters):
//!
//! | setting | value |
//! |---|---|
//! | `packet_resend` | ask for lost packets again (default true) |
//! | `packet_bytes` | size of a stream packet; default: the largest that arrives |
//! | `packet_timeout_micros` | patience before a packet is asked for again |
//! | `frame_retention_micros` | patience before an incomplete image is handed over |
//! | `socket_buffer_bytes` | receive buffer of the stream's socket |
//! | `bandwidth_bytes_per_second` | this camera's share of the link |
//! | `ptp` | the camera's stamps are of the clock that all on its link share (IEEE 1588); arming is refused until it has it |

mod image;
mod pixel;
mod settings;
mod source;
mod timing;

use std::sync::{Mutex, OnceLock, PoisonError};

use aravis::Aravis;

pub use pixel::{format_of, name_of};
pub use source::{Abilities, GenicamCamera, abilities};

/// A camera that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Name that a config uses.
    pub id: String,
    /// Maker and model.
    pub model: String,
    /// IP or bus address.
    pub address: String,
    /// `GigEVision` or `USB3Vision`.
    pub protocol: String,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ({}, {} at {})", self.id, self.model, self.protocol, self.address)
    }
}

/// Every camera that answers on the networks and buses of this machine; takes about a second.
pub fn cameras() -> Vec<Found> {
    let listed = with_aravis(|aravis| aravis.map(Aravis::get_device_list).unwrap_or_default());
    let text = |value: &std::ffi::CString| value.to_string_lossy().into_owned();
    let found = |info: &aravis::DeviceInfo| Found {
        id: text(&info.id),
        model: format!("{} {}", text(&info.vendor), text(&info.model)),
        address: text(&info.address),
        protocol: text(&info.protocol),
    };
    listed.iter().map(found).collect()
}

/// Runs `action` while nobody else looks for or opens a camera: Aravis' list of devices is one for the whole process.
fn with_aravis<T>(action: impl FnOnce(Option<&Aravis>) -> T) -> T {
    static ARAVIS: OnceLock<Mutex<Option<Aravis>>> = OnceLock::new();
    let aravis = ARAVIS.get_or_init(|| Mutex::new(Aravis::initialize().ok()));
    // A thread that panicked while it looked has left nothing half done.
    let held = aravis.lock().unwrap_or_else(PoisonError::into_inner);
    action(held.as_ref())
}
