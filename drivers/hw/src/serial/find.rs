//! Which port the board is on.

use std::path::{Path, PathBuf};

use mimicd_device::{DeviceError, DeviceErrorKind};
use serialport::{SerialPortType, UsbPortInfo};

/// USB vendor and product number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsbId {
    /// Vendor.
    pub vendor: u16,
    /// Product.
    pub product: u16,
}

impl UsbId {
    /// What `firmware/sync-board` calls itself: the shared CDC-ACM identity of V-USB.
    pub const SYNC_BOARD: Self = Self { vendor: 0x16C0, product: 0x05E1 };

    /// Reads `vvvv:pppp` in hexadecimal, as `lsusb` writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let (vendor, product) = text.split_once(':')?;
        let number = |part: &str| u16::from_str_radix(part, 16).ok().filter(|_| part.len() == 4);
        Some(Self { vendor: number(vendor)?, product: number(product)? })
    }
}

impl std::fmt::Display for UsbId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)
    }
}

/// How the config names the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// The only board with the USB id.
    Only,
    /// The board with this USB serial number.
    SerialNumber(String),
    /// A port.
    Port(PathBuf),
    /// An emulated board: `tcp:host:port`.
    Tcp(String),
    /// An emulated board: `unix:path`.
    Unix(PathBuf),
}

impl Device {
    /// Reads the config's `device`.
    pub fn parse(text: &str) -> Self {
        if let Some(address) = text.strip_prefix("tcp:") {
            Self::Tcp(address.to_owned())
        } else if let Some(path) = text.strip_prefix("unix:") {
            Self::Unix(path.into())
        } else if text.starts_with('/') {
            Self::Port(text.into())
        } else if text.is_empty() {
            Self::Only
        } else {
            Self::SerialNumber(text.to_owned())
        }
    }
}

/// A serial port of a USB device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbPort {
    /// Path of the port.
    pub path: PathBuf,
    /// USB id.
    pub id: UsbId,
    /// USB serial number; empty if the device has none.
    pub serial_number: String,
    /// Product, as the device says.
    pub product: String,
}

/// Every serial port of a USB device on this machine.
///
/// # Errors
/// `Io` when the system does not list its ports.
pub fn usb_ports() -> Result<Vec<UsbPort>, DeviceError> {
    // Where there is no such folder the library would panic.
    if !Path::new("/sys/class/tty").is_dir() {
        return Err(DeviceError::new(DeviceErrorKind::Io, "/sys/class/tty is not there: ports cannot be listed"));
    }
    let ports = serialport::available_ports()
        .map_err(|error| DeviceError::new(DeviceErrorKind::Io, format!("listing serial ports: {error}")))?;
    Ok(ports.into_iter().filter_map(|port| Some(usb_port(port.port_name.into(), usb(port.port_type)?))).collect())
}

fn usb(port_type: SerialPortType) -> Option<UsbPortInfo> {
    match port_type {
        SerialPortType::UsbPort(info) => Some(info),
        _ => None,
    }
}

fn usb_port(path: PathBuf, info: UsbPortInfo) -> UsbPort {
    UsbPort {
        path,
        id: UsbId { vendor: info.vid, product: info.pid },
        serial_number: info.serial_number.unwrap_or_default(),
        product: info.product.unwrap_or_default(),
    }
}

/// The one port of `ports` that has `id` and, if given, `serial_number`.
///
/// # Errors
/// `NotFound` with what there is; `Unsupported` when there are several to choose from.
pub fn choose(ports: Vec<UsbPort>, id: UsbId, serial_number: Option<&str>) -> Result<UsbPort, DeviceError> {
    let there = listing(&ports);
    let fits = |port: &UsbPort| port.id == id && serial_number.is_none_or(|wanted| port.serial_number == wanted);
    let mut fitting: Vec<UsbPort> = ports.into_iter().filter(fits).collect();
    // A composite device may have several ports; the lowest is the board's.
    fitting.sort_by(|a, b| a.path.cmp(&b.path));
    fitting.dedup_by(|b, a| a.serial_number == b.serial_number && !a.serial_number.is_empty());
    match (fitting.len(), serial_number) {
        (1, _) => Ok(fitting.remove(0)),
        (0, Some(number)) => {
            let context = format!("no USB serial port {id} with serial number {number}; there {there}");
            Err(DeviceError::new(DeviceErrorKind::NotFound, context))
        }
        (0, None) => {
            Err(DeviceError::new(DeviceErrorKind::NotFound, format!("no USB serial port {id}; there {there}")))
        }
        _ => {
            let several = listing(&fitting);
            let context = format!("several boards {id}: {several}; name one by its serial number in board.device");
            Err(DeviceError::new(DeviceErrorKind::Unsupported, context))
        }
    }
}

fn listing(ports: &[UsbPort]) -> String {
    if ports.is_empty() {
        return "is none".to_owned();
    }
    let each = ports.iter().map(|port| format!("{} ({}, {:?})", port.path.display(), port.id, port.serial_number));
    format!("is {}", each.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(path: &str, product: u16, serial_number: &str) -> UsbPort {
        UsbPort {
            path: path.into(),
            id: UsbId { vendor: 0x16C0, product },
            serial_number: serial_number.to_owned(),
            product: String::new(),
        }
    }

    #[test]
    fn the_config_names_a_board_in_five_ways() {
        for (text, device) in [
            ("", Device::Only),
            ("SN-7", Device::SerialNumber("SN-7".to_owned())),
            ("/dev/ttyACM0", Device::Port("/dev/ttyACM0".into())),
            ("tcp:127.0.0.1:5555", Device::Tcp("127.0.0.1:5555".to_owned())),
            ("unix:/run/board.sock", Device::Unix("/run/board.sock".into())),
        ] {
            assert_eq!(Device::parse(text), device, "{text}");
        }
        assert_eq!(UsbId::parse("16c0:05e1"), Some(UsbId::SYNC_BOARD));
        assert_eq!(UsbId::parse("16c0:5e1"), None);
        assert_eq!(UsbId::parse("16c0"), None);
    }

    #[test]
    fn one_board_is_found_several_are_named_and_none_says_what_is_there() {
        let ports = || vec![port("/dev/ttyACM1", 0x05E1, "B"), port("/dev/ttyACM0", 0x05E1, "A")];
        let id = UsbId::SYNC_BOARD;
        assert_eq!(choose(ports(), id, Some("B")).map(|port| port.path), Ok("/dev/ttyACM1".into()));
        let several = choose(ports(), id, None).expect_err("two boards");
        assert_eq!(several.kind, DeviceErrorKind::Unsupported);
        assert!(several.context.contains("ttyACM0") && several.context.contains("ttyACM1"), "{several}");
        let absent = choose(ports(), id, Some("C")).expect_err("no such board");
        assert_eq!(absent.kind, DeviceErrorKind::NotFound);
        assert!(absent.context.contains("\"A\""), "{absent}");
        let none = choose(vec![port("/dev/ttyACM0", 0x0483, "A")], id, None).expect_err("another device");
        assert!(none.context.contains("16c0:0483"), "{none}");
    }

    #[test]
    fn a_composite_board_is_one_board() {
        let ports = vec![port("/dev/ttyACM1", 0x05E1, "A"), port("/dev/ttyACM0", 0x05E1, "A")];
        assert_eq!(choose(ports, UsbId::SYNC_BOARD, None).map(|port| port.path), Ok("/dev/ttyACM0".into()));
    }
}
