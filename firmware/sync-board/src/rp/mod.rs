//! Raspberry Pi Pico (RP2040) and Pico 2 (RP2350): USB CDC-ACM, triggers by PIO, edges by interrupt.
//!
//! | what | how | how exact |
//! |---|---|---|
//! | trigger pulses | a PIO state machine counts system clocks, fed one pulse ahead | one system clock (8 ns), no jitter |
//! | exposure and TTL edges | interrupt: clear, read the counter, read the pins, queue | interrupt latency, 1 µs counter |
//! | scheduled outputs | the pass waits for an edge that is near | a few µs |
//! | buttons, interlock, emergency stop | looked at in every pass | a pass, 0.2 ms at most |
//!
//! Pins are in `configs/sync-board-pins.md`. Inputs that guard people (interlock, emergency stop) are closed to ground when
//! all is well: a broken wire stops.

mod capture;
mod chip;
mod lamps;
mod panel;
mod pulse;

use core::panic::PanicInfo;

use embedded_hal::digital::OutputPin as _;
use mimicd_board::{BoardConfig, Capture, Endpoint, Hardware, OUTPUTS, Pin, Pins, Train, pass};
use usb_device::bus::UsbBusAllocator;
use usb_device::device::{StringDescriptors, UsbDevice, UsbDeviceBuilder, UsbVidPid};
use usbd_serial::SerialPort;

use capture::Captures;
use chip::{OutputLine, UsbBus, hal};
use lamps::Lamps;
use panel::Panel;
use pulse::Pulser;

/// The shared identity of CDC-ACM devices of V-USB; the strings tell which.
const USB_ID: UsbVidPid = UsbVidPid(0x16C0, 0x05E1);
/// A pass takes 0.2 ms at most; a firmware that hangs for longer is reset, and all lines fall.
const WATCHDOG_MILLIS: u32 = 200;
/// Bytes of one USB packet.
const PACKET: usize = 64;

struct Pico<'a> {
    timer: chip::Timer,
    outputs: [OutputLine; OUTPUTS],
    captures: Captures,
    panel: Panel,
    pulser: Pulser,
    lamps: Lamps,
    usb: UsbDevice<'a, UsbBus>,
    serial: SerialPort<'a, UsbBus>,
    packet: [u8; PACKET],
    next: usize,
    end: usize,
}

impl Pins for Pico<'_> {
    fn drive(&mut self, _at_ns: u64, pin: Pin, high: bool) {
        match pin {
            Pin::Output(output) => {
                if let Some(line) = self.outputs.get_mut(usize::from(output)) {
                    let Ok(()) = line.set_state(high.into());
                }
            }
            Pin::Lamp(lamp) => self.lamps.set(lamp, high),
            // The PIO makes these by itself; see `follow`.
            Pin::Trigger => {}
        }
    }
}

impl Hardware for Pico<'_> {
    fn now_ns(&mut self) -> u64 {
        self.timer.get_counter().ticks() * 1_000
    }

    fn read(&mut self) -> Option<u8> {
        if self.next == self.end {
            self.usb.poll(&mut [&mut self.serial]);
            // Nothing there, or not plugged in.
            self.end = self.serial.read(&mut self.packet).unwrap_or(0);
            self.next = 0;
        }
        let byte = *self.packet[..self.end].get(self.next)?;
        self.next += 1;
        Some(byte)
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let count = self.serial.write(bytes).unwrap_or(0);
        self.usb.poll(&mut [&mut self.serial]);
        count
    }

    fn capture(&mut self) -> Option<Capture> {
        let now_ns = self.now_ns();
        self.captures.pop(now_ns).or_else(|| self.panel.look(now_ns))
    }

    fn follow(&mut self, now_ns: u64, train: Option<&Train>) {
        self.pulser.follow(now_ns, train);
        self.lamps.show(now_ns);
    }
}

#[hal::entry]
fn main() -> ! {
    let mut parts = chip::start();
    let bus = UsbBusAllocator::new(parts.usb_bus);
    let serial = SerialPort::new(&bus);
    let mut digits = [0; 16];
    let number = hexadecimal(parts.serial, &mut digits);
    let strings = StringDescriptors::default().manufacturer("mimicd").product("mimicd sync board").serial_number(number);
    let builder = UsbDeviceBuilder::new(&bus, USB_ID).strings(&[strings]).expect("three strings are few enough");
    let usb = builder.device_class(usbd_serial::USB_CLASS_CDC).build();
    let config = BoardConfig {
        serial: parts.serial,
        firmware: crate::FIRMWARE,
        tick_ns: 1_000,
        inputs: capture::INPUTS,
        ..BoardConfig::default()
    };
    let mut endpoint = Endpoint::new(config, parts.epoch);
    let mut pico = Pico {
        timer: parts.timer,
        outputs: parts.outputs,
        captures: Captures::start(),
        panel: Panel::new(),
        pulser: parts.pulser,
        lamps: parts.lamps,
        usb,
        serial,
        packet: [0; PACKET],
        next: 0,
        end: 0,
    };
    parts.watchdog.start(fugit::MicrosDurationU32::millis(WATCHDOG_MILLIS));
    loop {
        pass(&mut endpoint, &mut pico);
        parts.watchdog.feed();
    }
}

/// `number` in sixteen digits, as the host shows it.
fn hexadecimal(number: u64, digits: &mut [u8; 16]) -> &str {
    for (place, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (60 - 4 * place)) as usize & 15];
    }
    core::str::from_utf8(digits).unwrap_or_default()
}

/// A firmware that does not know what to do lets go of everything: a reset leaves all lines low.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}
