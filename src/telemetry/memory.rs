//! How the process keeps its memory, and how the C library's allocator gives it back.
//!
//! It keeps an arena a thread, and free blocks inside it. Free pages are therefore given back after each recording. And big
//! blocks are always mapped by themselves: left alone, the allocator raises that size to the largest block ever freed.
//!
//! Memory is locked from the first arming in real time on, so that no page of an edge's or the loop's is ever fetched from a disk. The system takes
//! no page back that is locked, free or not (`MADV_DONTNEED` in madvise(2)): for giving back, the lock is lifted. What was freed at
//! the end of an arena while memory was locked is not to be had even so; the recorder's threads (`record`) therefore stay and use it again.

#![cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "the allocator is set through C functions"))]

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(target_env = "gnu")]
use rustix::mm::munlockall;
use rustix::mm::{MlockAllFlags, mlockall};

/// How it stands with the pages of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    Unlocked,
    Locked,
    /// They were locked, and the system refused to do it again.
    Lost,
}

static PAGES: Mutex<Pages> = Mutex::new(Pages::Unlocked);

fn pages() -> MutexGuard<'static, Pages> {
    PAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What has been touched stays; what is only reserved (stacks, arenas) is not made real by locking it.
fn lock_touched() -> io::Result<()> {
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT).map_err(io::Error::from)
}

/// Locks the pages that are there now.
///
/// # Errors
/// The system's, when the process may not lock as much.
pub fn lock() -> io::Result<()> {
    let mut pages = pages();
    lock_touched()?;
    *pages = Pages::Locked;
    Ok(())
}

/// Whether pages that were locked are no longer, against our will.
pub fn lock_is_lost() -> bool {
    *pages() == Pages::Lost
}

/// Does `work` while nothing is locked.
#[cfg(target_env = "gnu")]
fn unlocked(work: impl FnOnce()) {
    let mut pages = pages();
    if *pages == Pages::Unlocked {
        return work();
    }
    // Refused: what is free stays until the next time.
    munlockall().ok();
    work();
    *pages = if lock_touched().is_ok() { Pages::Locked } else { Pages::Lost };
}

/// Blocks from this size on are mapped by themselves and go back when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_FROM_BYTES: i32 = 512 << 10;
/// Free memory kept at the top of the heap.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: i32 = 1 << 20;

/// Fixes the allocator's thresholds. Called first, before there are threads.
#[cfg(target_env = "gnu")]
pub fn settle() {
    for (parameter, bytes) in [(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES), (libc::M_TRIM_THRESHOLD, KEPT_BYTES)] {
        // SAFETY: `mallopt` takes two numbers and touches nothing but the allocator's own settings, under its own lock.
        let taken = unsafe { libc::mallopt(parameter, bytes) };
        debug_assert_eq!(taken, 1, "both thresholds are within the C library's limits");
    }
}

/// Gives free pages of every arena back to the system. Service threads only: each arena is locked while it is looked through,
/// which takes as long as there is to give back (an edge's or the loop's own arena has next to nothing).
#[cfg(target_env = "gnu")]
pub fn give_back() {
    unlocked(|| {
        // SAFETY: `malloc_trim` touches only free memory, under the allocator's own locks.
        unsafe { libc::malloc_trim(0) };
    });
}

/// Other C libraries have no such settings.
#[cfg(not(target_env = "gnu"))]
pub fn settle() {}

/// Other C libraries have no such function.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    /// Resident memory of the process, in bytes.
    fn resident_bytes() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4_096
    }

    fn is_locked() -> bool {
        *super::pages() == super::Pages::Locked
    }

    /// Runs a thread that leaves 54 MB of free blocks behind, under a block that outlives it and holds them; the bytes that
    /// `give_back` takes from the process after it.
    fn given_back_bytes() -> u64 {
        super::settle();
        let leave = || {
            let first = vec![1_u8; 60_000];
            if is_locked() {
                // With the arena that the thread has just been given.
                super::lock().expect("locked before");
            }
            let blocks: Vec<Vec<u8>> = (0..900).map(|_| vec![1; 60_000]).collect();
            let last = vec![1_u8; 60_000];
            drop(blocks);
            [first, last]
        };
        let kept = std::thread::Builder::new().spawn(leave).expect("a thread").join().expect("no panic");
        let before = resident_bytes();
        super::give_back();
        let given_back = before.saturating_sub(resident_bytes());
        assert!(kept.iter().all(|block| block.len() == 60_000));
        given_back
    }

    /// One test: resident memory and its lock are the whole process's. Other tests take and give meanwhile.
    #[test]
    fn what_an_ended_thread_left_behind_is_given_back_locked_or_not() {
        let given_back = given_back_bytes();
        assert!(given_back > 20_000_000, "{given_back} B of 54 MB given back");
        if let Err(error) = super::lock() {
            println!("skipped with locked memory: this process may not lock it ({error})");
            return;
        }
        let given_back = given_back_bytes();
        assert!(is_locked(), "locked again");
        *super::pages() = super::Pages::Unlocked;
        rustix::mm::munlockall().expect("what may be locked may be unlocked");
        assert!(given_back > 20_000_000, "{given_back} B of 54 MB given back from locked memory");
    }
}
