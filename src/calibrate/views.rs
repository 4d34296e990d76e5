//! What the cameras saw of the board, and its file: one line a corner, so that a lab can bring its own detector.
//!
//! ```csv
//! camera,frame,point,x_px,y_px
//! cam1,0,12,301.52,188.07
//! ```
//!
//! `frame` is the number of the instant, the same in all cameras; `point` counts the board's inner corners row by row from
//! 0; a pixel's centre is at its integer coordinates.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use nalgebra::Vector2;

use super::{Board, CalibrateError};

const HEAD: &str = "camera,frame,point,x_px,y_px";

/// A camera of the rig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewCamera {
    /// Its name.
    pub name: String,
    /// Image width.
    pub width_px: u32,
    /// Image height.
    pub height_px: u32,
    /// Frames in which the board was looked for.
    pub frames: usize,
}

/// An inner corner of the board in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Its number.
    pub point: u32,
    /// Where it is.
    pub pixel: Vector2<f64>,
}

/// The board as one camera saw it in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Index of the camera.
    pub camera: usize,
    /// Number of the frame.
    pub frame: u64,
    /// The corners that were found.
    pub corners: Vec<Seen>,
}

/// All views of a calibration recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BoardViews {
    /// The cameras.
    pub cameras: Vec<ViewCamera>,
    /// Their views.
    pub views: Vec<View>,
}

impl BoardViews {
    /// Reads a file of points; `size_px` gives the image size of a camera by its name. Cameras come in the order in which
    /// the file first names them.
    ///
    /// # Errors
    /// [`CalibrateError::Points`] with the line and what was expected in it: a number that is none, a point that the board
    /// does not have, a pixel outside the image, a point given twice, a camera without a size.
    pub fn load(
        path: &Path,
        board: &Board,
        size_px: impl Fn(&str) -> Option<(u32, u32)>,
    ) -> Result<Self, CalibrateError> {
        let fail = |reason: String| CalibrateError::Points { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let head: String = lines.next().map_or("", |(_, line)| line).split_whitespace().collect();
        if head != HEAD {
            return Err(fail(format!("line 1 is {head:?}, expected {HEAD:?}")));
        }
        let mut cameras: Vec<ViewCamera> = Vec::new();
        let mut views: BTreeMap<(usize, u64), View> = BTreeMap::new();
        for (number, line) in lines {
            let fail = |reason: String| fail(format!("line {}: {reason}", number + 1));
            let (name, frame, seen) = parse(line, board).map_err(fail)?;
            let camera = match cameras.iter().position(|camera| camera.name == name) {
                Some(camera) => camera,
                None => {
                    let Some((width_px, height_px)) = size_px(name) else {
                        return Err(fail(format!("camera {name:?} has no image size, expected one to be given")));
                    };
                    cameras.push(ViewCamera { name: name.to_owned(), width_px, height_px, frames: 0 });
                    cameras.len() - 1
                }
            };
            let ViewCamera { width_px, height_px, .. } = cameras[camera];
            let is_inside = |at: f64, size: u32| at >= -0.5 && at <= f64::from(size) - 0.5;
            if !is_inside(seen.pixel.x, width_px) || !is_inside(seen.pixel.y, height_px) {
                let (x, y) = (seen.pixel.x, seen.pixel.y);
                return Err(fail(format!("({x}, {y}) px, expected inside {name}'s {width_px} x {height_px} px")));
            }
            let new = || View { camera, frame, corners: Vec::new() };
            let view = views.entry((camera, frame)).or_insert_with(new);
            if view.corners.iter().any(|other| other.point == seen.point) {
                let text = format!("point {} of {name} in frame {frame} is given twice, expected once", seen.point);
                return Err(fail(text));
            }
            view.corners.push(seen);
        }
        let views: Vec<View> = views.into_values().collect();
        for (index, camera) in cameras.iter_mut().enumerate() {
            camera.frames = views.iter().filter(|view| view.camera == index).count();
        }
        Ok(Self { cameras, views })
    }

    /// Writes the file that [`BoardViews::load`] reads.
    ///
    /// # Errors
    /// [`CalibrateError::Points`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), CalibrateError> {
        let mut text = format!("{HEAD}\n");
        for view in &self.views {
            let name = &self.cameras[view.camera].name;
            for Seen { point, pixel } in &view.corners {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{name},{},{point},{:.4},{:.4}", view.frame, pixel.x, pixel.y);
            }
        }
        std::fs::write(path, text)
            .map_err(|error| CalibrateError::Points { path: path.to_owned(), reason: error.to_string() })
    }

    /// Views of a camera.
    pub fn of(&self, camera: usize) -> impl Iterator<Item = &View> {
        self.views.iter().filter(move |view| view.camera == camera)
    }
}

fn parse<'a>(line: &'a str, board: &Board) -> Result<(&'a str, u64, Seen), String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let &[name, frame, point, x, y] = &fields[..] else {
        return Err(format!("{} fields, expected 5 ({HEAD})", fields.len()));
    };
    let number = |name: &str, text: &str| {
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
        value.ok_or_else(|| format!("{name} {text:?}, expected a number"))
    };
    let frame = frame.parse().map_err(|_| format!("frame {frame:?}, expected a whole number from 0"))?;
    let point: u32 = point.parse().map_err(|_| format!("point {point:?}, expected a whole number from 0"))?;
    if point >= board.points() {
        let last = board.points() - 1;
        return Err(format!("point {point}; {board} has inner corners 0 to {last}: is it the right board?"));
    }
    let pixel = Vector2::new(number("x_px", x)?, number("y_px", y)?);
    if name.is_empty() {
        return Err("no camera name, expected one".to_owned());
    }
    Ok((name, frame, Seen { point, pixel }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        Board::new(8, 6, 0.02, 0.015, "DICT_4X4_50").unwrap()
    }

    fn load(text: &str) -> Result<BoardViews, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("points.csv");
        std::fs::write(&path, text).unwrap();
        BoardViews::load(&path, &board(), |name| (name != "odd").then_some((640, 400)))
            .map_err(|error| error.to_string().rsplit_once("points.csv: ").unwrap().1.to_owned())
    }

    #[test]
    fn a_file_of_points_survives_being_written_and_read() {
        let corners = [(0, 1.25, 2.5), (34, 600.0625, 399.0)];
        let corners = corners.map(|(point, x, y)| Seen { point, pixel: Vector2::new(x, y) }).to_vec();
        let camera = |name: &str| ViewCamera { name: name.to_owned(), width_px: 640, height_px: 400, frames: 1 };
        let views = BoardViews {
            cameras: vec![camera("b"), camera("a")],
            views: vec![View { camera: 0, frame: 7, corners: corners.clone() }, View { camera: 1, frame: 7, corners }],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("points.csv");
        views.save(&path).unwrap();
        let back = BoardViews::load(&path, &board(), |_| Some((640, 400))).unwrap();
        assert_eq!(back, views);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named_with_its_line() {
        let head = "camera,frame,point,x_px,y_px\n";
        for (text, expected) in [
            ("camera,frame,x,y\n", "line 1 is \"camera,frame,x,y\", expected \"camera,frame,point,x_px,y_px\""),
            ("a,0,1,2\n", "line 2: 4 fields, expected 5 (camera,frame,point,x_px,y_px)"),
            ("a,-1,1,2,3\n", "line 2: frame \"-1\", expected a whole number from 0"),
            ("a,0,1,2,nan\n", "line 2: y_px \"nan\", expected a number"),
            ("a,0,1,2,3\na,0,1,4,5\n", "line 3: point 1 of a in frame 0 is given twice, expected once"),
            ("a,0,1,2,401\n", "line 2: (2, 401) px, expected inside a's 640 x 400 px"),
            ("odd,0,1,2,3\n", "line 2: camera \"odd\" has no image size, expected one to be given"),
            (
                "a,0,35,2,3\n",
                "line 2: point 35; a ChArUco board of 8 x 6 squares, DICT_4X4_50 has inner corners 0 to 34: is it the \
                 right board?",
            ),
        ] {
            let text = if text.starts_with("camera") { text.to_owned() } else { format!("{head}{text}") };
            assert_eq!(load(&text).unwrap_err(), expected);
        }
    }
}
