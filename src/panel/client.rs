//! The command line's side of the API: one blocking request over plain HTTP on the loopback interface.
//!
//! A panel that speaks TLS to the network is commanded from its own machine by the page or by any HTTP client; this small
//! one speaks only what the default panel speaks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::ACKNOWLEDGE_TIME_MAX;
use crate::pipeline::Command;

/// How long the daemon may take to take a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// Largest answer read.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("no mimicd answers at {address} ({source}); is it running? (`mimicd run --config FILE`)")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// What came back is not an answer of the panel.
    #[error("{address} answered with something else than a mimicd panel does: {reason}")]
    NotAPanel {
        /// The address.
        address: SocketAddr,
        /// What is odd about it.
        reason: String,
    },
}

/// Talks to the daemon at one address.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    token: Option<String>,
}

impl Client {
    /// A client for the panel at `address`; `token` where the panel asks for one.
    pub fn new(address: SocketAddr, token: Option<String>) -> Self {
        Self { address, token }
    }

    /// The state, as `/api/v1/state` gives it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn state(&self) -> Result<(u16, Value), ClientError> {
        self.request("GET", "/api/v1/state", "")
    }

    /// The event log, as `/api/v1/events` gives it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn events(&self) -> Result<(u16, Value), ClientError> {
        self.request("GET", "/api/v1/events", "")
    }

    /// Gives a command and waits for its acknowledgement: HTTP status (200 done, 409 refused by the rig) and body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn command(&self, command: &Command) -> Result<(u16, Value), ClientError> {
        let body = serde_json::to_string(command).expect("a command serialises");
        self.request("POST", "/api/v1/commands", &body)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value), ClientError> {
        let answer = self
            .exchange(method, path, body)
            .map_err(|source| ClientError::Unreachable { address: self.address, source })?;
        parse(&answer).map_err(|reason| ClientError::NotAPanel { address: self.address, reason })
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, CONNECT_TIME_MAX)?;
        stream.set_read_timeout(Some(ACKNOWLEDGE_TIME_MAX))?;
        stream.set_write_timeout(Some(CONNECT_TIME_MAX))?;
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        // HTTP/1.0: the answer ends with the connection and is never chunked.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{token}\r\n{body}",
            self.address,
            body.len(),
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn parse(answer: &[u8]) -> Result<(u16, Value), String> {
    let text = std::str::from_utf8(answer).map_err(|_| "not text".to_owned())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no HTTP head")?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or("no HTTP status")?;
    let value = serde_json::from_str(body).map_err(|error| format!("status {status}, no JSON: {error}"))?;
    Ok((status, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_or_named() {
        let (status, value) = parse(b"HTTP/1.0 409 Conflict\r\ncontent-length: 2\r\n\r\n{}").expect("an answer");
        assert_eq!((status, value), (409, serde_json::json!({})));
        assert!(parse(b"SSH-2.0").is_err());
        assert!(parse(b"HTTP/1.0 200 OK\r\n\r\n<html>").is_err());
    }
}
