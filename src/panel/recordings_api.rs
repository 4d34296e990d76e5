//! The part of the API that is about recordings that are there.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::recordings::{Job, JobKind, JobRefusal, RecordingLine};
use super::{Problem, Shared};
use crate::export::Format;

/// Formats that a recording can be exported to.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ExportTo {
    /// A Parquet data set.
    #[default]
    Parquet,
    /// Neurodata Without Borders.
    Nwb,
    /// Open Ephys binary.
    OpenEphys,
    /// SpikeGLX.
    SpikeGlx,
    /// Campy and DANNCE folders.
    Campy,
    /// Comma-separated tables.
    Csv,
}

impl From<ExportTo> for Format {
    fn from(to: ExportTo) -> Self {
        match to {
            ExportTo::Parquet => Self::Parquet,
            ExportTo::Nwb => Self::Nwb,
            ExportTo::OpenEphys => Self::OpenEphys,
            ExportTo::SpikeGlx => Self::SpikeGlx,
            ExportTo::Campy => Self::Campy,
            ExportTo::Csv => Self::Csv,
        }
    }
}

/// Which format.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    /// The format; a Parquet data set when it is not said.
    #[serde(default)]
    #[param(inline)]
    to: ExportTo,
}

/// Recordings that are there, newest first.
#[utoipa::path(get, path = "/api/v1/recordings", tag = "recordings",
    responses((status = 200, body = Vec<RecordingLine>), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Vec<RecordingLine>> {
    let current = shared.desk.standing().recording;
    let library = shared.library.clone();
    let list = tokio::task::spawn_blocking(move || library.list(current.as_deref()));
    Json(list.await.unwrap_or_default())
}

/// Starts verifying a recording; the list tells how far it is.
#[utoipa::path(post, path = "/api/v1/recordings/{name}/verify", tag = "recordings",
    params(("name" = String, Path, description = "A name from the list")),
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn verify(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    start(&shared, &name, JobKind::Verify, Format::Parquet)
}

/// Starts writing a recording's report page.
#[utoipa::path(post, path = "/api/v1/recordings/{name}/report", tag = "recordings",
    params(("name" = String, Path, description = "A name from the list")),
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn make_report(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    start(&shared, &name, JobKind::Report, Format::Parquet)
}

/// Starts exporting a recording into its own `export` folder.
#[utoipa::path(post, path = "/api/v1/recordings/{name}/export", tag = "recordings",
    params(("name" = String, Path, description = "A name from the list"), ExportQuery),
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    query: Result<Query<ExportQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(query) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad_query", error.body_text()))?;
    start(&shared, &name, JobKind::Export, query.to.into())
}

/// A recording's report page. It may neither run scripts nor load anything.
#[utoipa::path(get, path = "/api/v1/recordings/{name}/report", tag = "recordings",
    params(("name" = String, Path, description = "A name from the list")),
    responses((status = 200, description = "The page", content_type = "text/html", body = String), (status = "4XX", body = Problem)))]
pub(super) async fn report(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let library = shared.library.clone();
    let page = tokio::task::spawn_blocking(move || library.report_page(&name)).await.ok().flatten();
    let page =
        page.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not_found", "no such recording, or no report of it"))?;
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox";
    Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)], page))
}

fn start(shared: &Shared, name: &str, kind: JobKind, format: Format) -> Result<(StatusCode, Json<Job>), Problem> {
    let current = shared.desk.standing().recording;
    match shared.library.start(name, kind, format, current.as_deref()) {
        Ok(job) => Ok((StatusCode::ACCEPTED, Json(job))),
        Err(JobRefusal::Unknown) => Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "no recording of that name")),
        Err(JobRefusal::Busy) => Err(Problem::new(
            StatusCode::CONFLICT,
            "busy",
            "this recording is being written, or another job is at work; try again when it is done",
        )),
    }
}
