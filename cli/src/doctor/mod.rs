//! `depx doctor`: what this machine lacks to be a node, and how to mend it.

mod clock;
mod coordinators;
mod place;
mod self_test;
mod software;

use crate::network::CoordinatorName;
use crate::node::Place;
use crate::{Global, show};
use anyhow::Result;
use serde_json::json;
use std::process::ExitCode;

/// Find out what this machine lacks to be a node, and how to mend it.
#[derive(clap::Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    place: Place,
    /// A coordinator to reach, instead of those of the configuration file; may be given several times
    #[arg(long = "coordinator", env = "DEPX_COORDINATOR", value_name = "0xADDRESS@HOST:PORT", value_delimiter = ',')]
    coordinators: Vec<CoordinatorName>,
}

/// What was looked at, and what was found.
struct Check {
    name: String,
    state: State,
    /// What is so.
    finding: String,
    /// What to do about it.
    remedy: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Ok,
    /// A node can do without, and loses something by it.
    Warning,
    /// A node cannot do without.
    Failed,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Check {
    fn ok(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, finding: finding.into(), remedy: String::new() }
    }

    fn warning(name: impl Into<String>, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Warning, remedy: remedy.into(), ..Self::ok(name, finding) }
    }

    fn failed(name: impl Into<String>, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Failed, remedy: remedy.into(), ..Self::ok(name, finding) }
    }

    fn tell(&self, global: &Global) {
        let Self { name, state, finding, remedy } = self;
        let value = json!({"check": name, "state": state.word(), "finding": finding, "remedy": remedy});
        show::line(global, &value, || {
            let remedy = if remedy.is_empty() { String::new() } else { format!("\n{:31}-> {remedy}", "") };
            format!("{:<9}{name:<22}{finding}{remedy}", state.word())
        });
    }
}

/// An error and its causes in one line.
fn causes(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

pub(crate) fn doctor(global: &Global, args: &DoctorArgs) -> Result<ExitCode> {
    let (mut failed, mut warnings) = (0_u32, 0_u32);
    let mut tell = |check: Check| {
        check.tell(global);
        match check.state {
            State::Ok => {}
            State::Warning => warnings += 1,
            State::Failed => failed += 1,
        }
    };
    let data = args.place.data(global);
    let (check, settings) = place::configuration(&args.place, global)?;
    tell(check);
    place::key(&data).into_iter().for_each(&mut tell);
    place::data(&data, &settings).into_iter().for_each(&mut tell);
    tell(software::kernel());
    tell(clock::clock());
    tell(software::onnx_runtime(global));
    tell(software::gpus());
    let coordinators = if args.coordinators.is_empty() { &settings.coordinators } else { &args.coordinators };
    coordinators::reach(coordinators, &mut tell)?;
    self_test::workers(global, &settings, &mut tell);
    if !global.json {
        show::print(match (failed, warnings) {
            (0, 0) => "This machine can be a node.".to_owned(),
            (0, warnings) => format!("This machine can be a node; {warnings} warning(s)."),
            (failed, _) => format!("This machine cannot be a node yet: {failed} check(s) failed."),
        });
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_is_not_well_says_what_to_do() {
        let check = Check::failed("disk", "it is full", "make room");
        assert_eq!((check.state.word(), &*check.finding, &*check.remedy), ("failed", "it is full", "make room"));
        assert_eq!(Check::warning("disk", "", "").state, State::Warning);
        assert_eq!(Check::ok("disk", "").state, State::Ok);
    }
}
