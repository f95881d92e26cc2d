//! The benchmarks and the report they make.
//!
//! Each [`Group`] measures the figures that its entries describe. What is compared is measured in one process, in turns, and a
//! ratio is the median over the turns, so that a machine that is busy for a while is busy for both sides.

mod bare;
mod figure;
mod inference;
mod kernels;
mod machine;
mod measure;
mod models;
mod net;
mod report;
mod reproducible;
mod sandbox;
mod signatures;
mod task;

use anyhow::{Result, bail};
use clap::Parser;
use figure::{Entry, Figure, Selection};
use machine::Machine;
use std::process::ExitCode;

/// Run the benchmarks, optimised.
#[derive(Parser)]
#[command(name = "depx-bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// Figures whose names begin so; all of them unless given
    #[arg(value_name = "NAME-PREFIX")]
    prefixes: Vec<String>,
    /// Fewer turns: every figure in less than 20 seconds
    #[arg(long)]
    quick: bool,
    /// One line of JSON for each figure instead of a table
    #[arg(long)]
    json: bool,
    /// Measure everything and rewrite bench/README.md
    #[arg(long, conflicts_with_all = ["prefixes", "quick"])]
    report: bool,
}

/// Figures that are measured together.
struct Group {
    entries: &'static [Entry],
    measure: fn(&Plan) -> Result<Vec<Figure>>,
}

/// Everything there is, in the order of the report.
const GROUPS: [Group; 17] = [
    Group { entries: sandbox::metering::ENTRIES, measure: sandbox::metering::measure },
    Group { entries: sandbox::cli::ENTRIES, measure: sandbox::cli::measure },
    Group { entries: sandbox::fuel::ENTRIES, measure: sandbox::fuel::measure },
    Group { entries: sandbox::noop::ENTRIES, measure: sandbox::noop::measure },
    Group { entries: sandbox::batch::ENTRIES, measure: sandbox::batch::measure },
    Group { entries: sandbox::cold_start::ENTRIES, measure: sandbox::cold_start::measure },
    Group { entries: sandbox::prepare::ENTRIES, measure: sandbox::prepare::measure },
    Group { entries: sandbox::preinitialised::ENTRIES, measure: sandbox::preinitialised::measure },
    Group { entries: sandbox::worker::ENTRIES, measure: sandbox::worker::measure },
    Group { entries: inference::ENTRIES, measure: inference::measure },
    Group { entries: reproducible::ENTRIES, measure: reproducible::measure },
    Group { entries: net::latency::ENTRIES, measure: net::latency::measure },
    Group { entries: net::throughput::ENTRIES, measure: net::throughput::measure },
    Group { entries: net::blob::ENTRIES, measure: net::blob::measure },
    Group { entries: net::idle::ENTRIES, measure: net::idle::measure },
    Group { entries: net::resume::ENTRIES, measure: net::resume::measure },
    Group { entries: signatures::ENTRIES, measure: signatures::measure },
];

/// What to measure, and how thoroughly.
pub(crate) struct Plan {
    selection: Selection,
    quick: bool,
}

impl Plan {
    /// How many turns to take.
    pub(crate) fn turns(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Whether a figure is wanted, for groups that measure each by itself.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.selection.wants(name)
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(sandbox::worker::ARGUMENT) {
        return depx_worker::serve();
    }
    match bench(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Result<()> {
    let entries = || GROUPS.iter().flat_map(|group| group.entries);
    let plan = Plan { selection: Selection::new(&arguments.prefixes, entries())?, quick: arguments.quick };
    let machine = Machine::here();
    let (mut figures, mut failed) = (Vec::new(), Vec::new());
    for group in GROUPS.iter().filter(|group| plan.selection.wants_any(group.entries)) {
        let first = group.entries[0].name;
        eprintln!("==> Measuring {first}");
        match (group.measure)(&plan) {
            Ok(measured) => {
                for figure in measured.into_iter().filter(|figure| plan.selection.wants(&figure.name)) {
                    if arguments.json {
                        println!("{}", figure.to_json());
                    }
                    figures.push(figure);
                }
            }
            // The others are still worth having.
            Err(error) => {
                eprintln!("error: {first}: {error:#}");
                failed.push(first);
            }
        }
    }
    if !arguments.json {
        print!("{}", report::table(&figures, entries()));
    }
    if !failed.is_empty() {
        bail!("not everything could be measured: {}", failed.join(", "));
    }
    if arguments.report {
        report::write(&machine, &figures, entries())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["bench", "--report", "--quick"]).is_err());
        assert!(Arguments::try_parse_from(["bench", "--report", "net."]).is_err());
    }

    #[test]
    fn every_figure_is_described_once() {
        let mut names: Vec<_> = GROUPS.iter().flat_map(|group| group.entries).map(|entry| entry.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
