//! Where commands are handed in and the rig's standing is read: the only thing panel and supervisor share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::EventLog;
use super::events::unix_millis;
use crate::pipeline::{Command, PreflightReport, RigState, SealSummary, StartRequest};

/// Orders that may wait while the supervisor is busy; the next is refused.
const ORDERS_MAX: usize = 16;

/// Audit lines that may wait for the supervisor; a flood of refusals is cut here.
const AUDITS_MAX: usize = 256;

/// How long a caller waits for an acknowledgement at most (sealing a long recording is the slowest command).
pub const ACKNOWLEDGE_TIME_MAX: Duration = Duration::from_secs(120);

/// Who gave a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// `operator`, `button`, `signal` or `supervisor`.
    pub role: &'static str,
    /// Network address, or the name of the button or signal.
    pub from: String,
}

/// Answer to a command: what was done, and where the rig stands now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Acknowledgement {
    /// The command's word.
    pub command: String,
    /// Whether it was done.
    pub accepted: bool,
    /// The state afterwards.
    pub state: RigState,
    /// What was done, or why not and what to do about it.
    pub message: String,
    /// Name of the recording concerned, if any.
    pub recording: Option<String>,
    /// What pre-flight found, after `arm` (or a `start` that armed first).
    pub preflight: Option<PreflightReport>,
    /// What sealing found, after `stop`.
    pub sealed: Option<SealSummary>,
}

/// A command on its way to the supervisor.
#[derive(Debug)]
pub struct Order {
    /// What to do.
    pub command: Command,
    /// Who asks.
    pub caller: Caller,
    /// Where the acknowledgement goes.
    pub reply: oneshot::Sender<Acknowledgement>,
}

/// Why a command was not even taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// Too many commands wait already.
    #[error("{ORDERS_MAX} commands wait already: try again in a second")]
    Full,
    /// The supervisor has ended.
    #[error("the daemon is shutting down")]
    Closed,
    /// No acknowledgement came in time; the command may still be done.
    #[error("no acknowledgement within {} s: look at the state", ACKNOWLEDGE_TIME_MAX.as_secs())]
    Late,
}

/// Where the rig stands.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Standing {
    /// The state.
    pub state: RigState,
    /// Since when, in milliseconds since 1970 (UTC).
    pub since_unix_millis: u64,
    /// Grows with each change of this structure.
    pub revision: u64,
    /// Metadata of the recording in progress.
    pub request: Option<StartRequest>,
    /// Name of the recording in progress.
    pub recording: Option<String>,
    /// The last pre-flight report.
    pub preflight: Option<PreflightReport>,
    /// The last sealed recording.
    pub sealed: Option<SealSummary>,
    /// Why the rig is faulted.
    pub fault: Option<String>,
    /// The running program's version.
    pub version: String,
}

/// The desk: orders in, standing and events out.
#[derive(Debug)]
pub struct Desk {
    orders: Sender<Order>,
    audits: (Sender<String>, Receiver<String>),
    standing: Mutex<Standing>,
    /// The event log.
    pub events: EventLog,
}

impl Desk {
    /// A desk and the supervisor's end of it.
    pub fn new() -> (Arc<Self>, Receiver<Order>) {
        let (orders, receiver) = bounded(ORDERS_MAX);
        let standing = Standing {
            since_unix_millis: unix_millis(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Standing::default()
        };
        (
            Arc::new(Self {
                orders,
                audits: bounded(AUDITS_MAX),
                standing: Mutex::new(standing),
                events: EventLog::default(),
            }),
            receiver,
        )
    }

    /// Hands in a command and waits for its acknowledgement.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub async fn submit(&self, command: Command, caller: Caller) -> Result<Acknowledgement, DeskError> {
        let (reply, answer) = oneshot::channel();
        match self.orders.try_send(Order { command, caller, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(DeskError::Full),
            Err(TrySendError::Disconnected(_)) => return Err(DeskError::Closed),
        }
        match tokio::time::timeout(ACKNOWLEDGE_TIME_MAX, answer).await {
            Ok(Ok(acknowledgement)) => Ok(acknowledgement),
            Ok(Err(_)) => Err(DeskError::Closed),
            Err(_) => Err(DeskError::Late),
        }
    }

    /// Leaves a line (JSON) for the audit log of the recording in progress; given up if too many wait.
    pub fn audit(&self, line: String) {
        // The refusal is counted by the gate; a lost line is the price of a flood.
        let _ = self.audits.0.try_send(line);
    }

    /// The audit lines that wait (supervisor only).
    pub fn audits(&self) -> impl Iterator<Item = String> + '_ {
        self.audits.1.try_iter()
    }

    /// Where the rig stands.
    pub fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the standing (supervisor only); a changed state gets its time.
    pub fn update(&self, change: impl FnOnce(&mut Standing)) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = standing.state;
        change(&mut standing);
        standing.revision += 1;
        if standing.state != before {
            standing.since_unix_millis = unix_millis();
        }
    }
}
