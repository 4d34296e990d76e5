//! `mimicd report`: one HTML page that says what was recorded, whether it adds up, and how good it is.
//!
//! The page needs nothing but itself: style and plots (SVG) are inside. Values over time are gathered in bins, so memory
//! and page do not grow with the recording.

mod bins;
mod charts;
mod page;
mod plots;

use std::path::{Path, PathBuf};

use super::error::RecordError;
use super::manifest::Manifest;
use super::verify::verify;

/// Name of the page in a recording's folder.
const PAGE: &str = "report.html";

/// Writes the page about the recording in `folder`; returns where it is and whether the dataset adds up.
///
/// # Errors
/// When the dataset cannot be read or the page cannot be written.
pub fn report(folder: &Path, out: Option<&Path>) -> Result<(PathBuf, bool), RecordError> {
    let manifest = Manifest::open(folder)?;
    let verdict = verify(folder)?;
    let plots = plots::all(folder, &manifest)?;
    let path = out.map_or_else(|| folder.join(PAGE), Path::to_owned);
    let text = page::html(&manifest, &verdict, &plots);
    std::fs::write(&path, text).map_err(|error| RecordError::file(&path, "write", error))?;
    Ok((path, verdict.ok()))
}
