//! Watches the command socket, and gets a new one once RHX offers it again.
//!
//! On a thread of its own: connecting may take seconds, and neither the reader nor the thread that polls has them to spare.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use mimicd_device::DeviceError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::RhxOptions;
use super::command::{CommandLink, io};
use super::monitor::RhxMonitor;
use super::source::connect_command;

/// The thread looks at its stop flag at least this often.
const POLL_NANOS: i64 = 50_000_000;
/// How often a lost command socket is asked for.
const RETRY: Duration = Duration::from_secs(1);

/// The source's end.
pub(super) struct Keeper {
    found: Arc<ArrayQueue<CommandLink>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Begins to watch `link`.
    ///
    /// # Errors
    /// `Io` when the system gives no descriptor or no thread.
    pub(super) fn start(
        options: &RhxOptions,
        link: &CommandLink,
        monitor: &Arc<RhxMonitor>,
    ) -> Result<Self, DeviceError> {
        let (found, stop) = (Arc::new(ArrayQueue::new(1)), Arc::<AtomicBool>::default());
        let watch = Watch {
            socket: Some(link.watch()?),
            options: options.clone(),
            found: Arc::clone(&found),
            stop: Arc::clone(&stop),
            monitor: Arc::clone(monitor),
        };
        let thread = std::thread::Builder::new().name("rhx-commands".to_owned()).spawn(move || watch.run());
        let wrong = |error| io(&options.host, "starting the thread that watches the command socket", &error);
        Ok(Self { found, stop, thread: Some(thread.map_err(wrong)?) })
    }

    /// A new command socket in place of the lost one, once.
    pub(super) fn take(&self) -> Option<CommandLink> {
        self.found.pop()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked watches nothing any more; there is nothing else to stop.
            thread.join().ok();
        }
    }
}

struct Watch {
    socket: Option<TcpStream>,
    options: RhxOptions,
    found: Arc<ArrayQueue<CommandLink>>,
    stop: Arc<AtomicBool>,
    monitor: Arc<RhxMonitor>,
}

impl Watch {
    fn run(mut self) {
        let mut tried = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            match &self.socket {
                Some(socket) if is_closed(socket) => {
                    self.socket = None;
                    self.monitor.command_lost.store(true, Ordering::Release);
                    tried = Instant::now();
                }
                Some(_) => {}
                None if tried.elapsed() < RETRY => std::thread::sleep(Duration::from_nanos(POLL_NANOS as u64)),
                None => {
                    self.connect();
                    tried = Instant::now();
                }
            }
        }
    }

    /// A connection counts when RHX answers on it: the system may have taken it in without RHX.
    fn connect(&mut self) {
        let Ok(mut link) = connect_command(&self.options) else { return };
        if let (Ok(_), Ok(socket)) = (link.get("Version"), link.watch()) {
            self.socket = Some(socket);
            self.found.force_push(link);
            self.monitor.command_lost.store(false, Ordering::Release);
        }
    }
}

/// Whether the peer has closed `socket`; looks for a while.
fn is_closed(socket: &TcpStream) -> bool {
    let timeout = Timespec { tv_sec: 0, tv_nsec: POLL_NANOS };
    let mut descriptors = [PollFd::new(socket, PollFlags::RDHUP)];
    poll(&mut descriptors, Some(&timeout)).ok();
    descriptors[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}
