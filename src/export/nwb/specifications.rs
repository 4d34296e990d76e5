//! The namespaces' specifications inside the file, so that any reader knows every type in it.

use std::collections::BTreeMap;
use std::path::Path;

use super::file::{Node, NwbFile};
use crate::export::error::ExportError;

/// Embeds the specifications in the JSON file at `path`: `{"<namespace>/<version>/<source>": "<specification>"}`.
/// `false` when there is no such file.
///
/// # Errors
/// When the file is not what it should be, or the export cannot be written.
pub(super) fn embed(file: &NwbFile, root: &Node<'_>, path: &Path) -> Result<bool, ExportError> {
    let Ok(bytes) = std::fs::read(path) else { return Ok(false) };
    let texts: BTreeMap<String, String> = serde_json::from_slice(&bytes)
        .map_err(|error| ExportError::Request(format!("{}: {error}; make it again", path.display())))?;
    let group = root.group("specifications")?;
    let mut folders: BTreeMap<String, Node<'_>> = BTreeMap::new();
    for (place, text) in &texts {
        let names: Vec<&str> = place.splitn(3, '/').collect();
        let [namespace, version, source] = names.as_slice() else {
            let text = format!("{}: {place:?}, expected <namespace>/<version>/<source>", path.display());
            return Err(ExportError::Request(text));
        };
        let both = format!("{namespace}/{version}");
        if !folders.contains_key(*namespace) {
            folders.insert((*namespace).to_owned(), group.group(namespace)?);
        }
        if !folders.contains_key(&both) {
            let made = folders[*namespace].group(version)?;
            folders.insert(both.clone(), made);
        }
        folders[&both].text(source, text)?;
    }
    file.mark_specifications()?;
    Ok(true)
}
