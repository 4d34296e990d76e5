//! The HTTP API, version 1. Every handler returns what the OpenAPI document says it does.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::idempotency::KEY_CHARS_MAX;
use super::{Acknowledgement, Caller, DeskError, EventLine, Problem, Role, Shared, Standing};
use crate::pipeline::{Command, EncodingLive, RigInfo, RigStatus, Snapshot};

/// Where the rig stands and how it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct StateReply {
    /// State, recording, last reports.
    pub standing: Standing,
    /// Counters, degraded conditions, disk.
    pub status: RigStatus,
    /// What the caller may do: `viewer` or `operator`.
    pub role: String,
    /// Whether callers have to sign in at all.
    pub sign_in: bool,
}

/// A token, to sign in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The operators' or the viewers' token.
    pub token: String,
}

/// Who has signed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignedIn {
    /// `viewer` or `operator`.
    pub role: String,
}

/// Which part of the event log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Lines after this number.
    #[serde(default)]
    pub since: u64,
}

/// Where the rig stands and how it is.
#[utoipa::path(get, path = "/api/v1/state", tag = "rig",
    responses((status = 200, body = StateReply), (status = "4XX", body = Problem)))]
pub(super) async fn state(State(shared): State<Arc<Shared>>, Extension(role): Extension<Role>) -> Json<StateReply> {
    Json(StateReply {
        standing: shared.desk.standing(),
        status: shared.view.status(),
        role: role.word().to_owned(),
        sign_in: shared.sign_in,
    })
}

/// What never changes about the rig: cameras, arrays, body shapes, names.
#[utoipa::path(get, path = "/api/v1/rig", tag = "rig",
    responses((status = 200, body = RigInfo), (status = "4XX", body = Problem)))]
pub(super) async fn rig(State(shared): State<Arc<Shared>>) -> Json<RigInfo> {
    Json(shared.view.info().clone())
}

/// The latest numbers of the loop, once. `/api/v1/live` (WebSocket) pushes them.
#[utoipa::path(get, path = "/api/v1/snapshot", tag = "rig",
    responses((status = 200, body = Snapshot), (status = "4XX", body = Problem)))]
pub(super) async fn snapshot(State(shared): State<Arc<Shared>>) -> Json<Snapshot> {
    let mut snapshot = Snapshot::default();
    shared.view.snapshot(&mut snapshot);
    Json(snapshot)
}

/// The live encoding models: scores of the recording so far with their uncertainty, renewed every two seconds.
#[utoipa::path(get, path = "/api/v1/encoding", tag = "rig",
    responses((status = 200, body = EncodingLive), (status = "4XX", body = Problem)))]
pub(super) async fn encoding(State(shared): State<Arc<Shared>>) -> Json<EncodingLive> {
    Json(shared.view.encoding())
}

/// The event log.
#[utoipa::path(get, path = "/api/v1/events", tag = "rig", params(EventsQuery),
    responses((status = 200, body = Vec<EventLine>), (status = "4XX", body = Problem)))]
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<Vec<EventLine>>, Problem> {
    let Query(query) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad_query", error.body_text()))?;
    if i64::try_from(query.since).is_err() {
        let message = "since: expected a line number of the log (a 64-bit signed integer)";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_query", message));
    }
    Ok(Json(shared.desk.events.since(query.since)))
}

/// Gives a command and waits for its acknowledgement. 409: the rig refused; the body says why and where it stands.
#[utoipa::path(post, path = "/api/v1/commands", tag = "rig", request_body = Command,
    params(("Idempotency-Key" = Option<String>, Header, max_length = 128, pattern = "^[!-~]+$",
        description = "The same key and command are done once, however often they are sent")),
    responses(
        (status = 200, description = "Done", body = Acknowledgement),
        (status = 409, description = "Refused by the rig", body = Acknowledgement),
        (status = 503, description = "Too many commands wait, or shutting down", body = Problem),
        (status = "4XX", body = Problem)))]
pub(super) async fn command(
    State(shared): State<Arc<Shared>>,
    Extension(role): Extension<Role>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Json<Command>, JsonRejection>,
) -> Result<(StatusCode, Json<Acknowledgement>), Problem> {
    let Json(command) = body.map_err(|rejection| bad_body(&rejection))?;
    let caller = Caller { role: role.word(), from: peer.ip().to_string() };
    let acknowledgement = match idempotency_key(&headers)? {
        None => shared.desk.submit(command, caller).await.map_err(not_taken)?,
        Some(key) => {
            let cell = shared.keys.cell(key, &command).ok_or_else(|| {
                let message = "this Idempotency-Key was used for another command";
                shared.gate.refuse(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", message, peer.ip(), command.word())
            })?;
            if cell.initialized() {
                let line = serde_json::json!({ "replayed": command.word(), "caller": caller });
                shared.desk.audit(line.to_string());
            }
            cell.get_or_try_init(|| shared.desk.submit(command, caller)).await.map_err(not_taken)?.clone()
        }
    };
    let status = if acknowledgement.accepted { StatusCode::OK } else { StatusCode::CONFLICT };
    Ok((status, Json(acknowledgement)))
}

/// Signs a browser in: the answer sets a session cookie that scripts cannot read.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignIn,
    responses((status = 200, body = SignedIn), (status = "4XX", body = Problem)))]
pub(super) async fn sign_in(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Result<Json<SignIn>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(SignIn { token }) = body.map_err(|rejection| bad_body(&rejection))?;
    let (role, cookie) = shared.gate.sign_in(&token, peer.ip())?;
    let reply = Json(SignedIn { role: role.word().to_owned() });
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), reply).into_response())
}

/// Signs a browser out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn sign_out(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let cookie = shared.gate.sign_out(&headers);
    (StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, cookie)])).into_response()
}

/// Whether the daemon answers. Says nothing about the rig.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = Problem)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    key.map(Some).ok_or_else(|| {
        let message = format!("Idempotency-Key: expected 1 to {KEY_CHARS_MAX} visible ASCII characters");
        Problem::new(StatusCode::BAD_REQUEST, "bad_key", message)
    })
}

fn not_taken(error: DeskError) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_taken", error.to_string())
}

fn bad_body(rejection: &JsonRejection) -> Problem {
    let status = match rejection.status() {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        other => other,
    };
    Problem::new(status, "bad_body", rejection.body_text())
}
