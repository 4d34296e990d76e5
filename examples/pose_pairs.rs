//! Writes what the pose stage says of the twin beside the truth, to train a refiner on (`training/pose/refine.py`).
//!
//! ```text
//! cargo run --release --example pose_pairs -- --out DIR --first-seed N --seeds N [--frames 100] [--step-ms 470]
//!     [--randomise] [--scale 1.0] [--model FILE]
//! ```
//!
//! One file of f32 for each seed, `<seed>.f32`, written when whole (a seed whose file is there is left out, so an
//! interrupted run goes on). Every frame set gives five rows: found anew by the coarse network, with no camera, one and
//! two left out, then followed, with none and two left out (a volumetric model looks again without them). A row is `points` (K x 4), `views` (C x K x 7) as
//! `mimicd::pose::Egocentric` has them, the truth in the same frame (K x 3, mm), the number of cameras left out, and 1
//! when followed. `--scale` makes the rat (and its arena) this much larger; `--randomise` varies light, coat, noise and
//! occluders by seed.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use mimicd::geometry::Calibration;
use mimicd::pose::{Egocentric, ModelKind, POINT_ROW, PoseConfig, PoseEstimate, PoseStage, VIEW_ROW};
use mimicd_device::{CameraIndex, Frame, FrameGeometry, PixelFormat, Span};
use mimicd_sim::rat::World;
use mimicd_sim::render::{Look, RenderAssets, Renderer, Scene, TwinCamera};
use nalgebra::Vector3;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

struct Options {
    out: PathBuf,
    first_seed: u64,
    seeds: u64,
    frames: usize,
    step: Span,
    is_randomised: bool,
    scale: f64,
    model: PathBuf,
}

#[derive(serde::Deserialize)]
struct Rig {
    camera: Vec<TwinCamera>,
}

/// The keypoints of a body axis: from rear to front.
const AXIS: [&str; 2] = ["TailBase", "SpineF"];

fn main() -> Result<()> {
    let options = parse()?;
    std::fs::create_dir_all(&options.out)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let calibration_path = root.join("configs/twin-calibration.toml");
    let calibration = Calibration::load(&calibration_path)?;
    let rig: Rig = toml::from_str(&std::fs::read_to_string(&calibration_path)?)?;
    let config = PoseConfig { refine: false, ..PoseConfig::with_model(options.model.clone()) };
    let mut stage = PoseStage::load(&config, &calibration)?;
    for seed in options.first_seed..options.first_seed + options.seeds {
        let path = options.out.join(format!("{seed}.f32"));
        if path.is_file() {
            continue;
        }
        let started = std::time::Instant::now();
        let rows = one_seed(&options, &rig.camera, &mut stage, seed)?;
        let mut file = tempfile::NamedTempFile::new_in(&options.out)?;
        for value in &rows {
            file.write_all(&value.to_le_bytes())?;
        }
        file.persist(&path)?;
        println!("seed {seed}: {} frame sets in {:.0} s", options.frames, started.elapsed().as_secs_f64());
    }
    Ok(())
}

fn one_seed(options: &Options, cameras: &[TwinCamera], stage: &mut PoseStage, seed: u64) -> Result<Vec<f32>> {
    let mjcf = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/rat/rodent.xml");
    let world = World::new(seed, &mjcf).map_err(|e| anyhow!("{e}"))?;
    let assets = RenderAssets::load(&mjcf, seed).map_err(|e| anyhow!("{e}"))?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut renderers = renderers(options, cameras, &assets, seed);
    let frame = |(index, camera): (usize, &TwinCamera)| {
        let (width_px, height_px) = (camera.width_px, camera.height_px);
        Frame::blank(CameraIndex(index as u8), FrameGeometry { width_px, height_px, format: PixelFormat::Mono8 })
    };
    let mut frames: Vec<Frame> = cameras.iter().enumerate().map(frame).collect();
    let mut scene = Scene::default();
    let mut out = stage.blank();
    let mut rows = Vec::new();
    for index in 0..options.frames {
        let at = Span::from_nanos(options.step.nanos() * index as i64);
        let truth = world.truth_at(at);
        assets.update(&mut scene, &truth.placement, renderers[0].look());
        for (renderer, frame) in renderers.iter_mut().zip(&mut frames) {
            renderer.render_scene(&scene, at.nanos() as u64, &mut frame.pixels);
        }
        let truth_m = truth.keypoints_m.map(|place| Vector3::from(place) * options.scale);
        let views: Vec<Option<&Frame>> = frames.iter().map(Some).collect();
        for (is_followed, losses) in [(false, &[0, 1, 2][..]), (true, &[0, 2])] {
            stage.reset();
            if is_followed {
                stage.estimate(&views, &mut out);
            }
            stage.estimate(&views, &mut out);
            for &lost in losses {
                let mut without = out.clone();
                lose(stage, &views, lost, is_followed, &mut random, &mut without);
                write_row(stage, &without, &truth_m, lost, is_followed, &mut rows)?;
            }
        }
    }
    Ok(rows)
}

/// A camera for each view of a rat of the scale asked for: the rat keeps its size and the cameras come nearer.
fn renderers(options: &Options, cameras: &[TwinCamera], assets: &RenderAssets, seed: u64) -> Vec<Renderer> {
    let shared = Look::randomised(seed, 640, 400);
    let renderer = |(index, camera): (usize, &TwinCamera)| {
        let mut camera = camera.clone();
        camera.translation_m = camera.translation_m.map(|v| v / options.scale);
        let own_seed = seed ^ (index as u64 + 1) << 40;
        if !options.is_randomised {
            return Renderer::new(&camera, assets, Look::default(), own_seed);
        }
        let own = Look::randomised(own_seed, camera.width_px, camera.height_px);
        Renderer::new(&camera, assets, shared.through(own), own_seed)
    };
    cameras.iter().enumerate().map(renderer).collect()
}

/// Makes the pose anew without `lost` of the cameras that have a view of the animal.
fn lose(
    stage: &mut PoseStage,
    views: &[Option<&Frame>],
    lost: usize,
    is_followed: bool,
    random: &mut ChaCha8Rng,
    out: &mut PoseEstimate,
) {
    if lost == 0 {
        return;
    }
    let mut views = views.to_vec();
    let mut left = 0;
    while left < lost && out.views.iter().any(|view| view.crop.width_px > 0.0) {
        let camera = random.random_range(0..views.len());
        let view = &mut out.views[camera];
        left += usize::from(view.crop.width_px > 0.0);
        view.crop.width_px = 0.0;
        view.keypoints_px.fill([0.0; 3]);
        views[camera] = None;
    }
    if stage.manifest().kind == ModelKind::Multiview {
        stage.triangulate_again(out);
        return;
    }
    if !is_followed {
        stage.reset();
    }
    stage.estimate(&views, out);
}

fn write_row(
    stage: &PoseStage,
    out: &PoseEstimate,
    truth_m: &[Vector3<f64>],
    lost: usize,
    is_followed: bool,
    rows: &mut Vec<f32>,
) -> Result<()> {
    let cameras = stage.cameras().len();
    let place = |name: &str| stage.keypoint_names().iter().position(|own| own == name).context(name.to_owned());
    let [rear, front] = [place(AXIS[0])?, place(AXIS[1])?];
    let Some(frame) = Egocentric::of(&out.keypoints[rear], &out.keypoints[front]) else { return Ok(()) };
    let keypoints = out.keypoints.len();
    let start = rows.len();
    let middle = start + keypoints * POINT_ROW;
    rows.resize(middle + cameras * keypoints * VIEW_ROW, 0.0);
    let (points, views) = rows[start..].split_at_mut(middle - start);
    frame.describe(stage.cameras(), out, points, views);
    rows.extend(truth_m.iter().flat_map(|place| frame.place_mm(place).iter().map(|&v| v as f32).collect::<Vec<_>>()));
    rows.extend([lost as f32, f32::from(u8::from(is_followed))]);
    Ok(())
}

fn parse() -> Result<Options> {
    let mut options = Options {
        out: PathBuf::new(),
        first_seed: 0,
        seeds: 1,
        frames: 100,
        step: Span::from_millis(470),
        is_randomised: false,
        scale: 1.0,
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pose-twin/pose-twin.toml"),
    };
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        if flag == "--randomise" {
            options.is_randomised = true;
            continue;
        }
        let value = words.next().with_context(|| format!("{flag}: expected a value"))?;
        let wrong = || format!("{flag} {value}: expected a number");
        match flag.as_str() {
            "--out" => options.out = value.into(),
            "--first-seed" => options.first_seed = value.parse().with_context(wrong)?,
            "--seeds" => options.seeds = value.parse().with_context(wrong)?,
            "--frames" => options.frames = value.parse().with_context(wrong)?,
            "--step-ms" => options.step = Span::from_millis(value.parse().with_context(wrong)?),
            "--scale" => options.scale = value.parse().with_context(wrong)?,
            "--model" => options.model = value.into(),
            _ => bail!("unknown option {flag}"),
        }
    }
    ensure!(!options.out.as_os_str().is_empty(), "--out DIR is needed");
    ensure!(options.scale > 0.0, "--scale {}: expected a positive number", options.scale);
    Ok(options)
}
