//! Are the files those that the manifest names?

use std::path::Path;

use crate::record::hash;
use crate::record::manifest::Manifest;

/// Hashes every file of the manifest. Returns how many are as they should be, and their bytes.
pub(super) fn check(folder: &Path, manifest: &Manifest, problems: &mut Vec<String>) -> (usize, u64) {
    let parts = manifest.tables.values().flat_map(|table| &table.parts);
    let parts = parts.map(|part| (&part.file, part.bytes, &part.sha256));
    let videos = manifest.videos.iter().map(|video| (&video.file, video.bytes, &video.sha256));
    let (mut good, mut total) = (0, 0);
    for (file, bytes, sha256) in parts.chain(videos) {
        match hash::file(&folder.join(file)) {
            Err(error) => problems.push(format!("{file}: {error}")),
            Ok((_, found)) if found != bytes => {
                problems.push(format!("{file}: {found} bytes, expected {bytes}"));
            }
            Ok((found, _)) if found != *sha256 => {
                problems.push(format!("{file}: SHA-256 {found}, expected {sha256}"));
            }
            Ok(_) => {
                good += 1;
                total += bytes;
            }
        }
    }
    (good, total)
}
