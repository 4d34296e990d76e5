//! The lab panel: HTTP and WebSocket API and the page, on a small runtime of its own.
//!
//! The panel sees the rig only through a [`RigView`] (copies of what the loop published) and gives commands only through
//! the [`Desk`]; nothing it does can hold the loop up. Its threads run at a lower priority than everything else.

mod api;
mod assets;
mod client;
mod desk;
mod events;
mod gate;
mod idempotency;
mod live;
mod metrics;
mod openapi;
mod problem;
mod recordings;
mod recordings_api;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

pub use api::{SignIn, SignedIn, StateReply};
pub use client::{Client, ClientError};
pub use desk::{ACKNOWLEDGE_TIME_MAX, Acknowledgement, Caller, Desk, DeskError, Order, Standing};
pub use events::{EventLine, EventLog};
pub use gate::{Role, Tokens};
pub use problem::Problem;
pub use recordings::{Job, JobKind, JobRefusal, Library, RecordingLine, RecordingStatus};

use crate::config::PanelConfig;
use crate::pipeline::RigView;
use gate::Gate;
use idempotency::Keys;
use live::Live;

/// Largest request body.
const BODY_BYTES_MAX: usize = 64 * 1_024;
/// A request's body must be there within this time.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// Its answer must be ready within this time (commands wait for the rig).
const REQUEST_TIME_MAX: Duration = Duration::from_secs(150);
/// How long open connections may take to end.
const END_TIME_MAX: Duration = Duration::from_secs(2);
/// Shortest token that is accepted.
const TOKEN_CHARS_MIN: usize = 20;
/// The panel's threads are this nice: the rig goes first.
const NICENESS: i32 = 10;

/// Why the panel cannot open.
#[derive(Debug, thiserror::Error)]
pub enum PanelError {
    /// The address cannot be listened on.
    #[error("panel.ip_port = {address}: {error} (is another mimicd running?)")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// A certificate or key is of no use.
    #[error("{}: {reason}: expected a PEM certificate chain and its private key", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A token file is of no use.
    #[error("{}: {reason}: expected one line of at least {TOKEN_CHARS_MIN} characters", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No threads.
    #[error("no runtime for the panel: {0}")]
    Runtime(std::io::Error),
}

/// What all handlers share.
pub(crate) struct Shared {
    view: Arc<dyn RigView>,
    desk: Arc<Desk>,
    gate: Arc<Gate>,
    keys: Keys,
    live: Live,
    library: Arc<Library>,
    sign_in: bool,
}

/// The open panel; closes when dropped.
pub struct Panel {
    runtime: Option<Runtime>,
    end: watch::Sender<bool>,
    address: SocketAddr,
    https: bool,
}

impl Panel {
    /// Opens the panel as `config` says.
    ///
    /// # Errors
    /// Address taken, certificate or token file of no use.
    pub fn open(
        config: &PanelConfig,
        view: Arc<dyn RigView>,
        desk: Arc<Desk>,
        library: Arc<Library>,
    ) -> Result<Self, PanelError> {
        let tls = config.tls().then(|| server::tls(&config.tls_certificate, &config.tls_key)).transpose()?;
        let tokens = read_tokens(config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("panel")
            .on_thread_start(|| {
                // Refused niceness changes nothing but the tail under load.
                let _ = rustix::process::setpriority_process(None, NICENESS);
            })
            .enable_all()
            .build()
            .map_err(PanelError::Runtime)?;
        let wanted = config.ip_port;
        let listener = runtime
            .block_on(TcpListener::bind(wanted))
            .map_err(|error| PanelError::Address { address: wanted, error })?;
        let address = listener.local_addr().map_err(|error| PanelError::Address { address: wanted, error })?;
        let https = tls.is_some();
        let cameras = view.info().cameras.len();
        let shared = Arc::new(Shared {
            gate: Arc::new(Gate::new(hosts(config, address), https, tokens.clone(), desk.clone())),
            view,
            desk,
            keys: Keys::default(),
            live: Live::new(cameras),
            library,
            sign_in: tokens.is_some(),
        });
        let (end, ended) = watch::channel(false);
        runtime.spawn(live::publish_numbers(shared.clone(), config.live_hz));
        runtime.spawn(live::publish_images(shared.clone(), config.preview_hz));
        let gate = shared.gate.clone();
        runtime.spawn(server::accept(listener, router(shared), tls, config.clients_max, gate, ended));
        Ok(Self { runtime: Some(runtime), end, address, https })
    }

    /// The address it listens on (the port is known even if the config asked for any).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to type into a browser on this machine.
    pub fn url(&self) -> String {
        format!("{}://{}/", if self.https { "https" } else { "http" }, self.address)
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(END_TIME_MAX);
        }
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let gate = shared.gate.clone();
    Router::new()
        .route("/", get(assets::index))
        .route("/{name}", get(assets::asset))
        .route("/healthz", get(api::healthz))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .route("/api/v1/session", post(api::sign_in).delete(api::sign_out))
        .route("/api/v1/state", get(api::state))
        .route("/api/v1/rig", get(api::rig))
        .route("/api/v1/snapshot", get(api::snapshot))
        .route("/api/v1/encoding", get(api::encoding))
        .route("/api/v1/events", get(api::events))
        .route("/api/v1/commands", post(api::command))
        .route("/api/v1/recordings", get(recordings_api::list))
        .route("/api/v1/recordings/{name}/verify", post(recordings_api::verify))
        .route("/api/v1/recordings/{name}/report", get(recordings_api::report).post(recordings_api::make_report))
        .route("/api/v1/recordings/{name}/export", post(recordings_api::export))
        .route("/api/v1/live", get(live::live))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing under this address"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "this address does not take this method")
        })
        .layer(from_fn_with_state(gate.clone(), limit))
        .layer(from_fn_with_state(gate, gate::pass))
        .with_state(shared)
}

/// Cuts off a request whose body is too long or trickles in, or whose answer takes too long.
async fn limit(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let what = format!("{} {}", request.method(), request.uri().path());
    let refuse = |status, error, message: &str| gate.refuse(status, error, message, peer.ip(), &what).into_response();
    let (parts, body) = request.into_parts();
    let body = match timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "at most 64 KiB are taken"),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "too_slow", "the request's body took too long"),
    };
    match timeout(REQUEST_TIME_MAX, next.run(Request::from_parts(parts, body.into()))).await {
        Ok(response) => response,
        Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "too_slow", "the answer took too long"),
    }
}

/// The Host headers that mean this panel.
fn hosts(config: &PanelConfig, address: SocketAddr) -> Vec<String> {
    let mut names = config.host_names.clone();
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        names.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
    }
    if !address.ip().is_unspecified() {
        names.push(match address {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        });
    }
    let default_port = if config.tls() { 443 } else { 80 };
    let with_port = |name: &String| format!("{name}:{}", address.port());
    let mut hosts: Vec<String> = names.iter().map(with_port).collect();
    if address.port() == default_port {
        hosts.extend(names);
    }
    hosts
}

fn read_tokens(config: &PanelConfig) -> Result<Option<Tokens>, PanelError> {
    let read = |path: &PathBuf| {
        let bad = |reason: String| PanelError::Token { path: path.clone(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let token = text.trim().to_owned();
        let count = token.chars().count();
        if count < TOKEN_CHARS_MIN { Err(bad(format!("a token of {count} characters"))) } else { Ok(token) }
    };
    if config.operator_token.as_os_str().is_empty() {
        return Ok(None);
    }
    let operator = read(&config.operator_token)?;
    let viewer = (!config.viewer_token.as_os_str().is_empty()).then(|| read(&config.viewer_token)).transpose()?;
    Ok(Some(Tokens::new(&operator, viewer.as_deref())))
}
