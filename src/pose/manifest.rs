//! Model manifests: the TOML beside an ONNX file that says what its tensors mean.
//!
//! ```toml
//! name = "pose-twin"
//! kind = "multiview"
//! keypoints = ["Snout", "EarL"]
//! skeleton = [["Snout", "EarL"]]
//!
//! [crop]
//! width_m = 0.32
//!
//! [network]                 # runs on a crop around the animal, in every view
//! file = "keypoints.onnx"
//! width_px = 128
//! height_px = 128
//! scale = 0.00392156862745098
//! [network.decode]
//! kind = "heatmap"
//! output = "heatmaps"
//! response = "probability"
//!
//! [coarse]                  # runs on the whole view and finds the animal's centre
//! file = "centre.onnx"
//! …
//! ```
//!
//! A model may bring a `[refiner]` ([`RefinerSpec`]), which corrects where the views say that keypoints are.
//!
//! `kind = "volumetric"` takes a graph that gathers all views in a volume itself; its `[network.decode]` has kind `volume`.
//!
//! Nothing about a graph is guessed: what is not written here has a fixed default, and a graph that disagrees is refused.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PoseError;

/// How views become 3D keypoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// A 2D network in every view, then triangulation.
    Multiview,
    /// A network over a volume around the animal (DANNCE), sampled from every view inside the graph; its decode kind is
    /// `volume`.
    Volumetric,
}

/// Order of an image tensor's dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channels, rows, columns.
    #[default]
    Nchw,
    /// Batch, rows, columns, channels.
    Nhwc,
}

/// What a heat map's values mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// The peak is the confidence (0 to 1).
    #[default]
    Peak,
    /// The logistic function of the peak is the confidence.
    Sigmoid,
    /// The map sums to one; the mass around the peak is the confidence.
    Probability,
    /// A softmax over the map makes it sum to one.
    Softmax,
}

/// How a heat map's peak is placed between cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refine {
    /// Mean position of the cells around the peak, weighted by their values.
    #[default]
    Mean,
    /// Vertex of the parabola through the peak and its neighbours, along each axis.
    Quadratic,
    /// Mean position of the whole map (an integral or soft-argmax head); for maps that sum to one.
    Whole,
    /// The cell's centre.
    None,
}

/// What a map's spread says: confidence = 1 / (1 + (spread² - sure²) / half²), at most 1. Views weighted by it are weighted
/// by the inverse of their variance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Standard deviation along an axis of a map that is sure, input pixels: the width the network was trained with.
    pub sure_px: f32,
    /// Standard deviation beyond it at which the confidence is one half, input pixels.
    pub half_px: f32,
}

/// How the graph's outputs become pixels of its input image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decode {
    /// One map for each keypoint (SLEAP confidence maps, Lightning Pose, our own).
    Heatmap {
        /// Name of the output.
        output: String,
        /// Order of its dimensions.
        #[serde(default)]
        layout: Layout,
        /// What its values mean.
        #[serde(default)]
        response: Response,
        /// Placement between cells.
        #[serde(default)]
        refine: Refine,
        /// Confidence from how far the map spreads, in place of the peak or the mass around it; with `refine = "whole"`.
        #[serde(default)]
        spread: Option<Spread>,
        /// Input pixel of the first cell; by default the middle of the pixels it covers, `(stride - 1) / 2`.
        #[serde(default)]
        first_cell_px: Option<f32>,
    },
    /// Score maps and location refinement (DeepLabCut): pixel = cell centre + offset.
    HeatmapOffsets {
        /// Name of the score output, one map for each keypoint.
        output: String,
        /// Name of the offset output, x and y for each keypoint in turn.
        offsets: String,
        /// Order of the dimensions of both.
        #[serde(default)]
        layout: Layout,
        /// What the scores mean.
        #[serde(default)]
        response: Response,
        /// Pixels of one unit of offset.
        #[serde(default = "default_offset_unit_px")]
        offset_unit_px: f32,
        /// Input pixel of the first cell; by default half the stride.
        #[serde(default)]
        first_cell_px: Option<f32>,
    },
    /// One row of scores along x and one along y for each keypoint (RTMPose).
    Simcc {
        /// Name of the output along x.
        x: String,
        /// Name of the output along y.
        y: String,
        /// Bins of one input pixel.
        #[serde(default = "default_bins_per_px")]
        bins_per_px: f32,
    },
    /// Places in the world (volumetric graphs). Besides the images the graph takes, for every view, where its crop looks.
    Volume {
        /// Name of the input of shape (views, 22): rotation (9, row by row) and translation (3, m) of world to camera; k1,
        /// k2, p1, p2, k3; then a, b, c, d, e: with distorted normalised coordinates x, y the sampling grid is
        /// (a x + b y + c, d y + e), from -1 to 1 over the crop's edges.
        cameras: String,
        /// Name of the input of shape (3): the middle of the volume in the world, m.
        centre: String,
        /// Name of the input of shape (views): 1 for a view that is there, 0 for one that is not.
        present: String,
        /// Name of the output (keypoints, 3): offsets from the centre.
        positions: String,
        /// Metres of one unit of `positions` and `spread`.
        #[serde(default = "default_unit_m")]
        unit_m: f32,
        /// Name of the output (keypoints): the peak or another confidence, 0 to 1.
        confidence: String,
        /// Name of the output (keypoints): standard deviation along an axis.
        #[serde(default)]
        spread: Option<String>,
        /// The confidence output is divided by this (DANNCE's peaks are far below 1).
        #[serde(default = "default_unit_m")]
        sure: f32,
        /// Name of the output (views, keypoints, 3): what each view says by itself, x and y in input pixels and confidence.
        /// With it the panel shows what every view saw, a bumped camera is named, and the model may bring a refiner.
        #[serde(default)]
        views: Option<String>,
    },
    /// Peaks found inside the graph (sleap-nn exports): positions and their values; NaN where there is none.
    Peaks {
        /// Name of the positions output, (batch, instances, keypoints, 2), input pixels; either middle may be left out.
        positions: String,
        /// Name of the values output, (batch, instances, keypoints).
        values: String,
        /// Candidates of each keypoint; the one with the highest value counts.
        #[serde(default = "default_instances")]
        instances: usize,
    },
}

/// Numbers that tell a volumetric graph about a camera.
pub const CAMERA_ROW: usize = 22;

/// Unit of DeepLabCut's location refinement: its networks are trained with offsets divided by this.
const fn default_offset_unit_px() -> f32 {
    7.2801
}

const fn default_unit_m() -> f32 {
    1.0
}

/// RTMPose splits each pixel in two bins.
const fn default_bins_per_px() -> f32 {
    2.0
}

const fn default_instances() -> usize {
    1
}

impl Decode {
    /// Names of the outputs that are read.
    pub fn outputs(&self) -> Vec<&str> {
        match self {
            Self::Heatmap { output, .. } => vec![output],
            Self::HeatmapOffsets { output, offsets, .. } => vec![output, offsets],
            Self::Simcc { x, y, .. } => vec![x, y],
            Self::Peaks { positions, values, .. } => vec![positions, values],
            Self::Volume { positions, confidence, spread, views, .. } => {
                [positions, confidence].into_iter().chain(spread).chain(views).map(String::as_str).collect()
            }
        }
    }

    /// Names and shapes of the inputs besides the images, for `views` views.
    pub fn inputs(&self, views: usize) -> Vec<(&str, Vec<usize>)> {
        match self {
            Self::Volume { cameras, centre, present, .. } => {
                vec![(cameras, vec![views, CAMERA_ROW]), (centre, vec![3]), (present, vec![views])]
            }
            _ => Vec::new(),
        }
    }
}

/// One ONNX graph that takes images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// The ONNX file, relative to the manifest.
    pub file: PathBuf,
    /// Name of the image input; may be left out when there is one input.
    #[serde(default)]
    pub input: Option<String>,
    /// Order of the image's dimensions.
    #[serde(default)]
    pub layout: Layout,
    /// Image width.
    pub width_px: u32,
    /// Image height.
    pub height_px: u32,
    /// Grey is repeated into this many channels.
    #[serde(default = "default_channels")]
    pub channels: usize,
    /// The network sees `(pixel * scale - mean) / sd`.
    #[serde(default = "default_scale")]
    pub scale: f32,
    /// One value, or one for each channel.
    #[serde(default = "default_mean")]
    pub mean: Vec<f32>,
    /// One value, or one for each channel.
    #[serde(default = "default_sd")]
    pub sd: Vec<f32>,
    /// What the outputs mean.
    pub decode: Decode,
}

const fn default_channels() -> usize {
    1
}

const fn default_scale() -> f32 {
    1.0
}

fn default_mean() -> Vec<f32> {
    vec![0.0]
}

fn default_sd() -> Vec<f32> {
    vec![1.0]
}

/// The part of a view that the network sees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropSpec {
    /// Width (and height) at the animal's distance, metres; the network was trained with animals of this size in its image.
    pub width_m: f64,
}

/// A graph that corrects keypoints in 3D; it was trained on one kind of animal and this manifest's network. It is shown what
/// every view says, which a volumetric graph has to give (`views` in [`Decode::Volume`]).
///
/// Its inputs are `points` (1, keypoints, 4) and `views` (1, cameras, keypoints, 7), as [`super::Egocentric`] writes them;
/// its output `offsets` (1, keypoints, 3) is what to add in the animal's frame, mm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefinerSpec {
    /// The ONNX file, relative to the manifest.
    pub file: PathBuf,
    /// The animal's body axis, from rear to front: two of the keypoints.
    pub axis: [String; 2],
    /// No correction is longer, mm.
    pub limit_mm: f32,
}

impl RefinerSpec {
    /// Name of the input with the keypoints.
    pub const POINTS: &str = "points";
    /// Name of the input with what the views say of them.
    pub const VIEWS: &str = "views";
    /// Name of the output.
    pub const OFFSETS: &str = "offsets";
}

/// A whole manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name, written into recordings.
    pub name: String,
    /// How views become keypoints.
    pub kind: ModelKind,
    /// Keypoint names in the order of the graph's output.
    pub keypoints: Vec<String>,
    /// Pairs of keypoint names to draw.
    #[serde(default)]
    pub skeleton: Vec<[String; 2]>,
    /// The crop around the animal.
    pub crop: CropSpec,
    /// Finds the keypoints in a crop.
    pub network: NetworkSpec,
    /// Finds the animal in the whole view; without it, a moving animal is found against the background.
    #[serde(default)]
    pub coarse: Option<NetworkSpec>,
    /// Corrects where the views say that keypoints are.
    #[serde(default)]
    pub refiner: Option<RefinerSpec>,
}

impl Manifest {
    /// Reads and checks a manifest; file names in it become relative to its folder.
    ///
    /// # Errors
    /// [`PoseError::Unreadable`], [`PoseError::Manifest`].
    pub fn load(path: &Path) -> Result<Self, PoseError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| PoseError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
        let mut manifest: Self = toml::from_str(&text)
            .map_err(|error| PoseError::manifest(path, "TOML", error.to_string().trim_end().to_owned()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for network in std::iter::once(&mut manifest.network).chain(&mut manifest.coarse) {
            network.file = folder.join(&network.file);
        }
        if let Some(refiner) = &mut manifest.refiner {
            refiner.file = folder.join(&refiner.file);
        }
        manifest.check(path)?;
        Ok(manifest)
    }

    fn check(&self, path: &Path) -> Result<(), PoseError> {
        let fail = |place: &str, reason: String| Err(PoseError::manifest(path, place, reason));
        if self.keypoints.is_empty() || self.keypoints.len() > 256 {
            return fail("keypoints", format!("{} names, expected 1 to 256", self.keypoints.len()));
        }
        for (i, name) in self.keypoints.iter().enumerate() {
            if self.keypoints[..i].contains(name) {
                return fail("keypoints", format!("{name:?} twice, expected distinct names"));
            }
        }
        if let Some(name) = self.skeleton.iter().flatten().find(|name| !self.keypoints.contains(name)) {
            return fail("skeleton", format!("{name:?} is not one of the keypoints {}", self.keypoints.join(", ")));
        }
        if !(0.01..=5.0).contains(&self.crop.width_m) {
            return fail("crop.width_m", format!("{}, expected 0.01 to 5 metres", self.crop.width_m));
        }
        let is_volume = matches!(self.network.decode, Decode::Volume { .. });
        if is_volume != (self.kind == ModelKind::Volumetric) {
            let expected =
                "expected decode kind \"volume\" with kind = \"volumetric\", and any other with \"multiview\"";
            return fail("network.decode", format!("kind is {:?}: {expected}", self.kind));
        }
        if self.coarse.as_ref().is_some_and(|coarse| matches!(coarse.decode, Decode::Volume { .. })) {
            return fail(
                "coarse.decode",
                "a volume: expected a network that finds the animal in single views".to_owned(),
            );
        }
        for (key, network) in [("network", Some(&self.network)), ("coarse", self.coarse.as_ref())] {
            if let Some((place, reason)) = network.and_then(NetworkSpec::fault) {
                return fail(&format!("{key}.{place}"), reason);
            }
        }
        match self.refiner.as_ref().and_then(|refiner| self.refiner_fault(refiner)) {
            Some((place, reason)) => fail(&format!("refiner.{place}"), reason),
            None => Ok(()),
        }
    }

    /// What is wrong with the refiner: place and reason.
    fn refiner_fault(&self, refiner: &RefinerSpec) -> Option<(&'static str, String)> {
        let [rear, front] = &refiner.axis;
        if matches!(self.network.decode, Decode::Volume { views: None, .. }) {
            let expected = "expected network.decode.views, the output that tells it what each view says";
            return Some(("file", format!("{}: a refiner for a volume without {expected}", refiner.file.display())));
        }
        if !refiner.file.is_file() {
            return Some(("file", format!("{}: no such file", refiner.file.display())));
        }
        if rear == front || !self.keypoints.contains(rear) || !self.keypoints.contains(front) {
            let names = self.keypoints.join(", ");
            return Some(("axis", format!("{rear:?} to {front:?}, expected two of the keypoints {names}")));
        }
        if !(0.1..=50.0).contains(&refiner.limit_mm) {
            return Some(("limit_mm", format!("{}, expected 0.1 to 50 mm", refiner.limit_mm)));
        }
        None
    }
}

impl NetworkSpec {
    /// What is wrong with it: place and reason.
    fn fault(&self) -> Option<(&'static str, String)> {
        let fits = |values: &[f32]| values.len() == 1 || values.len() == self.channels;
        if !self.file.is_file() {
            return Some(("file", format!("{}: no such file", self.file.display())));
        }
        if !(8..=4096).contains(&self.width_px) || !(8..=4096).contains(&self.height_px) {
            return Some(("width_px", format!("{} x {} px, expected 8 to 4096", self.width_px, self.height_px)));
        }
        if self.channels != 1 && self.channels != 3 {
            return Some(("channels", format!("{}, expected 1 or 3", self.channels)));
        }
        if !fits(&self.mean) || !fits(&self.sd) {
            let found = format!("{} means and {} sds", self.mean.len(), self.sd.len());
            return Some(("mean", format!("{found}, expected one or {} of each", self.channels)));
        }
        if let Decode::Heatmap { refine, response, spread, .. } = &self.decode {
            let is_whole = *refine == Refine::Whole;
            if is_whole && !matches!(response, Response::Probability | Response::Softmax) {
                let found = format!("refine = \"whole\" with response {response:?}");
                return Some((
                    "decode",
                    format!("{found}, expected maps that sum to one: \"probability\" or \"softmax\""),
                ));
            }
            if spread.is_some_and(|s| !(is_whole && s.sure_px >= 0.0 && s.half_px > 0.0)) {
                return Some(("decode.spread", "expected refine = \"whole\", sure_px >= 0, half_px > 0".to_owned()));
            }
        }
        if let Decode::Volume { unit_m, sure, .. } = &self.decode
            && !(*unit_m > 0.0 && *sure > 0.0)
        {
            return Some(("decode", format!("unit_m {unit_m} and sure {sure}, expected positive numbers")));
        }
        if self.sd.iter().any(|sd| !(*sd > 0.0)) || !(self.scale > 0.0) {
            return Some(("sd", format!("scale {} and sd {:?}, expected positive numbers", self.scale, self.sd)));
        }
        None
    }
}
