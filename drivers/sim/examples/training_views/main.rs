//! Writes rendered views of the twin's rat with their truth, to train and test pose networks on.
//!
//! ```text
//! cargo run --release -p mimicd-sim --example training_views -- --out DIR [--frames 500] [--seed 1] [--randomise]
//!     [--qpos FILE.npy] [--crop 256] [--per-look 40] [--spread 1.0] [--step-ms 20] [--calibration FILE.toml] [--mjcf FILE.xml] [--png 12]
//! ```
//!
//! N frames, C cameras in the order of the calibration. All arrays are `.npy` (C order), rows are frames:
//!
//! | file | type, shape | what |
//! |---|---|---|
//! | `images.npy` | u8 (N, C, S, S), or (N, C, H, W) with `--crop 0` | grey pictures; a crop is cut at full resolution, black outside the image |
//! | `origins.npy` | i32 (N, C, 2) | column and row of the image at the crop's top left pixel: `image px = crop px + origin` |
//! | `keypoints_2d.npy` | f32 (N, C, 23, 2) | exact projections, image px (pixel (0, 0) is the centre of the first pixel); NaN behind the camera |
//! | `visible.npy` | u8 (N, C, 23) | 2 seen, 1 inside the image but hidden by the rat or an occluder, 0 outside the image |
//! | `keypoints_3d.npy` | f32 (N, 23, 3) | world, m |
//! | `qpos.npy` | f32 (N, 74) | the pose itself |
//! | `meta.json` | | keypoint names, cameras (k, distortion, rotation, translation_m), seed, options |
//!
//! `--qpos` takes (n, 74) `<f4` or `<f8` coordinates, root on `walker`; poses are drawn from its rows at random and varied
//! (any place, any yaw, shaken hinges). `--spread 0` renders the rows as they are, in order, where they are. Without it
//! poses come from the twin's own rat (with `--spread 0`: its movement, a frame each `--step-ms`, 20 unless told; else a
//! pose each 90 ms, varied). `--randomise` varies light, coat, floor, noise, blur and occluders.

mod npy;
mod poses;

use std::fs;
use std::io::{self, Error, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mimicd_device::Span;
use mimicd_sim::rat::{Keypoints, QPOS, Skeleton, Tail, World};
use mimicd_sim::render::{FloorTexture, Look, RenderAssets, Renderer, Scene, TwinCamera};
use poses::Spread;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How far behind the drawn skin a keypoint may lie and still count as seen: joints lie inside the body.
const FLESH_M: f64 = 0.018;
const FLOORS: u64 = 6;

struct Options {
    out: PathBuf,
    frames: usize,
    seed: u64,
    is_randomised: bool,
    qpos: Option<PathBuf>,
    crop_px: usize,
    per_look: usize,
    spread: f64,
    step_ms: Option<i64>,
    calibration: PathBuf,
    mjcf: PathBuf,
    sheets: usize,
}

#[derive(serde::Deserialize)]
struct Rig {
    camera: Vec<TwinCamera>,
}

fn main() -> io::Result<()> {
    let options = parse(std::env::args().skip(1))?;
    let text = fs::read_to_string(&options.calibration)?;
    let rig: Rig = toml::from_str(&text).map_err(Error::other)?;
    let skeleton = Skeleton::load(&options.mjcf).map_err(Error::other)?;
    let poses = draw_poses(&options, &skeleton)?;
    fs::create_dir_all(&options.out)?;
    write_meta(&options, &text)?;
    let started = std::time::Instant::now();
    render_all(&options, &rig.camera, &skeleton, &poses)?;
    let views = poses.len() * rig.camera.len();
    println!("{views} views in {:.1} s -> {}", started.elapsed().as_secs_f64(), options.out.display());
    Ok(())
}

fn parse(mut words: impl Iterator<Item = String>) -> io::Result<Options> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut options = Options {
        out: PathBuf::new(),
        frames: 500,
        seed: 1,
        is_randomised: false,
        qpos: None,
        crop_px: 256,
        per_look: 40,
        spread: 1.0,
        step_ms: None,
        calibration: root.join("configs/twin-calibration.toml"),
        mjcf: root.join(".deps/rat/rodent.xml"),
        sheets: 0,
    };
    while let Some(flag) = words.next() {
        if flag == "--randomise" {
            options.is_randomised = true;
            continue;
        }
        let value = words.next().ok_or_else(|| Error::other(format!("{flag}: expected a value")))?;
        let number = || value.parse::<f64>().map_err(|error| Error::other(format!("{flag} {value}: {error}")));
        match flag.as_str() {
            "--out" => options.out = value.into(),
            "--frames" => options.frames = number()? as usize,
            "--seed" => options.seed = number()? as u64,
            "--qpos" => options.qpos = Some(value.into()),
            "--crop" => options.crop_px = number()? as usize,
            "--per-look" => options.per_look = (number()? as usize).max(1),
            "--spread" => options.spread = number()?,
            "--step-ms" => options.step_ms = Some(number()? as i64),
            "--calibration" => options.calibration = value.into(),
            "--mjcf" => options.mjcf = value.into(),
            "--png" => options.sheets = number()? as usize,
            _ => return Err(Error::other(format!("unknown option {flag}"))),
        }
    }
    if options.out.as_os_str().is_empty() {
        return Err(Error::other("--out DIR is needed"));
    }
    Ok(options)
}

fn draw_poses(options: &Options, skeleton: &Skeleton) -> io::Result<Vec<[f64; QPOS]>> {
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let base: Vec<[f64; QPOS]> = match &options.qpos {
        Some(path) => npy::read_rows(path, QPOS)?.iter().map(|row| std::array::from_fn(|k| row[k])).collect(),
        None => {
            let world = World::new(options.seed, &options.mjcf).map_err(Error::other)?;
            let step = Span::from_millis(options.step_ms.unwrap_or(if options.spread == 0.0 { 20 } else { 90 }));
            (0..options.frames as i64).map(|k| world.movement_at(Span::from_nanos(k * step.nanos())).qpos).collect()
        }
    };
    if options.spread == 0.0 {
        return Ok(base.into_iter().take(options.frames).collect());
    }
    let spread = Spread { hinge_rad: 0.18 * options.spread, tilt_rad: 0.12 * options.spread, radius_m: 0.42 };
    let tail = Tail::new(skeleton).map_err(Error::other)?;
    let pick = |_| poses::vary(skeleton, &tail, &base[random.random_range(0..base.len())], spread, &mut random);
    Ok((0..options.frames).map(pick).collect())
}

fn write_meta(options: &Options, calibration: &str) -> io::Result<()> {
    let cameras: serde_json::Value = toml::from_str(calibration).map_err(Error::other)?;
    let meta = serde_json::json!({
        "keypoints": mimicd_rat::RAT23,
        "camera": cameras["camera"],
        "seed": options.seed,
        "randomised": options.is_randomised,
        "crop_px": options.crop_px,
        "spread": options.spread,
    });
    fs::write(options.out.join("meta.json"), serde_json::to_vec_pretty(&meta).map_err(Error::other)?)
}

struct Arrays {
    images: npy::Writer,
    origins: npy::Writer,
    points: npy::Writer,
    visible: npy::Writer,
    world: npy::Writer,
    qpos: npy::Writer,
}

impl Arrays {
    fn create(options: &Options, cameras: &[TwinCamera], frames: usize) -> io::Result<Self> {
        let (n, c) = (frames, cameras.len());
        let [height, width] = match options.crop_px {
            0 => [cameras[0].height_px as usize, cameras[0].width_px as usize],
            side => [side, side],
        };
        let create = |name: &str, kind, shape: &[usize]| npy::Writer::create(&options.out.join(name), kind, shape);
        Ok(Self {
            images: create("images.npy", "|u1", &[n, c, height, width])?,
            origins: create("origins.npy", "<i4", &[n, c, 2])?,
            points: create("keypoints_2d.npy", "<f4", &[n, c, 23, 2])?,
            visible: create("visible.npy", "|u1", &[n, c, 23])?,
            world: create("keypoints_3d.npy", "<f4", &[n, 23, 3])?,
            qpos: create("qpos.npy", "<f4", &[n, QPOS])?,
        })
    }

    fn finish(self) -> io::Result<()> {
        [self.images, self.origins, self.points, self.visible, self.world, self.qpos]
            .into_iter()
            .try_for_each(npy::Writer::finish)
    }
}

/// The renderers of one look, one per camera.
fn dress(options: &Options, cameras: &[TwinCamera], assets: &[RenderAssets], look_index: u64) -> Vec<Renderer> {
    let key = options.seed.wrapping_mul(1_000_003).wrapping_add(look_index);
    let shared = Look::randomised(key, 640, 400);
    let dressed = cameras.iter().enumerate().map(|(index, camera)| {
        let seed = key ^ ((index as u64 + 1) << 40);
        if !options.is_randomised {
            return Renderer::new(camera, &assets[0], Look::default(), seed);
        }
        let own = Look::randomised(seed, camera.width_px, camera.height_px);
        Renderer::new(camera, &assets[(look_index % FLOORS) as usize], shared.through(own), seed)
    });
    dressed.collect()
}

fn render_all(options: &Options, cameras: &[TwinCamera], skeleton: &Skeleton, poses: &[[f64; QPOS]]) -> io::Result<()> {
    let keypoints = Keypoints::new(skeleton).map_err(Error::other)?;
    let plain = RenderAssets::load(&options.mjcf, options.seed).map_err(Error::other)?;
    let floors = if options.is_randomised { FLOORS } else { 1 };
    let assets: Vec<RenderAssets> =
        (0..floors).map(|k| plain.with_floor(Arc::new(FloorTexture::new(options.seed ^ (k << 20))))).collect();
    let mut arrays = Arrays::create(options, cameras, poses.len())?;
    let mut random = ChaCha8Rng::seed_from_u64(options.seed ^ 0xc0);
    let mut renderers = Vec::new();
    let mut scene = Scene::default();
    let mut image = vec![0; (cameras[0].width_px * cameras[0].height_px) as usize];
    for (frame, pose) in poses.iter().enumerate() {
        if frame % options.per_look == 0 && (options.is_randomised || frame == 0) {
            renderers = dress(options, cameras, &assets, (frame / options.per_look) as u64);
        }
        let placement = skeleton.place(pose);
        let world = keypoints.place(&placement);
        assets[0].update(&mut scene, &placement, renderers[0].look());
        for (index, renderer) in renderers.iter_mut().enumerate() {
            let frame_seed = options.seed ^ ((frame * cameras.len() + index) as u64) << 8;
            renderer.render_scene(&scene, frame_seed, &mut image);
            write_view(options, renderer, &world, &image, &mut random, &mut arrays)?;
            if frame < options.sheets {
                write_png(
                    &options.out.join(format!("f{frame:03}_{}.png", renderer.camera().name)),
                    renderer.camera(),
                    &image,
                )?;
            }
        }
        arrays.world.floats(world.into_iter().flatten())?;
        arrays.qpos.floats(pose.iter().copied())?;
    }
    arrays.finish()
}

fn write_view(
    options: &Options,
    renderer: &Renderer,
    world: &[[f64; 3]; 23],
    image: &[u8],
    random: &mut ChaCha8Rng,
    arrays: &mut Arrays,
) -> io::Result<()> {
    let camera = renderer.camera();
    let [width, height] = [camera.width_px as i32, camera.height_px as i32];
    let mut middle = [0.0; 2];
    for point in world {
        let pixel = camera.project(*point);
        let at = pixel.unwrap_or([f64::NAN; 2]);
        arrays.points.floats(at)?;
        let is_inside = (0..2).all(|k| at[k] >= -0.5 && at[k] < f64::from([width, height][k]) - 0.5);
        let seen = if is_inside { 1 + u8::from(renderer.is_visible(*point, FLESH_M)) } else { 0 };
        arrays.visible.bytes(&[seen])?;
        let limits = [f64::from(width), f64::from(height)];
        (0..2).for_each(|k| middle[k] += if at[k].is_nan() { 0.5 } else { at[k].clamp(0.0, limits[k]) / 23.0 });
    }
    if options.crop_px == 0 {
        arrays.origins.ints([0, 0])?;
        return arrays.images.bytes(image);
    }
    let side = options.crop_px as i32;
    let jitter = f64::from(side) * 0.07;
    let origin: [i32; 2] =
        std::array::from_fn(|k| (middle[k] + jitter * (2.0 * random.random::<f64>() - 1.0)) as i32 - side / 2);
    arrays.origins.ints(origin)?;
    let mut line = vec![0u8; options.crop_px];
    for row in origin[1]..origin[1] + side {
        line.fill(0);
        if (0..height).contains(&row) {
            let first = origin[0].clamp(0, width);
            let last = (origin[0] + side).clamp(0, width);
            let source = &image[(row * width + first) as usize..(row * width + last) as usize];
            line[(first - origin[0]).min(side) as usize..][..source.len()].copy_from_slice(source);
        }
        arrays.images.bytes(&line)?;
    }
    Ok(())
}

fn write_png(path: &Path, camera: &TwinCamera, image: &[u8]) -> io::Result<()> {
    let mut file = io::BufWriter::new(fs::File::create(path)?);
    let mut encoder = png::Encoder::new(&mut file, camera.width_px, camera.height_px);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().map_err(Error::other)?;
    writer.write_image_data(image).map_err(Error::other)?;
    writer.finish().map_err(Error::other)?;
    file.flush()
}
