//! A 2D network with its manifest: frames and crops in, pixels with confidence out.

use mimicd_device::Frame;
use nalgebra::Vector3;

use super::crop::{CropBox, Cropper};
use super::decode::{Decoder, Place};
use super::manifest::{CAMERA_ROW, Decode, NetworkSpec};
use super::network::Network;
use super::{PoseError, Provider};
use crate::geometry::CameraModel;

/// How a network is run.
#[derive(Clone, Copy, Debug)]
pub struct DetectorOptions {
    /// Images in a batch.
    pub views: usize,
    /// Where it runs.
    pub provider: Provider,
    /// Threads inside one inference.
    pub threads: usize,
    /// Bits that 16-bit frames really use.
    pub mono16_bits: u32,
}

impl Default for DetectorOptions {
    fn default() -> Self {
        Self { views: 1, provider: Provider::Cpu, threads: 1, mono16_bits: 12 }
    }
}

/// One network of a manifest, ready to run. Allocates only when loaded (ONNX Runtime aside).
pub struct Detector {
    network: Network,
    cropper: Cropper,
    decoder: Decoder,
    image_px: [f32; 2],
    is_volume: bool,
}

impl Detector {
    /// Opens the graph and checks it against its manifest: `keypoints` maps, peaks or rows.
    ///
    /// # Errors
    /// [`PoseError::Graph`] names what the file offers and what was expected.
    pub fn load(spec: &NetworkSpec, keypoints: usize, options: DetectorOptions) -> Result<Self, PoseError> {
        let network = Network::load(spec, options.views, options.provider, options.threads)?;
        let decoder = Decoder::new(spec, keypoints, options.views, network.outputs())?;
        let cropper = Cropper::new(spec, options.mono16_bits);
        let image_px = [spec.width_px as f32, spec.height_px as f32];
        Ok(Self { network, cropper, decoder, image_px, is_volume: matches!(spec.decode, Decode::Volume { .. }) })
    }

    /// Resamples a crop of a frame into place `view` of the batch; `false` when there is nothing to see in it
    /// (covered, unlit or saturated).
    pub fn look(&mut self, view: usize, frame: &Frame, crop: &CropBox) -> bool {
        let length = self.cropper.image_len();
        let image = &mut self.network.input_mut()[view * length..(view + 1) * length];
        !self.cropper.fill(frame, crop, image).is_blind()
    }

    /// Empties place `view`, so that nothing of an older frame is in the batch.
    pub fn cover(&mut self, view: usize) {
        let length = self.cropper.image_len();
        self.network.input_mut()[view * length..(view + 1) * length].fill(0.0);
    }

    /// Whether the network gives places in the world ([`Detector::place`]) rather than peaks in views.
    pub(super) fn is_volume(&self) -> bool {
        self.is_volume
    }

    /// Whether the network says what it sees in single views ([`Detector::keypoint_px`]).
    pub(super) fn tells_views(&self) -> bool {
        self.decoder.tells_views()
    }

    /// Tells a volumetric network where its volume is and what every view looks at; `None` for a view that is not there.
    pub(super) fn aim(&mut self, centre_m: &Vector3<f64>, cameras: &[CameraModel], crops: &[Option<CropBox>]) {
        self.network.extra_mut(1).copy_from_slice(&[0, 1, 2].map(|axis| centre_m[axis] as f32));
        for (view, (camera, crop)) in cameras.iter().zip(crops).enumerate() {
            let looked_at = crop.unwrap_or(CropBox { width_px: 1.0, height_px: 1.0, ..CropBox::default() });
            let row = camera_row(camera, &looked_at);
            self.network.extra_mut(0)[view * CAMERA_ROW..(view + 1) * CAMERA_ROW].copy_from_slice(&row);
            self.network.extra_mut(2)[view] = f32::from(u8::from(crop.is_some()));
        }
    }

    /// Where a volumetric network put a keypoint.
    pub(super) fn place(&self, keypoint: usize) -> Place {
        self.decoder.place(self.network.outputs(), keypoint)
    }

    /// Fault injection: makes the whole input not a number.
    pub(super) fn poison(&mut self) {
        self.network.input_mut().fill(f32::NAN);
    }

    /// Runs the network on the batch.
    ///
    /// # Errors
    /// What ONNX Runtime said.
    pub fn run(&mut self) -> Result<(), String> {
        self.network.run()
    }

    /// x and y in frame pixels and confidence of a keypoint in place `view`, which looked at `crop`; `None` where the
    /// network gave something that is not a number.
    pub fn keypoint_px(&self, view: usize, keypoint: usize, crop: &CropBox) -> Option<[f32; 3]> {
        let peak = self.decoder.peak(self.network.outputs(), view, keypoint);
        peak.finite.then(|| {
            [
                crop.left_px + (peak.x_px + 0.5) * crop.width_px / self.image_px[0],
                crop.top_px + (peak.y_px + 0.5) * crop.height_px / self.image_px[1],
                peak.confidence,
            ]
        })
    }
}

/// What a volumetric graph is told about a camera that looks at a crop ([`Decode::Volume`]).
fn camera_row(camera: &CameraModel, crop: &CropBox) -> [f32; CAMERA_ROW] {
    let (k, pose) = (&camera.k, &camera.cam_from_world);
    let [width, height] = [crop.width_px, crop.height_px].map(f64::from);
    let [left, top] = [crop.left_px, crop.top_px].map(f64::from);
    let rotation = [0, 1, 2].map(|row| [0, 1, 2].map(|column| pose.rotation[(row, column)]));
    let across = [2.0 * k[(0, 0)] / width, 2.0 * k[(0, 1)] / width, 2.0 * (k[(0, 2)] - left) / width - 1.0];
    let down = [2.0 * k[(1, 1)] / height, 2.0 * (k[(1, 2)] - top) / height - 1.0];
    let all =
        rotation.as_flattened().iter().chain(&pose.translation_m).chain(&camera.distortion).chain(&across).chain(&down);
    let mut row = [0.0; CAMERA_ROW];
    row.iter_mut().zip(all).for_each(|(to, &from)| *to = from as f32);
    row
}
