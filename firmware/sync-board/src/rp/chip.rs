//! What differs between the two chips, and the few registers that no library reaches.

use fugit::HertzU32;
#[cfg(feature = "rp2040")]
pub(super) use rp2040_hal as hal;
#[cfg(feature = "rp2350")]
pub(super) use rp235x_hal as hal;
#[cfg(feature = "rp2350")]
pub(super) use ::pio;
#[cfg(feature = "rp2040")]
pub(super) use pio02 as pio;

use hal::gpio::{DynPinId, FunctionPio0, FunctionSioOutput, Pin, PullDown};
use hal::pac::{self, interrupt};
use hal::pio::{
    Buffers, PIO0SM0, PIO0SM1, PIOBuilder, PIOExt as _, PinDir, PinState, Running, ShiftDirection, StateMachine, Tx,
};

use super::lamps::{self, Lamps};
use super::pulse::{self, Pulser};
use super::{OUTPUTS, capture};

/// The system clock.
#[cfg(feature = "rp2040")]
pub(super) const CLOCK_MHZ: u32 = 125;
/// The system clock.
#[cfg(feature = "rp2350")]
pub(super) const CLOCK_MHZ: u32 = 150;
const CRYSTAL_HZ: u32 = 12_000_000;

const TRIGGER: u8 = 0;
const LAMPS: u8 = 1;
/// The lamps' bits are made of clocks this long.
const LAMP_CLOCK_MHZ: u32 = 8;

/// The boot loader's second stage.
#[cfg(feature = "rp2040")]
#[unsafe(link_section = ".boot2")]
#[used]
static BOOT2_FIRMWARE: [u8; 256] = rp2040_boot2::BOOT_LOADER_GENERIC_03H;

/// What the chip's ROM looks for.
#[cfg(feature = "rp2350")]
#[unsafe(link_section = ".start_block")]
#[used]
static IMAGE: hal::block::ImageDef = hal::block::ImageDef::secure_exe();

#[cfg(feature = "rp2040")]
pub(super) type Timer = hal::Timer;
#[cfg(feature = "rp2350")]
pub(super) type Timer = hal::Timer<hal::timer::CopyableTimer0>;
pub(super) type UsbBus = hal::usb::UsbBus;
pub(super) type OutputLine = Pin<DynPinId, FunctionSioOutput, PullDown>;

/// Everything that runs once the clocks do.
pub(super) struct Parts {
    pub(super) timer: Timer,
    pub(super) watchdog: hal::Watchdog,
    pub(super) usb_bus: UsbBus,
    pub(super) outputs: [OutputLine; OUTPUTS],
    pub(super) pulser: Pulser,
    pub(super) lamps: Lamps,
    pub(super) serial: u64,
    pub(super) epoch: u32,
}

/// Starts clocks and peripherals; every output is low.
pub(super) fn start() -> Parts {
    let mut pac = pac::Peripherals::take().expect("taken once");
    let serial = serial_number();
    let mut watchdog = hal::Watchdog::new(pac.WATCHDOG);
    let clocks = hal::clocks::init_clocks_and_plls(
        CRYSTAL_HZ,
        pac.XOSC,
        pac.CLOCKS,
        pac.PLL_SYS,
        pac.PLL_USB,
        &mut pac.RESETS,
        &mut watchdog,
    )
    .ok()
    .expect("the crystal runs");
    let sio = hal::Sio::new(pac.SIO);
    let pins = hal::gpio::Pins::new(pac.IO_BANK0, pac.PADS_BANK0, sio.gpio_bank0, &mut pac.RESETS);
    let outputs = [
        pins.gpio8.into_push_pull_output().into_pull_type().into_dyn_pin(),
        pins.gpio9.into_push_pull_output().into_pull_type().into_dyn_pin(),
        pins.gpio10.into_push_pull_output().into_pull_type().into_dyn_pin(),
        pins.gpio11.into_push_pull_output().into_pull_type().into_dyn_pin(),
        pins.gpio12.into_push_pull_output().into_pull_type().into_dyn_pin(),
        pins.gpio13.into_push_pull_output().into_pull_type().into_dyn_pin(),
        pins.gpio14.into_push_pull_output().into_pull_type().into_dyn_pin(),
        pins.gpio15.into_push_pull_output().into_pull_type().into_dyn_pin(),
    ];
    macro_rules! inputs {
        ($way:ident: $($pin:ident),+) => { $( let _ = pins.$pin.$way(); )+ };
    }
    inputs!(into_pull_down_input: gpio2, gpio3, gpio4, gpio5, gpio6, gpio7, gpio16, gpio17, gpio18, gpio19);
    inputs!(into_pull_up_input: gpio20, gpio21, gpio22, gpio26, gpio27, gpio28);
    let _: Pin<_, FunctionPio0, _> = pins.gpio0.into_function();
    let _: Pin<_, FunctionPio0, _> = pins.gpio1.into_function();
    let (mut pio, sm0, sm1, _, _) = pac.PIO0.split(&mut pac.RESETS);

    let pulses = pio.install(&pulse::program()).expect("eight instructions fit");
    let offset = pulses.offset();
    let (mut machine, _, tx) = PIOBuilder::from_installed_program(pulses).set_pins(TRIGGER, 1).build(sm0);
    machine.set_pindirs([(TRIGGER, PinDir::Output)]);
    let pulser = Pulser::new(PulseMachine { machine: Some(machine.start()), tx, offset });

    let row = pio.install(&lamps::program()).expect("four instructions fit");
    let (whole, part) = (CLOCK_MHZ / LAMP_CLOCK_MHZ, CLOCK_MHZ % LAMP_CLOCK_MHZ * 256 / LAMP_CLOCK_MHZ);
    let (mut machine, _, tx) = PIOBuilder::from_installed_program(row)
        .side_set_pin_base(LAMPS)
        .out_shift_direction(ShiftDirection::Left)
        .autopull(true)
        .pull_threshold(24)
        .buffers(Buffers::OnlyTx)
        .clock_divisor_fixed_point(whole as u16, part as u8)
        .build(sm1);
    machine.set_pindirs([(LAMPS, PinDir::Output)]);
    machine.start();

    #[cfg(feature = "rp2040")]
    let timer = hal::Timer::new(pac.TIMER, &mut pac.RESETS, &clocks);
    #[cfg(feature = "rp2350")]
    let timer = hal::Timer::new_timer0(pac.TIMER0, &mut pac.RESETS, &clocks);
    #[cfg(feature = "rp2040")]
    let (registers, memory) = (pac.USBCTRL_REGS, pac.USBCTRL_DPRAM);
    #[cfg(feature = "rp2350")]
    let (registers, memory) = (pac.USB, pac.USB_DPRAM);
    let usb_bus = UsbBus::new(registers, memory, clocks.usb_clock, true, &mut pac.RESETS);
    Parts {
        timer,
        watchdog,
        usb_bus,
        outputs,
        pulser,
        lamps: Lamps::new(LampMachine { tx }),
        serial,
        epoch: random(hal::rosc::RingOscillator::new(pac.ROSC).initialize_with_freq(HertzU32::MHz(6))),
    }
}

/// 32 bits from the ring oscillator: a number that another start is unlikely to have.
fn random(oscillator: hal::rosc::RingOscillator<hal::rosc::Enabled>) -> u32 {
    (0..32).fold(0, |bits, _| {
        // Neighbouring samples hang together; a few clocks apart they do not.
        cortex_m::asm::delay(97);
        bits << 1 | u32::from(oscillator.get_random_bit())
    })
}

/// The number of the flash chip, which no two share.
#[cfg(feature = "rp2040")]
fn serial_number() -> u64 {
    let mut number = [0; 8];
    // SAFETY: nothing else runs yet, neither the other core nor an interrupt nor DMA, that could read flash meanwhile.
    cortex_m::interrupt::free(|_| unsafe { rp2040_flash::flash::flash_unique_id(&mut number, true) });
    u64::from_be_bytes(number)
}

/// The chip's own number; 0 if its ROM does not tell.
#[cfg(feature = "rp2350")]
fn serial_number() -> u64 {
    let chip = hal::rom_data::sys_info_api::chip_info().ok().flatten();
    chip.map_or(0, |chip| u64::from(chip.wafer_id) << 32 | u64::from(chip.device_id))
}

/// The trigger's state machine.
pub(super) struct PulseMachine {
    machine: Option<StateMachine<PIO0SM0, Running>>,
    tx: Tx<PIO0SM0>,
    offset: u8,
}

impl PulseMachine {
    /// Hands a count over; there is always room for the one pulse ahead that is fed.
    pub(super) fn feed(&mut self, count: u32) {
        self.tx.write(count);
    }

    /// Forgets what has not begun: empties the queue and begins anew with the line low.
    pub(super) fn abort(&mut self) {
        let Some(running) = self.machine.take() else { return };
        let mut machine = running.stop();
        machine.clear_fifos();
        machine.exec_instruction(pio::Instruction {
            operands: pio::InstructionOperands::JMP { condition: pio::JmpCondition::Always, address: self.offset },
            delay: 0,
            side_set: None,
        });
        machine.set_pins([(TRIGGER, PinState::Low)]);
        self.machine = Some(machine.start());
    }
}

/// The lamps' state machine.
pub(super) struct LampMachine {
    tx: Tx<PIO0SM1>,
}

impl LampMachine {
    /// Hands one lamp's colour over; the queue holds a row.
    pub(super) fn feed(&mut self, colour: u32) {
        self.tx.write(colour);
    }
}

/// The lower half of the microsecond counter.
pub(super) fn micros_low() -> u32 {
    #[cfg(feature = "rp2040")]
    // SAFETY: reading this register changes nothing.
    let timer = unsafe { &*pac::TIMER::ptr() };
    #[cfg(feature = "rp2350")]
    // SAFETY: reading this register changes nothing.
    let timer = unsafe { &*pac::TIMER0::ptr() };
    timer.timerawl().read().bits()
}

/// All pins, as they are.
pub(super) fn levels() -> u32 {
    // SAFETY: reading this register changes nothing.
    unsafe { &*pac::SIO::ptr() }.gpio_in().read().bits()
}

/// Takes back every edge that was noticed.
pub(super) fn clear_edges() {
    // SAFETY: writing ones clears notices of edges and nothing else; only the pins' interrupt uses them.
    let bank = unsafe { &*pac::IO_BANK0::ptr() };
    for group in 0..4 {
        // SAFETY: any value is one the register takes.
        bank.intr(group).write(|w| unsafe { w.bits(u32::MAX) });
    }
}

/// Lets both edges of the pins of `mask` interrupt.
pub(super) fn listen(mask: u32) {
    // SAFETY: nobody else writes these registers after the start.
    let bank = unsafe { &*pac::IO_BANK0::ptr() };
    for group in 0..4 {
        // Four notices a pin: low, high, falling, rising.
        let pins = mask >> (8 * group) & 0xFF;
        let notices = (0..8).filter(|pin| pins >> pin & 1 == 1).fold(0, |bits, pin| bits | 0b1100 << (4 * pin));
        // SAFETY: any value is one the register takes.
        bank.proc0_inte(group).write(|w| unsafe { w.bits(notices) });
    }
    // SAFETY: the handler shares its queue by critical sections alone.
    unsafe { cortex_m::peripheral::NVIC::unmask(pac::Interrupt::IO_IRQ_BANK0) };
}

#[interrupt]
fn IO_IRQ_BANK0() {
    capture::on_edge();
}
