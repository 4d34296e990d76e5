//! The pose stage: frame set in, 3D keypoints out.

use mimicd_device::{Frame, HostTime, Integrity};
use nalgebra::{Vector2, Vector3};

use super::crop::CropBox;
use super::detector::{Detector, DetectorOptions};
use super::manifest::Manifest;
use super::refiner::Refiner;
use super::track::Tracker;
use super::{Keypoint, PoseConfig, PoseError, PoseEstimate, TrackState};
use crate::clock::timed;
use crate::geometry::{
    Calibration, CameraModel, Observation, Triangulated, TriangulationOptions, VIEWS_MAX, triangulate_robust,
};

/// A keypoint counts for the animal's place from this confidence on.
const PLACE_CONFIDENCE_MIN: f32 = 0.25;
/// The animal is seen when at least this share of its keypoints counts.
const SEEN_SHARE_MIN: f64 = 0.25;
/// Reprojection error, as a share of the outlier limit, at which the confidence is halved.
const RESIDUAL_HALF_SHARE: f32 = 0.5;

/// Two views cannot contradict each other along their epipolar lines, three can: what two are worth.
const TWO_VIEWS_SUPPORT: f32 = 0.6;

/// The animal's centre: the mean of the keypoints that count.
#[derive(Default)]
struct Middle {
    sum: Vector3<f64>,
    count: u32,
}

impl Middle {
    fn add(&mut self, keypoint: &Keypoint) {
        if keypoint.confidence >= PLACE_CONFIDENCE_MIN {
            self.sum += Vector3::from(keypoint.xyz_m);
            self.count += 1;
        }
    }

    /// `None` when too few of `keypoints` counted.
    fn of(&self, keypoints: usize) -> Option<Vector3<f64>> {
        let enough = f64::from(self.count) >= (SEEN_SHARE_MIN * keypoints as f64).max(1.0);
        enough.then(|| self.sum / f64::from(self.count))
    }
}

/// What a frame's crop was found to be before its set was complete.
#[derive(Clone, Copy)]
struct Early {
    counter: u64,
    arrival: HostTime,
    crop: Option<CropBox>,
}

impl Early {
    fn is_of(&self, frame: &Frame) -> bool {
        (self.counter, self.arrival) == (frame.counter, frame.arrival)
    }
}

/// Views to 3D keypoints. After [`PoseStage::load`], [`PoseStage::estimate`] allocates nothing outside ONNX Runtime.
pub struct PoseStage {
    manifest: Manifest,
    cameras: Vec<CameraModel>,
    options: TriangulationOptions,
    fine: Detector,
    coarse: Option<Detector>,
    refiner: Option<Refiner>,
    tracker: Tracker,
    crops: Vec<Option<CropBox>>,
    early: Vec<Option<Early>>,
    poisoned: bool,
    clock: Option<fn() -> HostTime>,
}

impl PoseStage {
    /// Opens the model and binds it to a rig; `calibration` must already be for the rig's frames
    /// ([`Calibration::for_frames`]).
    ///
    /// # Errors
    /// [`PoseError`] names the file, what it offers and what was expected.
    pub fn load(config: &PoseConfig, calibration: &Calibration) -> Result<Self, PoseError> {
        let manifest = Manifest::load(&config.model)?;
        let cameras = calibration.cameras.clone();
        if cameras.len() < 2 || cameras.len() > VIEWS_MAX {
            return Err(PoseError::Rig { reason: format!("{} cameras, expected 2 to {VIEWS_MAX}", cameras.len()) });
        }
        if let Some(camera) = cameras.iter().find(|c| c.width_px == 0 || c.height_px == 0) {
            return Err(PoseError::Rig {
                reason: format!(
                    "camera {:?}: the calibration has no image size, expected the frames' size",
                    camera.name
                ),
            });
        }
        let detector = DetectorOptions {
            views: cameras.len(),
            provider: config.provider,
            threads: config.threads,
            mono16_bits: config.mono16_bits,
        };
        let fine = Detector::load(&manifest.network, manifest.keypoints.len(), detector)?;
        let coarse = manifest.coarse.as_ref().map(|spec| Detector::load(spec, 1, detector)).transpose()?;
        let spec = manifest.refiner.as_ref().filter(|_| config.refine);
        let refiner = spec.map(|spec| Refiner::load(spec, &manifest.keypoints, cameras.len())).transpose()?;
        let outlier_px = config.outlier_m * pixels_per_metre(&cameras, &calibration.centre_m());
        let options = TriangulationOptions {
            outlier_px,
            confidence_min: config.confidence_min,
            ..TriangulationOptions::default()
        };
        let (crops, early) = (vec![None; cameras.len()], vec![None; cameras.len()]);
        Ok(Self {
            manifest,
            cameras,
            options,
            fine,
            coarse,
            refiner,
            tracker: Tracker::default(),
            crops,
            early,
            poisoned: false,
            clock: None,
        })
    }

    /// Names in the order of [`PoseEstimate::keypoints`].
    pub fn keypoint_names(&self) -> &[String] {
        &self.manifest.keypoints
    }

    /// The model's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// An estimate of the right size, to be filled by [`PoseStage::estimate`].
    pub fn blank(&self) -> PoseEstimate {
        PoseEstimate::sized(self.manifest.keypoints.len(), self.cameras.len())
    }

    /// Gives the stage a clock for [`PoseEstimate::inference`]; without one (a stepped run) it stays zero.
    pub fn set_clock(&mut self, clock: fn() -> HostTime) {
        self.clock = Some(clock);
    }

    /// Fault injection: the network's next input is not a number.
    pub fn poison_next(&mut self) {
        self.poisoned = true;
    }

    /// The rig's cameras.
    pub fn cameras(&self) -> &[CameraModel] {
        &self.cameras
    }

    /// Makes the keypoints of `out` anew from what its views say, as if the views whose confidences were set to 0 since had
    /// not been there. For multi-view models; the estimate must be this stage's.
    pub fn triangulate_again(&self, out: &mut PoseEstimate) {
        out.keypoints.fill(Keypoint::MISSING);
        self.solve(out);
    }

    /// Forgets where the animal was.
    pub fn reset(&mut self) {
        self.tracker = Tracker::default();
        self.early.fill(None);
    }

    /// Cuts a view's crop while other views of its set are still on their way; whether there was anything to do. The next
    /// [`PoseStage::estimate`] gives what it would have given without, sooner.
    pub fn look_early(&mut self, view: usize, frame: &Frame) -> bool {
        if self.early[view].is_some_and(|early| early.is_of(frame)) {
            return false;
        }
        let Some(centre) = self.tracker.predicted_m() else { return false };
        let crop = self.look(view, Some(frame), &centre);
        self.early[view] = Some(Early { counter: frame.counter, arrival: frame.arrival, crop });
        true
    }

    /// Estimates the pose of one frame set; `views[i]` is camera `i`'s frame, `None` when it is missing.
    ///
    /// Never fails: what cannot be seen has confidence 0, and `out.integrity` says what was wrong.
    pub fn estimate(&mut self, views: &[Option<&Frame>], out: &mut PoseEstimate) {
        debug_assert_eq!(views.len(), self.cameras.len(), "one entry for each camera");
        out.clear(self.manifest.keypoints.len(), self.cameras.len());
        let predicted = match self.tracker.predicted_m() {
            Some(centre) => Some(centre),
            None => {
                self.early.fill(None);
                self.search(views, out)
            }
        };
        let Some(centre) = predicted else {
            out.integrity |= Integrity::PARTIAL;
            return;
        };
        self.aim(views, &centre);
        let seen = if self.fine.is_volume() {
            (self.aim_volume(&centre, out) && self.observe(out)).then(|| self.read_volume(&centre, out)).flatten()
        } else {
            self.observe(out).then(|| self.solve(out)).flatten()
        };
        match seen {
            Some(centre) => self.tracker.seen(centre),
            None => self.tracker.missed(),
        }
        self.refine(out);
        out.state = self.tracker.state();
        let missing = out.keypoints.iter().any(|k| k.confidence <= 0.0);
        if missing || self.crops.iter().any(Option::is_none) {
            out.integrity |= Integrity::PARTIAL;
        }
    }

    /// Finds the animal's centre in whole views.
    fn search(&mut self, views: &[Option<&Frame>], out: &mut PoseEstimate) -> Option<Vector3<f64>> {
        let coarse = self.coarse.as_mut()?;
        for (view, crop) in self.crops.iter_mut().enumerate() {
            let camera = &self.cameras[view];
            let whole = CropBox::whole(camera.width_px, camera.height_px);
            let frame = usable(views.get(view).copied().flatten(), camera);
            *crop = frame.filter(|frame| coarse.look(view, frame, &whole)).map(|_| whole);
            if crop.is_none() {
                coarse.cover(view);
            }
        }
        if !run(coarse, self.clock, out) {
            return None;
        }
        let mut observations = [Observation::NONE; VIEWS_MAX];
        for (view, crop) in self.crops.iter().enumerate() {
            let Some(crop) = crop else { continue };
            match coarse.keypoint_px(view, 0, crop) {
                Some([x, y, confidence]) => {
                    let pixel = Vector2::new(f64::from(x), f64::from(y));
                    observations[view] = Observation { pixel, confidence: f64::from(confidence) };
                }
                None => out.integrity |= Integrity::NOT_FINITE,
            }
        }
        // The centre of an animal is not a point of it: views may disagree by a part of its width.
        let options = TriangulationOptions { outlier_px: 3.0 * self.options.outlier_px, ..self.options };
        let found = triangulate_robust(&self.cameras, &observations[..self.cameras.len()], &options)?;
        self.tracker.start(found.xyz_m);
        Some(found.xyz_m)
    }

    /// Chooses each view's crop around the animal's expected centre.
    fn aim(&mut self, views: &[Option<&Frame>], centre: &Vector3<f64>) {
        for view in 0..self.cameras.len() {
            let frame = views.get(view).copied().flatten();
            let early = self.early[view].take().filter(|early| frame.is_some_and(|frame| early.is_of(frame)));
            self.crops[view] = early.map_or_else(|| self.look(view, frame, centre), |early| early.crop);
            if self.crops[view].is_none() {
                self.fine.cover(view);
            }
        }
    }

    /// Cuts one view's crop; `None` where there is nothing to see.
    fn look(&mut self, view: usize, frame: Option<&Frame>, centre: &Vector3<f64>) -> Option<CropBox> {
        let camera = &self.cameras[view];
        let frame = usable(frame, camera)?;
        let pixel = camera.project(centre)?;
        let side_px = self.manifest.crop.width_m * camera.focal_px() / camera.depth_m(centre);
        let crop = CropBox::square([pixel.x, pixel.y], side_px);
        (camera.sees(&pixel) && self.fine.look(view, frame, &crop)).then_some(crop)
    }

    /// Runs the network and reads what each view says into `out.views`; `false` when the network failed.
    fn observe(&mut self, out: &mut PoseEstimate) -> bool {
        if std::mem::take(&mut self.poisoned) {
            self.fine.poison();
        }
        if !run(&mut self.fine, self.clock, out) {
            return false;
        }
        for (view, crop) in self.crops.iter().enumerate() {
            let Some(crop) = crop else { continue };
            let estimate = &mut out.views[view];
            estimate.crop = *crop;
            if !self.fine.tells_views() {
                continue;
            }
            for (keypoint, seen) in estimate.keypoints_px.iter_mut().enumerate() {
                match self.fine.keypoint_px(view, keypoint, crop) {
                    Some(found) => *seen = found,
                    None => out.integrity |= Integrity::NOT_FINITE,
                }
            }
        }
        true
    }

    /// Tells a volumetric network where to look; `false` with a single view, which says nothing about depth.
    fn aim_volume(&mut self, centre: &Vector3<f64>, out: &mut PoseEstimate) -> bool {
        for (view, crop) in out.views.iter_mut().zip(&self.crops) {
            view.crop = crop.unwrap_or_default();
        }
        self.fine.aim(centre, &self.cameras, &self.crops);
        self.crops.iter().flatten().count() >= 2
    }

    /// Reads where a volumetric network put every keypoint; gives the animal's centre when enough of it was seen.
    fn read_volume(&self, centre: &Vector3<f64>, out: &mut PoseEstimate) -> Option<Vector3<f64>> {
        let views = self
            .crops
            .iter()
            .enumerate()
            .filter(|(_, crop)| crop.is_some())
            .fold(0, |mask, (view, _)| mask | 1 << view);
        let support = if u32::count_ones(views) < 3 { TWO_VIEWS_SUPPORT } else { 1.0 };
        let mut middle = Middle::default();
        for index in 0..out.keypoints.len() {
            let place = self.fine.place(index);
            if !place.finite {
                out.integrity |= Integrity::NOT_FINITE;
                continue;
            }
            let xyz_m = centre + Vector3::from(place.offset_m);
            let variance = place.spread_m * place.spread_m;
            let keypoint = Keypoint {
                xyz_m: xyz_m.into(),
                confidence: place.confidence * support,
                views,
                residual_px: self.residual_px(&xyz_m, index, out),
                covariance_m2: [variance, 0.0, 0.0, variance, 0.0, variance],
                correction_m: [0.0; 3],
            };
            middle.add(&keypoint);
            out.keypoints[index] = keypoint;
        }
        middle.of(out.keypoints.len())
    }

    /// Root mean square distance of a place to where the views saw the keypoint, weighted by their confidence; 0 where none
    /// did.
    fn residual_px(&self, xyz_m: &Vector3<f64>, keypoint: usize, out: &PoseEstimate) -> f32 {
        let (mut squares, mut weights) = (0.0, 0.0);
        for (camera, view) in self.cameras.iter().zip(&out.views) {
            let [x, y, confidence] = view.keypoints_px[keypoint].map(f64::from);
            if let Some(pixel) = (confidence > 0.0).then(|| camera.project(xyz_m)).flatten() {
                squares += confidence * (pixel - Vector2::new(x, y)).norm_squared();
                weights += confidence;
            }
        }
        if weights > 0.0 { (squares / weights).sqrt() as f32 } else { 0.0 }
    }

    /// Triangulates every keypoint; gives the animal's centre when enough of it was seen.
    fn solve(&self, out: &mut PoseEstimate) -> Option<Vector3<f64>> {
        let mut middle = Middle::default();
        for index in 0..out.keypoints.len() {
            let mut observations = [Observation::NONE; VIEWS_MAX];
            for (observation, view) in observations.iter_mut().zip(&out.views) {
                let [x, y, confidence] = view.keypoints_px[index];
                observation.pixel = Vector2::new(f64::from(x), f64::from(y));
                observation.confidence = f64::from(confidence);
            }
            let observations = &observations[..self.cameras.len()];
            let Some(found) = triangulate_robust(&self.cameras, observations, &self.options) else { continue };
            let keypoint = self.keypoint(&found, observations);
            middle.add(&keypoint);
            out.keypoints[index] = keypoint;
        }
        middle.of(out.keypoints.len())
    }

    /// Corrects the keypoints where the model brings a refiner.
    fn refine(&mut self, out: &mut PoseEstimate) {
        let Some(refiner) = &mut self.refiner else { return };
        let Some(frame) = refiner.look(&self.cameras, out) else { return };
        let (ran, spent) = timed(self.clock, || refiner.run());
        out.inference = out.inference + spent;
        match ran {
            Ok(()) => refiner.correct(&frame, out),
            Err(_) => out.integrity |= Integrity::CORRUPT,
        }
    }

    /// Confidence in 3D: how sure the views that agree are, lessened when few agree and when they agree badly.
    fn keypoint(&self, found: &Triangulated, observations: &[Observation]) -> Keypoint {
        let used = observations.iter().enumerate().filter(|(view, _)| found.views >> view & 1 == 1);
        let count = found.views.count_ones() as f32;
        let mean = used.map(|(_, o)| o.confidence as f32).sum::<f32>() / count;
        let share = found.residual_px as f32 / (RESIDUAL_HALF_SHARE * self.options.outlier_px as f32);
        let support = if found.views.count_ones() < 3 { TWO_VIEWS_SUPPORT } else { 1.0 };
        Keypoint {
            xyz_m: found.xyz_m.into(),
            confidence: mean * support / (1.0 + share * share),
            views: found.views,
            residual_px: found.residual_px as f32,
            covariance_m2: found.covariance_m2.map(|v| v as f32),
            correction_m: [0.0; 3],
        }
    }

    /// The state that the next frame set starts from.
    pub fn state(&self) -> TrackState {
        self.tracker.state()
    }
}

/// Runs a network and adds its time; `false` when it failed.
fn run(detector: &mut Detector, clock: Option<fn() -> HostTime>, out: &mut PoseEstimate) -> bool {
    let (ran, spent) = timed(clock, || detector.run());
    out.inference = out.inference + spent;
    if ran.is_err() {
        out.integrity |= Integrity::CORRUPT;
    }
    ran.is_ok()
}

/// The frame, if its content can be trusted and it is of the calibrated size.
fn usable<'a>(frame: Option<&'a Frame>, camera: &CameraModel) -> Option<&'a Frame> {
    frame.filter(|frame| {
        let spoiled = Integrity::CORRUPT | Integrity::FROZEN | Integrity::STALE;
        frame.geometry.width_px == camera.width_px
            && frame.geometry.height_px == camera.height_px
            && !frame.integrity.intersects(spoiled)
    })
}

/// Median over the cameras of the pixels that one metre covers where they look.
fn pixels_per_metre(cameras: &[CameraModel], centre_m: &Vector3<f64>) -> f64 {
    let mut scales: Vec<f64> = cameras.iter().map(|c| c.focal_px() / c.depth_m(centre_m).max(0.05)).collect();
    scales.sort_by(f64::total_cmp);
    scales[scales.len() / 2]
}
