//! The figures for people: a table on the terminal, and `bench/README.md`.

use crate::figure::{Entry, Figure, Goal};
use crate::machine::{self, Machine};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;

/// All figures, one per line.
pub(crate) fn table<'a>(figures: &[Figure], entries: impl Iterator<Item = &'a Entry> + Clone) -> String {
    let row = |figure: &Figure| {
        let goal = entries.clone().find(|entry| entry.describes(&figure.name)).map_or(Goal::None, |entry| entry.goal);
        let missed = if goal.is_met(figure.value) == Some(false) { "missed" } else { "" };
        let value = format!("{} {}", number(figure.value), figure.unit);
        let baseline = figure.baseline.map_or_else(String::new, number);
        [figure.name.clone(), value, goal_text(goal), baseline, missed.to_owned()]
    };
    let title = ["figure", "value", "goal", "baseline", ""].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(title).chain(figures.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Rewrites `bench/README.md`.
pub(crate) fn write<'a>(
    machine: &Machine,
    figures: &[Figure],
    entries: impl Iterator<Item = &'a Entry> + Clone,
) -> Result<()> {
    let path = machine::directory().join("README.md");
    fs::write(&path, readme(machine, figures, entries)).with_context(|| format!("{} cannot be written", path.display()))
}

fn readme<'a>(machine: &Machine, figures: &[Figure], entries: impl Iterator<Item = &'a Entry> + Clone) -> String {
    let mut text = String::from(OPENING);
    let Machine { processor, cores, memory, kernel, compiler, commit, load } = machine;
    let _ = writeln!(
        text,
        "| | |\n|---|---|\n| processor | {processor}, {cores} cores |\n| memory | {memory} |\n| kernel | Linux {kernel} |\n\
         | compiler | {compiler} |\n| commit | {commit} |\n| load before the first figure | {load} |\n"
    );
    let has_goal = |entry: &&Entry| entry.goal != Goal::None;
    section(&mut text, "## Figures\n", figures, entries.clone().filter(has_goal));
    section(&mut text, "## Additional figures\n", figures, entries.clone().filter(|entry| !has_goal(entry)));
    text.push_str("## Methods\n\n");
    for entry in entries.filter(|entry| figures.iter().any(|figure| entry.describes(&figure.name))) {
        let _ = writeln!(text, "**`{}`** {} Baseline: {}.\n", entry.name, entry.method, entry.baseline);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn section<'a>(text: &mut String, title: &str, figures: &[Figure], entries: impl Iterator<Item = &'a Entry>) {
    let _ = writeln!(text, "{title}\n| figure | value | goal | met | baseline |\n|---|---:|---|---|---:|");
    for entry in entries {
        for figure in figures.iter().filter(|figure| entry.describes(&figure.name)) {
            let met = match entry.goal.is_met(figure.value) {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            };
            let (value, goal) = (number(figure.value), goal_text(entry.goal));
            let baseline = figure.baseline.map_or_else(String::new, number);
            let _ = writeln!(text, "| `{}` | {value} {} | {goal} | {met} | {baseline} |", figure.name, figure.unit);
        }
    }
    text.push('\n');
}

fn goal_text(goal: Goal) -> String {
    match goal {
        Goal::AtMost(bound) => format!("≤ {bound}"),
        Goal::AtLeast(bound) => format!("≥ {bound}"),
        Goal::None => String::new(),
    }
}

/// With three to four significant digits.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        1000.0.. => 0,
        100.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

const OPENING: &str = "\
<!-- Written by `cargo xtask bench --report`. -->
# Benchmarks

`cargo xtask bench [--quick] [NAME-PREFIX…] [--json]` measures all figures, or those whose names begin so; `--quick` takes
fewer turns; `--json` prints one line per figure, `{\"name\": …, \"value\": …, \"unit\": …, \"baseline\": …}`. `cargo xtask bench --report`
measures everything and rewrites this file.

What is compared is measured in one process, in turns, and a ratio is the median over the turns. The baseline of a figure is what it is
compared with; its unit is below, under Methods. Micro-benchmarks of single functions: `cargo bench -p depx-protocol`.

";

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const ENTRIES: [Entry; 2] = [
        Entry { name: "a.one", unit: "ms", goal: Goal::AtMost(1.0), baseline: "nothing, ms", method: "By counting." },
        Entry { name: "a.more.*", unit: "ratio", goal: Goal::None, baseline: "less, µs", method: "By guessing." },
    ];

    fn figures() -> Vec<Figure> {
        vec![ENTRIES[0].figure(1.25, Some(1234.5)), ENTRIES[1].member("x", 0.5, None)]
    }

    #[test]
    fn the_table_is_aligned_and_says_what_was_missed() {
        expect![[r#"
            figure    value        goal  baseline
            a.one     1.25 ms      ≤ 1   1234      missed
            a.more.x  0.500 ratio
        "#]]
        .assert_eq(&table(&figures(), ENTRIES.iter()));
    }

    #[test]
    fn the_report_has_machine_figures_and_methods() {
        let text = readme(&Machine::here(), &figures(), ENTRIES.iter());
        for part in [
            "| commit | ",
            "| `a.one` | 1.25 ms | ≤ 1 | **no** | 1234 |",
            "| `a.more.x` | 0.500 ratio |  |  |  |",
            "**`a.one`** By counting. Baseline: nothing, ms.",
            "**`a.more.*`** By guessing.",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let only_one = readme(&Machine::here(), &figures()[..1], ENTRIES.iter());
        assert!(!only_one.contains("a.more"), "what was not measured is absent");
    }

    #[test]
    fn numbers_keep_three_digits_or_four() {
        let shown = [0.0312, 1.2345, 123.456, 15_000.4].map(number);
        assert_eq!(shown, ["0.031", "1.23", "123.5", "15000"]);
    }
}
