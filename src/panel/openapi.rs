//! The API's description, generated from the handlers and types themselves.

use axum::Json;
use serde_json::{Value, json};
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
pub(super) async fn openapi() -> Json<Value> {
    Json(document())
}

fn document() -> Value {
    let mut document = json!(Document::openapi());
    let schemas = &mut document["components"]["schemas"];
    let flattened = schemas["StartRequest"].clone();
    if let Some(commands) = schemas["Command"]["oneOf"].as_array_mut() {
        commands.iter_mut().for_each(|command| close(command, &flattened));
    }
    document
}

/// A command with properties takes no others, which the derived schema does not say (a bare word lets them pass); and
/// `start` carries its request's properties beside the word, while the derived one asks for an object closed without it.
fn close(command: &mut Value, flattened: &Value) {
    if let Some(word) = command.pointer("/allOf/1").cloned() {
        let mut whole = flattened.clone();
        whole["properties"]["command"] = word["properties"]["command"].clone();
        let required = [&flattened["required"], &word["required"]];
        whole["required"] = required.iter().filter_map(|list| list.as_array()).flatten().cloned().collect();
        whole["description"] = command["description"].clone();
        *command = whole;
    }
    let is_bare = command["properties"].as_object().is_none_or(|properties| properties.len() < 2);
    command["additionalProperties"] = Value::Bool(is_bare);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_command() {
        let text = serde_json::to_string(&document()).expect("serialises");
        for word in
            ["\"arm\"", "\"start\"", "\"mark\"", "\"stop\"", "\"disarm\"", "\"arm_outputs\"", "/api/v1/commands"]
        {
            assert!(text.contains(word), "{word}");
        }
    }

    #[test]
    fn a_start_is_described_with_its_word_and_its_request_in_one() {
        let document = document();
        let commands = document["components"]["schemas"]["Command"]["oneOf"].as_array().expect("one of").clone();
        for command in &commands {
            let properties = command["properties"].as_object().expect("every command has its word");
            assert_eq!(command["additionalProperties"], properties.len() < 2, "closed but for a bare word: {command}");
        }
        let start =
            commands.iter().find(|command| !command["properties"]["subject"].is_null()).expect("start is there");
        assert!(start["required"].as_array().expect("a list").contains(&json!("command")), "{start}");
        assert_eq!(start["additionalProperties"], false);
    }
}
