//! `mimicd imitate`: policies measured from the command line.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::motion::Motion;
use super::plot::{Curve, against_time_since_reset, draw};
use super::produce::{MotionsArgs, motions};
use super::run::{Run, run};
use super::table::{self, Frames, Summary};
use crate::config::{ImitationConfig, LookAhead};
use crate::imitation::{ImitationError, ImitationStage, LatentNoise, NoiseStructure};

/// Noise gains of the published robustness curves.
const NOISE_GAINS: [f64; 6] = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0];
const STRUCTURES: [(NoiseStructure, &str); 3] = [
    (NoiseStructure::Standard, "standard"),
    (NoiseStructure::Uniform, "uniform"),
    (NoiseStructure::Inverted, "inverted"),
];

/// Subcommands of `mimicd imitate`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ImitateCommand {
    /// Measure a policy on motions: errors by body part and behaviour, survival, robustness under latent noise.
    Eval(EvalArgs),
    /// Write motions to train and measure on: the simulated rat's, and registrations of recorded keypoints.
    Motions(MotionsArgs),
}

/// Which look-ahead modes to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Modes {
    /// The virtual rat runs as many frames behind as the policy looks ahead.
    Delayed,
    /// Future frames are predicted.
    Forecast,
    /// One after the other.
    Both,
}

/// Arguments of `mimicd imitate eval`.
#[derive(Clone, Debug, clap::Args)]
pub struct EvalArgs {
    /// Policy manifests, one or several to compare.
    #[arg(required = true)]
    pub policies: Vec<PathBuf>,
    /// File of motions: `metadata.mocap_hz` and `clips[].{name, qpos}`, JSON or JSON.gz.
    #[arg(long)]
    pub clips: PathBuf,
    /// The rat's MJCF (fetched by `cargo xtask setup`).
    #[arg(long, default_value = ".deps/rat/rodent.xml")]
    pub mjcf: PathBuf,
    /// Look-ahead modes to measure.
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    pub look_ahead: Modes,
    /// Learned forecaster (ONNX): `forecast` is measured with it too, beside constant velocity.
    #[arg(long)]
    pub forecaster: Option<PathBuf>,
    /// Motions never trained on; they get a line of their own.
    #[arg(long, value_delimiter = ',')]
    pub held_out: Vec<String>,
    /// Also measure under latent noise (policies with a latent).
    #[arg(long)]
    pub noise: bool,
    /// Folder for `summary.txt`, `frames.parquet`, `robustness.csv` and the SVG plots.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// What a command has to say.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Text to print.
    pub text: String,
    /// Each frame measured (evaluations only).
    pub frames: Frames,
}

/// Runs the command.
///
/// # Errors
/// A policy, body or motion file that cannot be used, or a folder that cannot be written.
pub fn imitate(command: &ImitateCommand) -> Result<Outcome, ImitationError> {
    match command {
        ImitateCommand::Eval(args) => evaluate(args),
        ImitateCommand::Motions(args) => motions(args).map(|text| Outcome { text, ..Outcome::default() }),
    }
}

fn evaluate(args: &EvalArgs) -> Result<Outcome, ImitationError> {
    let motions = Motion::read_clips(&args.clips)?;
    let mut report = Report::default();
    for policy in &args.policies {
        for (mode, name, forecaster) in modes(args) {
            let mut stage = load(args, policy, mode, forecaster, motions[0].rate_hz)?;
            let runs = motions.iter().map(|motion| run(&mut stage, motion)).collect::<Result<Vec<_>, _>>()?;
            report.add(&stage, name, &runs, &args.held_out);
            if args.noise && stage.manifest().latent.is_some() {
                report.add_noise(&mut stage, name, &motions)?;
            }
        }
    }
    if let Some(folder) = &args.out {
        report.write(folder)?;
    }
    Ok(Outcome { text: report.text, frames: report.frames })
}

/// The modes to measure: look-ahead, name, forecaster.
fn modes(args: &EvalArgs) -> Vec<(LookAhead, &'static str, Option<PathBuf>)> {
    let mut modes = Vec::new();
    if args.look_ahead != Modes::Forecast {
        modes.push((LookAhead::Delayed, "delayed", None));
    }
    if args.look_ahead != Modes::Delayed {
        modes.push((LookAhead::Forecast, "forecast", None));
        if args.forecaster.is_some() {
            modes.push((LookAhead::Forecast, "learned forecast", args.forecaster.clone()));
        }
    }
    modes
}

fn load(
    args: &EvalArgs,
    policy: &Path,
    look_ahead: LookAhead,
    forecaster: Option<PathBuf>,
    rate_hz: f64,
) -> Result<ImitationStage, ImitationError> {
    let config = ImitationConfig { look_ahead, forecaster, ..ImitationConfig::for_policy(policy) };
    ImitationStage::load_policy(&config, &args.mjcf, rate_hz)
}

/// Everything that an evaluation has to say.
#[derive(Default)]
struct Report {
    text: String,
    frames: Frames,
    robustness_csv: String,
    root_curves: Vec<Curve>,
    turn_curves: Vec<Curve>,
    survival_curves: Vec<Curve>,
}

impl Report {
    fn add(&mut self, stage: &ImitationStage, mode: &str, runs: &[Run], held_out: &[String]) {
        let name = format!("{}, {mode}", stage.manifest().name);
        let title = format!("{name} (nominal lag {:.0} ms)", stage.nominal_lag().millis_f64());
        self.text.push_str(&table::text(&title, runs, held_out));
        self.text.push('\n');
        self.frames.add(&stage.manifest().name, mode, runs);
        self.root_curves.push(against_time_since_reset(&name, runs, |row| row.root_m * 1e3));
        self.turn_curves.push(against_time_since_reset(&name, runs, |row| row.orientation_rad.to_degrees()));
    }

    fn add_noise(&mut self, stage: &mut ImitationStage, mode: &str, motions: &[Motion]) -> Result<(), ImitationError> {
        let policy = stage.manifest().name.clone();
        if self.robustness_csv.is_empty() {
            self.robustness_csv =
                "policy,look_ahead,structure,gain,survived_frames,falls,root_m,joints_rad\n".to_owned();
        }
        let _ = writeln!(self.text, "{policy}, {mode}: robustness (mean frames survived by noise gain)");
        for (structure, structure_name) in STRUCTURES {
            let mut curve = Curve { name: format!("{policy}, {mode}, {structure_name}"), points: Vec::new() };
            let _ = write!(self.text, "  {structure_name:<9}");
            for gain in NOISE_GAINS {
                stage.set_latent_noise(LatentNoise { gain, structure });
                let runs = motions.iter().map(|motion| run(stage, motion)).collect::<Result<Vec<_>, _>>()?;
                let Some(all) = Summary::of(runs.iter()) else { continue };
                let _ = write!(self.text, "  x{gain}: {:.0}", all.survived);
                let _ = writeln!(
                    self.robustness_csv,
                    "{policy},{mode},{structure_name},{gain},{:.2},{},{:.6},{:.6}",
                    all.survived, all.falls, all.root_m, all.joints_rad
                );
                curve.points.push((gain, all.survived));
            }
            self.text.push('\n');
            self.survival_curves.push(curve);
        }
        stage.set_latent_noise(LatentNoise::default());
        Ok(())
    }

    fn write(&self, folder: &Path) -> Result<(), ImitationError> {
        let unwritable =
            |error: std::io::Error| ImitationError::Unreadable { path: folder.to_owned(), reason: error.to_string() };
        std::fs::create_dir_all(folder).map_err(unwritable)?;
        std::fs::write(folder.join("summary.txt"), &self.text).map_err(unwritable)?;
        let since = "time since reset, s";
        draw(&folder.join("root.svg"), "Root error", since, "mm", &self.root_curves)?;
        draw(&folder.join("turn.svg"), "Orientation error", since, "degrees", &self.turn_curves)?;
        if !self.robustness_csv.is_empty() {
            std::fs::write(folder.join("robustness.csv"), &self.robustness_csv).map_err(unwritable)?;
            let title = "Survival under latent noise";
            draw(
                &folder.join("robustness.svg"),
                title,
                "noise gain",
                "frames until the first fall",
                &self.survival_curves,
            )?;
        }
        Ok(())
    }
}
