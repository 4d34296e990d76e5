//! Cameras with their calibration, and their videos as external files.

use std::path::{Path, PathBuf};

use super::file::Node;
use super::session::{self, measured};
use crate::export::dataset::Dataset;
use crate::export::error::ExportError;
use crate::export::frames::{VideoFrame, files};

/// A camera's calibration, as the manifest notes it.
#[derive(serde::Deserialize)]
struct Calibrated {
    name: String,
    k: [f64; 9],
    distortion: [f64; 5],
    rotation: [f64; 9],
    translation_m: [f64; 3],
}

/// One device for each camera; its path.
pub(super) fn devices(general: &Node<'_>, dataset: &Dataset) -> Result<Vec<String>, ExportError> {
    let noted = dataset.note("rig/calibration").and_then(|value| serde_json::from_value(value.clone()).ok());
    let calibrated: Vec<Calibrated> = noted.unwrap_or_default();
    let devices = general.open("devices")?;
    let mut paths = Vec::new();
    for camera in dataset.cameras() {
        let known = calibrated.iter().find(|known| known.name == camera.name);
        let (namespace, kind) = if known.is_some() { ("ndx-pose", "CalibratedCamera") } else { ("core", "Device") };
        let node = devices.object(&format!("camera_{}", camera.name), namespace, kind)?;
        let text = format!("{} x {} px at {} Hz", camera.width_px, camera.height_px, camera.rate_hz);
        node.attribute("description", &text)?;
        if let Some(known) = known {
            let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<f32>>();
            node.array("intrinsic_matrix", &[3, 3], &single(&known.k))?;
            node.array("rotation_matrix", &[3, 3], &single(&known.rotation))?;
            node.array("translation_vector", &[3], &single(&known.translation_m))?;
            node.array("distortion_coefficients", &[5], &single(&known.distortion))?;
        }
        paths.push(node.path().to_owned());
    }
    Ok(paths)
}

/// One series for each camera that has a video; files are named relative to the NWB file.
pub(super) fn series(
    parent: &Node<'_>,
    dataset: &Dataset,
    nwb: &Path,
    devices: &[String],
    videos: &[Vec<VideoFrame>],
) -> Result<(), ExportError> {
    for (place, (camera, all)) in dataset.cameras().iter().zip(videos).enumerate() {
        let files = files(dataset, place, all);
        if files.is_empty() {
            continue;
        }
        let node =
            session::series(parent, &camera.name, ("core", "ImageSeries"), "Video; timestamps are mid-exposure.")?;
        let mut names = Vec::new();
        let mut starts: Vec<i64> = Vec::new();
        for file in &files {
            names.push(relative(&dataset.folder.join(&file.file), nwb));
            starts.push(all.iter().take_while(|frame| frame.part < file.part).count() as i64);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        node.texts("external_file", &names)?.numbers("starting_frame", &starts)?;
        node.text("format", "external")?;
        node.array("dimension", &[2], &[camera.width_px as i32, camera.height_px as i32])?;
        measured(node.array::<u8>("data", &[0, 0, 0], &[])?, "unknown", 1.0)?;
        let times: Vec<i64> = all.iter().map(|frame| frame.t_ns).collect();
        session::times(&node, &times)?;
        node.link("device", &devices[place])?;
    }
    Ok(())
}

/// `target` as seen from the folder of `from`.
fn relative(target: &Path, from: &Path) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (target, from) = (absolute(target), absolute(from));
    let folder = from.parent().unwrap_or(Path::new("/"));
    let shared = target.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let mut path: PathBuf = folder.components().skip(shared).map(|_| "..").collect();
    path.extend(target.components().skip(shared));
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_file() {
        let from = Path::new("/data/rec/export/nwb/rec.nwb");
        assert_eq!(relative(Path::new("/data/rec/video/cam1.mkv"), from), "../../video/cam1.mkv");
        assert_eq!(relative(Path::new("/data/rec/export/nwb/a.mkv"), from), "a.mkv");
        assert_eq!(relative(Path::new("/video/a.mkv"), from), "../../../../video/a.mkv");
    }
}
