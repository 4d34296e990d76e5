//! `mimicd run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use clap::Args;

use crate::config::Config;
use crate::panel::{Desk, Library, Panel};
use crate::pipeline::RigHost;
use crate::record::{recover, unfinished};
use crate::supervisor::{Marker, Shutdown, Supervisor, SupervisorOptions, on_signals, watchdog};

/// Options of `mimicd run`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The config file.
    #[arg(long)]
    config: PathBuf,
}

/// Makes every recording whole whose daemon died, beside the work, except the one that the supervisor goes on with.
fn recover_the_others(recordings: PathBuf, interrupted: Option<String>) -> Result<()> {
    let work = move || {
        let is_other =
            |folder: &PathBuf| folder.file_name().map(|name| name.to_string_lossy().into_owned()) != interrupted;
        for folder in unfinished(&recordings).into_iter().filter(is_other) {
            match recover(&folder) {
                Ok(report) => tracing::warn!("an interrupted recording is valid again\n{report}"),
                Err(error) => tracing::error!("{}: not recovered: {error}", folder.display()),
            }
        }
    };
    // It runs on when the daemon ends: recovery may be cut short at any instant and done again.
    std::thread::Builder::new().name("recover".to_owned()).spawn(work)?;
    Ok(())
}

/// Runs until a signal asks for the end; a recording in progress is sealed first.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let config = Config::load(&options.config).map_err(|errors| anyhow!("{errors}"))?;
    let name = config.rig.name.clone();
    let panel_config = config.panel.clone();
    let state_folder = Some(config.panel.state_folder.clone()).filter(|folder| !folder.as_os_str().is_empty());
    let interrupted = state_folder.as_deref().and_then(Marker::read).map(|marker| marker.name);
    recover_the_others(config.record.folder.clone(), interrupted)?;
    let library = Library::new(config.record.folder.clone());
    let rig = RigHost::new(config)?;
    let view = rig.view();
    let (desk, orders) = Desk::new();
    let panel = Panel::open(&panel_config, view.clone(), Arc::clone(&desk), library)?;
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
