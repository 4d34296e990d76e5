//! Who may come in: Host and Origin, tokens and sessions, roles, rates. Every request passes here first.
//!
//! | check | refused with | why |
//! |---|---|---|
//! | too many requests from one address | 429 | a flood must not cost the rig anything |
//! | `Host` is none of ours | 403 | DNS rebinding: a foreign page that resolves its name to this machine |
//! | `Origin` (or `Sec-Fetch-Site`) is foreign | 403 | a foreign page in an operator's browser, WebSockets included |
//! | a path that climbs (`..`, also encoded) | 404 | nothing of the file system is served by path; someone tries |
//! | no valid token or session | 401 | only when tokens are configured |
//! | a viewer commands | 403 | viewers read |
//!
//! Refusals are counted, put into the event log and into the audit log of the recording in progress. Tokens are compared as
//! SHA-256 digests, so that the time taken says nothing about how much was right.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::{Desk, Problem};
use crate::pipeline::{Level, Notice};

/// How long a browser stays signed in.
const SESSION_TIME_MAX: Duration = Duration::from_secs(12 * 3_600);
/// Sessions kept; the oldest gives way.
const SESSIONS_MAX: usize = 256;
/// Requests of one address: sustained per second, and at once.
const REQUESTS_PER_SECOND: f64 = 100.0;
const REQUESTS_BURST: f64 = 600.0;
/// Wrong tokens of one address: sustained per second, and at once.
const GUESSES_PER_SECOND: f64 = 0.2;
const GUESSES_BURST: f64 = 10.0;
/// Addresses whose rates are remembered.
const ADDRESSES_MAX: usize = 4_096;
/// Name of the session cookie.
const COOKIE: &str = "mimicd_session";

type Digest32 = [u8; 32];

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read.
    Viewer,
    /// Read and command.
    Operator,
}

impl Role {
    /// The word used in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

/// Tokens as digests; `None` as a whole: everyone who reaches the address is an operator.
#[derive(Clone, Debug)]
pub struct Tokens {
    operator: Digest32,
    viewer: Option<Digest32>,
}

impl Tokens {
    /// Digests of the tokens themselves, which are not kept.
    pub fn new(operator: &str, viewer: Option<&str>) -> Self {
        Self { operator: digest(operator), viewer: viewer.map(digest) }
    }

    fn role(&self, token: &str) -> Option<Role> {
        let given = digest(token);
        if given == self.operator {
            return Some(Role::Operator);
        }
        (self.viewer == Some(given)).then_some(Role::Viewer)
    }
}

/// The gate.
pub(super) struct Gate {
    hosts: Vec<String>,
    scheme: &'static str,
    tokens: Option<Tokens>,
    sessions: Mutex<HashMap<Digest32, (Role, Instant)>>,
    rates: Mutex<HashMap<IpAddr, Rate>>,
    refused: AtomicU64,
    desk: Arc<Desk>,
}

struct Rate {
    requests: Bucket,
    guesses: Bucket,
}

struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant, per_second: f64, burst: f64) -> bool {
        let fits = self.has_one(now, per_second, burst);
        if fits {
            self.left -= 1.0;
        }
        fits
    }

    fn has_one(&mut self, now: Instant, per_second: f64, burst: f64) -> bool {
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * per_second).min(burst);
        self.at = now;
        self.left >= 1.0
    }
}

impl Gate {
    /// A gate for `hosts` (as in a Host header, lower case, with port), `https` or not, with `tokens`.
    pub(super) fn new(hosts: Vec<String>, https: bool, tokens: Option<Tokens>, desk: Arc<Desk>) -> Self {
        Self {
            hosts,
            scheme: if https { "https" } else { "http" },
            tokens,
            sessions: Mutex::default(),
            rates: Mutex::default(),
            refused: AtomicU64::new(0),
            desk,
        }
    }

    /// Requests turned away so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Turns a token into a session cookie's value and its role.
    ///
    /// # Errors
    /// 401 for a wrong token, 429 for too many.
    pub(super) fn sign_in(&self, token: &str, from: IpAddr) -> Result<(Role, String), Problem> {
        if !self.rate(from, |rate, now| rate.guesses.take(now, GUESSES_PER_SECOND, GUESSES_BURST)) {
            return Err(self.refuse(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_guesses",
                "wait a minute",
                from,
                "sign-in",
            ));
        }
        let role = match &self.tokens {
            Some(tokens) => tokens.role(token).ok_or_else(|| {
                self.refuse(StatusCode::UNAUTHORIZED, "wrong_token", "this token is not known here", from, "sign-in")
            })?,
            None => Role::Operator,
        };
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no_randomness", format!("no session: {error}"))
        })?;
        let value: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sessions.retain(|_, (_, until)| *until > now);
        if sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = sessions.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| *key)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(digest(&value), (role, now + SESSION_TIME_MAX));
        Ok((role, self.cookie(&value, SESSION_TIME_MAX.as_secs())))
    }

    /// Ends the session that `headers` carry; returns a cookie that makes the browser forget it.
    pub(super) fn sign_out(&self, headers: &HeaderMap) -> String {
        if let Some(value) = cookie_value(headers) {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(value));
        }
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, age_secs: u64) -> String {
        let secure = if self.scheme == "https" { "; Secure" } else { "" };
        format!("{COOKIE}={value}; Path=/; Max-Age={age_secs}; HttpOnly; SameSite=Strict{secure}")
    }

    fn role_of(&self, headers: &HeaderMap) -> Option<Role> {
        let Some(tokens) = &self.tokens else { return Some(Role::Operator) };
        if let Some(bearer) = header_text(headers, header::AUTHORIZATION).and_then(|text| text.strip_prefix("Bearer "))
        {
            return tokens.role(bearer.trim());
        }
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let (role, until) = sessions.get(&digest(cookie_value(headers)?))?;
        (*until > Instant::now()).then_some(*role)
    }

    fn is_ours(&self, host: &str) -> bool {
        self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
    }

    fn origin_is_ours(&self, headers: &HeaderMap) -> bool {
        let foreign_fetch = header_text(headers, "sec-fetch-site".parse().expect("a header name"))
            .is_some_and(|site| site != "same-origin" && site != "none");
        let ours = match headers.get(header::ORIGIN) {
            None => true,
            Some(origin) => origin
                .to_str()
                .ok()
                .and_then(|origin| origin.strip_prefix(self.scheme)?.strip_prefix("://"))
                .is_some_and(|host| self.is_ours(host)),
        };
        ours && !foreign_fetch
    }

    fn rate(&self, from: IpAddr, take: impl FnOnce(&mut Rate, Instant) -> bool) -> bool {
        let now = Instant::now();
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.len() >= ADDRESSES_MAX && !rates.contains_key(&from) {
            rates.retain(|_, rate| now.duration_since(rate.requests.at) < Duration::from_secs(60));
            if rates.len() >= ADDRESSES_MAX {
                return false;
            }
        }
        let rate = rates.entry(from).or_insert_with(|| Rate {
            requests: Bucket { left: REQUESTS_BURST, at: now },
            guesses: Bucket { left: GUESSES_BURST, at: now },
        });
        take(rate, now)
    }

    /// Counts and audits a refusal.
    pub(super) fn refuse(
        &self,
        status: StatusCode,
        error: &'static str,
        message: &str,
        from: IpAddr,
        what: &str,
    ) -> Problem {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let what: String = what.chars().filter(|c| !c.is_control()).take(120).collect();
        self.desk.audit(
            serde_json::json!({ "refused": error, "status": status.as_u16(), "from": from.to_string(), "what": what })
                .to_string(),
        );
        // The log is for people: a flood shows as its first lines and a counter.
        if self.rate(IpAddr::from([0, 0, 0, 0]), |rate, now| rate.guesses.take(now, 1.0, GUESSES_BURST)) {
            let text = format!("refused {what} from {from}: {error}");
            self.desk.events.add(Notice::new(Level::Warning, "panel", text));
        }
        Problem::new(status, error, message)
    }

    fn examine(&self, request: &Request, from: IpAddr) -> Result<Role, Problem> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let refuse = |status, error, message: &str| self.refuse(status, error, message, from, &what);
        if !self.rate(from, |rate, now| rate.requests.take(now, REQUESTS_PER_SECOND, REQUESTS_BURST)) {
            return Err(refuse(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "slow down"));
        }
        let headers = request.headers();
        let host = header_text(headers, header::HOST);
        if !host.is_some_and(|host| self.is_ours(host)) {
            let message = "this Host name is not the panel's (panel.host_names adds names)";
            return Err(refuse(StatusCode::FORBIDDEN, "foreign_host", message));
        }
        if !self.origin_is_ours(headers) {
            return Err(refuse(StatusCode::FORBIDDEN, "foreign_origin", "requests of other sites are not served"));
        }
        if climbs(request.uri().path()) {
            return Err(refuse(StatusCode::NOT_FOUND, "traversal", "there is nothing under this address"));
        }
        let is_guess = self.tokens.is_some() && headers.contains_key(header::AUTHORIZATION);
        // Asked before the token is looked at: after too many wrong ones even the right one has to wait.
        if is_guess && !self.rate(from, |rate, now| rate.guesses.has_one(now, GUESSES_PER_SECOND, GUESSES_BURST)) {
            return Err(refuse(StatusCode::TOO_MANY_REQUESTS, "too_many_guesses", "wait a minute"));
        }
        let role = self.role_of(headers);
        if is_guess && role.is_none() {
            self.rate(from, |rate, now| rate.guesses.take(now, GUESSES_PER_SECOND, GUESSES_BURST));
        }
        if is_open(request.method(), request.uri().path()) {
            return Ok(role.unwrap_or(Role::Viewer));
        }
        let Some(role) = role else {
            return Err(refuse(StatusCode::UNAUTHORIZED, "no_token", "sign in, or send Authorization: Bearer <token>"));
        };
        if role == Role::Viewer && !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(refuse(StatusCode::FORBIDDEN, "viewer", "viewers read; commands need the operator's token"));
        }
        Ok(role)
    }
}

/// What needs no token: the page's own files, sign-in, health, the API's description.
fn is_open(method: &Method, path: &str) -> bool {
    match path {
        "/api/v1/session" => true,
        "/healthz" | "/api/v1/openapi.json" => method == Method::GET,
        _ => method == Method::GET && !path.starts_with("/api/") && path != "/metrics",
    }
}

/// Whether a path tries to leave its place: a step up, or a separator in disguise.
fn climbs(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["..", "%2e", "%2f", "%5c", "\\", "%00"].iter().any(|sign| path.contains(sign))
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn cookie_value(headers: &HeaderMap) -> Option<&str> {
    let all = header_text(headers, header::COOKIE)?;
    all.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn digest(text: &str) -> Digest32 {
    Sha256::digest(text.as_bytes()).into()
}

/// The middleware: examines the request, hands the caller's role on, and puts protective headers on every answer.
pub(super) async fn pass(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match gate.examine(&request, peer.ip()) {
        Ok(role) => {
            request.extensions_mut().insert(role);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ] {
        // A page that comes out of a recording brings a stricter policy of its own.
        headers.entry(name).or_insert(header::HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-store"));
    response
}
