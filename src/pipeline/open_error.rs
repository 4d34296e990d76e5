//! Why a rig's devices could not be opened.

use mimicd_device::{DeviceError, DeviceErrorKind};
use mimicd_sim::SimError;

/// Why devices could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The twin refused.
    #[error("twin: {0}")]
    Twin(#[from] SimError),
    /// A device could not be opened.
    #[error("{name}: {error}")]
    Device {
        /// Which, as in the config.
        name: String,
        /// What it said.
        error: DeviceError,
    },
}

pub(super) fn unsupported(name: &str, what: &str) -> OpenError {
    let context = format!("{what} is not in this build; use backend = \"twin\"");
    OpenError::Device { name: name.to_owned(), error: DeviceError::new(DeviceErrorKind::Unsupported, context) }
}
