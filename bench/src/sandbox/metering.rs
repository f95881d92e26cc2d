//! What determinism costs on real programs.

use crate::Plan;
use crate::bare::{Bare, Memory, Metering};
use crate::figure::{Entry, Figure, Goal};
use crate::kernels::{COMPUTE, Kernels};
use crate::measure::{geometric_mean, processor_time, take_turns};
use crate::task::empty_task;
use anyhow::{Context, Result, ensure};
use depx_protocol::Status;
use depx_runtime::{Cancel, Executable, Runtime, RuntimeOptions, with_execution_stack};

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "sandbox.metering",
        unit: "ratio",
        goal: Goal::AtMost(1.10),
        baseline: "the engine's time, geometric mean over the kernels, ms",
        method: "Processor time of a run with fuel, stack limit and canonical NaNs, as the runtime prepares modules, over that of the \
                 same module on the same engine with none of them; geometric mean over the programs in `bench/kernels`, built for \
                 wasm32-wasip1 with optimisation 3. Each run is a fresh instance; both must print the same.",
    },
    Entry {
        name: "sandbox.metering_vs_engine_fuel",
        unit: "ratio",
        goal: Goal::AtMost(0.60),
        baseline: "the engine's time with its own fuel and NaNs, geometric mean over the kernels, ms",
        method: "The same run over the engine's own fuel and its own canonical NaNs (`consume_fuel`, `cranelift_nan_canonicalization`).",
    },
    Entry {
        name: "sandbox.metering.*",
        unit: "ratio",
        goal: Goal::None,
        baseline: "the engine's time, ms",
        method: "`sandbox.metering` of one kernel.",
    },
    Entry {
        name: "sandbox.metering_vs_engine_fuel.*",
        unit: "ratio",
        goal: Goal::None,
        baseline: "the engine's time with its own fuel and NaNs, ms",
        method: "`sandbox.metering_vs_engine_fuel` of one kernel.",
    },
];

/// The contenders, by their places in a turn.
const OURS: usize = 0;
const UNMETERED: usize = 1;
const ENGINE_FUEL: usize = 2;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let kernels = Kernels::find_or_build()?;
    let runtime = Runtime::new(RuntimeOptions::default())?;
    let [total, total_vs_fuel, each, each_vs_fuel] = ENTRIES else { unreachable!("four entries") };
    let mut figures = Vec::new();
    let (mut ratios, mut times) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for name in COMPUTE {
        let wasm = kernels.module(name)?;
        let turns = with_execution_stack(|| race(&runtime, &wasm, plan.turns(15, 3))).context(name)?;
        for (index, (entry, other)) in [(each, UNMETERED), (each_vs_fuel, ENGINE_FUEL)].into_iter().enumerate() {
            let (ratio, time) = (turns.ratio(OURS, other), turns.time(other) * 1e3);
            ratios[index].push(ratio);
            times[index].push(time);
            figures.push(entry.member(name, ratio, Some(time)));
        }
    }
    let summary =
        |entry: &Entry, index: usize| entry.figure(geometric_mean(&ratios[index]), Some(geometric_mean(&times[index])));
    figures.sort_by(|one, other| one.name.cmp(&other.name));
    figures.splice(0..0, [summary(total, 0), summary(total_vs_fuel, 1)]);
    Ok(figures)
}

fn race(runtime: &Runtime, wasm: &[u8], turns: usize) -> Result<crate::measure::Turns<3>> {
    let ours = runtime.prepare(wasm)?;
    let unmetered = Bare::compile(wasm, Metering::None, Memory::OnDemand)?;
    let fuelled = Bare::compile(wasm, Metering::Engine, Memory::OnDemand)?;
    let printed = unmetered.run()?;
    ensure!(!printed.is_empty(), "the kernel printed nothing");
    let same = |found: &[u8]| {
        ensure!(found == printed, "the kernel printed something else");
        Ok(())
    };
    take_turns(
        turns,
        [
            &mut || processor_time(|| same(&run(runtime, &ours)?)),
            &mut || processor_time(|| same(&unmetered.run()?)),
            &mut || processor_time(|| same(&fuelled.run()?)),
        ],
    )
}

fn run(runtime: &Runtime, executable: &Executable) -> Result<Vec<u8>> {
    let outcome = runtime.execute(executable, &empty_task(), &Cancel::default())?;
    ensure!(outcome.status == Status::Success, "the run ended with {:?} {}", outcome.status, outcome.code);
    Ok(outcome.stdout)
}
