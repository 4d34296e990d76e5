//! What there is to see and to feel: the rat's world, or a stand-in for it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use mimicd_device::Span;

use crate::SimError;
use crate::fault::Window;
use crate::pattern::Pattern;
use crate::rat::{Truth, World};
use crate::render::{self, Look, RenderAssets, Renderer, TwinCamera};

/// The right forepaw among the keypoints (`HandR`).
const RIGHT_FOREPAW: usize = 14;
/// Bent rats kept: one being bent while others are still being drawn from.
const STAGES: usize = 3;

/// What of the rat's movement the neurons listen to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MovementFeatures {
    /// Speed over the floor.
    pub speed_m_per_s: f64,
    /// Height of the snout.
    pub head_height_m: f64,
    /// Turning, left positive.
    pub heading_rate_rad_per_s: f64,
    /// Height of the right forepaw: rises once a stride.
    pub paw_height_m: f64,
}

impl MovementFeatures {
    /// The features `share` (0 to 1) of the way from `self` to `other`.
    pub(crate) fn toward(&self, other: &Self, share: f64) -> Self {
        let mix = |a: f64, b: f64| a + (b - a) * share;
        Self {
            speed_m_per_s: mix(self.speed_m_per_s, other.speed_m_per_s),
            head_height_m: mix(self.head_height_m, other.head_height_m),
            heading_rate_rad_per_s: mix(self.heading_rate_rad_per_s, other.heading_rate_rad_per_s),
            paw_height_m: mix(self.paw_height_m, other.paw_height_m),
        }
    }
}

/// The world of a twin.
pub(crate) enum Scene {
    /// No rat: the movement is a sum of sines.
    Pattern,
    /// The rat.
    Rat(Box<RatScene>),
}

impl Scene {
    /// The rat of the body file `mjcf`.
    pub(crate) fn rat(seed: u64, mjcf: &Path) -> Result<Self, SimError> {
        let world = World::new(seed, mjcf)?;
        let assets = RenderAssets::load(mjcf, seed)?;
        let stages = Mutex::new(Stages { newest: Span::from_nanos(i64::MIN), ring: Default::default(), next: 0 });
        Ok(Self::Rat(Box::new(RatScene { world, assets, look: Look::default(), stages })))
    }

    /// How the rat moves at `at`.
    pub(crate) fn features(&self, at: Span) -> MovementFeatures {
        match self {
            Self::Pattern => pattern_features(at),
            Self::Rat(rat) => {
                let truth = rat.world.truth_at(at);
                MovementFeatures {
                    speed_m_per_s: truth.movement.speed_m_per_s,
                    head_height_m: truth.snout_height_m(),
                    heading_rate_rad_per_s: truth.movement.heading_rate_rad_per_s,
                    paw_height_m: truth.keypoints_m[RIGHT_FOREPAW][2],
                }
            }
        }
    }

    /// Everything true about the rat at `at`; `None` if there is no rat.
    pub(crate) fn truth(&self, at: Span) -> Option<Truth> {
        match self {
            Self::Pattern => None,
            Self::Rat(rat) => Some(rat.world.truth_at(at)),
        }
    }
}

fn pattern_features(at: Span) -> MovementFeatures {
    let wave = |period_s: f64| (at.secs_f64() / period_s * core::f64::consts::TAU).sin();
    MovementFeatures {
        speed_m_per_s: 0.15 + 0.15 * wave(7.0),
        head_height_m: 0.06 + 0.04 * wave(11.0),
        heading_rate_rad_per_s: 1.5 * wave(5.0),
        paw_height_m: 0.01 + 0.008 * wave(0.4),
    }
}

/// The rat and what is needed to draw it.
pub(crate) struct RatScene {
    world: World,
    assets: RenderAssets,
    look: Look,
    stages: Mutex<Stages>,
}

/// Rats bent ready to be drawn. Bending the skin costs as much as drawing it, so the cameras of one trigger share it.
struct Stages {
    newest: Span,
    ring: [Arc<render::Scene>; STAGES],
    next: usize,
}

impl RatScene {
    /// The rat as it stands at `at`, bent by whoever asks first.
    fn stage(&self, at: Span) -> Arc<render::Scene> {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if stages.newest != at {
            stages.next = (stages.next + 1) % STAGES;
            let place = stages.next;
            let placement = self.world.truth_at(at).placement;
            // Someone who is slow may still draw from the old one; then it is left to them.
            self.assets.update(Arc::make_mut(&mut stages.ring[place]), &placement, &self.look);
            stages.newest = at;
        }
        Arc::clone(&stages.ring[stages.next])
    }
}

/// Paints one camera's images.
pub(crate) enum Painter {
    /// Test pictures.
    Pattern(Pattern),
    /// The rat.
    Rat {
        /// Always [`Scene::Rat`].
        scene: Arc<Scene>,
        /// The camera's own.
        renderer: Box<Renderer>,
        /// The camera as it was bumped, and while it is.
        moved: Vec<(Window, Renderer)>,
    },
}

/// What to paint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shot {
    /// Middle of the exposure. Equal for cameras whose exposures differ by microseconds, so that they share the bent rat.
    pub(crate) at: Span,
    /// Trigger index, for test pictures.
    pub(crate) number: u64,
    /// Seed of the image's noise.
    pub(crate) seed: u64,
}

impl Painter {
    /// `moved`: when the camera looks to the side, and how far (degrees); test pictures do not show it.
    pub(crate) fn new(scene: &Arc<Scene>, camera: &TwinCamera, index: u8, seed: u64, moved: &[(Window, f64)]) -> Self {
        match &**scene {
            Scene::Pattern => Self::Pattern(Pattern::new(camera.width_px as usize, index)),
            Scene::Rat(rat) => {
                let renderer = |camera: &TwinCamera| Renderer::new(camera, &rat.assets, rat.look.clone(), seed);
                let moved = moved.iter().map(|(window, deg)| (*window, renderer(&camera.turned(*deg)))).collect();
                Self::Rat { scene: Arc::clone(scene), renderer: Box::new(renderer(camera)), moved }
            }
        }
    }

    pub(crate) fn paint(&mut self, shot: Shot, pixels: &mut [u8]) {
        match self {
            Self::Pattern(pattern) => pattern.draw(shot.number as u32, pixels),
            Self::Rat { scene, renderer, moved } => {
                if let Scene::Rat(rat) = &**scene {
                    let bumped = moved.iter_mut().find(|(window, _)| window.holds(shot.at));
                    let renderer = bumped.map_or(&mut **renderer, |(_, renderer)| renderer);
                    renderer.render_scene(&rat.stage(shot.at), shot.seed, pixels);
                }
            }
        }
    }
}
