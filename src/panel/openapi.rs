//! The API's description, generated from the handlers and types themselves.

use axum::Json;
use utoipa::OpenApi;

use super::{api, metrics, recordings_api};

/// The OpenAPI document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "mimicd",
        description = "Acquisition rig: state, commands, live numbers. Version 1 is stable within 0.x."
    ),
    paths(
        api::state,
        api::rig,
        api::snapshot,
        api::encoding,
        api::events,
        api::command,
        recordings_api::list,
        recordings_api::verify,
        recordings_api::make_report,
        recordings_api::report,
        recordings_api::export,
        api::sign_in,
        api::sign_out,
        api::healthz,
        metrics::metrics,
    )
)]
struct Document;

/// The document, served.
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_command() {
        let text = serde_json::to_string(&Document::openapi()).expect("serialises");
        for word in
            ["\"arm\"", "\"start\"", "\"mark\"", "\"stop\"", "\"disarm\"", "\"arm_outputs\"", "/api/v1/commands"]
        {
            assert!(text.contains(word), "{word}");
        }
    }
}
