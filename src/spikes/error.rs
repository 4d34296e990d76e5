//! Why a spike stage could not be made.

use super::{ProbeError, TemplateError};

/// Why a spike stage could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SpikesError {
    /// The probe map.
    #[error("spikes.probe: {0}")]
    Probe(#[from] ProbeError),
    /// The templates.
    #[error("spikes.templates: {0}")]
    Templates(#[from] TemplateError),
}
