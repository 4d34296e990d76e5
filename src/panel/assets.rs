//! The page's files, inside the binary.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Problem;

macro_rules! assets {
    ($($name:literal as $kind:literal),* $(,)?) => {
        const ASSETS: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("page/", $name)))),*];
    };
}

assets![
    "index.html" as "text/html; charset=utf-8",
    "style.css" as "text/css; charset=utf-8",
    "icon.svg" as "image/svg+xml",
    "main.js" as "text/javascript; charset=utf-8",
    "link.js" as "text/javascript; charset=utf-8",
    "controls.js" as "text/javascript; charset=utf-8",
    "views.js" as "text/javascript; charset=utf-8",
    "scene.js" as "text/javascript; charset=utf-8",
    "shapes.js" as "text/javascript; charset=utf-8",
    "plots.js" as "text/javascript; charset=utf-8",
    "encoding.js" as "text/javascript; charset=utf-8",
    "tetrode.js" as "text/javascript; charset=utf-8",
    "health.js" as "text/javascript; charset=utf-8",
];

/// The page itself.
pub(super) async fn index() -> Response {
    find("index.html")
}

/// A file of the page, by its exact name; there is no folder behind it.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    find(&name)
}

fn find(name: &str) -> Response {
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => {
            ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "no-cache")], *text).into_response()
        }
        None => Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing under this address").into_response(),
    }
}
