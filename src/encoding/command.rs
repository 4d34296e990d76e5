//! `mimicd encode`: analyse a recording, write tables, figures and the page.

use std::path::{Path, PathBuf};

use super::analysis::{Analysis, Context, analyse};
use super::behaviour::{BehaviourError, Classifier, LabelError, Labels};
use super::glm::cores;
use super::output::{self, OutputError};
use super::published_counts::counts_and_labels;
use super::report;
use super::settings::EncodingSettings;
use super::store::{Recorded, SetSpec, available, read_recording, select};
use crate::config::{Config, EncodingConfig};
use crate::export::PublishedError;
use crate::record::{Manifest, RecordError};

/// Options of `mimicd encode`.
#[derive(Clone, Debug, clap::Args)]
pub struct EncodeOptions {
    /// The recording's folder.
    pub dataset: PathBuf,
    /// Where tables, figures and the page go; the folder `encoding` inside the recording by default.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Config whose `[encoding]` section is used instead of the one the recording was made with.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Behaviour labels (CSV with the header `start_s,end_s,label` or `t_s,label`); they override the classifier.
    #[arg(long)]
    pub labels: Option<PathBuf>,
    /// Behaviour classifier (manifest); overrides the config's.
    #[arg(long)]
    pub classifier: Option<PathBuf>,
    /// Feature sets, comma-separated; the first is what others are compared with. All by default.
    #[arg(long, value_delimiter = ',')]
    pub sets: Vec<String>,
    /// Write every feature of every bin to `features.parquet` too.
    #[arg(long)]
    pub features: bool,
    /// Threads; all cores by default.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Take spike counts and labels from a file in the published layout, frame by bin; the recording was made from it.
    #[arg(long, hide = true)]
    pub published: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

impl EncodeOptions {
    /// The defaults for a recording.
    pub fn of(dataset: &Path) -> Self {
        Self {
            dataset: dataset.to_owned(),
            out: None,
            config: None,
            labels: None,
            classifier: None,
            sets: Vec::new(),
            features: false,
            threads: None,
            published: None,
            json: false,
        }
    }
}

/// Why a recording was not analysed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The recording.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The config.
    #[error("{0}")]
    Config(String),
    /// A feature set that is not there.
    #[error("{0}")]
    Sets(String),
    /// The label file.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// The classifier.
    #[error(transparent)]
    Behaviour(#[from] BehaviourError),
    /// A file in the published layout.
    #[error(transparent)]
    Published(#[from] PublishedError),
    /// What was to be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// There is nothing to analyse.
    #[error("{path}: {missing}; `mimicd encode` needs a sealed recording with body, virtual and spikes tables")]
    Empty {
        /// The recording.
        path: PathBuf,
        /// What is missing.
        missing: &'static str,
    },
}

/// Where everything went, and what was found.
pub struct Encoded {
    /// The folder.
    pub folder: PathBuf,
    /// What was found.
    pub analysis: Analysis,
}

/// A recording with its settings and labels.
pub(super) struct Prepared {
    pub(super) manifest: Manifest,
    pub(super) config: EncodingConfig,
    pub(super) settings: EncodingSettings,
    pub(super) recorded: Recorded,
    pub(super) labels: Labels,
}

/// Reads everything that an analysis starts from.
pub(super) fn prepare(options: &EncodeOptions) -> Result<Prepared, EncodeError> {
    let manifest = Manifest::open(&options.dataset)?;
    let config = config(options, &manifest)?;
    let settings = EncodingSettings::from(&config);
    let mut recorded = read_recording(&options.dataset, &manifest, settings.grid)?;
    if recorded.store.bins() == 0 {
        return Err(EncodeError::Empty { path: options.dataset.clone(), missing: "no body was registered" });
    }
    let labels = match &options.published {
        Some(path) => {
            let (spikes, labels) = counts_and_labels(path, settings.grid)?;
            recorded.sorted = true;
            recorded.spikes = spikes;
            labels
        }
        None => labels(options, &config, &recorded, &settings)?,
    };
    Ok(Prepared { manifest, config, settings, recorded, labels })
}

/// Analyses the recording; `progress` hears of fits done, of all.
///
/// # Errors
/// A recording, config, label file or classifier that cannot be used; a folder that cannot be written.
pub fn encode(options: &EncodeOptions, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Encoded, EncodeError> {
    let Prepared { manifest, config, settings, recorded, labels } = prepare(options)?;
    let sets = sets(options, &config, &recorded)?;
    let context = Context {
        recording: manifest.info.recording.clone(),
        arrays: manifest.catalog.arrays.iter().map(|array| array.name.clone()).collect(),
        sets: &sets,
        labels: &labels,
        threads: options.threads.unwrap_or_else(cores),
        progress,
    };
    let analysis = analyse(&settings, &recorded, &context);
    let folder = options.out.clone().unwrap_or_else(|| options.dataset.join("encoding"));
    write(&folder, options, &settings, &recorded, &sets, &labels, &analysis)?;
    Ok(Encoded { folder, analysis })
}

/// The settings of the file that was named, else of the recording, else the defaults.
fn config(options: &EncodeOptions, manifest: &Manifest) -> Result<EncodingConfig, EncodeError> {
    if let Some(path) = &options.config {
        return Config::load(path)
            .map(|config| config.encoding)
            .map_err(|errors| EncodeError::Config(errors.to_string()));
    }
    let recorded = manifest.info.config.get("encoding").cloned();
    recorded.map_or_else(
        || Ok(EncodingConfig::default()),
        |value| {
            serde_json::from_value(value).map_err(|error| {
                EncodeError::Config(format!(
                    "{}: the recording's [encoding] settings: {error}; give --config",
                    options.dataset.display()
                ))
            })
        },
    )
}

fn sets(options: &EncodeOptions, config: &EncodingConfig, recorded: &Recorded) -> Result<Vec<SetSpec>, EncodeError> {
    let all = available(&recorded.signals);
    let names = if options.sets.is_empty() { &config.sets } else { &options.sets };
    if names.is_empty() { Ok(all) } else { select(&all, names).map_err(EncodeError::Sets) }
}

fn labels(
    options: &EncodeOptions,
    config: &EncodingConfig,
    recorded: &Recorded,
    settings: &EncodingSettings,
) -> Result<Labels, EncodeError> {
    let bins = recorded.store.bins();
    if let Some(path) = &options.labels {
        return Ok(Labels::read_csv(path, settings.grid, bins)?);
    }
    match options.classifier.as_ref().or(config.behaviour.as_ref()) {
        Some(path) => Ok(Classifier::load(path)?.label(&recorded.store, bins)?),
        None => Ok(Labels { bins: vec![None; bins], ..Labels::default() }),
    }
}

fn write(
    folder: &Path,
    options: &EncodeOptions,
    settings: &EncodingSettings,
    recorded: &Recorded,
    sets: &[SetSpec],
    labels: &Labels,
    analysis: &Analysis,
) -> Result<(), EncodeError> {
    output::make_folder(folder)?;
    output::scores(&folder.join("scores.parquet"), &analysis.encoding)?;
    output::behaviours(&folder.join("behaviour.parquet"), settings.grid, labels)?;
    if options.features {
        output::features(&folder.join("features.parquet"), &recorded.store, sets, settings.glm.window_bins)?;
    }
    output::text(&folder.join("analysis.json"), &output::json(analysis))?;
    output::text(&folder.join("report.html"), &report::page(analysis, settings))?;
    for (name, figure) in report::figures(analysis) {
        let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        output::text(&folder.join(format!("{safe}.svg")), &figure)?;
    }
    Ok(())
}
