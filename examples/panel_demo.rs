//! The page on a rig made of formulas, to look at and to test: `cargo run --example panel_demo [PORT]`.

#[path = "../tests/fake_rig/mod.rs"]
mod fake_rig;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mimicd::config::PanelConfig;
use mimicd::panel::{Desk, Library, Panel};
use mimicd::supervisor::{Shutdown, Supervisor, SupervisorOptions, on_signals, watchdog};

fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(7_118), |text| text.parse())?;
    let config = PanelConfig { ip_port: ([127, 0, 0, 1], port).into(), ..PanelConfig::default() };
    let (rig, view, levers) = fake_rig::fake_rig();
    levers.camera_lost.store(std::env::args().any(|word| word == "--lost"), Ordering::Relaxed);
    let (desk, orders) = Desk::new();
    let panel = Panel::open(&config, view.clone(), desk.clone(), Library::new("recordings".into()))?;
    println!("{}", panel.url());
    let shutdown = Shutdown::default();
    on_signals(shutdown.clone())?;
    let pulse = Arc::new(watchdog::Pulse::default());
    let dog = watchdog::spawn(view.clone(), desk.clone(), pulse.clone(), shutdown.clone())?;
    let options = SupervisorOptions { rig_name: "demo-rig".into(), state_folder: None };
    Supervisor::new(rig, view, desk, orders, options, pulse.clone()).run(&shutdown);
    pulse.end();
    drop(panel);
    dog.join().map_err(|_| anyhow::anyhow!("the watchdog thread panicked"))
}
