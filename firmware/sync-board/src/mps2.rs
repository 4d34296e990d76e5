//! The emulated board: ARM MPS2 AN385 under `qemu-system-arm`.
//!
//! UART 0 is the line to the host. UART 1 is a hand at the panel: each byte it receives presses a button, moves the
//! interlock or pulls the reset, so that a test can do what a person would. Outputs are wired back to the inputs of the same
//! number, the trigger line to the exposure lines of two cameras.
//!
//! | byte on UART 1 | does |
//! |---|---|
//! | `0`–`4` | presses the button of that number |
//! | `o`, `c` | opens, closes the interlock |
//! | `r` | resets the board |
//! | `h` | hangs the board until its hardware watchdog resets it |

use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::ptr;

use mimicd_board::{BoardConfig, Capture, Change, Endpoint, Hardware, Pin, Pins, Timebase, pass};
use mimicd_wire::Button;

const UART0: usize = 0x4000_4000;
const UART1: usize = 0x4000_5000;
/// Counts up at 25 MHz and wraps after 172 s.
const COUNTER: *mut u32 = 0x4002_8018 as *mut u32;
const TICK_NS: u32 = 40;
/// CMSDK watchdog: load, value, control.
const WATCHDOG_LOAD: *mut u32 = 0x4000_8000 as *mut u32;
const WATCHDOG_CONTROL: *mut u32 = 0x4000_8008 as *mut u32;
const WATCHDOG_CLEAR: *mut u32 = 0x4000_800C as *mut u32;
/// The counter starts so close to its end that it wraps 4 s after a reset: each run of a test crosses it.
const COUNTER_START: u32 = u32::MAX - 4 * 25_000_000;
/// From trigger to the begin of an exposure, and its length.
const EXPOSURE_DELAY_NS: u64 = 20_000;
const EXPOSURE_NS: u64 = 2_000_000;
const CAMERAS: u8 = 2;
const CAPTURES: usize = 64;

const EPOCH_MAGIC: u32 = 0x5CB0_0A4D;

/// Survives a reset, as long as the memory is powered.
#[unsafe(link_section = ".uninit.EPOCH")]
static mut EPOCH: MaybeUninit<[u32; 2]> = MaybeUninit::uninit();

/// Counts resets.
fn next_epoch() -> u32 {
    let place = ptr::addr_of_mut!(EPOCH).cast::<[u32; 2]>();
    // SAFETY: one thread, no interrupt touches it; any bits are a valid pair of numbers.
    unsafe {
        let [magic, count] = ptr::read_volatile(place);
        let next = if magic == EPOCH_MAGIC { count.wrapping_add(1) } else { 1 };
        ptr::write_volatile(place, [EPOCH_MAGIC, next]);
        next
    }
}

fn write_register(register: *mut u32, value: u32) {
    // SAFETY: every address in this file is a device register of the AN385.
    unsafe { ptr::write_volatile(register, value) }
}

fn read_register(register: *mut u32) -> u32 {
    // SAFETY: as for writing.
    unsafe { ptr::read_volatile(register) }
}

struct Uart(usize);

impl Uart {
    fn new(base: usize) -> Self {
        let uart = Self(base);
        write_register(uart.register(0x10), 25);
        write_register(uart.register(0x08), 0b11);
        uart
    }

    const fn register(&self, offset: usize) -> *mut u32 {
        (self.0 + offset) as *mut u32
    }

    fn read(&self) -> Option<u8> {
        (read_register(self.register(0x04)) & 0b10 != 0).then(|| read_register(self.register(0x00)) as u8)
    }

    fn write(&self, byte: u8) -> bool {
        let room = read_register(self.register(0x04)) & 0b01 == 0;
        if room {
            write_register(self.register(0x00), u32::from(byte));
        }
        room
    }
}

struct Emulated {
    timebase: Timebase,
    origin: u64,
    line: Uart,
    hand: Uart,
    /// Changes to come, in order of time.
    captures: [Option<Capture>; CAPTURES],
}

impl Emulated {
    fn new() -> Self {
        write_register(COUNTER, COUNTER_START);
        let mut timebase = Timebase::new();
        let origin = timebase.look(COUNTER_START);
        Self { timebase, origin, line: Uart::new(UART0), hand: Uart::new(UART1), captures: [None; CAPTURES] }
    }

    /// A change that its wire carries at `at_ns`; one too many is lost, as a queue of an interrupt loses it.
    fn expect(&mut self, at_ns: u64, change: Change) {
        if let Some(place) = self.captures.iter_mut().find(|place| place.is_none()) {
            *place = Some(Capture { at_ns, change });
        }
    }

    fn hand(&mut self) -> Option<Change> {
        Some(match self.hand.read()? {
            b'0' => Change::Button(Button::Arm),
            b'1' => Change::Button(Button::Record),
            b'2' => Change::Button(Button::Stop),
            b'3' => Change::Button(Button::Mark),
            b'4' => Change::Button(Button::EmergencyStop),
            b'o' => Change::Interlock { open: true },
            b'c' => Change::Interlock { open: false },
            b'r' => cortex_m::peripheral::SCB::sys_reset(),
            b'h' => loop {
                cortex_m::asm::nop();
            },
            _ => return None,
        })
    }
}

impl Pins for Emulated {
    fn drive(&mut self, at_ns: u64, pin: Pin, high: bool) {
        match pin {
            Pin::Output(line) => self.expect(at_ns, Change::Input { line, level: high }),
            Pin::Trigger if high => {
                for camera in 0..CAMERAS {
                    let begin = at_ns + EXPOSURE_DELAY_NS;
                    self.expect(begin, Change::Exposure { camera, active: true });
                    self.expect(begin + EXPOSURE_NS, Change::Exposure { camera, active: false });
                }
            }
            Pin::Trigger | Pin::Lamp(_) => {}
        }
    }
}

impl Hardware for Emulated {
    fn now_ns(&mut self) -> u64 {
        (self.timebase.look(read_register(COUNTER)) - self.origin) * u64::from(TICK_NS)
    }

    fn read(&mut self) -> Option<u8> {
        self.line.read()
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        bytes.iter().take_while(|&&byte| self.line.write(byte)).count()
    }

    fn capture(&mut self) -> Option<Capture> {
        let now_ns = self.now_ns();
        if let Some(change) = self.hand() {
            return Some(Capture { at_ns: now_ns, change });
        }
        let due = |place: &Option<Capture>| place.is_some_and(|capture| capture.at_ns <= now_ns);
        let soonest = (0..CAPTURES)
            .filter(|&place| due(&self.captures[place]))
            .min_by_key(|&place| self.captures[place].map(|capture| capture.at_ns))?;
        self.captures[soonest].take()
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let config = BoardConfig {
        serial: 0x0000_0000_0000_0385,
        firmware: crate::FIRMWARE,
        tick_ns: TICK_NS,
        ..BoardConfig::default()
    };
    let mut hardware = Emulated::new();
    let mut endpoint = Endpoint::new(config, next_epoch());
    // Half a second at 25 MHz; the second expiry resets.
    write_register(WATCHDOG_LOAD, 12_500_000);
    write_register(WATCHDOG_CONTROL, 0b11);
    loop {
        pass(&mut endpoint, &mut hardware);
        write_register(WATCHDOG_CLEAR, 1);
    }
}

/// A firmware that does not know what to do lets go of everything: a reset leaves all lines low.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}
