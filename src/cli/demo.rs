//! `mimicd demo`: the simulated rig through the whole loop, recorded and judged.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Config;
use crate::panel::{Client, Desk, Library, Panel};
use crate::pipeline::{Command, RigHost, StartRequest};
use crate::record;
use crate::supervisor::{Shutdown, Supervisor, SupervisorOptions, on_signals, watchdog};

/// Options of `mimicd demo`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// How long to record.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Keep the panel up after the verdict, until Ctrl-C.
    #[arg(long)]
    stay: bool,
    /// The config; the simulated rig by default.
    #[arg(long, default_value = "configs/twin.toml")]
    config: PathBuf,
    /// Port of the panel; any free one by default.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// Runs daemon, panel and a client that drives them over the API, as an experimenter would.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let mut config = Config::load(&options.config).map_err(|errors| anyhow!("{errors}"))?;
    config.panel.ip_port.set_port(options.port);
    config.panel.state_folder = PathBuf::new();
    let recordings = config.record.folder.clone();
    std::fs::create_dir_all(&recordings).with_context(|| format!("cannot make {}", recordings.display()))?;
    let name = config.rig.name.clone();
    let panel_config = config.panel.clone();
    println!("demo: loading networks, body and policy");
    let rig = RigHost::new(config)?;
    let view = rig.view();
    let (desk, orders) = Desk::new();
    let library = Library::new(recordings.clone());
    let panel = Panel::open(&panel_config, view.clone(), Arc::clone(&desk), library)?;
    println!("demo: panel at {}", panel.url());
    let shutdown = Shutdown::default();
    on_signals(shutdown.clone())?;
    let pulse = Arc::new(watchdog::Pulse::default());
    let supervisor_options = SupervisorOptions { rig_name: name, state_folder: None };
    let supervisor = Supervisor::new(Box::new(rig), view, desk, orders, supervisor_options, Arc::clone(&pulse));
    let (client, seconds, stay) = (Client::new(panel.address(), None), options.seconds, options.stay);
    let end = shutdown.clone();
    let driver = std::thread::Builder::new().name("demo".to_owned()).spawn(move || {
        let result = drive(&client, seconds, &end);
        if !stay || result.is_err() {
            end.request();
        }
        result
    })?;
    supervisor.run(&shutdown);
    pulse.end();
    drop(panel);
    let recorded = driver.join().map_err(|_| anyhow!("the demo's client panicked"))??;
    let verdict = judge(&recordings.join(&recorded.name))?;
    if !recorded.whole {
        bail!("{} is sealed and judged above, but shorter than asked", recorded.name);
    }
    Ok(verdict)
}

/// Arms, records, marks and stops.
fn drive(client: &Client, seconds: u32, end: &Shutdown) -> Result<Recorded> {
    order(client, &Command::Arm)?;
    println!("demo: armed; recording {seconds} s");
    let request = StartRequest { subject: "twin".to_owned(), experiment: "demo".to_owned(), ..StartRequest::default() };
    let started = order(client, &Command::Start(request))?;
    let name = find(&started, "recording").context("the acknowledgement names no recording")?;
    let bar = ProgressBar::new(u64::from(seconds));
    bar.set_style(
        ProgressStyle::with_template("demo: {bar:40} {pos}/{len} s").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    for second in 0..seconds {
        if end.requested() {
            break;
        }
        if let Some(cause) = ended_by_itself(client)? {
            bar.finish_and_clear();
            return Ok(cut_short(name, &cause));
        }
        if second == seconds / 2 {
            order(client, &Command::Mark { text: "half time".to_owned() })?;
        }
        std::thread::sleep(Duration::from_secs(1));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !end.requested()
        && let Err(refused) = order(client, &Command::Stop)
    {
        // It was ending by itself at that very moment.
        let cause = ended_by_itself(client)?.ok_or(refused)?;
        return Ok(cut_short(name, &cause));
    }
    Ok(Recorded { name, whole: true })
}

fn cut_short(name: String, cause: &str) -> Recorded {
    println!("demo: the recording ended by itself before its time: {cause}");
    Recorded { name, whole: false }
}

/// What the demo recorded.
struct Recorded {
    name: String,
    /// Whether it lasted as long as was asked.
    whole: bool,
}

/// Why nothing is recorded any more, as the event log tells it; `None` while it is.
fn ended_by_itself(client: &Client) -> Result<Option<String>> {
    let (_, state) = client.state()?;
    if state.pointer("/standing/recording").is_some_and(|recording| !recording.is_null()) {
        return Ok(None);
    }
    let (_, events) = client.events()?;
    let lines = events.as_array().into_iter().flatten();
    let mut errors = lines.filter(|line| line["level"] == "error").filter_map(|line| line["text"].as_str());
    let cause = errors.next_back().map(|text| text.trim_start_matches("stopping the recording: ").to_owned());
    Ok(Some(cause.unwrap_or_else(|| "see the event log".to_owned())))
}

fn order(client: &Client, command: &Command) -> Result<serde_json::Value> {
    let (status, body) = client.command(command)?;
    if status != 200 {
        bail!("{} was refused: {}", command.word(), serde_json::to_string_pretty(&body)?);
    }
    Ok(body)
}

/// The first string under `key`, at any depth.
fn find(value: &serde_json::Value, key: &str) -> Option<String> {
    match value {
        serde_json::Value::Object(map) => {
            let own = map.get(key).and_then(|value| value.as_str()).map(str::to_owned);
            own.or_else(|| map.values().find_map(|value| find(value, key)))
        }
        serde_json::Value::Array(list) => list.iter().find_map(|value| find(value, key)),
        _ => None,
    }
}

fn judge(folder: &std::path::Path) -> Result<ExitCode> {
    let report = record::verify(folder)?;
    println!("{report}");
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
