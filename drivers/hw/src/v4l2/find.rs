//! Which node a camera is on.

use std::fs;
use std::path::{Path, PathBuf};

use mimicd_device::{DeviceError, DeviceErrorKind};
use v4l::Device;

use super::{error_of, requests};

const NODES: &str = "/sys/class/video4linux";

/// A node that gives images, or one that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `/dev/videoN`.
    pub path: PathBuf,
    /// Driver; empty if the node could not be opened.
    pub driver: String,
    /// What the device calls itself.
    pub card: String,
    /// Where it is plugged in, as V4L2 names it; survives a restart, not another socket.
    pub bus: String,
    /// USB serial number; empty if it has none.
    pub serial_number: String,
    /// Why it could not be opened.
    pub refused: Option<String>,
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?}, bus {}", self.path.display(), self.card, self.bus)?;
        if !self.serial_number.is_empty() {
            write!(f, ", serial {}", self.serial_number)?;
        }
        write!(f, ")")
    }
}

/// Every camera node of this machine, by number. A machine without video devices has none.
pub fn nodes() -> Vec<Node> {
    let Ok(entries) = fs::read_dir(NODES) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut numbers: Vec<u32> = names.filter_map(|name| name.strip_prefix("video")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().filter_map(|number| node(PathBuf::from(format!("/dev/video{number}")))).collect()
}

/// The node at `path`; `None` for one that gives no images.
fn node(path: PathBuf) -> Option<Node> {
    let sys = Path::new(NODES).join(path.file_name()?);
    let serial_number = serial_number(&sys);
    match Device::with_path(&path).and_then(|device| requests::capability(&device)) {
        Ok(said) if !said.captures => None,
        Ok(said) => {
            Some(Node { path, driver: said.driver, card: said.card, bus: said.bus, serial_number, refused: None })
        }
        Err(error) => {
            let card = fs::read_to_string(sys.join("name")).unwrap_or_default().trim().to_owned();
            let refused = Some(error_of("opening it", &error).context);
            Some(Node { path, driver: String::new(), card, bus: String::new(), serial_number, refused })
        }
    }
}

/// The USB device is a parent of the node's interface.
fn serial_number(sys: &Path) -> String {
    let Ok(interface) = fs::canonicalize(sys.join("device")) else { return String::new() };
    let places = interface.ancestors().take(3).map(|place| place.join("serial"));
    places
        .filter_map(|file| fs::read_to_string(file).ok())
        .map(|text| text.trim().to_owned())
        .next()
        .unwrap_or_default()
}

/// The node that `wanted` names: a path, or the only one with that bus address, serial number or name.
///
/// # Errors
/// `NotFound` with what there is; `Unsupported` where several fit.
pub fn choose(nodes: Vec<Node>, wanted: &str) -> Result<PathBuf, DeviceError> {
    if wanted.starts_with('/') {
        return Ok(wanted.into());
    }
    let fits = |node: &&Node| [&node.bus, &node.serial_number, &node.card].into_iter().any(|name| name == wanted);
    let fitting: Vec<Node> = nodes.iter().filter(fits).cloned().collect();
    match fitting.as_slice() {
        [only] => Ok(only.path.clone()),
        [] => Err(DeviceError::new(
            DeviceErrorKind::NotFound,
            format!("no camera with bus address, serial number or name {wanted:?}; there {}", listing(&nodes)),
        )),
        several => Err(DeviceError::new(
            DeviceErrorKind::Unsupported,
            format!("{wanted:?} names several cameras: there {}; name one by its bus address", listing(several)),
        )),
    }
}

fn listing(nodes: &[Node]) -> String {
    if nodes.is_empty() {
        return "is none".to_owned();
    }
    format!("is {}", nodes.iter().map(Node::to_string).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(number: u32, bus: &str, serial_number: &str) -> Node {
        Node {
            path: format!("/dev/video{number}").into(),
            driver: "uvcvideo".to_owned(),
            card: "Lab camera".to_owned(),
            bus: bus.to_owned(),
            serial_number: serial_number.to_owned(),
            refused: None,
        }
    }

    #[test]
    fn a_camera_is_named_by_path_bus_serial_or_name() {
        let two = || vec![camera(0, "usb-0000:00:14.0-1", "A1"), camera(2, "usb-0000:00:14.0-2", "")];
        for (wanted, path) in
            [("/dev/v4l/by-id/x", "/dev/v4l/by-id/x"), ("usb-0000:00:14.0-2", "/dev/video2"), ("A1", "/dev/video0")]
        {
            assert_eq!(choose(two(), wanted), Ok(path.into()), "{wanted}");
        }
        assert_eq!(choose(vec![camera(4, "x", "")], "Lab camera"), Ok("/dev/video4".into()));
        let several = choose(two(), "Lab camera").expect_err("two of them");
        assert_eq!(several.kind, DeviceErrorKind::Unsupported);
        assert!(several.context.contains("/dev/video0") && several.context.contains("/dev/video2"), "{several}");
        let none = choose(two(), "A2").expect_err("no such serial number");
        assert_eq!(none.kind, DeviceErrorKind::NotFound);
        assert!(none.context.contains("serial A1"), "{none}");
        assert!(choose(Vec::new(), "A2").expect_err("no camera").context.ends_with("there is none"));
    }
}
