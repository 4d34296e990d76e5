//! From a fresh command socket to a stream whose layout is known.

use mimicd_device::{DeviceError, DeviceErrorKind};

use super::command::{CommandLink, Dialect};
use super::frames::StreamLayout;
use super::{RhxOptions, RunMode};

const PORTS: [char; 8] = ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H'];

/// What RHX said about itself and which channels will be sent, in the order in which they will be sent.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) version: String,
    pub(super) controller: String,
    pub(super) dialect: Dialect,
    pub(super) rate_hz: f64,
    /// Native names, `A-000` and so on.
    pub(super) channels: Vec<String>,
    pub(super) layout: StreamLayout,
}

/// Asks RHX what it is and has.
pub(super) fn inquire(link: &mut CommandLink, options: &RhxOptions) -> Result<Plan, DeviceError> {
    let version = link.get("Version")?;
    let dialect = Dialect::of_version(&version).ok_or_else(|| {
        let context = format!("RHX says its version is {version:?}; expected a number such as 3.4.0");
        DeviceError::new(DeviceErrorKind::Protocol, context)
    })?;
    let controller = link.get("Type")?;
    let rate = link.get("SampleRateHertz")?;
    let rate_hz: f64 = rate.trim().parse().map_err(|_| {
        DeviceError::new(DeviceErrorKind::Protocol, format!("RHX says its sample rate is {rate:?}; expected a number"))
    })?;
    let mut channels = Vec::new();
    let mut offered = String::new();
    for port in PORTS {
        if !options.ports.is_empty() && !options.ports.contains(port) {
            continue;
        }
        // Smaller controllers have four ports and refuse the others.
        let count = match link.get(&format!("{port}.NumberAmplifierChannels")) {
            Ok(text) => text.trim().parse().unwrap_or(0),
            Err(error) if error.kind == DeviceErrorKind::Unsupported => 0,
            Err(error) => return Err(error),
        };
        if count > 0 {
            offered += &format!(" {port}: {count}");
        }
        channels.extend((0..count).map(|channel: usize| format!("{port}-{channel:03}")));
    }
    if channels.len() < options.channels {
        let context = format!("{} channels were asked of RHX; it has{offered} on the chosen ports", options.channels);
        return Err(DeviceError::new(DeviceErrorKind::Unsupported, context));
    }
    channels.truncate(options.channels);
    let layout = StreamLayout { channels: channels.len(), digital: options.digital };
    Ok(Plan { version, controller, dialect, rate_hz, channels, layout })
}

/// Makes RHX listen for the waveform client.
pub(super) fn listen(link: &mut CommandLink, plan: &Plan) -> Result<(), DeviceError> {
    let name = plan.dialect.waveform_status();
    let mut status = String::new();
    for _ in 0..5 {
        status = link.get(name)?;
        if status.eq_ignore_ascii_case("pending") {
            return Ok(());
        }
        link.send(plan.dialect.waveform_listen())?;
    }
    let context = format!("RHX keeps {name} at {status:?}; Pending was asked five times");
    Err(DeviceError::new(DeviceErrorKind::Busy, context))
}

/// Whether RHX already sends all that is wanted, as after a new connection to one that was set up before. What it may send
/// besides shows in the first block.
pub(super) fn is_enabled(link: &mut CommandLink, plan: &Plan) -> Result<bool, DeviceError> {
    for channel in &plan.channels {
        if !link.is(&format!("{channel}.TCPDataOutputEnabled"), "True")? {
            return Ok(false);
        }
    }
    Ok(!plan.layout.digital || link.is("DIGITAL-IN-01.TCPDataOutputEnabled", "True")?)
}

/// Chooses what is sent, reads all of it back, and asks for one data block per write.
pub(super) fn enable(link: &mut CommandLink, plan: &Plan) -> Result<(), DeviceError> {
    link.send("execute ClearAllDataOutputs")?;
    for channel in &plan.channels {
        link.send(&format!("set {channel}.TCPDataOutputEnabled true"))?;
    }
    if plan.layout.digital {
        link.send("set DIGITAL-IN-01.TCPDataOutputEnabled true")?;
    }
    for channel in &plan.channels {
        link.confirm(&format!("{channel}.TCPDataOutputEnabled"), "True")?;
    }
    if plan.layout.digital {
        link.confirm("DIGITAL-IN-01.TCPDataOutputEnabled", "True")?;
    }
    link.set("TCPNumberDataBlocksPerWrite", "1")
}

/// Starts the controller unless it runs already; says whether it did. A run or recording that somebody else started is
/// never touched.
pub(super) fn start(link: &mut CommandLink, mode: RunMode) -> Result<bool, DeviceError> {
    let now = link.get("RunMode")?;
    if now.eq_ignore_ascii_case("run") || now.eq_ignore_ascii_case("record") {
        return Ok(false);
    }
    link.set("RunMode", mode.word()).map(|()| true)
}
