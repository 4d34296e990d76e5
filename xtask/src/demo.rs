//! `cargo xtask demo`.

use anyhow::Result;

use crate::{setup, shell};

/// Options of the demo.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long to record.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Open panel address is printed; keep running after the verdict until Ctrl-C.
    #[arg(long)]
    stay: bool,
}

/// Sets up, builds release and runs `mimicd demo`, which prints the verdict.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(false)?;
    println!("demo: building (release; minutes the first time, seconds later)");
    shell::run("cargo", &["build", "--release", "--package", "mimicd", "--bin", "mimicd"])?;
    let seconds = options.seconds.to_string();
    let mut line = vec![
        "run",
        "--quiet",
        "--release",
        "--package",
        "mimicd",
        "--bin",
        "mimicd",
        "--",
        "demo",
        "--seconds",
        &seconds,
    ];
    if options.stay {
        line.push("--stay");
    }
    shell::run("cargo", &line)
}
