//! What an ONNX file offers, and a manifest to start from.

use std::fmt::Write as _;
use std::path::Path;

use ort::value::{Outlet, TensorElementType, ValueType};

use super::manifest::CAMERA_ROW;
use super::network::{describe, open};
use super::{PoseError, Provider};

/// A tensor of a graph; sizes that the file leaves open are `None`.
struct Port {
    name: String,
    element: TensorElementType,
    sizes: Vec<Option<usize>>,
}

impl Port {
    fn of(outlet: &Outlet) -> Option<Self> {
        let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else { return None };
        let sizes = shape.iter().map(|&n| usize::try_from(n).ok()).collect();
        Some(Self { name: outlet.name().to_owned(), element: *ty, sizes })
    }

    fn size(&self, axis: usize) -> Option<usize> {
        self.sizes.get(axis).copied().flatten()
    }
}

/// Describes the inputs and outputs of the graph at `file` and drafts a manifest for it. The draft says with `CHOOSE` what
/// no file can say: names of keypoints, how pixels were scaled in training, how much of the world a crop shows.
///
/// # Errors
/// [`PoseError::Graph`] when the file is not a graph, [`PoseError::Runtime`] without ONNX Runtime.
pub fn inspect(file: &Path) -> Result<String, PoseError> {
    let session = open(file, Provider::Cpu, 1)?;
    let lines = |outlets: &[Outlet]| -> String {
        outlets.iter().fold(String::new(), |mut text, outlet| {
            writeln!(text, "#   {}", describe(std::slice::from_ref(outlet))).ok();
            text
        })
    };
    let mut text = format!("# {}\n# inputs\n{}", file.display(), lines(session.inputs()));
    write!(text, "# outputs\n{}\n", lines(session.outputs())).ok();
    let ports = |outlets: &[Outlet]| -> Vec<Port> { outlets.iter().filter_map(Port::of).collect() };
    let (inputs, outputs) = (ports(session.inputs()), ports(session.outputs()));
    let image = inputs.iter().find(|port| port.sizes.len() == 4);
    let draft = image.and_then(|image| volume(&inputs, &outputs).or_else(|| decode(image, &outputs)));
    match (image, draft) {
        (Some(image), Some(draft)) => text += &manifest(file, image, &draft),
        _ => {
            text += "# No draft: none of the outputs looks like heat maps, heat maps with offsets, SimCC rows, peaks or places\n";
            text += "# in a volume, of a four-dimensional image input.\n";
        }
    }
    Ok(text)
}

/// The decode section of a draft, and how many keypoints it reads.
struct Draft {
    kind: &'static str,
    section: String,
    keypoints: Option<usize>,
}

impl Draft {
    fn multiview(section: String, keypoints: Option<usize>) -> Self {
        Self { kind: "multiview", section, keypoints }
    }
}

/// A volumetric graph is told about the cameras (rows of [`CAMERA_ROW`] numbers) and where its volume is.
fn volume(inputs: &[Port], outputs: &[Port]) -> Option<Draft> {
    let cameras = inputs.iter().find(|port| port.sizes.len() == 2 && port.size(1) == Some(CAMERA_ROW))?;
    let vectors = || inputs.iter().filter(|port| port.sizes.len() == 1);
    let centre = vectors().find(|port| port.name.contains("cent") || port.size(0) == Some(3))?;
    let present = vectors().find(|port| port.name != centre.name)?;
    let positions = outputs.iter().find(|port| port.sizes.len() == 2 && port.size(1) == Some(3))?;
    let named = |part: &str| outputs.iter().find(|port| port.name.to_lowercase().contains(part));
    let confidence = named("conf").or_else(|| outputs.iter().find(|port| port.sizes.len() == 1))?;
    let mut section = format!(
        "kind = \"volume\"\ncameras = {:?}\ncentre = {:?}\npresent = {:?}\npositions = {:?}\nconfidence = {:?}\n",
        cameras.name, centre.name, present.name, positions.name, confidence.name
    );
    let seen = outputs.iter().find(|port| port.sizes.len() == 3 && port.size(2) == Some(3));
    for (key, port) in [("spread", named("spread")), ("views", seen)] {
        section += &port.map_or_else(String::new, |port| format!("{key} = {:?}\n", port.name));
    }
    section += "unit_m = 1.0 # CHOOSE: metres of one unit of the positions\n";
    section += "sure = 1.0 # CHOOSE: which confidence of the graph counts as 1\n";
    Some(Draft { kind: "volumetric", section, keypoints: positions.size(0) })
}

fn is_nhwc(image: &Port) -> bool {
    let few = |size: Option<usize>| matches!(size, Some(1 | 3));
    few(image.size(3)) && !few(image.size(1))
}

fn decode(image: &Port, outputs: &[Port]) -> Option<Draft> {
    let named = |part: &str| outputs.iter().find(|port| port.name.to_lowercase().contains(part));
    if let (Some(x), Some(y)) = (named("simcc_x"), named("simcc_y")) {
        let bins = x.size(2).zip(image.size(3)).map_or(2.0, |(bins, width)| bins as f32 / width as f32);
        let section = format!("kind = \"simcc\"\nx = {:?}\ny = {:?}\nbins_per_px = {bins:?}\n", x.name, y.name);
        return Some(Draft::multiview(section, x.size(1)));
    }
    let mut maps: Vec<&Port> = outputs.iter().filter(|port| port.sizes.len() == 4 && port.size(3) != Some(2)).collect();
    let axis = if is_nhwc(image) { 3 } else { 1 };
    maps.sort_by_key(|port| port.size(axis));
    let layout = if axis == 3 { "layout = \"nhwc\"\n" } else { "" };
    match maps.as_slice() {
        [scores, offsets, ..] if twice(scores.size(axis), offsets.size(axis)) => {
            let names = format!("output = {:?}\noffsets = {:?}\n", scores.name, offsets.name);
            let section =
                format!("kind = \"heatmap_offsets\"\n{names}{layout}response = \"peak\" # CHOOSE: or \"sigmoid\"\n");
            Some(Draft::multiview(section, scores.size(axis)))
        }
        [scores, ..] => {
            let response = "response = \"peak\" # CHOOSE: \"peak\", \"sigmoid\", \"probability\" or \"softmax\"\n";
            let section = format!("kind = \"heatmap\"\noutput = {:?}\n{layout}{response}", scores.name);
            Some(Draft::multiview(section, scores.size(axis)))
        }
        [] => peaks(outputs),
    }
}

fn twice(one: Option<usize>, other: Option<usize>) -> bool {
    one.zip(other).is_some_and(|(one, other)| 2 * one == other)
}

/// Positions are the output whose last axis is 2; values the one of the same shape without it. A graph that finds animals
/// and then their keypoints gives both; keypoints have one axis more.
fn peaks(outputs: &[Port]) -> Option<Draft> {
    let pairs = outputs.iter().filter(|port| port.sizes.len() >= 3 && port.sizes.last() == Some(&Some(2)));
    let positions = pairs.rev().max_by_key(|port| port.sizes.len())?;
    let shape = &positions.sizes[..positions.sizes.len() - 1];
    // Animals of two keypoints have centroids of the same shape.
    let alike = outputs.iter().filter(|port| port.sizes == shape);
    let values = alike.max_by_key(|port| port.name.contains("val"))?;
    let (instances, keypoints) = match shape {
        [_, instances, keypoints] => (*instances, *keypoints),
        _ if positions.name.contains("centroid") => (shape[1], Some(1)),
        _ => (Some(1), shape[1]),
    };
    let names = format!("kind = \"peaks\"\npositions = {:?}\nvalues = {:?}\n", positions.name, values.name);
    let section = format!("{names}instances = {}\n", instances.map_or("1 # CHOOSE".to_owned(), |n| n.to_string()));
    Some(Draft::multiview(section, keypoints))
}

fn manifest(file: &Path, image: &Port, draft: &Draft) -> String {
    let nhwc = is_nhwc(image);
    let [channels, height, width] = if nhwc { [3, 1, 2] } else { [1, 2, 3] }.map(|axis| image.size(axis));
    let open = |size: Option<usize>| size.map_or("256 # CHOOSE: the file leaves it open".to_owned(), |n| n.to_string());
    let names: Vec<String> = (0..draft.keypoints.unwrap_or(1)).map(|k| format!("\"kp{k}\"")).collect();
    let stem = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let pixels = if image.element == TensorElementType::Uint8 {
        String::new()
    } else if channels == Some(3) {
        let imagenet = "mean = [0.485, 0.456, 0.406]\nsd = [0.229, 0.224, 0.225]";
        format!("scale = 0.00392156862745098 # CHOOSE: as in training; ImageNet's\n{imagenet}\n")
    } else {
        "scale = 0.00392156862745098 # CHOOSE: as in training; 1.0 for pixels of 0 to 255\n".to_owned()
    };
    let file_name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    format!(
        "name = {stem:?}\nkind = {:?}\n\
         keypoints = [{}] # CHOOSE: names in the order of the output\n\n\
         [crop]\nwidth_m = 0.3 # CHOOSE: how much of the world the network's image shows\n\n\
         [network]\nfile = {file_name:?}\ninput = {:?}\n{}width_px = {}\nheight_px = {}\nchannels = {}\n{pixels}\n\
         [network.decode]\n{}",
        draft.kind,
        names.join(", "),
        image.name,
        if nhwc { "layout = \"nhwc\"\n" } else { "" },
        open(width),
        open(height),
        channels.unwrap_or(1),
        draft.section,
    )
}
