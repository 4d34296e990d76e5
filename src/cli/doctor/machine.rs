//! What the system says, from a root that tests can replace.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// A machine to be looked at.
pub(super) struct Machine {
    pub(super) root: PathBuf,
    /// Highest real-time priority that this user may ask for; `None` without a limit.
    pub(super) priority_max: Option<u64>,
    /// Most memory that this user may lock.
    pub(super) locked_bytes_max: Option<u64>,
    /// Whether a thread really got the priority that the daemon asks for.
    pub(super) real_time: bool,
}

impl Machine {
    /// This machine.
    pub(super) fn real() -> Self {
        Self {
            root: "/".into(),
            priority_max: getrlimit(Resource::Rtprio).current,
            locked_bytes_max: getrlimit(Resource::Memlock).current,
            real_time: crate::pipeline::real_time_is_allowed(),
        }
    }

    /// A made-up machine below `root`.
    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), priority_max: Some(99), locked_bytes_max: None, real_time: true }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text without the white space around it; `None` when it cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }

    /// A file's number.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Names in a folder, sorted; none where it cannot be read.
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether this user may read and write `path`.
    pub(super) fn may_use(&self, path: &str) -> bool {
        use rustix::fs::{Access, access};
        access(self.path(path), Access::READ_OK | Access::WRITE_OK).is_ok()
    }

    /// A program's place in `$PATH`.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        if name.contains('/') {
            return Path::new(name).is_file().then(|| name.into());
        }
        std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
    }
}
