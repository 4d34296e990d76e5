//! Whether the set-up has been run.

use std::path::Path;

/// Whether the body model is there; prints what to do where it is not.
pub(crate) fn is_set_up() -> bool {
    let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/rat/rodent.xml").is_file();
    if !there {
        println!("skipped: run `cargo xtask setup` first");
    }
    there
}
