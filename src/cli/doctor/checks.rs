//! The checks: what is so, what it costs, and the command that mends it.

use std::fmt;

use super::machine::Machine;
use crate::config::{CameraBackend, Config, Provider, VideoCodec};

/// Receive buffer that holds 100 ms of six 1.4-megapixel cameras at 50 Hz and does not overflow while a thread waits.
const SOCKET_BYTES_MIN: u64 = 32 << 20;
/// USB3 Vision transfers of six cameras in flight; the kernel's default of 16 MB holds less than two images of each.
const USB_MEMORY_MIB_MIN: u64 = 512;
/// What the daemon's threads ask for (`src/pipeline/threads.rs`).
const PRIORITY_MIN: u64 = 52;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Note,
    Bad,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    remedy: String,
}

impl Finding {
    pub(super) fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, detail: detail.into(), remedy: String::new() }
    }

    pub(super) fn note(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Note, detail: detail.into(), remedy: remedy.into() }
    }

    pub(super) fn bad(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Bad, detail: detail.into(), remedy: remedy.into() }
    }

    pub(super) fn is_bad(&self) -> bool {
        self.verdict == Verdict::Bad
    }

    pub(super) fn is_note(&self) -> bool {
        self.verdict == Verdict::Note
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Good => "good",
            Verdict::Note => "note",
            Verdict::Bad => "MEND",
        };
        write!(f, "{word}  {:<14} {}", self.name, self.detail)?;
        if !self.remedy.is_empty() {
            write!(f, "\n      {:<14} {}", "", self.remedy)?;
        }
        Ok(())
    }
}

/// Every check but that of the disk.
pub(super) fn all(machine: &Machine, config: Option<&Config>) -> Vec<Finding> {
    vec![
        nodes(machine, "cameras", "/sys/class/video4linux", "video", "video"),
        nodes(machine, "serial ports", "/sys/class/tty", "ttyACM", "dialout"),
        real_time(machine),
        locked_memory(machine),
        usb_power(machine),
        usb_memory(machine, config),
        governor(machine),
        clock_source(machine),
        socket_buffers(machine, config),
        jumbo_frames(machine, config),
        gpu(machine, config),
        video_programs(machine, config),
    ]
}

fn nodes(machine: &Machine, name: &'static str, class: &str, prefix: &str, group: &str) -> Finding {
    let names: Vec<String> = machine.names(class).into_iter().filter(|name| name.starts_with(prefix)).collect();
    let closed: Vec<&String> = names.iter().filter(|name| !machine.may_use(&format!("/dev/{name}"))).collect();
    if names.is_empty() {
        return Finding::note(name, format!("no /dev/{prefix}* is there"), "");
    }
    if closed.is_empty() {
        return Finding::good(name, format!("{} may be used", names.join(", ")));
    }
    let closed: Vec<&str> = closed.into_iter().map(String::as_str).collect();
    Finding::bad(
        name,
        format!("this user may not open {}", closed.join(", ")),
        format!("sudo usermod -aG {group} $USER   (then log in again; the service's user: systemd/mimicd.sysusers)"),
    )
}

fn real_time(machine: &Machine) -> Finding {
    if machine.real_time {
        return Finding::good("real time", "SCHED_FIFO is granted");
    }
    let limit = machine.priority_max.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let remedy = if machine.priority_max.is_none_or(|limit| limit >= PRIORITY_MIN) {
        "the limit is high enough and the kernel still refuses: look at sched_rt_runtime_us and the container's cpu.rt_runtime_us"
    } else {
        "echo '@video - rtprio 80' | sudo tee -a /etc/security/limits.d/mimicd.conf   (then log in again; the service has LimitRTPRIO=80)"
    };
    Finding::bad(
        "real time",
        format!("SCHED_FIFO is refused (rtprio limit {limit}): other programs delay frames"),
        remedy,
    )
}

fn locked_memory(machine: &Machine) -> Finding {
    match machine.locked_bytes_max {
        None => Finding::good("locked memory", "no limit"),
        Some(limit) => Finding::bad(
            "locked memory",
            format!("{} MB may be locked: pages may be swapped out under the loop", limit >> 20),
            "echo '@video - memlock unlimited' | sudo tee -a /etc/security/limits.d/mimicd.conf   (the service has LimitMEMLOCK=infinity)",
        ),
    }
}

/// Interfaces of USB devices that deliver all the time: video, USB3 Vision, serial.
fn delivers(machine: &Machine, interface: &str) -> bool {
    let field = |name: &str| machine.text(&format!("/sys/bus/usb/devices/{interface}/{name}")).unwrap_or_default();
    match field("bInterfaceClass").as_str() {
        "0e" | "02" | "0a" => true,
        "ef" => field("bInterfaceSubClass") == "05",
        _ => false,
    }
}

fn usb_power(machine: &Machine) -> Finding {
    let interfaces = machine.names("/sys/bus/usb/devices").into_iter().filter(|name| name.contains(':'));
    let mut devices: Vec<String> = interfaces
        .filter(|interface| delivers(machine, interface))
        .filter_map(|interface| interface.split(':').next().map(str::to_owned))
        .collect();
    devices.dedup();
    let control = |device: &String| machine.text(&format!("/sys/bus/usb/devices/{device}/power/control"));
    let asleep: Vec<&str> =
        devices.iter().filter(|device| control(device).as_deref() == Some("auto")).map(String::as_str).collect();
    if devices.is_empty() {
        return Finding::note("USB power", "no camera or board on USB", "");
    }
    if asleep.is_empty() {
        return Finding::good("USB power", format!("{} devices stay awake", devices.len()));
    }
    Finding::bad(
        "USB power",
        format!("{} may be suspended: a camera that wakes loses frames", asleep.join(", ")),
        "sudo cp systemd/80-mimicd.rules /etc/udev/rules.d/ && sudo udevadm control --reload && sudo udevadm trigger",
    )
}

fn usb_memory(machine: &Machine, config: Option<&Config>) -> Finding {
    let name = "USB memory";
    let wanted = config.is_some_and(|config| uses(config, CameraBackend::Genicam));
    match machine.number("/sys/module/usbcore/parameters/usbfs_memory_mb") {
        None => Finding::note(name, "this kernel has no USB", ""),
        Some(mib) if mib == 0 || mib >= USB_MEMORY_MIB_MIN => Finding::good(name, format!("{mib} MB for transfers")),
        Some(mib) => {
            let detail = format!("{mib} MB for transfers, less than a few USB3 Vision cameras take");
            let remedy = "echo 1000 | sudo tee /sys/module/usbcore/parameters/usbfs_memory_mb   (for good: usbcore.usbfs_memory_mb=1000 on the kernel's command line)";
            if wanted { Finding::bad(name, detail, remedy) } else { Finding::note(name, detail, remedy) }
        }
    }
}

fn governor(machine: &Machine) -> Finding {
    let cpus = machine.names("/sys/devices/system/cpu");
    let is_cpu = |name: &&String| name.strip_prefix("cpu").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let governor = |name: &String| machine.text(&format!("/sys/devices/system/cpu/{name}/cpufreq/scaling_governor"));
    let governors: Vec<String> = cpus.iter().filter(is_cpu).filter_map(governor).collect();
    if governors.is_empty() {
        return Finding::good("CPU frequency", "no governor (a virtual machine, or fixed by firmware)");
    }
    match governors.iter().find(|governor| *governor != "performance") {
        None => Finding::good("CPU frequency", format!("performance on {} CPUs", governors.len())),
        Some(other) => Finding::bad(
            "CPU frequency",
            format!("governor {other:?}: the clock falls between frames and the loop's tail grows"),
            "sudo cpupower frequency-set -g performance",
        ),
    }
}

fn clock_source(machine: &Machine) -> Finding {
    match machine.text("/sys/devices/system/clocksource/clocksource0/current_clocksource") {
        Some(source) if ["tsc", "kvm-clock", "arch_sys_counter"].contains(&source.as_str()) => {
            Finding::good("clock", source)
        }
        Some(source) => Finding::note(
            "clock",
            format!("{source}: reading it costs a system call or more"),
            "clocksource=tsc tsc=reliable on the kernel's command line, if the processor's TSC is sound",
        ),
        None => Finding::note("clock", "the kernel does not say which clock it uses", ""),
    }
}

fn socket_buffers(machine: &Machine, config: Option<&Config>) -> Finding {
    let name = "socket buffers";
    let wanted = config.is_none_or(|config| uses(config, CameraBackend::Genicam));
    match machine.number("/proc/sys/net/core/rmem_max") {
        Some(bytes) if bytes >= SOCKET_BYTES_MIN => Finding::good(name, format!("rmem_max {} MB", bytes >> 20)),
        Some(bytes) => {
            let detail = format!("rmem_max {} kB: GigE Vision cameras lose packets in bursts", bytes >> 10);
            let remedy = format!(
                "echo net.core.rmem_max={SOCKET_BYTES_MIN} | sudo tee /etc/sysctl.d/60-mimicd.conf && sudo sysctl --system"
            );
            if wanted { Finding::bad(name, detail, remedy) } else { Finding::note(name, detail, remedy) }
        }
        None => Finding::note(name, "rmem_max cannot be read", ""),
    }
}

fn jumbo_frames(machine: &Machine, config: Option<&Config>) -> Finding {
    let name = "network";
    let is_wired = |link: &String| {
        machine.exists(&format!("/sys/class/net/{link}/device"))
            && !machine.exists(&format!("/sys/class/net/{link}/wireless"))
    };
    let links = machine.names("/sys/class/net").into_iter().filter(is_wired);
    let mtu = |link: String| Some((machine.number(&format!("/sys/class/net/{link}/mtu"))?, link));
    let links: Vec<(u64, String)> = links.filter_map(mtu).collect();
    let shown: Vec<String> = links.iter().map(|(mtu, link)| format!("{link} {mtu}")).collect();
    let wanted = config.is_some_and(|config| uses(config, CameraBackend::Genicam));
    match links.iter().find(|(mtu, _)| *mtu < 9_000) {
        Some((_, link)) if wanted => Finding::note(
            name,
            format!("packets of at most {}: four to six times the interrupts of jumbo packets", shown.join(", ")),
            format!("sudo ip link set {link} mtu 9000   (the link to the cameras; switch and cameras must allow it)"),
        ),
        _ => Finding::good(name, if shown.is_empty() { "no wired link".to_owned() } else { shown.join(", ") }),
    }
}

fn gpu(machine: &Machine, config: Option<&Config>) -> Finding {
    let there = machine.exists("/proc/driver/nvidia/version");
    let wants_network = config.is_some_and(|config| config.pose.provider != Provider::Cpu);
    let wants_encoder = config.is_some_and(|config| config.record.video == VideoCodec::Nvenc);
    match (there, wants_network || wants_encoder) {
        (true, _) if !machine.may_use("/dev/nvidia0") => Finding::bad(
            "GPU",
            "an NVIDIA driver is loaded, but this user may not open /dev/nvidia0",
            "sudo usermod -aG video,render $USER   (then log in again)",
        ),
        (true, _) => Finding::good("GPU", "an NVIDIA driver is loaded and may be used"),
        (false, true) => Finding::bad(
            "GPU",
            "the config asks for one (pose.provider or record.video) and no NVIDIA driver is loaded",
            "install the driver (Debian: sudo apt-get install nvidia-driver), or set pose.provider = \"cpu\" and record.video = \"x264\"",
        ),
        (false, false) => Finding::note("GPU", "none: networks and video run on the CPU", ""),
    }
}

fn video_programs(machine: &Machine, config: Option<&Config>) -> Finding {
    let defaults = ("ffmpeg".to_owned(), "ffprobe".to_owned());
    let (encoder, prober) = config.map_or(defaults, |c| (c.record.ffmpeg.clone(), c.record.ffprobe.clone()));
    let missing: Vec<String> =
        [encoder, prober].into_iter().filter(|program| machine.program(program).is_none()).collect();
    if missing.is_empty() {
        return Finding::good("video", "the encoder's programs are there");
    }
    Finding::bad("video", format!("{} not found", missing.join(" and ")), "sudo apt-get install ffmpeg")
}

fn uses(config: &Config, backend: CameraBackend) -> bool {
    config.cameras.iter().any(|camera| camera.backend == backend)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// A folder that looks like a machine; it goes with the value.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("mimicd-doctor-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("inside the root")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
            Self(root)
        }

        fn machine(&self) -> Machine {
            Machine::at(Path::new(&self.0))
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    const CAMERA: &str = "sys/bus/usb/devices/1-2:1.0/bInterfaceClass";

    #[test]
    fn a_camera_that_may_sleep_is_to_be_mended_and_one_that_may_not_is_not() {
        for (name, control, bad) in [("auto", "auto\n", true), ("on", "on\n", false)] {
            let files = [(CAMERA, "0e\n"), ("sys/bus/usb/devices/1-2/power/control", control)];
            let finding = usb_power(&Root::new(name, &files).machine());
            assert_eq!(finding.is_bad(), bad, "{finding}");
            assert_eq!(finding.remedy.contains("80-mimicd.rules"), bad);
        }
        let keyboard = [(CAMERA, "03\n"), ("sys/bus/usb/devices/1-2/power/control", "auto\n")];
        assert!(!usb_power(&Root::new("keyboard", &keyboard).machine()).is_bad(), "a keyboard may sleep");
    }

    #[test]
    fn one_slow_cpu_is_enough() {
        let governor = |cpu: u32| format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        let (first, second) = (governor(0), governor(1));
        let mixed = Root::new("mixed", &[(&first, "performance\n"), (&second, "powersave\n")]);
        assert!(super::governor(&mixed.machine()).is_bad());
        let fast = Root::new("fast", &[(&first, "performance\n"), (&second, "performance\n")]);
        assert!(!super::governor(&fast.machine()).is_bad());
    }

    #[test]
    fn small_socket_buffers_are_named_with_the_command() {
        let small = Root::new("small", &[("proc/sys/net/core/rmem_max", "212992\n")]);
        let finding = socket_buffers(&small.machine(), None);
        assert!(finding.is_bad() && finding.remedy.contains("net.core.rmem_max=33554432"), "{finding}");
        let large = Root::new("large", &[("proc/sys/net/core/rmem_max", "67108864\n")]);
        assert!(!socket_buffers(&large.machine(), None).is_bad());
    }

    #[test]
    fn refused_limits_are_named_with_the_command() {
        let root = Root::new("limits", &[("etc/hostname", "rig\n")]);
        let strict =
            Machine { priority_max: Some(0), locked_bytes_max: Some(8 << 20), real_time: false, ..root.machine() };
        let finding = real_time(&strict);
        assert!(finding.is_bad() && finding.remedy.contains("rtprio"), "{finding}");
        let finding = locked_memory(&strict);
        assert!(finding.is_bad() && finding.detail.starts_with("8 MB"), "{finding}");
        let odd = Machine { real_time: false, ..root.machine() };
        assert!(real_time(&odd).remedy.contains("kernel still refuses"), "a limit that is not the cause is not blamed");
    }

    #[test]
    fn nodes_that_are_closed_are_named() {
        let files = [("sys/class/video4linux/video0/name", "cam\n"), ("dev/video0", "")];
        let root = Root::new("open", &files);
        assert!(!nodes(&root.machine(), "cameras", "/sys/class/video4linux", "video", "video").is_bad());
        let gone = Root::new("gone", &files[..1]);
        let finding = nodes(&gone.machine(), "cameras", "/sys/class/video4linux", "video", "video");
        assert!(
            finding.is_bad() && finding.detail.contains("video0") && finding.remedy.contains("-aG video"),
            "{finding}"
        );
    }
}
