//! The recorder: journal, tables, video, manifest, recovery, verification.
