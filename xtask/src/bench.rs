//! `cargo xtask bench`: the stage table of the design with this machine's numbers.

use std::path::Path;

use anyhow::Result;

use crate::{setup, shell};

/// Where the pose report's views and plot go.
const POSE_FOLDER: &str = "target/bench-pose";

/// Options of the bench run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the bench of this name (`benches/NAME.rs`), or the criterion benches whose name contains this.
    filter: Option<String>,
    /// Length of the whole-loop measurement.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

/// Criterion for the stages, then the whole loop on the twin. `pose` also tells how near the truth its models come.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(false)?;
    let bench = ["bench", "--quiet", "--package", "mimicd"];
    match options.filter.as_deref() {
        Some(name) if Path::new("benches").join(name).with_extension("rs").is_file() => {
            shell::run("cargo", &[&bench[..], &["--bench", name]].concat())?;
            if name == "pose" { pose() } else { Ok(()) }
        }
        Some(part) => shell::run("cargo", &[&bench[..], &["--", part]].concat()),
        None => {
            shell::run("cargo", &bench)?;
            let seconds = options.seconds.to_string();
            let base = ["run", "--quiet", "--release", "--package", "mimicd", "--bin", "mimicd", "--"];
            shell::run("cargo", &[&base[..], &["demo", "--seconds", &seconds]].concat())
        }
    }
}

/// The twin's models on a seed that nothing was trained or chosen on, with all cameras and with two lost, and triangulation
/// beside aniposelib's.
fn pose() -> Result<()> {
    let views = format!("{POSE_FOLDER}/views");
    let example = |package, name| ["run", "--quiet", "--release", "--package", package, "--example", name, "--"];
    if !Path::new(&views).join("keypoints_3d.npy").is_file() {
        let unseen = ["--crop", "0", "--frames", "100", "--seed", "9001", "--spread", "0", "--step-ms", "470"];
        shell::run("cargo", &[&example("mimicd-sim", "training_views")[..], &["--out", &views], &unseen].concat())?;
    }
    for model in ["pose-twin", "volumetric"] {
        let manifest = format!("models/pose-twin/{model}.toml");
        for drop in ["0", "2"] {
            println!("bench: {model}, {drop} of six cameras lost");
            let plot = format!("{POSE_FOLDER}/{model}-{drop}-lost.svg");
            let words = ["--views", &views, "--model", &manifest, "--drop", drop, "--plot", &plot];
            shell::run("cargo", &[&example("mimicd", "pose_report")[..], &words].concat())?;
        }
    }
    println!("bench: error against confidence: {POSE_FOLDER}/*.svg");
    let python = setup::triangulation_environment()?;
    shell::run(&python, &["tests/peers/triangulation_aniposelib.py"])?;
    Ok(())
}
