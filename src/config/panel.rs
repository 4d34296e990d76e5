//! HTTP panel.

use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Where the panel listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PanelConfig {
    /// Address and port; loopback unless TLS and a token are set.
    pub ip_port: SocketAddr,
}

impl Default for PanelConfig {
    fn default() -> Self {
        Self { ip_port: SocketAddr::from(([127, 0, 0, 1], 7_117)) }
    }
}

impl PanelConfig {
    pub(super) fn resolve_paths(&mut self, _folder: &Path) {}

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        if !self.ip_port.ip().is_loopback() {
            errors.push(ConfigError::value("panel.ip_port", self.ip_port, "a loopback address"));
        }
    }
}
