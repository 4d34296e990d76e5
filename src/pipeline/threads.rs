//! The threaded runner: one named thread for each edge, the loop and the spikes, with real-time priority where allowed.
//!
//! A system that refuses the priorities leaves the rig working and *degraded*, by name.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use mimicd_device::{DeviceError, HostTime, Span};

use super::array_edge::ArrayEdge;
use super::assembly::{Assembly, Controls};
use super::board_edge::BoardEdge;
use super::camera_edge::CameraEdge;
use super::closed_loop::ClosedLoop;
use super::encode_worker::EncodeWorker;
use super::priority::{BOARD_PRIORITY, EDGE_PRIORITY, LOOP_PRIORITY, SPIKE_PRIORITY, promote};
use super::shared::Shared;
use super::spike_worker::SpikeWorker;
use crate::clock::host_now;
use crate::stream::Doorbell;
use crate::telemetry::memory;

/// Name of the loop's thread.
pub(super) const LOOP_THREAD: &str = "loop";
/// The thread of detection and sorting.
pub(super) const SPIKE_THREAD: &str = "spikes";

/// The longest sleep of a thread: how soon it sees that it is to end.
const WAIT_MAX: Span = Span::from_millis(20);

/// What every thread looks at.
struct Running {
    quit: AtomicBool,
    real_time_wanted: bool,
    real_time_refused: AtomicU64,
}

/// Threads that run; joined on drop.
pub struct Threads {
    handles: Vec<JoinHandle<()>>,
    running: Arc<Running>,
    bells: [Arc<Doorbell>; 2],
    /// Ways to tell each thread something.
    pub controls: Controls,
    /// What they share.
    pub shared: Arc<Shared>,
}

/// Why threads could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A device could not be started.
    #[error("{name}: {error}")]
    Device {
        /// Which.
        name: String,
        /// What it said.
        error: DeviceError,
    },
    /// The system refused a thread.
    #[error("thread {name}: {error}")]
    Thread {
        /// Which.
        name: String,
        /// What the system said.
        error: io::Error,
    },
}

/// An edge as the runner sees it.
trait Edge: Send + 'static {
    fn pass(&mut self, now: HostTime) -> bool;
    fn wait(&mut self, until: HostTime);
    fn stop(&mut self);
}

macro_rules! edge {
    ($name:ident, $stop:expr) => {
        impl Edge for $name {
            fn pass(&mut self, now: HostTime) -> bool {
                $name::pass(self, now)
            }
            fn wait(&mut self, until: HostTime) {
                $name::wait(self, until);
            }
            fn stop(&mut self) {
                let stop: fn(&mut Self) = $stop;
                stop(self);
            }
        }
    };
}

edge!(CameraEdge, CameraEdge::stop);
edge!(ArrayEdge, ArrayEdge::stop);
edge!(BoardEdge, |_| ());

impl Threads {
    /// Starts the devices and one thread for each part of `assembly`.
    ///
    /// # Errors
    /// A device that does not start, a thread that the system refuses; what had been started is stopped.
    pub fn start(mut assembly: Assembly, names: &[String], real_time: bool) -> Result<Self, StartError> {
        start_devices(&mut assembly, real_time)?;
        let running = Arc::new(Running {
            quit: AtomicBool::new(false),
            real_time_wanted: real_time,
            real_time_refused: AtomicU64::new(0),
        });
        if real_time && memory::lock().is_err() {
            running.real_time_refused.fetch_add(1, Ordering::Relaxed);
        }
        let mut threads = Self {
            handles: Vec::new(),
            running,
            bells: [assembly.loop_bell, assembly.spike_bell],
            controls: assembly.controls,
            shared: assembly.shared,
        };
        let mut names = names.iter();
        let mut name = |role: &str| format!("{role}-{}", names.next().map_or("x", String::as_str));
        for camera in assembly.cameras {
            threads.spawn_edge(name("cam"), EDGE_PRIORITY, camera)?;
        }
        for array in assembly.arrays {
            threads.spawn_edge(name("array"), EDGE_PRIORITY, array)?;
        }
        threads.spawn_edge("board".to_owned(), BOARD_PRIORITY, assembly.board)?;
        threads.spawn_loop(assembly.closed_loop)?;
        threads.spawn_spikes(assembly.spikes)?;
        if let Some(encode) = assembly.encode {
            threads.spawn_encode(encode)?;
        }
        Ok(threads)
    }

    /// Threads and locks that the system refused real-time privileges for.
    pub fn real_time_refused(&self) -> u64 {
        self.running.real_time_refused.load(Ordering::Relaxed) + u64::from(memory::lock_is_lost())
    }

    /// Whether a thread has ended by itself, which only a panic does.
    pub fn any_ended(&self) -> Option<&str> {
        let ended = self.handles.iter().find(|handle| handle.is_finished());
        ended.map(|handle| handle.thread().name().unwrap_or("?"))
    }

    fn spawn_edge(&mut self, name: String, priority: u8, mut edge: impl Edge) -> Result<(), StartError> {
        self.spawn(name, priority, move |running| {
            while !running.quit.load(Ordering::Acquire) {
                let now = host_now();
                if !edge.pass(now) {
                    edge.wait(now + WAIT_MAX);
                }
            }
            edge.stop();
        })
    }

    fn spawn_loop(&mut self, mut closed_loop: ClosedLoop) -> Result<(), StartError> {
        let bell = Arc::clone(&self.bells[0]);
        self.spawn(LOOP_THREAD.to_owned(), LOOP_PRIORITY, move |running| {
            bell.listen();
            while !running.quit.load(Ordering::Acquire) {
                let now = host_now();
                if !closed_loop.pass(now) {
                    let until = closed_loop.deadline().map_or(WAIT_MAX, |at| at - now);
                    bell.wait(until.to_duration().min(WAIT_MAX.to_duration()));
                }
            }
        })
    }

    fn spawn_spikes(&mut self, mut worker: SpikeWorker) -> Result<(), StartError> {
        let bell = Arc::clone(&self.bells[1]);
        self.spawn(SPIKE_THREAD.to_owned(), SPIKE_PRIORITY, move |running| {
            bell.listen();
            while !running.quit.load(Ordering::Acquire) {
                if !worker.pass(host_now()) {
                    bell.wait(Duration::from_millis(20));
                }
            }
        })
    }

    /// A service thread: no real-time priority, a bin's time between looks.
    fn spawn_encode(&mut self, mut worker: EncodeWorker) -> Result<(), StartError> {
        let running = Arc::clone(&self.running);
        let run = move || {
            while !running.quit.load(Ordering::Acquire) {
                worker.pass(host_now());
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        let name = "encode".to_owned();
        let handle =
            Builder::new().name(name.clone()).spawn(run).map_err(|error| StartError::Thread { name, error })?;
        self.handles.push(handle);
        Ok(())
    }

    fn spawn(
        &mut self,
        name: String,
        priority: u8,
        body: impl FnOnce(&Running) + Send + 'static,
    ) -> Result<(), StartError> {
        let running = Arc::clone(&self.running);
        let run = move || {
            if running.real_time_wanted && promote(priority).is_err() {
                running.real_time_refused.fetch_add(1, Ordering::Relaxed);
            }
            body(&running);
        };
        let handle =
            Builder::new().name(name.clone()).spawn(run).map_err(|error| StartError::Thread { name, error })?;
        self.handles.push(handle);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.running.quit.store(true, Ordering::Release);
        self.bells.iter().for_each(|bell| bell.ring());
        for handle in self.handles.drain(..) {
            // A thread that panicked has been reported by `any_ended`.
            handle.join().ok();
        }
    }
}

/// Threads that arrays start of their own (the reader of a socket) inherit the priority of the thread that starts them, so
/// arrays are started from one that has an edge's.
fn start_devices(assembly: &mut Assembly, real_time: bool) -> Result<(), StartError> {
    let info = &assembly.info;
    for (camera, about) in assembly.cameras.iter_mut().zip(&info.cameras) {
        let name = format!("camera.{}", about.name);
        camera.start().map_err(|error| StartError::Device { name, error })?;
    }
    let arrays = &mut assembly.arrays;
    let start = || {
        if real_time {
            // Refused: the edges are refused as well, and they count it.
            promote(EDGE_PRIORITY).ok();
        }
        for (array, about) in arrays.iter_mut().zip(&info.arrays) {
            let name = format!("array.{}", about.name);
            array.start().map_err(|error| StartError::Device { name, error })?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let name = "start-arrays".to_owned();
        let starter = Builder::new().name(name.clone()).spawn_scoped(scope, start);
        let ended = starter.map_err(|error| StartError::Thread { name: name.clone(), error })?.join();
        ended.unwrap_or_else(|_| Err(StartError::Thread { name, error: std::io::Error::other("it panicked") }))
    })
}
