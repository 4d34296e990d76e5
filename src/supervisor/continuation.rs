//! A note on disk of the recording in progress, so that a restarted daemon continues it instead of staying silent.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::pipeline::StartRequest;

/// Name of the note within the state folder.
const FILE: &str = "recording.json";

/// The recording that was running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Folder name under the recordings folder.
    pub name: String,
    /// What the operator had given.
    pub request: StartRequest,
}

impl Marker {
    /// Writes the note so that it is there whole or not at all, even after a power cut.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let temporary = folder.join(".recording.json");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&temporary, path(folder))?;
        fs::File::open(folder)?.sync_all()
    }

    /// The note of an interrupted recording, if there is one. A damaged note counts as none.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(folder)).ok()?).ok()
    }

    /// Takes the note away: the recording is sealed, or the operator stopped it.
    pub fn remove(folder: &Path) {
        if let Err(error) = fs::remove_file(path(folder))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), "cannot remove {FILE}: {error}");
        }
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_and_goes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert_eq!(Marker::read(folder.path()), None);
        let request = StartRequest { subject: "r1".into(), ..Default::default() };
        let marker = Marker { name: "20261124T033000Z_r1".into(), request };
        marker.write(folder.path()).expect("writes");
        assert_eq!(Marker::read(folder.path()), Some(marker));
        fs::write(path(folder.path()), b"{\"name\":").expect("writes");
        assert_eq!(Marker::read(folder.path()), None);
        Marker::remove(folder.path());
        Marker::remove(folder.path());
        assert!(!path(folder.path()).exists());
    }
}
