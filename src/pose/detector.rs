//! A 2D network with its manifest: frames and crops in, pixels with confidence out.

use mimicd_device::Frame;

use super::crop::{CropBox, Cropper};
use super::decode::Decoder;
use super::manifest::NetworkSpec;
use super::network::Network;
use super::{PoseError, Provider};

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
        Ok(Self { network, cropper, decoder, image_px: [spec.width_px as f32, spec.height_px as f32] })
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
