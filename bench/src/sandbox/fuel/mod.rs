//! Whether a unit of fuel is about the same time, whatever it is paid for.

mod calls;
mod operators;
mod program;

use super::runtime;
use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::{geometric_mean, median, processor_time};
use crate::task::empty_task;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use depx_host_abi::fuel::OperatorClass;
use depx_protocol::Status;
use depx_runtime::{Cancel, Executable, Runtime, Task, Volume, with_execution_stack};
use program::Form;
use std::sync::Arc;

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "sandbox.fuel_spread",
        unit: "ratio",
        goal: Goal::AtMost(4.0),
        baseline: "the fastest class, ns per unit of fuel",
        method: "Processor time per unit of fuel of the slowest class of operators over that of the fastest (`OperatorClass` in \
                 `host-abi/src/fuel.rs`; one class is free). Each class has forms: programs that execute typical operators of it over and \
                 over, where each needs the result of the one before and where the processor can do several at a time, on memory in the first \
                 and in the second cache; its time is their geometric mean. What a form does besides (getting its operands) is in both the time \
                 and the fuel, as in any program.",
    },
    Entry {
        name: "sandbox.fuel_worst",
        unit: "ratio",
        goal: Goal::AtMost(10.0),
        baseline: "the median form, ns per unit of fuel",
        method: "The slowest of all forms over the median form, host calls in their most expensive uses included: long paths, deep \
                 directories, thousands of entries, memory that is new to the machine.",
    },
    Entry {
        name: "sandbox.fuel.*",
        unit: "ns",
        goal: Goal::None,
        baseline: "the slowest form of it, ns",
        method: "Processor time per unit of fuel of one class of operators or kind of work, geometric mean of its forms.",
    },
];

/// Processor time of one run, in seconds, in which a form is done often enough.
const FULL: f64 = 8e-3;
const QUICK: f64 = 2e-3;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    with_execution_stack(|| measure_forms(plan))
}

fn measure_forms(plan: &Plan) -> Result<Vec<Figure>> {
    let runtime = runtime(None)?;
    let enough = if plan.quick { QUICK } else { FULL };
    let forms: Vec<_> = operators::forms().into_iter().chain(calls::forms()).collect();
    let mut prepared = Vec::with_capacity(forms.len());
    for form in &forms {
        prepared.push(Prepared::new(&runtime, form, enough).with_context(|| form.name.clone())?);
    }
    // All in turns, so that a machine that is slow for a while is slow for all.
    let mut times = vec![Vec::new(); forms.len()];
    for _ in 0..plan.turns(15, 3) {
        for (times, form) in times.iter_mut().zip(&prepared) {
            times.push(form.time_per_unit(&runtime)?);
        }
    }
    let times: Vec<_> = times.into_iter().map(|times| median(times) * 1e9).collect();
    for (form, time) in forms.iter().zip(&times) {
        eprintln!("{:>9.3} ns  {}: {}", time, form.payer, form.name);
    }
    Ok(summary(forms.iter().map(|form| form.payer).zip(times.iter().copied())))
}

/// The figures of forms, each given by who pays for it and its time per unit of fuel in nanoseconds.
fn summary(times: impl Iterator<Item = (&'static str, f64)> + Clone) -> Vec<Figure> {
    let [spread, worst, each] = ENTRIES else { unreachable!("three entries") };
    let mut payers: Vec<_> = times.clone().map(|(payer, _)| payer).collect();
    payers.dedup();
    payers.sort_unstable();
    payers.dedup();
    let slowest = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    let (mut classes, mut members) = (Vec::new(), Vec::new());
    for payer in payers {
        let of_it: Vec<_> = times.clone().filter(|(other, _)| *other == payer).map(|(_, time)| time).collect();
        let mean = geometric_mean(&of_it);
        if OperatorClass::ALL.iter().any(|class| name(*class) == payer) {
            classes.push(mean);
        }
        members.push(each.member(payer, mean, Some(slowest(&of_it))));
    }
    let all: Vec<_> = times.map(|(_, time)| time).collect();
    let (middle, fastest) = (median(all.iter().copied()), classes.iter().copied().fold(f64::INFINITY, f64::min));
    members.splice(
        0..0,
        [spread.figure(slowest(&classes) / fastest, Some(fastest)), worst.figure(slowest(&all) / middle, Some(middle))],
    );
    members
}

/// `FloatDivide` as `float_divide`.
fn name(class: OperatorClass) -> String {
    let mut name = String::new();
    for letter in format!("{class:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// A form, ready to be run.
struct Prepared {
    executable: Executable,
    /// Does it not at all.
    without: Task,
    /// Does it many times.
    with: Task,
    /// What that costs.
    fuel: u64,
}

impl Prepared {
    fn new(runtime: &Runtime, form: &Form, enough: f64) -> Result<Self> {
        let executable = runtime.prepare(&wat::parse_str(form.module())?)?;
        let mut setting = (*empty_task().setting).clone();
        setting.files = Volume::new(form.files.iter().map(|path| (path.clone(), Bytes::new())))?;
        setting.args = vec![String::new(); form.args];
        let setting = Arc::new(setting);
        let task = |count: u32| Task {
            setting: setting.clone(),
            input: Bytes::copy_from_slice(&count.to_le_bytes()),
            ..empty_task()
        };
        let (without, mut count) = (task(0), 1);
        let (base, nothing) = run(runtime, &executable, &without)?;
        loop {
            let with = task(count);
            let (time, fuel) = run(runtime, &executable, &with)?;
            let gained = time - base;
            if gained >= enough || count == form.most {
                return Ok(Self { executable, without, with, fuel: fuel - nothing });
            }
            let factor = (1.2 * enough / gained.max(enough / 50.0)).max(1.5);
            count = ((f64::from(count) * factor) as u32 + 1).min(form.most);
        }
    }

    /// Processor time for a unit of fuel, in seconds.
    fn time_per_unit(&self, runtime: &Runtime) -> Result<f64> {
        let (with, _) = run(runtime, &self.executable, &self.with)?;
        let (without, _) = run(runtime, &self.executable, &self.without)?;
        // What takes less than the clock can tell takes at least something.
        Ok((with - without).max(1e-9) / self.fuel as f64)
    }
}

/// Runs a task; gives its processor time in seconds, and its fuel.
fn run(runtime: &Runtime, executable: &Executable, task: &Task) -> Result<(f64, u64)> {
    let mut fuel = 0;
    let time = processor_time(|| {
        let outcome = runtime.execute(executable, task, &Cancel::default())?;
        ensure!(outcome.status == Status::Success, "the run ended with {:?} {}", outcome.status, outcome.code);
        fuel = outcome.fuel_used;
        Ok(())
    })?;
    Ok((time, fuel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_forms_and_every_form_has_a_name_of_its_own() {
        let forms: Vec<_> = operators::forms().into_iter().chain(calls::forms()).collect();
        for class in OperatorClass::ALL.iter().filter(|class| class.cost() > 0) {
            let of_it = forms.iter().filter(|form| form.payer == name(*class)).count();
            assert!(of_it >= 2, "{class:?} has {of_it} forms");
        }
        let mut names: Vec<_> = forms.iter().map(|form| &form.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), forms.len());
    }

    #[test]
    fn every_form_runs_and_pays_for_each_time() {
        let runtime = Runtime::new(depx_runtime::RuntimeOptions::default()).unwrap();
        let mut failed = Vec::new();
        for form in operators::forms().into_iter().chain(calls::forms()) {
            match Prepared::new(&runtime, &form, f64::NEG_INFINITY) {
                Ok(prepared) => assert!(prepared.fuel > 0, "{}", form.name),
                Err(error) => failed.push(format!("{}: {error:#}", form.name)),
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }

    #[test]
    fn figures_are_means_of_classes_and_the_worst_of_all() {
        let forms = [("simple", 1.0), ("simple", 4.0), ("load", 4.0), ("entry", 30.0)];
        let figures = summary(forms.into_iter());
        let rounded = |value: f64| (value * 1e6).round() / 1e6;
        let found =
            figures.iter().map(|figure| (figure.name.as_str(), rounded(figure.value), figure.baseline.map(rounded)));
        let found: Vec<_> = found.collect();
        assert_eq!(
            found,
            [
                ("sandbox.fuel_spread", 2.0, Some(2.0)),
                ("sandbox.fuel_worst", 7.5, Some(4.0)),
                ("sandbox.fuel.entry", 30.0, Some(30.0)),
                ("sandbox.fuel.load", 4.0, Some(4.0)),
                ("sandbox.fuel.simple", 2.0, Some(4.0)),
            ]
        );
    }
}
