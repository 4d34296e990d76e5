//! Measures a pose model against rendered views with known truth.
//!
//! ```text
//! cargo run --release --example pose_report -- --views DIR [--model FILE] [--calibration FILE] [--sequence] [--drop N]
//!     [--unrefined] [--plot FILE.svg]
//! ```
//!
//! `DIR` is written by `training_views --crop 0` (whole views). Without `--sequence` every frame set stands alone: the
//! coarse finder finds the animal in each. `--drop N` leaves out N cameras, other ones in every frame set. `--unrefined`
//! leaves out the model's refiner. `--plot` draws the error against the confidence: a calibrated confidence makes both
//! lines fall.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use mimicd::geometry::Calibration;
use mimicd::pose::{PoseConfig, PoseStage, Provider};
use mimicd_device::{CameraIndex, Frame, FrameGeometry, PixelFormat};

struct Options {
    views: PathBuf,
    model: PathBuf,
    calibration: PathBuf,
    is_sequence: bool,
    is_refined: bool,
    drop: usize,
    plot: Option<PathBuf>,
}

/// A `.npy` file of bytes or single floats: its shape and the raw bytes of its data.
struct Npy {
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Npy {
    fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        ensure!(bytes.starts_with(b"\x93NUMPY"), "{}: not a .npy file", path.display());
        let header_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(&bytes[10..10 + header_len]).into_owned();
        let shape = header.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next()).context("no shape")?;
        let shape = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
        Ok(Self { shape, data: bytes[10 + header_len..].to_vec() })
    }

    fn floats(&self) -> Vec<f32> {
        self.data.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
    }
}

/// One keypoint's outcome.
#[derive(Clone, Copy)]
struct Outcome {
    keypoint: usize,
    confidence: f32,
    error_mm: f64,
}

fn main() -> Result<()> {
    let options = parse()?;
    let images = Npy::read(&options.views.join("images.npy"))?;
    let truth = Npy::read(&options.views.join("keypoints_3d.npy"))?.floats();
    let &[frames, cameras, height, width] = images.shape.as_slice() else { bail!("images: {:?}", images.shape) };
    let calibration = Calibration::load(&options.calibration)?;
    let names: Vec<(String, u32, u32)> =
        calibration.cameras.iter().map(|c| (c.name.clone(), width as u32, height as u32)).collect();
    let calibration = calibration.for_frames(names.iter().map(|(name, w, h)| (name.as_str(), *w, *h)))?;
    let config = PoseConfig {
        provider: Provider::Cpu,
        refine: options.is_refined,
        ..PoseConfig::with_model(options.model.clone())
    };
    let mut stage = PoseStage::load(&config, &calibration)?;
    stage.set_clock(mimicd::clock::host_now);
    let mut estimate = stage.blank();
    let geometry = FrameGeometry { width_px: width as u32, height_px: height as u32, format: PixelFormat::Mono8 };
    let mut views: Vec<Frame> = (0..cameras).map(|c| Frame::blank(CameraIndex(c as u8), geometry)).collect();
    let (mut outcomes, mut missing, mut inference_ms, mut overhead_ms) = (Vec::new(), 0, Vec::new(), Vec::new());
    for frame in 0..frames {
        for (camera, view) in views.iter_mut().enumerate() {
            let start = (frame * cameras + camera) * width * height;
            view.pixels.copy_from_slice(&images.data[start..start + width * height]);
        }
        let dropped = |camera: usize| (0..options.drop).any(|k| (frame + k * 2) % cameras == camera);
        let set: Vec<Option<&Frame>> = views.iter().enumerate().map(|(c, v)| (!dropped(c)).then_some(v)).collect();
        if !options.is_sequence {
            stage.reset();
        }
        let started = Instant::now();
        stage.estimate(&set, &mut estimate);
        let all_ms = started.elapsed().as_secs_f64() * 1e3;
        inference_ms.push(estimate.inference.millis_f64());
        overhead_ms.push(all_ms - estimate.inference.millis_f64());
        for (index, keypoint) in estimate.keypoints.iter().enumerate() {
            let at = (frame * estimate.keypoints.len() + index) * 3;
            let error_m = (0..3).map(|i| (keypoint.xyz_m[i] - f64::from(truth[at + i])).powi(2)).sum::<f64>().sqrt();
            if keypoint.confidence > 0.0 {
                outcomes.push(Outcome { keypoint: index, confidence: keypoint.confidence, error_mm: error_m * 1e3 });
            } else {
                missing += 1;
            }
        }
    }
    report(&stage, &outcomes, missing, frames);
    if let Some(path) = &options.plot {
        plot(path, &mut outcomes)?;
    }
    println!(
        "time per frame set: inference p50 {:.2} ms, everything else p50 {:.2} ms p99 {:.2} ms",
        quantile(&mut inference_ms, 0.5),
        quantile(&mut overhead_ms, 0.5),
        quantile(&mut overhead_ms, 0.99)
    );
    Ok(())
}

fn report(stage: &PoseStage, outcomes: &[Outcome], missing: usize, frames: usize) {
    let mut errors: Vec<f64> = outcomes.iter().map(|o| o.error_mm).collect();
    if errors.is_empty() {
        println!("{frames} frame sets: nothing was found");
        return;
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    println!(
        "{frames} frame sets: error mean {mean:.2} mm, median {:.2}, p95 {:.2}, max {:.1}; {missing} of {} keypoints missing",
        quantile(&mut errors, 0.5),
        quantile(&mut errors, 0.95),
        quantile(&mut errors, 1.0),
        missing + outcomes.len()
    );
    println!("confidence   keypoints   error mm median     p95");
    for tenth in 0..10 {
        let (low, high) = (0.1 * tenth as f32, 0.1 * (tenth + 1) as f32);
        let mut band: Vec<f64> =
            outcomes.iter().filter(|o| o.confidence > low && o.confidence <= high).map(|o| o.error_mm).collect();
        if band.len() >= 5 {
            let count = band.len();
            let (median, p95) = (quantile(&mut band, 0.5), quantile(&mut band, 0.95));
            println!("{low:.1} to {high:.1}   {count:9}   {median:15.2}   {p95:6.2}");
        }
    }
    print!("median mm by keypoint:");
    for (index, name) in stage.keypoint_names().iter().enumerate() {
        let mut own: Vec<f64> = outcomes.iter().filter(|o| o.keypoint == index).map(|o| o.error_mm).collect();
        if !own.is_empty() {
            print!(" {name} {:.1}", quantile(&mut own, 0.5));
        }
    }
    println!();
}

/// Draws median and 95th percentile of the error of twenty equal shares of the keypoints, ordered by confidence.
fn plot(path: &Path, outcomes: &mut [Outcome]) -> Result<()> {
    use plotters::prelude::*;

    const SHARES: usize = 20;
    ensure!(outcomes.len() >= SHARES * 5, "{} keypoints: too few to draw", outcomes.len());
    outcomes.sort_by(|a, b| a.confidence.total_cmp(&b.confidence));
    let share = |group: &[Outcome]| {
        let mut errors: Vec<f64> = group.iter().map(|o| o.error_mm).collect();
        let confidence = f64::from(group.iter().map(|o| o.confidence).sum::<f32>() / group.len() as f32);
        (confidence, quantile(&mut errors, 0.5), quantile(&mut errors, 0.95))
    };
    let rows: Vec<(f64, f64, f64)> = outcomes.chunks(outcomes.len().div_ceil(SHARES)).map(share).collect();
    let top = rows.iter().map(|row| row.2).fold(1.0, f64::max) * 1.1;
    let area = SVGBackend::new(path, (720, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Keypoint error against confidence, unseen seeds", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..1.0, 0.0..top)?;
    chart.configure_mesh().x_desc("confidence").y_desc("error, mm").draw()?;
    for (name, colour, pick) in [
        ("median", BLUE, (|row: &(f64, f64, f64)| row.1) as fn(&(f64, f64, f64)) -> f64),
        ("95th percentile", RED, |row| row.2),
    ] {
        chart
            .draw_series(
                LineSeries::new(rows.iter().map(|row| (row.0, pick(row))), colour.stroke_width(2)).point_size(3),
            )?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    area.present()?;
    Ok(())
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q) as usize]
}

fn parse() -> Result<Options> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut options = Options {
        views: PathBuf::new(),
        model: root.join("models/pose-twin/pose-twin.toml"),
        calibration: root.join("configs/twin-calibration.toml"),
        is_sequence: false,
        is_refined: true,
        drop: 0,
        plot: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        if flag == "--sequence" {
            options.is_sequence = true;
            continue;
        }
        if flag == "--unrefined" {
            options.is_refined = false;
            continue;
        }
        let value = words.next().with_context(|| format!("{flag}: expected a value"))?;
        match flag.as_str() {
            "--views" => options.views = value.into(),
            "--model" => options.model = value.into(),
            "--calibration" => options.calibration = value.into(),
            "--drop" => options.drop = value.parse().with_context(|| format!("{flag} {value}"))?,
            "--plot" => options.plot = Some(value.into()),
            _ => bail!("unknown option {flag}"),
        }
    }
    ensure!(options.views.is_dir(), "--views {}: no such folder", options.views.display());
    Ok(options)
}
