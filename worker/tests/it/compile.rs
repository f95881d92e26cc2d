//! Compiling happens once, apart from everything else, and within limits.

use crate::support::{ECHO, JobBuilder, NOTHING, SPIN, Subject, isolated, launcher, options};
use depx_host_abi::refusal::RefusalCode;
use depx_protocol::Status;
use depx_runtime::{Cancel, HostFault, WorkerLauncher};
use depx_worker::WorkerOptions;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

fn artifacts(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What a compiler says about a probe.
fn probe(subject: &mut Subject, words: &[&str]) -> String {
    let result = subject.run(JobBuilder::compiling(words)).unwrap_or_else(|fault| panic!("{words:?}: {fault}"));
    assert_eq!(result.core.status, Status::InvalidModule, "{words:?}");
    result.detail.unwrap()
}

#[test]
fn two_hundred_requests_for_one_module_compile_once() {
    let launcher = launcher(options());
    let profiles = launcher.profiles();
    let workers: Vec<_> = (0..8).map(|_| Mutex::new(launcher.launch().unwrap())).collect();
    let job = JobBuilder::wat(ECHO).input(b"one of many").build(&profiles);
    let run = |number: usize| workers[number % workers.len()].lock().unwrap().run(&job, &Cancel::default()).unwrap();
    let results: Vec<_> = std::thread::scope(|scope| {
        let run = &run;
        let requests: Vec<_> = (0..200).map(|number| scope.spawn(move || run(number))).collect();
        requests.into_iter().map(|request| request.join().unwrap()).collect()
    });
    assert!(results.iter().all(|result| result.core == results[0].core && result.core.status == Status::Success));
    assert_eq!(launcher.compilations(), 1);
}

#[test]
fn a_refused_module_is_compiled_once_too() {
    let mut subject = Subject::of(launcher(options()));
    for _ in 0..2 {
        let mut other = Subject::of(subject.launcher.clone());
        for subject in [&mut subject, &mut other] {
            let result = subject.run(JobBuilder::of(b"no module")).unwrap();
            assert_eq!(result.core.status, Status::InvalidModule);
        }
    }
    assert_eq!(subject.launcher.compilations(), 1);
}

#[test]
fn artifacts_outlive_their_launcher_and_damage_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let options = WorkerOptions { cache_dir: Some(folder.path().join("artifacts")), ..options() };
    let first = Subject::of(launcher(options.clone())).run(JobBuilder::wat(ECHO).input(b"content")).unwrap();
    let [artifact] = &artifacts(&folder.path().join("artifacts"))[..] else { panic!("not one artifact") };
    let good = fs::read(artifact).unwrap();

    let launcher = launcher(options);
    let run = || Subject::of(launcher.clone()).run(JobBuilder::wat(ECHO).input(b"content")).unwrap();
    assert_eq!(run().core, first.core);
    assert_eq!(launcher.compilations(), 0);
    for (compilations, position) in (1..).zip([0, good.len() / 2, good.len() - 1]) {
        let mut bad = good.clone();
        bad[position] ^= 1;
        fs::write(artifact, bad).unwrap();
        assert_eq!(run().core, first.core, "byte {position}");
        assert_eq!(launcher.compilations(), compilations, "byte {position}");
        assert_eq!(fs::read(artifact).unwrap(), good, "byte {position}");
    }
}

#[test]
fn workers_share_the_pages_of_an_artifact() {
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: only root sees what workers have mapped");
        return;
    }
    let launcher = launcher(options());
    let mapped = || {
        let mut subject = Subject::of(launcher.clone());
        subject.run(JobBuilder::wat(ECHO)).unwrap();
        let maps = fs::read_to_string(format!("/proc/{}/maps", subject.pid())).unwrap();
        // Address, rights, offset, device, inode, path.
        let code = maps.lines().filter(|line| line.ends_with(".artifact") && line.contains(" r-xp "));
        let inodes: Vec<_> = code.map(|line| line.split_whitespace().nth(4).unwrap().to_owned()).collect();
        assert_eq!(inodes.len(), 1, "{maps}");
        assert!(!maps.lines().any(|line| line.contains("wxp")), "{maps}");
        inodes
    };
    assert_eq!(mapped(), mapped());
    // The module, and the probe's.
    assert_eq!(launcher.compilations(), 2);
}

/// More than a worker keeps.
#[test]
fn what_a_worker_has_forgotten_it_is_told_again() {
    let mut subject = Subject::of(launcher(options()));
    let module = |number: usize| JobBuilder::wat(&NOTHING.replace("1)", &format!("{})", number + 1)));
    for number in (0..40).chain(0..70).chain(0..3) {
        let result = subject.run(module(number).limits(|limits| limits.memory_pages = 100)).unwrap();
        assert_eq!(result.core.status, Status::Success, "{number}");
    }
    assert_eq!(subject.launcher.compilations(), 70);
}

#[test]
fn each_death_of_a_compiler_is_one_fault_and_the_next_job_runs() {
    let mut subject = Subject::of(launcher(options()));
    let worker = subject.pid();
    let cases = [
        (vec!["abort"], "it was killed by SIGABRT (6)"),
        (vec!["fault"], "it was killed by SIGSEGV (11)"),
        (vec!["raise", "9"], "it was killed by SIGKILL (9)"),
        (vec!["exit", "3"], "it exited with status 3"),
        (vec!["panic"], "the WebAssembly engine failed: the worker panicked"),
        (vec!["say", "ffffffff"], "it broke the protocol: 4294967295 bytes were announced"),
        (vec!["say", "00000002ffff"], "it broke the protocol: a frame holds no message"),
        // An artifact of 2^63 bytes.
        (vec!["say", "0000000c8202811b8000000000000000"], "it says that it made 9223372036854775808 bytes"),
        // A refusal without such a code.
        (vec!["say", "00000009820581821910006178"], "it broke the protocol"),
    ];
    for (words, expected) in cases {
        let reason = subject.uncompiled(JobBuilder::compiling(&words));
        assert!(reason.starts_with(expected), "{words:?}: {reason}");
        subject.works();
    }
    assert_ne!(subject.pid(), worker, "whoever has got a fault gets a fresh worker");
}

/// Whoever asked first gives up, and whoever asked second goes on in its place, within its own limit.
#[test]
fn a_compiler_that_stops_is_given_up_at_the_deadline() {
    let launcher = launcher(options());
    let run = |wall_ms| {
        let job = JobBuilder::compiling(&["raise", "19"]).limits(|limits| limits.wall_ms = wall_ms);
        let started = Instant::now();
        let fault = Subject::of(launcher.clone()).run(job).unwrap_err();
        assert!(matches!(fault, HostFault::Timeout { limit_ms } if limit_ms == wall_ms), "{fault}");
        // Starting a worker comes before.
        started.elapsed()
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| run(400));
        std::thread::sleep(Duration::from_millis(100));
        let second = scope.spawn(|| run(1000));
        assert!(first.join().unwrap() < second.join().unwrap());
    });
    assert_eq!(launcher.compilations(), 2);
    Subject::of(launcher.clone()).works();
}

#[test]
fn compiling_ends_at_its_processor_time() {
    // A machine's speed decides how long a module takes; so the limit is none at all.
    let mut subject = Subject::of(launcher(WorkerOptions { compile_time: Duration::ZERO, ..options() }));
    let body = "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 4)) (i32.const 1)))".repeat(2000);
    let functions: String = (0..20).map(|_| format!("(func {body})")).collect();
    let module = format!(r#"(module (memory (export "memory") 1) (func (export "_start")) {functions})"#);
    let reason = subject.uncompiled(JobBuilder::wat(&module));
    assert!(reason.starts_with("compiling it took more than 0ns of processor time"), "{reason}");
    // What never ends is killed soon after.
    let mut subject = Subject::of(launcher(WorkerOptions { compile_time: Duration::from_millis(500), ..options() }));
    let reason = subject.uncompiled(JobBuilder::compiling(&["spin"]));
    assert!(reason.starts_with("compiling it took more than 500ms of processor time"), "{reason}");
    // A module that is not hostile is compiled in that time.
    subject.works();
}

#[test]
fn compiling_ends_at_its_memory_and_an_operator_may_grant_more() {
    let Some(launcher) = isolated(WorkerOptions { compile_memory: 128 << 20, ..options() }) else { return };
    let mut subject = Subject::of(launcher);
    assert_eq!(probe(&mut subject, &["memory", "32"]), (32 << 20).to_string());
    let reason = subject.uncompiled(JobBuilder::compiling(&["memory", "300"]));
    assert_eq!(reason, "it needed more memory than the 128 MiB that it was allowed");
    subject.works();
    let Some(launcher) = isolated(WorkerOptions { compile_memory: 512 << 20, ..options() }) else { return };
    assert_eq!(probe(&mut Subject::of(launcher), &["memory", "300"]), (300 << 20).to_string());
}

/// The largest initialisations that there may be, in a compiler with the memory and the processor time that it is given.
#[test]
fn initialisations_end_at_their_own_limits() {
    let Some(launcher) = isolated(options()) else { return };
    let mut subject = Subject::of(launcher);
    let module = |initialise: &str| {
        let text = r#"(module (memory (export "memory") 2048) (data (i32.const 100) "content")
            (func (export "wizer-initialize") INITIALISE)
            (func (export "_start") (if (i32.eqz (i32.load8_u (i32.const 134217727))) (then unreachable))))"#;
        JobBuilder::wat(&text.replace("INITIALISE", initialise)).limits(|limits| {
            limits.memory_pages = 2048;
            // However busy the machine is: what ends it is its fuel.
            limits.wall_ms = 120_000;
        })
    };
    let all = subject.run(module("(memory.fill (i32.const 0) (i32.const 7) (i32.const 134217728))")).unwrap();
    assert_eq!(all.core.status, Status::Success, "{:?}", all.detail);
    let spins = subject.run(module("(loop $l (br $l))")).unwrap();
    assert_eq!(spins.core.status, Status::InvalidModule);
    assert_eq!(spins.core.code, RefusalCode::InitializerOutOfFuel.number());
    assert_eq!(subject.launcher.compilations(), 2);
}

#[test]
fn a_compiler_is_shut_in_like_a_worker_and_makes_neither_threads_nor_code() {
    let Some(launcher) = isolated(options()) else { return };
    let mut subject = Subject::of(launcher);
    let probes = [
        vec!["read", "/etc/passwd"],
        vec!["tcp", "127.0.0.1:1"],
        vec!["exec"],
        vec!["fork"],
        vec!["map", "code"],
        vec!["map", "both"],
        vec!["map", "turned"],
        vec!["map", "file"],
    ];
    for words in probes {
        let inside = probe(&mut subject, &words);
        assert!(inside.starts_with("denied: Operation not permitted"), "{words:?}: {inside}");
    }
    assert_eq!(probe(&mut subject, &["environment"]), "");
    assert_eq!(probe(&mut subject, &["descriptors"]), "0 1 2 3");
    assert_eq!(probe(&mut subject, &["threads"]), "0");
}

#[test]
fn a_job_that_is_cancelled_does_not_wait_for_its_compiler() {
    let mut subject = Subject::of(launcher(options()));
    let cancel = Cancel::default();
    let canceller = cancel.clone();
    let cancelled = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        canceller.cancel();
    });
    let job = JobBuilder::compiling(&["spin"]).build(&subject.launcher.profiles());
    assert!(matches!(subject.worker.run(&job, &cancel), Err(HostFault::Cancelled)));
    cancelled.join().unwrap();
    // Nor does a guest's spinning keep another from compiling.
    let job = JobBuilder::wat(SPIN).limits(|limits| limits.wall_ms = 200);
    assert!(matches!(subject.run(job), Err(HostFault::Timeout { .. })));
    subject.works();
}
