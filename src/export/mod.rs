//! Recorded datasets in other people's formats.
