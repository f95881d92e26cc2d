//! What is measured, and what it came to.

use anyhow::{Result, bail};
use serde_json::json;

/// Describes a figure before it is measured.
pub(crate) struct Entry {
    /// The figure's name. One that ends in `.*` describes a family.
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
    /// What the figure is compared with, and its unit.
    pub(crate) baseline: &'static str,
    /// How it is measured.
    pub(crate) method: &'static str,
}

/// What a figure should come to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// An additional figure.
    None,
}

/// A figure that was measured.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What [`Entry::baseline`] describes, if there is something to compare with.
    pub(crate) baseline: Option<f64>,
}

impl Entry {
    /// A measured figure of this name.
    pub(crate) fn figure(&self, value: f64, baseline: Option<f64>) -> Figure {
        Figure { name: self.name.to_owned(), value, unit: self.unit, baseline }
    }

    /// A measured figure of this family.
    pub(crate) fn member(&self, name: &str, value: f64, baseline: Option<f64>) -> Figure {
        Figure { name: format!("{}{name}", self.stem()), ..self.figure(value, baseline) }
    }

    /// Whether `figure` is this one, or one of this family.
    pub(crate) fn describes(&self, figure: &str) -> bool {
        if self.is_family() { figure.starts_with(self.stem()) } else { figure == self.name }
    }

    fn is_family(&self) -> bool {
        self.name.ends_with('*')
    }

    fn stem(&self) -> &'static str {
        self.name.trim_end_matches('*')
    }
}

impl Goal {
    /// Whether `value` meets it; `None` where there is none.
    pub(crate) fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(bound) => Some(value <= bound),
            Self::AtLeast(bound) => Some(value >= bound),
            Self::None => None,
        }
    }
}

impl Figure {
    /// One line: `{"name": …, "value": …, "unit": …, "baseline": …}`.
    pub(crate) fn to_json(&self) -> String {
        let Self { name, value, unit, baseline } = self;
        json!({ "name": name, "value": value, "unit": unit, "baseline": baseline }).to_string()
    }
}

/// Which figures are wanted.
pub(crate) struct Selection(Vec<String>);

impl Selection {
    /// Those whose names begin with one of `prefixes`, all if there are none. A prefix of nothing is an error.
    pub(crate) fn new<'a>(prefixes: &[String], entries: impl Iterator<Item = &'a Entry> + Clone) -> Result<Self> {
        let selection = Self(prefixes.to_vec());
        let unknown = prefixes.iter().find(|prefix| !entries.clone().any(|entry| is_wanted(prefix, entry)));
        if let Some(prefix) = unknown {
            let names: Vec<_> = entries.map(|entry| entry.name).collect();
            bail!("no figure's name begins with {prefix:?}; there are {}", names.join(", "));
        }
        Ok(selection)
    }

    /// Whether a figure is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    /// Whether any of these is wanted.
    pub(crate) fn wants_any(&self, entries: &[Entry]) -> bool {
        self.0.is_empty() || self.0.iter().any(|prefix| entries.iter().any(|entry| is_wanted(prefix, entry)))
    }
}

/// Whether `prefix` asks for an entry's figure, or for some of its family.
fn is_wanted(prefix: &str, entry: &Entry) -> bool {
    entry.stem().starts_with(prefix) || entry.is_family() && prefix.starts_with(entry.stem())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn entry(name: &'static str) -> Entry {
        Entry { name, unit: "ms", goal: Goal::None, baseline: "", method: "" }
    }

    const ENTRIES: [Entry; 3] = [entry("a.one"), entry("a.one.*"), entry("b.two")];

    fn select(prefixes: &[&str]) -> Result<Selection> {
        Selection::new(&prefixes.iter().map(|&prefix| prefix.to_owned()).collect::<Vec<_>>(), ENTRIES.iter())
    }

    #[test]
    fn prefixes_select() {
        for (prefixes, wanted) in [
            (&[][..], &["a.one", "a.one.x", "b.two"][..]),
            (&["a."], &["a.one", "a.one.x"]),
            (&["a.one.x"], &["a.one.x"]),
            (&["b", "a.one.x"], &["a.one.x", "b.two"]),
        ] {
            let selection = select(prefixes).unwrap();
            let found: Vec<_> =
                ["a.one", "a.one.x", "b.two"].into_iter().filter(|name| selection.wants(name)).collect();
            assert_eq!(found, wanted, "{prefixes:?}");
            assert_eq!(selection.wants_any(&ENTRIES[2..]), wanted.contains(&"b.two"), "{prefixes:?}");
        }
    }

    #[test]
    fn a_prefix_of_nothing_is_an_error_that_names_what_there_is() {
        for prefix in ["c", "b.two.x", "A."] {
            let error = select(&["a", prefix]).err().unwrap().to_string();
            assert!(error.contains(&format!("{prefix:?}")) && error.contains("a.one, a.one.*, b.two"), "{error}");
        }
    }

    #[test]
    fn json_has_the_four_members_and_null_for_no_baseline() {
        let figure = ENTRIES[1].member("x", 1.5, None);
        assert_eq!(figure.to_json(), r#"{"baseline":null,"name":"a.one.x","unit":"ms","value":1.5}"#);
        assert!(ENTRIES[0].figure(1.5, Some(2.0)).to_json().contains(r#""baseline":2.0"#));
    }

    #[test]
    fn families_describe_their_members_alone() {
        assert!(ENTRIES[0].describes("a.one") && !ENTRIES[0].describes("a.one.x"));
        assert!(ENTRIES[1].describes("a.one.x") && !ENTRIES[1].describes("a.one"));
    }

    #[test]
    fn goals_include_their_bound() {
        assert_eq!([1.0, 1.1].map(|value| Goal::AtMost(1.0).is_met(value)), [Some(true), Some(false)]);
        assert_eq!([1.0, 0.9].map(|value| Goal::AtLeast(1.0).is_met(value)), [Some(true), Some(false)]);
        assert_eq!(Goal::None.is_met(1.0), None);
    }
}
