//! `mimicd devices`: what is plugged in, what it offers, and the part of a config that names it.

use std::process::ExitCode;

use anyhow::Result;
use mimicd_hw::serial::find::{self, UsbId, UsbPort};

/// Lists everything that can be found without being told where it is.
pub(super) fn run() -> Result<ExitCode> {
    println!(
        "# Paste what you need; amplifiers behind Intan RHX are named by address: [[array]] device = \"10.0.0.7:5000/ABCD\"."
    );
    cameras();
    genicam();
    match find::usb_ports() {
        Ok(ports) => boards(&ports),
        Err(error) => println!("\n# Sync boards: {error}"),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "v4l")]
fn cameras() {
    let nodes = mimicd_hw::v4l2::find::nodes();
    println!("\n# V4L2 cameras: {}", nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        println!("\n# {node}, driver {}", if node.driver.is_empty() { "unknown" } else { &node.driver });
        if let Some(refused) = &node.refused {
            println!("#   {refused}");
            continue;
        }
        match mimicd_hw::v4l2::abilities(&node.path) {
            Ok(abilities) => v4l2::show(index, node, &nodes, &abilities),
            Err(error) => println!("#   {error}"),
        }
    }
}

#[cfg(not(feature = "v4l"))]
fn cameras() {
    println!("\n# V4L2 cameras: this build has no V4L2 (feature `v4l`)");
}

#[cfg(feature = "aravis")]
fn genicam() {
    let found = mimicd_hw::genicam::cameras();
    println!("\n# GenICam cameras (GigE Vision, USB3 Vision): {}", found.len());
    for (index, camera) in found.iter().enumerate() {
        println!("\n# {camera}");
        match mimicd_hw::genicam::abilities(&camera.id) {
            Ok(abilities) => genicam_stanza(index, camera, &abilities),
            Err(error) => println!("#   {error}"),
        }
    }
}

#[cfg(feature = "aravis")]
fn genicam_stanza(index: usize, camera: &mimicd_hw::genicam::Found, abilities: &mimicd_hw::genicam::Abilities) {
    let [width, height] = abilities.size_px;
    let taken = abilities.formats.iter().filter_map(|name| mimicd_hw::genicam::format_of(name));
    println!("#   formats: {}; triggers: {}", abilities.formats.join(", "), abilities.trigger_sources.join(", "));
    let Some(format) = taken.min_by_key(|format| (!format.is_mono(), format.bits())) else {
        println!("#   none of its formats is taken");
        return;
    };
    let rate = abilities.rate_hz.map_or(String::new(), |rate| format!("  # at most {rate:.0} Hz"));
    println!("[[camera]]\nname = \"cam{}\"\nbackend = \"genicam\"\ndevice = \"{}\"", index + 1, camera.id);
    println!("width_px = {width}\nheight_px = {height}{rate}\nformat = \"{}\"", format.name());
    println!("controls = {{ TriggerSelector = \"FrameStart\", TriggerMode = \"On\", TriggerSource = \"Line0\" }}");
}

#[cfg(not(feature = "aravis"))]
fn genicam() {
    println!("\n# GenICam cameras: this build has no Aravis (cargo feature `aravis`)");
}

fn boards(ports: &[UsbPort]) {
    let boards: Vec<&UsbPort> = ports.iter().filter(|port| port.id == UsbId::SYNC_BOARD).collect();
    println!("\n# Sync boards: {} (of {} USB serial ports)", boards.len(), ports.len());
    for board in boards {
        println!("\n# {} {:?}", board.path.display(), board.product);
        println!("[board]\nbackend = \"serial\"\ndevice = \"{}\"", board.serial_number);
    }
}

#[cfg(feature = "v4l")]
mod v4l2 {
    use mimicd_hw::v4l2::find::Node;
    use mimicd_hw::v4l2::{Abilities, Control, Kind, list, proposal};

    /// One camera: formats, controls, and its section of a config.
    pub(super) fn show(index: usize, node: &Node, nodes: &[Node], abilities: &Abilities) {
        for offer in &abilities.offers {
            println!("#   {}", list(std::slice::from_ref(offer)));
        }
        for control in &abilities.controls {
            println!("#   {}", describe(control));
        }
        let Some((format, [width, height], rate_hz)) = proposal(&abilities.offers) else {
            println!("#   none of its formats is taken");
            return;
        };
        let rate = rate_hz.map_or(String::new(), |rate| format!("  # at most {rate} Hz"));
        println!(
            "[[camera]]\nname = \"cam{}\"\nbackend = \"v4l2\"\ndevice = \"{}\"",
            index + 1,
            lasting_name(node, nodes)
        );
        println!("width_px = {width}\nheight_px = {height}{rate}\nformat = \"{}\"", format.name());
    }

    /// The name that survives most: a serial number that no other camera has, else the socket, else the path.
    fn lasting_name(node: &Node, nodes: &[Node]) -> String {
        let alone = |name: fn(&Node) -> &str| {
            let own = name(node);
            !own.is_empty() && nodes.iter().filter(|other| name(other) == own).count() == 1
        };
        if alone(|node| &node.serial_number) {
            node.serial_number.clone()
        } else if alone(|node| &node.bus) {
            node.bus.clone()
        } else {
            node.path.display().to_string()
        }
    }

    fn describe(control: &Control) -> String {
        let takes = match &control.kind {
            Kind::Integer { limits: [min, max, step] } => format!("{min} to {max} in steps of {step}"),
            Kind::Switch => "true or false".to_owned(),
            Kind::Button => "true pushes it".to_owned(),
            Kind::Menu(entries) => {
                entries.iter().map(|(number, name)| format!("{number} {name:?}")).collect::<Vec<_>>().join(", ")
            }
            Kind::Other => "not by a config".to_owned(),
        };
        let how = if control.writable { "" } else { " (read only)" };
        format!("controls.{} = {takes}{how}", control.name)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn node(path: &str, bus: &str, serial_number: &str) -> Node {
            Node {
                path: path.into(),
                driver: "uvcvideo".to_owned(),
                card: "Camera".to_owned(),
                bus: bus.to_owned(),
                serial_number: serial_number.to_owned(),
                refused: None,
            }
        }

        #[test]
        fn a_camera_is_called_by_what_lasts() {
            let nodes =
                [node("/dev/video0", "usb-1", "A"), node("/dev/video2", "usb-2", "A"), node("/dev/video4", "", "B")];
            let names: Vec<String> = nodes.iter().map(|node| lasting_name(node, &nodes)).collect();
            assert_eq!(names, ["usb-1", "usb-2", "B"]);
            let twins = [node("/dev/video0", "usb-1", ""), node("/dev/video1", "usb-1", "")];
            assert_eq!(lasting_name(&twins[1], &twins), "/dev/video1");
        }
    }
}
