//! How the C library's allocator keeps and gives back memory.
//!
//! It keeps an arena a thread. A sealing thread leaves some 55 MB of free blocks behind in its own, the next recording's thread is
//! given another one, and so memory creeps up from recording to recording until every arena has been used that way (eight of them a
//! processor), although nothing leaks. Free pages are therefore given back after each recording. And big blocks are always
//! mapped by themselves: left alone, the allocator raises that size to the largest block ever freed.

#![cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "the allocator is set through C functions"))]

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
    // SAFETY: `malloc_trim` touches only free memory, under the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
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

    #[test]
    fn what_an_ended_thread_left_behind_is_given_back() {
        super::settle();
        let leave = || {
            let blocks: Vec<Vec<u8>> = (0..900).map(|_| vec![1; 60_000]).collect();
            let last = vec![1_u8; 60_000];
            drop(blocks);
            last
        };
        // What outlives the thread lies behind what it has freed, and holds it.
        let kept = std::thread::Builder::new().spawn(leave).expect("a thread").join().expect("no panic");
        let before = resident_bytes();
        super::give_back();
        let after = resident_bytes();
        // 54 MB were left behind; other tests of this process take and give meanwhile.
        assert!(before > after + 20_000_000, "{before} B before, {after} B after");
        assert_eq!(kept.len(), 60_000);
    }
}
