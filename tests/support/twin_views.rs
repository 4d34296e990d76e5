//! The twin's views of an instant with their truth, for the pose tests and benches.

use std::path::Path;

use mimicd::geometry::Calibration;
use mimicd_device::{CameraIndex, Frame, FrameGeometry, PixelFormat, Span};
use mimicd_sim::rat::World;
use mimicd_sim::render::{Look, RenderAssets, Renderer, Scene, TwinCamera};

/// A rat before six cameras.
pub struct TwinViews {
    world: World,
    assets: RenderAssets,
    renderers: Vec<Renderer>,
    scene: Scene,
    /// The views of the last instant.
    pub frames: Vec<Frame>,
}

#[derive(serde::Deserialize)]
struct Rig {
    camera: Vec<TwinCamera>,
}

/// The twin's calibration for its frames.
pub fn calibration() -> Calibration {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/twin-calibration.toml");
    Calibration::load(&path).expect("the twin's calibration is in the repository")
}

impl TwinViews {
    /// The rat of a seed; `None`, with a printed reason, without the body model.
    pub fn new(seed: u64) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mjcf = root.join(".deps/rat/rodent.xml");
        if !mjcf.is_file() {
            println!("skipped: {} is not there", mjcf.display());
            return None;
        }
        let text = std::fs::read_to_string(root.join("configs/twin-calibration.toml")).expect("a readable file");
        let rig: Rig = toml::from_str(&text).expect("cameras");
        let assets = RenderAssets::load(&mjcf, seed).expect("the body loads");
        let renderer = |(index, camera)| Renderer::new(camera, &assets, Look::default(), index as u64);
        let frame = |(index, camera): (usize, &TwinCamera)| {
            let (width_px, height_px) = (camera.width_px, camera.height_px);
            Frame::blank(CameraIndex(index as u8), FrameGeometry { width_px, height_px, format: PixelFormat::Mono8 })
        };
        Some(Self {
            renderers: rig.camera.iter().enumerate().map(renderer).collect(),
            frames: rig.camera.iter().enumerate().map(frame).collect(),
            world: World::new(seed, &mjcf).expect("the body loads"),
            scene: Scene::default(),
            assets,
        })
    }

    /// Draws the instant `at` into [`Self::frames`] and gives the keypoints' true places, metres.
    pub fn draw(&mut self, at: Span) -> [[f64; 3]; 23] {
        self.draw_others(at, &[])
    }

    /// As [`Self::draw`], leaving these cameras' frames as they are.
    pub fn draw_others(&mut self, at: Span, kept: &[usize]) -> [[f64; 3]; 23] {
        let truth = self.world.truth_at(at);
        self.assets.update(&mut self.scene, &truth.placement, self.renderers[0].look());
        for (index, (renderer, frame)) in self.renderers.iter_mut().zip(&mut self.frames).enumerate() {
            if kept.contains(&index) {
                continue;
            }
            renderer.render_scene(&self.scene, at.nanos() as u64, &mut frame.pixels);
        }
        truth.keypoints_m
    }
}
