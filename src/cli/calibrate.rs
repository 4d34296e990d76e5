//! `mimicd calibrate`: lenses and poses of a rig's cameras from videos of a board, or from points found elsewhere.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::ProgressBar;
use mimicd_device::{CameraIndex, Frame};
use mimicd_hw::video::VideoFile;

use crate::calibrate::{
    Board, BoardFinder, BoardViews, CalibrateError, Report, SolveOptions, View, ViewCamera, World, solve,
};
use crate::config::RecordConfig;
use crate::geometry::{Calibration, VIEWS_MAX};

/// Frames without the board, those with most crossings, that are kept to find out what they show instead.
const KEPT_FOR_A_HINT: usize = 6;

/// Subcommands of `mimicd calibrate`.
#[derive(Debug, Subcommand)]
pub(super) enum CalibrateCommand {
    /// From one video of the board for each camera, all of the same frames.
    Video(VideoArgs),
    /// From points that another detector found: CSV with `camera,frame,point,x_px,y_px`.
    Points(PointArgs),
    /// Write the board as an SVG in its true size, to be printed.
    Board(BoardFileArgs),
}

/// The board.
#[derive(Debug, Args)]
struct BoardArgs {
    /// Squares: columns x rows, such as 8x6.
    #[arg(long, value_parser = pair)]
    squares: (u32, u32),
    /// Side of a square as measured on the print, millimetres.
    #[arg(long)]
    square_mm: f64,
    /// Side of a marker with its black border, millimetres.
    #[arg(long)]
    marker_mm: f64,
    /// OpenCV's name of the markers' dictionary.
    #[arg(long, default_value = "DICT_4X4_50")]
    dictionary: String,
    /// The print is of an OpenCV before 4.6, or of a later one with `setLegacyPattern(true)`.
    #[arg(long)]
    legacy_pattern: bool,
}

/// How to solve, and where to write.
#[derive(Debug, Args)]
struct SolveArgs {
    /// Calibration to write; `rig.calibration` of a config names it.
    #[arg(long, short)]
    out: PathBuf,
    /// Plot of every camera's errors (default: beside the calibration, `.svg`).
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Which lens is solved for.
    #[arg(long, value_enum, default_value_t = Lens::Full)]
    lens: Lens,
    /// Frame in which the board lies where the world's origin is to be (default: the first that most cameras see).
    #[arg(long, conflicts_with = "keep_world")]
    world_frame: Option<u64>,
    /// Height of the printed face above the floor in that frame, millimetres.
    #[arg(long, default_value_t = 0.0, conflicts_with = "keep_world")]
    board_height_mm: f64,
    /// Older calibration whose world is kept; says which cameras moved since.
    #[arg(long)]
    keep_world: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Numbers of a lens that are solved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Lens {
    /// k1, k2, p1, p2, k3.
    Full,
    /// k1 and k2: for lenses of long focal length, or few views.
    Radial,
}

/// Arguments of `mimicd calibrate video`.
#[derive(Debug, Args)]
pub(super) struct VideoArgs {
    /// Cameras, each as NAME=FILE; names as in the config.
    #[arg(required = true, value_name = "NAME=FILE")]
    cameras: Vec<String>,
    #[command(flatten)]
    board: BoardArgs,
    /// Look for the board in every so many frames.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Frames at most.
    #[arg(long, default_value_t = u64::MAX)]
    frames: u64,
    /// Write the corners that were found, as `mimicd calibrate points` reads them.
    #[arg(long)]
    points: Option<PathBuf>,
    #[command(flatten)]
    solve: SolveArgs,
}

/// Arguments of `mimicd calibrate points`.
#[derive(Debug, Args)]
pub(super) struct PointArgs {
    /// The points.
    file: PathBuf,
    /// Image size, such as 1920x1200, of all cameras or as NAME=1920x1200 of one.
    #[arg(long, required = true, value_name = "[NAME=]WxH")]
    frame_px: Vec<String>,
    #[command(flatten)]
    board: BoardArgs,
    #[command(flatten)]
    solve: SolveArgs,
}

/// Arguments of `mimicd calibrate board`.
#[derive(Debug, Args)]
pub(super) struct BoardFileArgs {
    #[command(flatten)]
    board: BoardArgs,
    /// File to write.
    #[arg(long, short)]
    out: PathBuf,
}

fn pair(text: &str) -> Result<(u32, u32), String> {
    let parts = text.split_once('x').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parts.ok_or_else(|| format!("{text:?}, expected two whole numbers such as 8x6"))
}

impl BoardArgs {
    fn board(&self) -> Result<Board> {
        let (columns, rows) = self.squares;
        let board = Board::new(columns, rows, self.square_mm * 1e-3, self.marker_mm * 1e-3, &self.dictionary)?;
        Ok(if self.legacy_pattern { board.legacy()? } else { board })
    }
}

/// Runs the command.
pub(super) fn run(command: &CalibrateCommand) -> Result<ExitCode> {
    match command {
        CalibrateCommand::Video(options) => {
            let board = options.board.board()?;
            let views = look(options, &board)?;
            if let Some(points) = &options.points {
                views.save(points)?;
            }
            finish(&views, &board, &options.solve)
        }
        CalibrateCommand::Points(options) => {
            let board = options.board.board()?;
            let sizes = sizes(&options.frame_px)?;
            let size_of = |name: &str| {
                let own = sizes.iter().find(|(camera, _)| camera.as_deref() == Some(name));
                own.or_else(|| sizes.iter().find(|(camera, _)| camera.is_none())).map(|(_, size)| *size)
            };
            let views = BoardViews::load(&options.file, &board, size_of)?;
            finish(&views, &board, &options.solve)
        }
        CalibrateCommand::Board(options) => {
            let board = options.board.board()?;
            std::fs::write(&options.out, board.to_svg())
                .with_context(|| format!("{}: cannot be written", options.out.display()))?;
            println!("wrote {}: {board}; print it at 100 % and measure a square", options.out.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Image size of a camera; of all for `None`.
type SizeOf = (Option<String>, (u32, u32));

/// What each `[NAME=]WxH` says.
fn sizes(texts: &[String]) -> Result<Vec<SizeOf>> {
    let one = |text: &String| {
        let (name, size) = match text.split_once('=') {
            Some((name, size)) => (Some(name.to_owned()), size),
            None => (None, text.as_str()),
        };
        let size = pair(size).map_err(|error| anyhow::anyhow!("--frame-px {error}"))?;
        Ok((name, size))
    };
    texts.iter().map(one).collect()
}

/// Solves, writes, prints.
fn finish(views: &BoardViews, board: &Board, options: &SolveArgs) -> Result<ExitCode> {
    if !(2..=VIEWS_MAX).contains(&views.cameras.len()) {
        bail!("{} cameras, expected 2 to {VIEWS_MAX}", views.cameras.len());
    }
    let world = match &options.keep_world {
        Some(file) => World::Keep(Calibration::load(file)?),
        None => World::Board { frame: options.world_frame, height_m: options.board_height_mm * 1e-3 },
    };
    let mut solution = solve(views, board, &SolveOptions { full_lens: options.lens == Lens::Full })?;
    let placed = world.place(&mut solution, board)?;
    let report = Report::new(&solution, views, board, placed);
    solution.calibration().save(&options.out)?;
    let plot = options.plot.clone().unwrap_or_else(|| options.out.with_extension("svg"));
    std::fs::write(&plot, report.plot(&solution)).with_context(|| format!("{}: cannot be written", plot.display()))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
        println!("  wrote         {} and {}", options.out.display(), plot.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks for the board in all videos.
fn look(options: &VideoArgs, board: &Board) -> Result<BoardViews> {
    let source = |text: &String| {
        let (name, file) = text.split_once('=').with_context(|| format!("{text:?}: expected NAME=FILE"))?;
        Ok((name.to_owned(), PathBuf::from(file)))
    };
    let sources = options.cameras.iter().map(source).collect::<Result<Vec<_>>>()?;
    if let Some((index, (name, _))) =
        sources.iter().enumerate().find(|(index, (name, _))| sources[..*index].iter().any(|(other, _)| other == name))
    {
        bail!("camera {name:?} (number {}) is given twice, expected distinct names", index + 1);
    }
    let bar = ProgressBar::new_spinner().with_message("frames looked at");
    let done = AtomicU64::new(0);
    let looked = std::thread::scope(|scope| {
        let threads = sources.iter().enumerate().map(|(index, (name, file))| {
            let (bar, done) = (&bar, &done);
            let work = move || {
                look_at(index, file, options, board, || bar.set_position(done.fetch_add(1, Ordering::Relaxed) + 1))
                    .with_context(|| format!("camera {name}"))
            };
            std::thread::Builder::new().name(format!("board-{name}")).spawn_scoped(scope, work)
        });
        let threads = threads.collect::<std::io::Result<Vec<_>>>()?;
        let joined = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("the detector panicked")));
        joined.collect::<Result<Vec<_>>>()
    })?;
    bar.finish_and_clear();
    let lengths: Vec<u64> = looked.iter().map(|found| found.frames).collect();
    if lengths.iter().any(|length| *length != lengths[0]) {
        let each: Vec<String> =
            sources.iter().zip(&lengths).map(|((name, _), count)| format!("{name} {count}")).collect();
        bail!(
            "the videos have different lengths ({}); frames are matched by their number, expected the same count \
             (--frames N cuts them all)",
            each.join(", ")
        );
    }
    let mut views = BoardViews::default();
    for ((name, _), found) in sources.into_iter().zip(looked) {
        if found.views.is_empty() {
            let hint = found.hint.map_or(String::new(), |hint| format!("; {hint}"));
            let expected = board.to_string();
            return Err(CalibrateError::NoBoard { camera: name, frames: found.sampled, expected, hint }.into());
        }
        let (width_px, height_px) = found.size_px;
        views.cameras.push(ViewCamera { name, width_px, height_px, frames: found.sampled });
        views.views.extend(found.views);
    }
    Ok(views)
}

/// What one video showed.
struct Looked {
    size_px: (u32, u32),
    /// Frames of the video.
    frames: u64,
    /// Frames that were looked at.
    sampled: usize,
    views: Vec<View>,
    hint: Option<String>,
}

fn look_at(camera: usize, file: &Path, options: &VideoArgs, board: &Board, progress: impl Fn()) -> Result<Looked> {
    let programs = RecordConfig::default();
    let mut video = VideoFile::open(file, &programs.ffmpeg, &programs.ffprobe)?;
    let finder = BoardFinder::new(board)?;
    let geometry = video.geometry();
    let (width_px, height_px) = (geometry.width_px, geometry.height_px);
    let mut frame = Frame::blank(CameraIndex(camera as u8), geometry);
    let mut found = Looked { size_px: (width_px, height_px), frames: 0, sampled: 0, views: Vec::new(), hint: None };
    let mut empty: Vec<(usize, Box<[u8]>)> = Vec::new();
    while found.frames < options.frames && video.read(&mut frame)? {
        let number = found.frames;
        found.frames += 1;
        if !number.is_multiple_of(options.every) {
            continue;
        }
        let seen = finder.find(&frame.pixels, width_px, height_px);
        if !seen.corners.is_empty() {
            found.views.push(View { camera, frame: number, corners: seen.corners });
        } else if found.views.is_empty() {
            empty.push((seen.crossings, frame.pixels.clone()));
            empty.sort_by_key(|(crossings, _)| std::cmp::Reverse(*crossings));
            empty.truncate(KEPT_FOR_A_HINT);
        }
        found.sampled += 1;
        progress();
    }
    if found.views.is_empty() {
        found.hint = empty.iter().find_map(|(_, pixels)| finder.explain(pixels, width_px, height_px));
    }
    Ok(found)
}
