//! What may be left of a folder when the power fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::log::Op;

/// A write is torn at multiples of this.
const SECTOR: usize = 512;

/// A file's data: what is safe, and what was written since.
#[derive(Clone, Debug, Default)]
struct Inode {
    safe: Vec<u8>,
    pending: Vec<(u64, Vec<u8>)>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    File(usize),
    Folder,
}

/// A change of names that no folder's sync has confirmed.
#[derive(Clone, Debug)]
enum Change {
    Set(PathBuf, Entry),
    Unset(PathBuf),
    Move(PathBuf, PathBuf),
}

impl Change {
    /// The folder whose sync confirms it. Moves stay within a folder: the recorder renames temporary names only.
    fn folder(&self) -> &Path {
        let (Self::Set(path, _) | Self::Unset(path) | Self::Move(_, path)) = self;
        path.parent().unwrap_or(Path::new(""))
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        match self {
            Self::Set(path, entry) => _ = names.insert(path.clone(), *entry),
            Self::Unset(path) => _ = names.remove(path),
            Self::Move(from, to) => {
                if let Some(entry) = names.remove(from) {
                    names.insert(to.clone(), entry);
                }
            }
        }
    }
}

/// The file system below one folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    inodes: Vec<Inode>,
    /// Inode of each file number of the log.
    files: BTreeMap<usize, usize>,
    names: BTreeMap<PathBuf, Entry>,
    safe_names: BTreeMap<PathBuf, Entry>,
    pending: Vec<Change>,
}

impl Model {
    /// Nothing is there.
    pub(super) fn empty() -> Self {
        Self::default()
    }

    /// What is in `root`, all of it safe.
    pub(super) fn of_folder(root: &Path) -> Self {
        let mut model = Self::empty();
        let mut open = vec![root.to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).expect("a folder reads").flatten() {
                let path = entry.path();
                let below = path.strip_prefix(root).expect("inside").to_owned();
                let entry = if path.is_dir() {
                    open.push(path);
                    Entry::Folder
                } else {
                    model.inodes.push(Inode { safe: fs::read(&path).expect("a file reads"), pending: Vec::new() });
                    Entry::File(model.inodes.len() - 1)
                };
                model.names.insert(below, entry);
            }
        }
        model.safe_names = model.names.clone();
        model
    }

    /// One more operation.
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { file, path } => {
                self.inodes.push(Inode::default());
                self.files.insert(*file, self.inodes.len() - 1);
                self.change(Change::Set(path.clone(), Entry::File(self.inodes.len() - 1)));
            }
            Op::Write { file, offset, bytes } => self.inodes[self.files[file]].pending.push((*offset, bytes.clone())),
            Op::Sync { file } => {
                let inode = &mut self.inodes[self.files[file]];
                for (offset, bytes) in inode.pending.drain(..) {
                    put(&mut inode.safe, offset as usize, &bytes);
                }
            }
            Op::Rename { from, to } => self.change(Change::Move(from.clone(), to.clone())),
            Op::Remove { path } if self.names.contains_key(path) => self.change(Change::Unset(path.clone())),
            Op::Remove { .. } => {}
            Op::SyncFolder { path } => {
                let (confirmed, open): (Vec<_>, Vec<_>) =
                    self.pending.drain(..).partition(|change| change.folder() == path.as_path());
                self.pending = open;
                confirmed.iter().for_each(|change| change.apply(&mut self.safe_names));
            }
            Op::CreateFolder { path } => {
                let ancestors: Vec<_> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
                for path in ancestors.into_iter().rev() {
                    if !self.names.contains_key(path) {
                        self.change(Change::Set(path.to_owned(), Entry::Folder));
                    }
                }
            }
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    /// Safe bytes of the files that a power cut cannot take: their names and all folders above are safe, too.
    pub(super) fn durable_files(&self, extension: &str) -> impl Iterator<Item = Vec<u8>> {
        let is_wanted = move |path: &&PathBuf| path.extension().is_some_and(|found| found == extension);
        let names = self.safe_names.keys().filter(is_wanted).filter(|path| reachable(&self.safe_names, path));
        names.filter_map(|path| match self.safe_names[path] {
            Entry::File(inode) => Some(self.inodes[inode].safe.clone()),
            Entry::Folder => None,
        })
    }

    /// Fails the power: writes one of the outcomes that are possible to `root`.
    pub(super) fn leave(&self, random: &mut ChaCha8Rng, root: &Path) {
        let mut names = self.safe_names.clone();
        for change in &self.pending {
            // Each unconfirmed change of names is there or not, whatever became of those before it.
            if random.random_bool(0.5) {
                change.apply(&mut names);
            }
        }
        for (path, entry) in &names {
            if !reachable(&names, path) {
                continue;
            }
            let target = root.join(path);
            match entry {
                Entry::Folder => fs::create_dir_all(&target).expect("a folder is made"),
                Entry::File(inode) => fs::write(&target, self.left(random, *inode)).expect("a file is written"),
            }
        }
    }

    /// What is left of a file's data: what was safe, and any sectors of what was not.
    fn left(&self, random: &mut ChaCha8Rng, inode: usize) -> Vec<u8> {
        let mut bytes = self.inodes[inode].safe.clone();
        // Sometimes all of it got out, sometimes nothing, mostly pieces.
        let chance = [0.0, 0.3, 0.6, 0.9, 1.0][random.random_range(0..5)];
        for (offset, written) in &self.inodes[inode].pending {
            let mut at = *offset as usize;
            let mut rest = written.as_slice();
            while !rest.is_empty() {
                let room = SECTOR - at % SECTOR;
                let (piece, after) = rest.split_at(room.min(rest.len()));
                if random.random_bool(chance) {
                    put(&mut bytes, at, piece);
                } else if random.random_bool(0.2) {
                    // The length got out, the data did not.
                    put(&mut bytes, at, &vec![0; piece.len()]);
                }
                at += piece.len();
                rest = after;
            }
        }
        bytes
    }
}

/// Whether all folders above a name are there.
fn reachable(names: &BTreeMap<PathBuf, Entry>, path: &Path) -> bool {
    let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    above.into_iter().all(|above| names.get(above) == Some(&Entry::Folder))
}

fn put(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    if bytes.len() < at + piece.len() {
        bytes.resize(at + piece.len(), 0);
    }
    bytes[at..at + piece.len()].copy_from_slice(piece);
}
