//! What jobs came to on two architectures, side by side.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

/// What one job came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) name: String,
    /// Of the result or, where there is no job but a bare module, of its memory at the end.
    pub(super) hash: String,
    pub(super) fuel: String,
    /// How it ended, and whatever else must be the same.
    pub(super) rest: String,
}

impl Outcome {
    /// From lines of four words each, as the runtime's tests write them.
    pub(super) fn parse(lines: &str) -> Result<Vec<Outcome>> {
        let parse = |line: &str| {
            let mut words = line.splitn(4, ' ').map(str::to_owned);
            let mut next = || words.next().with_context(|| format!("not an outcome: {line}"));
            Ok(Outcome { name: next()?, hash: next()?, fuel: next()?, rest: next()? })
        };
        lines.lines().map(parse).collect()
    }

    /// From what `depx run --json` prints; all of it counts but how long it took.
    pub(super) fn of_depx(name: &str, told: &str) -> Result<Outcome> {
        let mut told: Value = serde_json::from_str(told)?;
        told.as_object_mut().and_then(|told| told.remove("seconds")).context("not what `depx run` tells")?;
        let hash = told["result"].as_str().context("no result")?.to_owned();
        let fuel = told["fuel_used"].as_u64().context("no fuel")?.to_string();
        Ok(Outcome { name: name.to_owned(), hash, fuel, rest: told.to_string() })
    }
}

/// A table of both, and how many jobs came to something else there than here. A job that only one knows differs.
pub(super) fn compare(here: &[Outcome], there: &[Outcome]) -> (String, usize) {
    let (mut table, mut different) = (String::new(), 0);
    let width = here.iter().chain(there).map(|outcome| outcome.name.len()).max().unwrap_or_default();
    let mut row = |outcome: &Outcome, verdict: &str| {
        let Outcome { name, hash, fuel, .. } = outcome;
        // A table is all there is to write to, so writing cannot fail.
        let _ = writeln!(table, "{name:width$}  {hash:64}  {fuel:>12}  {verdict}");
    };
    for outcome in here {
        let other = there.iter().find(|other| other.name == outcome.name);
        if other == Some(outcome) {
            row(outcome, "same");
            continue;
        }
        different += 1;
        row(outcome, "DIFFERENT, here");
        match other {
            Some(other) => row(other, &format!("DIFFERENT, aarch64: {} instead of {}", other.rest, outcome.rest)),
            None => row(&Outcome { name: outcome.name.clone(), ..absent() }, "DIFFERENT, aarch64"),
        }
    }
    for outcome in there.iter().filter(|outcome| here.iter().all(|other| other.name != outcome.name)) {
        different += 1;
        row(outcome, "DIFFERENT, only on aarch64");
    }
    (table, different)
}

fn absent() -> Outcome {
    Outcome { name: String::new(), hash: "absent".into(), fuel: "-".into(), rest: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> Vec<Outcome> {
        Outcome::parse("one aa 10 Success-0\ntwo bb 20 Trap-1 and more\n").unwrap()
    }

    #[test]
    fn lines_are_read() {
        assert_eq!(outcomes()[1].rest, "Trap-1 and more");
        assert!(Outcome::parse("one aa 10\n").unwrap_err().to_string().contains("one aa 10"));
    }

    #[test]
    fn what_depx_tells_counts_but_for_the_time() {
        let told = |seconds: f64, stdout: &str| {
            let told = serde_json::json!({"result": "aa", "fuel_used": 7, "seconds": seconds, "output": [stdout]});
            Outcome::of_depx("job", &told.to_string()).unwrap()
        };
        assert_eq!(told(1.0, "x"), told(2.0, "x"));
        assert_ne!(told(1.0, "x"), told(1.0, "y"));
        assert_eq!((told(1.0, "x").hash, told(1.0, "x").fuel), ("aa".into(), "7".into()));
        assert!(Outcome::of_depx("job", "{}").is_err());
    }

    #[test]
    fn the_same_is_the_same_in_any_order() {
        let there: Vec<_> = outcomes().into_iter().rev().collect();
        let (table, different) = compare(&outcomes(), &there);
        assert_eq!((different, table.lines().count()), (0, 2));
        assert!(table.lines().all(|line| line.ends_with("  same")), "{table}");
    }

    #[test]
    fn every_difference_counts() {
        let changes: [fn(&mut Outcome); 4] = [
            |outcome| outcome.hash = "cc".into(),
            |outcome| outcome.fuel = "11".into(),
            |outcome| outcome.rest = "Success-1".into(),
            |outcome| outcome.rest += " ",
        ];
        for change in changes {
            let mut there = outcomes();
            change(&mut there[0]);
            let (table, different) = compare(&outcomes(), &there);
            assert_eq!((different, table.matches("DIFFERENT").count()), (1, 2), "{table}");
        }
        assert_eq!(compare(&outcomes(), &outcomes()[..1]).1, 1);
        assert_eq!(compare(&outcomes()[..1], &outcomes()).1, 1);
        assert_eq!(compare(&[], &outcomes()).1, 2);
    }
}
