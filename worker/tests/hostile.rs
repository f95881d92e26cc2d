//! The table of bad input, through real worker processes: each row ends as it must, within its time and memory.
//!
//! A program of its own, since what child processes take is measured: nothing else may start any meanwhile.

#![cfg(target_os = "linux")]

use depx_hostile::{Gauge, LIMITS, ROWS, Row, STORMS, Storm, Used, job};
use depx_protocol::{Limits, Status};
use depx_runtime::{Cancel, HostFault, JobResult, WorkerLauncher};
use depx_worker::{ProcessLauncher, WorkerOptions};
use std::sync::{Mutex, MutexGuard, PoisonError};

fn launcher() -> ProcessLauncher {
    let program = env!("CARGO_BIN_EXE_depx-probe-worker");
    ProcessLauncher::new(WorkerOptions { allow_missing: true, ..WorkerOptions::new(program) }).unwrap()
}

/// Runs one row in a worker of its own.
fn run(launcher: &ProcessLauncher, row: &Row) -> (Result<JobResult, HostFault>, Used) {
    let job = job((row.module)(), row.limits, &launcher.profiles());
    let mut worker = launcher.launch().unwrap();
    let gauge = Gauge::start();
    let result = worker.run(&job, &Cancel::default());
    (result, gauge.stop())
}

/// Only one test measures at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn bad_input_ends_as_it_must_within_its_limits() {
    let _alone = alone();
    let launcher = launcher();
    let mut wrong = Vec::new();
    println!("{:<60} {:<32} {:>8} {:>8} {:>8}", "what", "ends", "wall s", "CPU s", "MiB");
    for row in ROWS {
        let (result, used) = run(&launcher, row);
        let (wall, processor, memory) = (used.wall.as_secs_f64(), used.processor.as_secs_f64(), used.memory >> 20);
        println!("{:<60} {:<32} {wall:>8.2} {processor:>8.2} {memory:>8}", row.name, row.ends.to_string());
        wrong.extend(row.judge(&result, &used).err().map(|what| format!("{}: {what}", row.name)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// How many times the median a unit of fuel may take in the worst storm.
const WORST: f64 = 10.0;

#[test]
fn no_host_call_takes_much_more_time_for_its_fuel_than_others() {
    let _alone = alone();
    let launcher = launcher();
    let mut times: Vec<_> = STORMS.iter().map(|storm| (storm_time(&launcher, storm), storm.name)).collect();
    times.sort_by(|one, other| one.0.total_cmp(&other.0));
    let median = times[times.len() / 2].0;
    for (time, name) in &times {
        println!("{name:<60} {time:>8.2} ns per unit of fuel");
    }
    let worst = times.iter().filter(|(time, _)| *time > WORST * median).collect::<Vec<_>>();
    assert!(worst.is_empty(), "{worst:?} where the median is {median}");
}

/// Nanoseconds of processor time for a unit of fuel.
fn storm_time(launcher: &ProcessLauncher, storm: &Storm) -> f64 {
    let job = job(storm.module(), LIMITS, &launcher.profiles());
    let mut worker = launcher.launch().unwrap();
    let mut time = || {
        let gauge = Gauge::start();
        let result = worker.run(&job, &Cancel::default()).unwrap();
        assert_eq!(result.core.status, Status::OutOfFuel, "{}", storm.name);
        gauge.stop().processor.as_nanos() as f64 / result.core.fuel_used as f64
    };
    // The first time the module is compiled.
    time();
    time()
}

#[test]
fn modules_that_were_cut_or_changed_are_refused_or_run() {
    let _alone = alone();
    let launcher = launcher();
    let mut worker = launcher.launch().unwrap();
    let original = STORMS[0].module();
    let step = original.len() / 100;
    let cut = (0..original.len()).step_by(step).map(|len| original[..len].to_vec());
    let flipped = (0..original.len()).step_by(step).map(|at| {
        let mut wasm = original.clone();
        wasm[at] ^= 1 << (at % 8);
        wasm
    });
    let mut refused = 0;
    for (index, wasm) in cut.chain(flipped).enumerate() {
        let limits = Limits { fuel: 1_000_000, ..LIMITS };
        let result = worker.run(&job(wasm, limits, &launcher.profiles()), &Cancel::default());
        let result = result.unwrap_or_else(|fault| panic!("mutation {index}: {fault}"));
        refused += u32::from(result.core.status == Status::InvalidModule);
    }
    assert!(refused > 100, "what was cut is refused, and more");
}
