//! `mimicd export`: a dataset in another format.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum as _};
use indicatif::{ProgressBar, ProgressStyle};

use crate::export::{Format, Progress, Request, SubjectFacts, export};

/// Options of `mimicd export`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The recording's folder.
    dataset: PathBuf,
    /// The format: parquet, nwb, openephys, spikeglx, campy or csv. Given a second time with a number: only rows before
    /// this second of rig time.
    #[arg(long, required = true, value_name = "FORMAT|SECONDS", value_parser = to)]
    to: Vec<To>,
    /// Where to write; `<dataset>/export/<format>` by default.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only rows from this second of rig time on.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    from: Option<f64>,
    /// NWB: the animal's species.
    #[arg(long, default_value = "Rattus norvegicus")]
    species: String,
    /// NWB: the animal's sex: M, F, O or U (unknown).
    #[arg(long, default_value = "U", value_parser = ["M", "F", "O", "U"])]
    sex: String,
    /// NWB: the animal's age as an ISO 8601 duration (P90D) or a range of them.
    #[arg(long, default_value = "P1D/")]
    age: String,
    /// NWB: specifications to embed; `cargo xtask setup --peers` makes them.
    #[arg(long, default_value = ".deps/nwb/specifications.json")]
    nwb_specifications: PathBuf,
    /// Print JSON, and no progress.
    #[arg(long)]
    json: bool,
}

/// What `--to` may say.
#[derive(Clone, Copy, Debug)]
enum To {
    Format(Format),
    Seconds(f64),
}

fn to(text: &str) -> Result<To, String> {
    if let Ok(format) = Format::from_str(text, true) {
        return Ok(To::Format(format));
    }
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    seconds.map(To::Seconds).ok_or_else(|| {
        let names: Vec<_> = Format::value_variants().iter().map(|format| format.name()).collect();
        format!("expected one of {}, or a number of seconds", names.join(", "))
    })
}

impl Options {
    /// The one format and the end of the range.
    fn target(&self) -> Result<(Format, Option<f64>)> {
        let formats: Vec<_> =
            self.to.iter().filter_map(|to| if let To::Format(f) = to { Some(*f) } else { None }).collect();
        let ends: Vec<_> =
            self.to.iter().filter_map(|to| if let To::Seconds(s) = to { Some(*s) } else { None }).collect();
        match (formats.as_slice(), ends.as_slice()) {
            ([format], []) => Ok((*format, None)),
            ([format], [end]) => Ok((*format, Some(*end))),
            _ => bail!(
                "--to: {} formats and {} times given, expected one format and at most one time",
                formats.len(),
                ends.len()
            ),
        }
    }
}

/// Exports and says what was written.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let (format, to_s) = options.target()?;
    let request = Request {
        format,
        out: options.out.clone(),
        from_s: options.from,
        to_s,
        subject: SubjectFacts {
            species: options.species.clone(),
            sex: options.sex.clone(),
            age: options.age.clone(),
            specifications: options.nwb_specifications.clone(),
        },
    };
    let bar = if options.json { ProgressBar::hidden() } else { ProgressBar::new(0) };
    let style = ProgressStyle::with_template("export: {bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut tell = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done.min(total));
    };
    let report = export(&options.dataset, &request, &mut Progress::new(&mut tell));
    bar.finish_and_clear();
    let report = report?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}: {} files as {}", report.out.display(), report.files, format.name());
    for remark in &report.remarks {
        println!("  {remark}");
    }
    Ok(ExitCode::SUCCESS)
}
