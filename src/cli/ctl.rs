//! `mimicd ctl`: the command line's end of the API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use crate::panel::Client;
use crate::pipeline::{Command, StartRequest};

/// Options of `mimicd ctl`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The daemon's panel.
    #[arg(long, default_value = "127.0.0.1:7117")]
    address: SocketAddr,
    /// File with the token, where the panel asks for one.
    #[arg(long)]
    token: Option<PathBuf>,
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Print the state.
    Status,
    /// Run the pre-flight checks and start all streams.
    Arm,
    /// Start recording.
    Start {
        /// Who is recorded; becomes part of the folder's name.
        #[arg(long, default_value = "unnamed")]
        subject: String,
        /// What is done.
        #[arg(long, default_value = "")]
        experiment: String,
        /// Who does it.
        #[arg(long, default_value = "")]
        operator: String,
        /// Anything else.
        #[arg(long, default_value = "")]
        notes: String,
    },
    /// Put a mark into the event table.
    Mark {
        /// What happened.
        text: String,
    },
    /// Stop recording and seal.
    Stop,
    /// Stop all streams.
    Disarm,
    /// Let outputs be driven.
    ArmOutputs {
        /// The rig's name, as a confirmation.
        confirm: String,
    },
    /// All outputs to the safe state.
    SafeOutputs,
}

/// Gives the order and prints the acknowledgement.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let token = options.token.as_ref().map(|path| {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .with_context(|| format!("cannot read {}", path.display()))
    });
    let client = Client::new(options.address, token.transpose()?);
    let (status, body) = match command(&options.order) {
        None => client.state()?,
        Some(command) => client.command(&command)?,
    };
    println!("{}", serde_json::to_string_pretty(&body)?);
    Ok(if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn command(order: &Order) -> Option<Command> {
    Some(match order {
        Order::Status => return None,
        Order::Arm => Command::Arm,
        Order::Start { subject, experiment, operator, notes } => Command::Start(StartRequest {
            subject: subject.clone(),
            experiment: experiment.clone(),
            operator: operator.clone(),
            notes: notes.clone(),
            ..StartRequest::default()
        }),
        Order::Mark { text } => Command::Mark { text: text.clone() },
        Order::Stop => Command::Stop,
        Order::Disarm => Command::Disarm,
        Order::ArmOutputs { confirm } => Command::ArmOutputs { confirm: confirm.clone() },
        Order::SafeOutputs => Command::SafeOutputs,
    })
}
