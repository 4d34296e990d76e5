//! `cargo xtask bench`: the stage table of the design with this machine's numbers.

use anyhow::Result;

use crate::{setup, shell};

/// Options of the bench run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the criterion benches whose name contains this.
    filter: Option<String>,
    /// Length of the whole-loop measurement.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

/// Criterion for the stages, then the whole loop on the twin.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(false)?;
    let mut line = vec!["bench", "--quiet", "--package", "mimicd", "--"];
    line.extend(options.filter.as_deref());
    shell::run("cargo", &line)?;
    if options.filter.is_none() {
        let seconds = options.seconds.to_string();
        let base = ["run", "--quiet", "--release", "--package", "mimicd", "--bin", "mimicd", "--"];
        shell::run("cargo", &[&base[..], &["demo", "--seconds", &seconds]].concat())?;
    }
    Ok(())
}
