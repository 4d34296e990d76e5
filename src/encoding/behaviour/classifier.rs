//! The behaviour classifier: an ONNX network and a manifest that names its classes.

use std::path::{Path, PathBuf};

use ort::session::Session;
use ort::value::Tensor;
use serde::Deserialize;

use super::super::store::{Slots, Store};
use super::features::{INPUTS, Window};
use super::labels::Labels;
use crate::pose::runtime::environment;

/// Version of the manifest's format.
const SCHEMA: u32 = 1;
/// Bins that one call classifies.
const BATCH: usize = 512;

/// Why a classifier cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BehaviourError {
    /// The manifest or the graph is wrong.
    #[error("{path}: {reason}")]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    schema: u32,
    name: String,
    file: PathBuf,
    classes: Vec<String>,
    /// A class less likely than this is no label.
    confidence_min: f32,
    /// Bins a second that it was trained on.
    rate_hz: f64,
}

/// A loaded classifier.
pub struct Classifier {
    manifest: Manifest,
    path: PathBuf,
    session: Session,
}

impl Classifier {
    /// Loads the manifest (TOML) and the graph beside it: input `features [n, 298]`, output `probability [n, classes]`.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn load(path: &Path) -> Result<Self, BehaviourError> {
        let fail = |reason: String| BehaviourError::Model { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let manifest: Manifest =
            toml::from_str(&text).map_err(|error| fail(error.to_string().trim_end().to_owned()))?;
        if manifest.schema != SCHEMA {
            return Err(fail(format!("schema {}; this build reads {SCHEMA}", manifest.schema)));
        }
        if manifest.classes.len() < 2 {
            return Err(fail(format!("{} classes; expected at least 2", manifest.classes.len())));
        }
        let file = path.parent().unwrap_or(Path::new(".")).join(&manifest.file);
        let session = open(&file)?;
        let mut classifier = Self { manifest, path: file, session };
        classifier.probabilities(vec![0.0; INPUTS])?;
        Ok(classifier)
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.manifest.classes
    }

    /// Probabilities of the classes for rows of inputs: rows × classes, flattened.
    fn probabilities(&mut self, inputs: Vec<f32>) -> Result<Vec<f32>, BehaviourError> {
        let path = self.path.clone();
        let fail = |reason: String| BehaviourError::Model { path: path.clone(), reason };
        let rows = inputs.len() / INPUTS;
        let input = Tensor::from_array(([rows, INPUTS], inputs)).map_err(|error| fail(error.to_string()))?;
        let outputs =
            self.session.run(ort::inputs!["features" => input]).map_err(|error| fail(error.message().to_owned()))?;
        let output = outputs.get("probability").ok_or_else(|| fail("no output \"probability\"".to_owned()))?;
        let (shape, values) = output.try_extract_tensor::<f32>().map_err(|error| fail(error.to_string()))?;
        let classes = self.manifest.classes.len();
        if values.len() != rows * classes {
            return Err(fail(format!("probability {shape:?}; expected [{rows}, {classes}]")));
        }
        Ok(values.to_vec())
    }

    fn choose(&self, probabilities: &[f32]) -> Option<usize> {
        let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
        (*best.1 >= self.manifest.confidence_min).then_some(best.0)
    }

    /// The behaviour at the last bin of a window; `None` while it is unknown or unsure.
    ///
    /// # Errors
    /// What ONNX Runtime refuses.
    pub fn classify(&mut self, window: &Window) -> Result<Option<usize>, BehaviourError> {
        let mut input = vec![0.0; INPUTS];
        if !window.write(&mut input) {
            return Ok(None);
        }
        let probabilities = self.probabilities(input)?;
        Ok(self.choose(&probabilities))
    }

    /// Labels of a store's first `bins` bins: the same as bin by bin.
    ///
    /// # Errors
    /// What ONNX Runtime refuses.
    pub fn label(&mut self, store: &Store, bins: usize) -> Result<Labels, BehaviourError> {
        self.label_slots(&store.body, bins)
    }

    fn label_slots(&mut self, body: &Slots, bins: usize) -> Result<Labels, BehaviourError> {
        let classes = self.manifest.classes.len();
        let mut labels = Labels {
            names: self.manifest.classes.clone(),
            bins: vec![None; bins],
            source: format!("classifier {} ({} Hz)", self.manifest.name, self.manifest.rate_hz),
        };
        let mut window = Window::default();
        let (mut inputs, mut places) = (Vec::new(), Vec::new());
        let mut row = vec![0.0; INPUTS];
        for bin in 0..bins {
            window.push(body.row(bin));
            if window.write(&mut row) {
                inputs.extend_from_slice(&row);
                places.push(bin);
            }
            if places.len() == BATCH || (bin + 1 == bins && !places.is_empty()) {
                let found = self.probabilities(std::mem::take(&mut inputs))?;
                for (place, probabilities) in places.drain(..).zip(found.chunks(classes)) {
                    labels.bins[place] = self.choose(probabilities);
                }
            }
        }
        Ok(labels)
    }
}

fn open(file: &Path) -> Result<Session, BehaviourError> {
    let fail = |reason: String| BehaviourError::Model { path: file.to_owned(), reason };
    let environment = environment().map_err(|reason| fail(reason.clone()))?;
    let builder = Session::builder(environment).map_err(|error| fail(error.message().to_owned()))?;
    let builder = builder.with_intra_threads(1).map_err(|error| fail(error.to_string()))?;
    let mut builder = builder.with_intra_op_spinning(false).map_err(|error| fail(error.to_string()))?;
    builder.commit_from_file(file).map_err(|error| fail(error.message().to_owned()))
}
