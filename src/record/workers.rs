//! Threads that serve one recording after the other.
//!
//! The C library gives every thread an arena, and shrinks it when much at its end is freed. While memory is locked the system
//! does not take these pages (`MADV_DONTNEED` in madvise(2)): the arena has ended before them, `malloc_trim` no longer looks at
//! them, and they stay until the arena grows again. A new thread for every recording would leave tens of megabytes behind in one
//! arena after the other. A thread that waits for the next recording has its own arena still, and fills the same pages again.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

/// Does its work and gives what tells that it is done.
type Job = Box<dyn FnOnce() -> Done + Send>;
type Done = Box<dyn FnOnce()>;

/// A thread that waits.
struct Idle {
    name: &'static str,
    jobs: Sender<Job>,
}

static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<Idle>> {
    // A list that a panic left is whole: nothing panics while it is held.
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work that a thread does.
pub(super) struct Task<T> {
    result: Receiver<thread::Result<T>>,
}

impl<T> Task<T> {
    /// Whether it has ended.
    pub(super) fn is_finished(&self) -> bool {
        !self.result.is_empty()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What it panicked with.
    pub(super) fn join(self) -> thread::Result<T> {
        self.result.recv().unwrap_or_else(|gone| Err(Box::new(gone)))
    }
}

/// Has a thread of this name do `body`: one that waits, or a new one. Threads of a name keep what they have changed about
/// themselves (their priority).
///
/// # Errors
/// The system's, when it refuses a new thread.
pub(super) fn start<T: Send + 'static>(
    name: &'static str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Task<T>> {
    let (tell, result) = bounded(1);
    let job: Job = Box::new(move || -> Done {
        let done = catch_unwind(AssertUnwindSafe(body));
        Box::new(move || {
            tell.send(done).ok(); // Nobody may be waiting.
        })
    });
    let waiting = {
        let mut idle = idle();
        idle.iter().position(|thread| thread.name == name).map(|at| idle.swap_remove(at))
    };
    // One that has died after all gives the job back.
    let left = match waiting {
        Some(thread) => thread.jobs.send(job).err().map(|refused| refused.0),
        None => Some(job),
    };
    if let Some(job) = left {
        serve(name, job)?;
    }
    Ok(Task { result })
}

fn serve(name: &'static str, first: Job) -> io::Result<()> {
    let (jobs, next) = unbounded::<Job>();
    let work = move || {
        let mut job = first;
        loop {
            let done = job();
            // Before it is told: who hears of the end finds the thread waiting.
            idle().push(Idle { name, jobs: jobs.clone() });
            done();
            match next.recv() {
                Ok(more) => job = more,
                Err(_) => return,
            }
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread_of(task: &'static str) -> thread::ThreadId {
        start(task, || thread::current().id()).expect("a thread").join().expect("no panic")
    }

    #[test]
    fn the_next_task_of_a_name_finds_the_thread_of_the_last() {
        let first = thread_of("one-after-the-other");
        assert_eq!(thread_of("one-after-the-other"), first);
        assert_ne!(thread_of("another-name"), first);
    }

    #[test]
    fn tasks_at_the_same_time_have_a_thread_each() {
        let (go, wait) = bounded::<()>(0);
        let both = [(); 2].map(|()| {
            let wait = wait.clone();
            let work = move || wait.recv().map(|()| thread::current().id());
            start("side-by-side", work).expect("a thread")
        });
        (0..2).for_each(|_| go.send(()).expect("both wait"));
        let [one, other] = both.map(|task| task.join().expect("no panic").expect("told to go"));
        assert_ne!(one, other);
    }

    #[test]
    fn a_panic_is_told_and_the_thread_serves_on() {
        let (tell, who) = bounded(1);
        let fails = move || {
            tell.send(thread::current().id()).expect("it is heard");
            panic!("as the test wants");
        };
        let failed = start("that-panics", fails).expect("a thread").join();
        assert_eq!(failed.expect_err("a panic").downcast_ref(), Some(&"as the test wants"));
        assert_eq!(thread_of("that-panics"), who.recv().expect("it was told"));
    }
}
