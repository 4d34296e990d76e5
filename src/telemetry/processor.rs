//! Who had the processors: the first question when a latency ladder looks bad.
//!
//! From `/proc/stat` (time of all processors by kind, hundredths of a second, `proc(5)`) and each thread's `schedstat` (nanoseconds
//! run, nanoseconds waited while runnable, `Documentation/scheduler/sched-stats.rst` of the kernel). Service threads only.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Clock ticks a second in `/proc/stat`: `USER_HZ`, which is 100 on every architecture that Linux gives it to programs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Readings since some beginning; [`ProcessorTime::since`] makes them a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessorTime {
    /// Processors of the machine.
    pub processors: u32,
    /// Seconds that all processors together worked, for whomever.
    pub busy_s: f64,
    /// Seconds that they had nothing to do or waited for a disk.
    pub idle_s: f64,
    /// Seconds that a hypervisor gave to other machines while this one wanted them.
    pub stolen_s: f64,
    /// Seconds that the watched thread ran.
    pub thread_ran_s: f64,
    /// Seconds that it could have run, but another thread had its processor.
    pub thread_waited_s: f64,
}

impl ProcessorTime {
    /// Reads the machine's times and those of this process's threads named `thread`; `None` where the kernel does not tell.
    pub fn read(thread: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?, &of_threads(Path::new("/proc/self/task"), thread))
    }

    /// What has passed since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            processors: self.processors,
            busy_s: self.busy_s - earlier.busy_s,
            idle_s: self.idle_s - earlier.idle_s,
            stolen_s: self.stolen_s - earlier.stolen_s,
            thread_ran_s: self.thread_ran_s - earlier.thread_ran_s,
            thread_waited_s: self.thread_waited_s - earlier.thread_waited_s,
        }
    }

    fn parse(stat: &str, schedstats: &[String]) -> Option<Self> {
        let processors =
            stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count() as u32;
        let total = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<f64> = total.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let &[user, nice, system, idle, iowait, irq, softirq, stolen, ..] = ticks.as_slice() else { return None };
        let mut time = Self {
            processors,
            busy_s: (user + nice + system + irq + softirq) / TICKS_PER_SECOND,
            idle_s: (idle + iowait) / TICKS_PER_SECOND,
            stolen_s: stolen / TICKS_PER_SECOND,
            ..Self::default()
        };
        for line in schedstats {
            let nanos: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
            if let &[ran, waited, ..] = nanos.as_slice() {
                time.thread_ran_s += ran * 1e-9;
                time.thread_waited_s += waited * 1e-9;
            }
        }
        Some(time)
    }
}

/// `schedstat` of the threads of `tasks` (a `/proc/<pid>/task`) that are named `thread`; empty where the kernel keeps none.
fn of_threads(tasks: &Path, thread: &str) -> Vec<String> {
    let named = |task: &Path| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == thread);
    let entries = fs::read_dir(tasks).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|task| named(task)).filter_map(|task| fs::read_to_string(task.join("schedstat")).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  700 100 150 1000 50 0 50 30 0 0\ncpu0 350 50 75 500 25 0 25 15 0 0\ncpu1 350 50 75 500 25 0 25 15 0 0\nintr 1\n";

    #[test]
    fn times_are_read_and_subtracted() {
        let whole = ProcessorTime::parse(STAT, &["1500000000 250000000 7\n".to_owned()]).expect("a stat file");
        let expected = ProcessorTime {
            processors: 2,
            busy_s: 10.0,
            idle_s: 10.5,
            stolen_s: 0.3,
            thread_ran_s: 1.5,
            thread_waited_s: 0.25,
        };
        assert_eq!(whole, expected);
        assert_eq!(whole.since(whole), ProcessorTime { processors: 2, ..ProcessorTime::default() });
    }

    #[test]
    fn what_is_no_stat_file_gives_nothing() {
        for text in ["", "cpu", "cpu  1 2 3", "intr 5", "cpu  a b c d e f g h"] {
            assert_eq!(ProcessorTime::parse(text, &[]), None, "{text:?}");
        }
    }

    #[test]
    fn a_thread_that_works_is_seen_to_have_run() {
        let work = || {
            let begun = std::time::Instant::now();
            while begun.elapsed().as_millis() < 30 {}
            ProcessorTime::read("reader-of-time")
        };
        let thread = std::thread::Builder::new().name("reader-of-time".to_owned()).spawn(work).expect("a thread");
        let Some(read) = thread.join().expect("no panic") else { return println!("skipped: no /proc/stat here") };
        let kept = fs::read_to_string("/proc/self/schedstat").is_ok_and(|line| line.len() > 6);
        assert!(read.processors > 0 && read.busy_s > 0.0, "{read:?}");
        assert!(!kept || read.thread_ran_s + read.thread_waited_s > 0.02, "{read:?}");
    }
}
