//! However a worker ends, it costs one job, and the next one runs.

use crate::support::{ECHO, JobBuilder, PROGRAM, SPIN, Subject, eventually, isolated, launcher, options};
use depx_runtime::{Cancel, HostFault};
use depx_worker::WorkerOptions;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn each_death_is_one_fault_and_the_next_job_runs() {
    let mut subject = Subject::of(launcher(options()));
    let cases = [
        (vec!["abort"], "it was killed by SIGABRT (6)"),
        (vec!["fault"], "it was killed by SIGSEGV (11)"),
        (vec!["exit", "3"], "it exited with status 3"),
    ];
    for (probe, expected) in cases {
        let before = subject.pid();
        assert_eq!(subject.death(JobBuilder::probe(&probe)), expected);
        subject.works();
        assert_ne!(subject.pid(), before, "{probe:?}");
    }
}

#[test]
fn a_panic_is_a_fault_and_costs_no_other_job() {
    let mut subject = Subject::of(launcher(options()));
    let fault = subject.run(JobBuilder::probe(&["panic"])).unwrap_err();
    assert!(matches!(&fault, HostFault::Engine { reason } if reason == "the worker panicked"), "{fault}");
    subject.works();
}

#[test]
fn a_worker_that_is_killed_from_outside_is_one_fault() {
    let mut subject = Subject::of(launcher(options()));
    let pid = subject.pid();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        signal(pid, Signal::KILL);
    });
    assert_eq!(subject.death(JobBuilder::wat(SPIN)), "it was killed by SIGKILL (9)");
    killer.join().unwrap();
    subject.works();
    // One that dies while it has nothing to do costs nothing.
    let idle = subject.pid();
    signal(idle, Signal::KILL);
    eventually("the worker is gone", || is_gone(idle));
    subject.works();
}

#[test]
fn a_worker_that_stops_is_given_up_at_the_deadline() {
    let mut subject = Subject::of(launcher(options()));
    let pid = subject.pid();
    signal(pid, Signal::STOP);
    let started = Instant::now();
    let fault = subject.run(JobBuilder::wat(ECHO).limits(|limits| limits.wall_ms = 300)).unwrap_err();
    let elapsed = started.elapsed();
    assert!(matches!(fault, HostFault::Timeout { limit_ms: 300 }), "{fault}");
    assert!(elapsed >= Duration::from_millis(300) && elapsed <= Duration::from_millis(550), "{elapsed:?}");
    subject.works();
    eventually("the stopped worker is gone", || !Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_guest_that_spins_is_stopped_at_its_deadline() {
    let mut subject = Subject::of(launcher(options()));
    let started = Instant::now();
    let fault = subject.run(JobBuilder::wat(SPIN).limits(|limits| limits.wall_ms = 300)).unwrap_err();
    let elapsed = started.elapsed();
    assert!(matches!(fault, HostFault::Timeout { limit_ms: 300 }), "{fault}");
    assert!(elapsed >= Duration::from_millis(300) && elapsed <= Duration::from_millis(550), "{elapsed:?}");
    subject.works();
}

#[test]
fn a_guest_that_spins_is_cancelled_at_once() {
    let mut subject = Subject::of(launcher(options()));
    // Best of three: the machine that runs tests is busy.
    let best = (0..3).map(|_| {
        subject.works();
        let cancel = Cancel::default();
        let canceller = cancel.clone();
        let cancelled = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            canceller.cancel();
            Instant::now()
        });
        let job = JobBuilder::wat(SPIN).build(&subject.launcher.profiles());
        let fault = subject.worker.run(&job, &cancel).unwrap_err();
        let ended = Instant::now();
        assert!(matches!(fault, HostFault::Cancelled), "{fault}");
        ended.duration_since(cancelled.join().unwrap())
    });
    let best = best.min().unwrap();
    eprintln!("a spinning guest was cancelled after {best:?}");
    assert!(best <= Duration::from_millis(10), "{best:?}");
    subject.works();
}

#[test]
fn senseless_answers_are_faults() {
    let mut subject = Subject::of(launcher(options()));
    let cases = [
        ("ffffffff", "it broke the protocol: 4294967295 bytes were announced"),
        ("00000002ffff", "it broke the protocol: a frame holds no message"),
        ("00000000", "it broke the protocol: a frame holds no message"),
        // `Compiled`, which was not asked for.
        ("0000000482028100", "it broke the protocol"),
    ];
    for (said, expected) in cases {
        // The module is known, so that no other answer is due.
        subject.pid();
        let reason = subject.death(JobBuilder::probe(&["say", said]));
        assert!(reason.starts_with(expected), "{said}: {reason}");
        subject.works();
    }
}

#[test]
fn lies_are_found() {
    let mut subject = Subject::of(launcher(options()));
    let cases = [
        ("job", "its result is for another job"),
        ("output", "its output does not belong to its result"),
        ("items", "its result has 2 items where the job has 1"),
        ("times", "its result has 0 items where the job has 1"),
        ("log", "item 0 of its result is over the job's limits"),
        ("long log", "it broke the protocol: 1048576 bytes were announced, 65536 are allowed"),
        ("fuel", "item 0 of its result is over the job's limits"),
        ("snapshot", "its result says that initialising the module took 1073741825 units of fuel"),
        ("over", "item 0 of its result is over the job's limits"),
        ("flood", "it broke the protocol: 67108"),
    ];
    for (lie, expected) in cases {
        let reason = subject.death(JobBuilder::probe(&["lie", lie]));
        assert!(reason.starts_with(expected), "{lie}: {reason}");
        subject.works();
    }
}

#[test]
fn a_process_is_replaced_after_some_jobs() {
    let mut subject = Subject::of(launcher(WorkerOptions { jobs_per_process: 3, ..options() }));
    let pids: Vec<_> = (0..7).map(|_| subject.pid()).collect();
    assert!(pids[..3].iter().all(|pid| *pid == pids[0]), "{pids:?}");
    assert!(pids[3..6].iter().all(|pid| *pid == pids[3]), "{pids:?}");
    assert!(pids[0] != pids[3] && pids[3] != pids[6], "{pids:?}");
}

#[test]
fn workers_die_with_their_supervisor() {
    let mut supervisor = Command::new(PROGRAM).args(["control", "hold"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(supervisor.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let workers: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    // The one that was launched, the spare, and two compilers.
    assert_eq!(workers.len(), 4, "{line}");
    assert!(!workers.iter().any(|pid| is_gone(*pid)));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    eventually("the workers are gone", || workers.iter().all(|pid| is_gone(*pid)));
}

/// Whether a process has ended, be it that nobody has buried it.
fn is_gone(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[test]
fn nothing_is_left_behind() {
    let Some(launcher) = isolated(options()) else { return };
    let mut subject = Subject::of(launcher);
    let pid = subject.pid();
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let group = cgroups.lines().find_map(|line| line.split_once("/depx-worker-")).unwrap().1.to_owned();
    let memory = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts: Vec<_> = memory
        .lines()
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| line.split(' ').nth(4).map(str::to_owned))
        .collect();
    let exists = |mount: &String| find(Path::new(mount), &format!("depx-worker-{group}"), 4);
    assert!(mounts.iter().any(exists));
    drop(subject);
    eventually("process and cgroup are gone", || {
        !Path::new(&format!("/proc/{pid}")).exists() && !mounts.iter().any(exists)
    });
}

/// Whether there is a directory of this name, a few levels deep.
fn find(directory: &Path, name: &str, levels: u32) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| {
        entry.file_name().to_str() == Some(name)
            || levels > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) && find(&entry.path(), name, levels - 1)
    })
}
