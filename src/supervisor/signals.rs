//! SIGTERM and SIGINT as a flag that the supervisor looks at.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// Asked to end? Shared by whoever may ask.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<AtomicBool>);

impl Shutdown {
    /// Asks the daemon to end.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether someone asked.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Requests `shutdown` on the first SIGTERM or SIGINT. The recording is then sealed before the process ends, so a second
/// signal changes nothing; SIGKILL is what `mimicd recover` is for.
///
/// # Errors
/// The operating system refuses signal handlers or a thread.
pub fn on_signals(shutdown: Shutdown) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _context = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!("{name}: sealing and ending");
                shutdown.request();
            }
        });
    })?;
    Ok(())
}
