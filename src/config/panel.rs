//! HTTP panel.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, check, resolve};

/// Where the panel listens, and who may come in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PanelConfig {
    /// Address and port. Loopback by default; any other address needs `tls_certificate`, `tls_key` and
    /// `operator_token`.
    pub ip_port: SocketAddr,
    /// Certificate chain (PEM); empty = plain HTTP.
    pub tls_certificate: PathBuf,
    /// Private key of the certificate (PEM).
    pub tls_key: PathBuf,
    /// File with the operators' token (at least 20 characters); empty = whoever reaches the address is an operator.
    /// Tokens are in files so that they never get into manifests.
    pub operator_token: PathBuf,
    /// File with the viewers' token: read everything, command nothing.
    pub viewer_token: PathBuf,
    /// Further names under which browsers reach the panel, e.g. `rig2.lab`.
    pub host_names: Vec<String>,
    /// Connections open at a time; more are turned away.
    pub clients_max: usize,
    /// How often the page gets new numbers.
    pub live_hz: f64,
    /// How often the page gets new camera images.
    pub preview_hz: f64,
    /// Folder for the note of the recording in progress, which a restarted daemon then continues; empty = none.
    pub state_folder: PathBuf,
}

impl Default for PanelConfig {
    fn default() -> Self {
        Self {
            ip_port: SocketAddr::from(([127, 0, 0, 1], 7_117)),
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            operator_token: PathBuf::new(),
            viewer_token: PathBuf::new(),
            host_names: Vec::new(),
            clients_max: 256,
            live_hz: 20.0,
            preview_hz: 12.0,
            state_folder: PathBuf::new(),
        }
    }
}

impl PanelConfig {
    /// Whether the panel speaks TLS.
    pub fn tls(&self) -> bool {
        !self.tls_certificate.as_os_str().is_empty()
    }

    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        for path in [
            &mut self.tls_certificate,
            &mut self.tls_key,
            &mut self.operator_token,
            &mut self.viewer_token,
            &mut self.state_folder,
        ] {
            resolve(folder, path);
        }
    }

    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        for (key, path) in [
            ("panel.tls_certificate", &self.tls_certificate),
            ("panel.tls_key", &self.tls_key),
            ("panel.operator_token", &self.operator_token),
            ("panel.viewer_token", &self.viewer_token),
        ] {
            if !path.as_os_str().is_empty() {
                check::file(key, path, errors);
            }
        }
        let empty = |path: &Path| path.as_os_str().is_empty();
        if empty(&self.tls_certificate) != empty(&self.tls_key) {
            errors.push(ConfigError::value(
                "panel.tls_key",
                format!("{:?}", self.tls_key),
                "a certificate and its key, or neither",
            ));
        }
        if !self.ip_port.ip().is_loopback() && (!self.tls() || empty(&self.operator_token)) {
            errors.push(ConfigError::value(
                "panel.ip_port",
                self.ip_port,
                "a loopback address, or tls_certificate, tls_key and operator_token to be set",
            ));
        }
        if !empty(&self.viewer_token) && empty(&self.operator_token) {
            errors.push(ConfigError::value(
                "panel.viewer_token",
                self.viewer_token.display(),
                "operator_token to be set as well (without it everyone is an operator)",
            ));
        }
        check::within("panel.clients_max", self.clients_max as f64, 1.0..=10_000.0, errors);
        check::within("panel.live_hz", self.live_hz, 1.0..=60.0, errors);
        check::within("panel.preview_hz", self.preview_hz, 0.5..=30.0, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(panel: &PanelConfig) -> Vec<String> {
        let mut errors = Vec::new();
        panel.check(&mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_network_needs_tls_and_a_token() {
        assert!(errors(&PanelConfig::default()).is_empty());
        let open = PanelConfig { ip_port: "0.0.0.0:7117".parse().expect("address"), ..Default::default() };
        assert!(errors(&open)[0].contains("operator_token"), "{:?}", errors(&open));
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let path = file.path().to_owned();
        let half = PanelConfig { tls_certificate: path.clone(), tls_key: path.clone(), ..open };
        assert_eq!(errors(&half).len(), 1);
        let whole = PanelConfig { operator_token: path, ..half };
        assert!(errors(&whole).is_empty());
    }
}
