//! What tests of this layer share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mimicd_rat::{RatModel, RatOptions, load};

/// A file of the workspace, or `None` (and a printed reason) where it is not there.
pub(super) fn file(relative: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(relative);
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// The stock rat at the field's scale.
pub(super) fn rat() -> Option<Arc<RatModel>> {
    let path = file(".deps/rat/rodent.xml")?;
    Some(Arc::new(load(&path, &RatOptions::default()).expect("the set-up fetched the rat")))
}
