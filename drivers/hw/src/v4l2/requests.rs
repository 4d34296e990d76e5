//! What a device says of itself, and its controls.
//!
//! Not through `v4l`'s own lists: they panic on names that are no UTF-8 and on kinds of controls that are newer than they.

#![expect(unsafe_code, reason = "ioctl with the kernel's structs")]

use std::io;
use std::mem::zeroed;

use v4l::v4l_sys::{v4l2_capability, v4l2_control, v4l2_queryctrl, v4l2_querymenu};
use v4l::v4l2::vidioc::{_IOC_TYPE, VIDIOC_QUERYCAP, VIDIOC_QUERYCTRL, VIDIOC_QUERYMENU, VIDIOC_S_CTRL};
use v4l::{Device, v4l2};

use super::control::{Control, Kind, config_name};

/// linux/videodev2.h
const NEXT_CONTROL: u32 = 0x8000_0000;
const FLAG_DISABLED: u32 = 0x0001;
const FLAG_READ_ONLY: u32 = 0x0004;
const KIND_INTEGER: u32 = 1;
const KIND_SWITCH: u32 = 2;
const KIND_MENU: u32 = 3;
const KIND_BUTTON: u32 = 4;
const KIND_CLASS: u32 = 6;
const KIND_INTEGER_MENU: u32 = 9;

const CAN_CAPTURE: u32 = 0x0000_0001;
const CAN_STREAM: u32 = 0x0400_0000;

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Capability {
    pub(super) driver: String,
    pub(super) card: String,
    pub(super) bus: String,
    /// Whether this node gives images through mapped buffers (a camera has further nodes, for metadata).
    pub(super) captures: bool,
}

/// What `device` says of itself.
pub(super) fn capability(device: &Device) -> io::Result<Capability> {
    // SAFETY: a plain C struct of integers, for which zero is a value.
    let mut said: v4l2_capability = unsafe { zeroed() };
    request(device, VIDIOC_QUERYCAP, &mut said)?;
    Ok(Capability {
        driver: text(&said.driver),
        card: text(&said.card),
        bus: text(&said.bus_info),
        captures: said.device_caps & CAN_CAPTURE != 0 && said.device_caps & CAN_STREAM != 0,
    })
}

/// All controls that a config could name. A device without any has an empty list.
pub(super) fn list(device: &Device) -> Vec<Control> {
    let mut found = Vec::new();
    let mut id = 0;
    // SAFETY: a plain C struct of integers, for which zero is a value.
    let blank: v4l2_queryctrl = unsafe { zeroed() };
    loop {
        let mut query = v4l2_queryctrl { id: id | NEXT_CONTROL, ..blank };
        if request(device, VIDIOC_QUERYCTRL, &mut query).is_err() || query.id <= id {
            return found;
        }
        id = query.id;
        if query.flags & FLAG_DISABLED == 0 && query.type_ != KIND_CLASS {
            found.push(Control {
                id,
                name: config_name(&text(&query.name)),
                kind: kind(device, &query),
                writable: query.flags & FLAG_READ_ONLY == 0,
            });
        }
    }
}

/// Sets one control.
///
/// # Errors
/// What the driver says; `InvalidInput` for a value it does not take, `ResourceBusy` for one that is locked at present.
pub(super) fn set(device: &Device, id: u32, value: i64) -> io::Result<()> {
    let value = i32::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    request(device, VIDIOC_S_CTRL, &mut v4l2_control { id, value })
}

fn kind(device: &Device, query: &v4l2_queryctrl) -> Kind {
    match query.type_ {
        KIND_INTEGER => {
            Kind::Integer { limits: [query.minimum.into(), query.maximum.into(), query.step.max(1).into()] }
        }
        KIND_SWITCH => Kind::Switch,
        KIND_BUTTON => Kind::Button,
        KIND_MENU | KIND_INTEGER_MENU => {
            let entry = |index| menu_entry(device, query, index);
            Kind::Menu((query.minimum.max(0)..=query.maximum.min(1_024)).filter_map(entry).collect())
        }
        _ => Kind::Other,
    }
}

/// Drivers refuse the entries that they do not have.
fn menu_entry(device: &Device, query: &v4l2_queryctrl, index: i32) -> Option<(i64, String)> {
    // SAFETY: a plain C struct of integers and a union of integers, for which zero is a value.
    let blank: v4l2_querymenu = unsafe { zeroed() };
    let mut menu = v4l2_querymenu { id: query.id, index: index as u32, ..blank };
    request(device, VIDIOC_QUERYMENU, &mut menu).ok()?;
    if query.type_ == KIND_INTEGER_MENU {
        // SAFETY: for an integer menu the driver filled the value; either member is valid for any bytes.
        let value = unsafe { menu.__bindgen_anon_1.value };
        return Some((index.into(), value.to_string()));
    }
    // SAFETY: for a menu the driver filled the name; either member is valid for any bytes.
    let name = unsafe { menu.__bindgen_anon_1.name };
    Some((index.into(), text(&name)))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn request<T>(device: &Device, request: _IOC_TYPE, argument: &mut T) -> io::Result<()> {
    // SAFETY: every caller pairs the request with the struct that the kernel defines for it, alive for the call.
    unsafe { v4l2::ioctl(device.handle().fd(), request, std::ptr::from_mut(argument).cast()) }
}
