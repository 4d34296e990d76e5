//! `mimicd run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use clap::Args;

use crate::config::Config;
use crate::panel::{Desk, Panel};
use crate::pipeline::RigHost;
use crate::supervisor::{Shutdown, Supervisor, SupervisorOptions, on_signals, watchdog};

/// Options of `mimicd run`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The config file.
    #[arg(long)]
    config: PathBuf,
}

/// Runs until a signal asks for the end; a recording in progress is sealed first.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let config = Config::load(&options.config).map_err(|errors| anyhow!("{errors}"))?;
    let name = config.rig.name.clone();
    let panel_config = config.panel.clone();
    let state_folder = Some(config.panel.state_folder.clone()).filter(|folder| !folder.as_os_str().is_empty());
    let rig = RigHost::new(config)?;
    let view = rig.view();
    let (desk, orders) = Desk::new();
    let panel = Panel::open(&panel_config, view.clone(), Arc::clone(&desk))?;
    println!("mimicd: panel at {}", panel.url());
    let shutdown = Shutdown::default();
    on_signals(shutdown.clone())?;
    let pulse = Arc::new(watchdog::Pulse::default());
    let dog = watchdog::spawn(view.clone(), Arc::clone(&desk), Arc::clone(&pulse), shutdown.clone())?;
    let options = SupervisorOptions { rig_name: name, state_folder };
    Supervisor::new(Box::new(rig), view, desk, orders, options, Arc::clone(&pulse)).run(&shutdown);
    pulse.end();
    drop(panel);
    dog.join().map_err(|_| anyhow!("the watchdog thread panicked"))?;
    Ok(ExitCode::SUCCESS)
}
