//! Equations of `Einsum`.

use super::cost::SINGLE;
use super::shape::{Call, Dim, Effect, Inferred, Value, common_dimension};

/// Steps of starting one product of a batch, which the library does for single elements, too.
const PRODUCT: u64 = 1_024;

/// The labels of dimensions: letters, and for those under an ellipsis digits, of which the last dimension's is 9.
pub(crate) struct Equation {
    pub(crate) operands: Vec<Vec<char>>,
    pub(crate) output: Vec<char>,
}

impl Equation {
    /// The equation of operands with so many dimensions.
    pub(crate) fn parse(text: &str, ranks: &[usize]) -> Result<Self, String> {
        let text = text.replace(' ', "");
        let (operands, output) = match text.split_once("->") {
            Some((operands, output)) => (operands, Some(output)),
            None => (&text[..], None),
        };
        let terms = operands.split(',').collect::<Vec<_>>();
        if terms.len() != ranks.len() {
            return Err(format!("its equation is for {} operands instead of {}", terms.len(), ranks.len()));
        }
        let operands = terms.iter().zip(ranks).map(|(term, &rank)| {
            let (labels, ellipsis) = labels(term)?;
            match (rank.checked_sub(labels.len()), ellipsis) {
                (Some(hidden @ 0..=9), Some(at)) => Ok([&labels[..at], &digits(hidden), &labels[at..]].concat()),
                (Some(0), None) => Ok(labels),
                _ => Err(format!("its term '{term}' does not fit {rank} dimensions")),
            }
        });
        let operands = operands.collect::<Result<Vec<_>, String>>()?;
        let all = operands.iter().flatten();
        let under = |labels: &[char]| labels.iter().copied().filter(char::is_ascii_digit).collect::<Vec<_>>();
        let mut ellipses = operands.iter().zip(&terms).filter(|(_, term)| term.contains('.'));
        let hidden = ellipses.next().map(|(labels, _)| under(labels)).unwrap_or_default();
        if ellipses.any(|(labels, _)| under(labels) != hidden) {
            return Err("its ellipses stand for different numbers of dimensions".to_owned());
        }
        let output = match output {
            Some(term) => {
                let (labels, ellipsis) = labels(term)?;
                if ellipsis.is_none() && !hidden.is_empty() {
                    return Err("its output has no ellipsis and its operands have".to_owned());
                }
                let at = ellipsis.unwrap_or(0);
                [&labels[..at], &hidden, &labels[at..]].concat()
            }
            None if all.clone().any(char::is_ascii_uppercase) => {
                return Err("its equation has capitals and no output; write the output, too".to_owned());
            }
            None => {
                let once = |label: &char| all.clone().filter(|other| *other == label).count() == 1;
                [&hidden[..], &('a'..='z').filter(once).collect::<Vec<_>>()].concat()
            }
        };
        for (position, label) in output.iter().enumerate() {
            if output[..position].contains(label) || !all.clone().any(|other| other == label) {
                return Err(format!("its output has '{label}' twice, or its operands do not have it"));
            }
        }
        Ok(Self { operands, output })
    }
}

/// The letters of a term, and before which of them an ellipsis is.
fn labels(term: &str) -> Result<(Vec<char>, Option<usize>), String> {
    let (before, after) = match term.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (term, None),
    };
    let labels = before.chars().chain(after.unwrap_or("").chars()).collect::<Vec<_>>();
    if labels.iter().all(char::is_ascii_alphabetic) {
        return Ok((labels, after.map(|_| before.len())));
    }
    Err(format!("its term '{term}' has something other than letters and one ellipsis"))
}

/// The labels of as many dimensions under an ellipsis.
fn digits(count: usize) -> Vec<char> {
    ('0'..='9').skip(10 - count).collect()
}

pub(super) fn infer(call: &Call<'_>) -> Inferred {
    if !matches!(call.inputs.len(), 1 | 2) {
        return Err("it has more than two operands; multiply two at a time".to_owned());
    }
    let operands = (0..call.inputs.len()).map(|position| call.input(position)).collect::<Inferred<Vec<_>>>()?;
    let ranks = operands.iter().map(|operand| operand.shape.len()).collect::<Vec<_>>();
    let equation = equation(call, &ranks)?;
    let mut sizes: Vec<(char, Dim)> = Vec::new();
    for (labels, operand) in equation.operands.iter().zip(operands) {
        for (&label, &dim) in labels.iter().zip(&operand.shape) {
            match sizes.iter_mut().find(|(known, _)| *known == label) {
                None => sizes.push((label, dim)),
                Some((_, size)) => *size = common_dimension(*size, dim)?,
            }
        }
    }
    let all = sizes.iter().fold(1u64, |product, (_, dim)| product.saturating_mul(dim.size));
    let size = |label: &char| sizes.iter().find(|(known, _)| known == label).map_or(Dim::ONE, |(_, dim)| *dim);
    let output = Value::of(equation.output.iter().map(size).collect());
    // Operands and results are moved into and out of the order of a product, of which there may be many small ones.
    let moved = call.inputs.iter().flatten().fold(output.elements(), |sum, value| sum.saturating_add(value.elements()));
    let moved = moved.saturating_mul(2 * SINGLE);
    let in_all = |label: &char| equation.operands.iter().all(|labels| labels.contains(label));
    let batch = equation.output.iter().filter(|label| in_all(label)).map(size);
    let batch = batch.fold(1u64, |product, dim| product.saturating_mul(dim.size));
    let steps = if equation.operands.len() > 1 { batch.saturating_mul(PRODUCT) } else { 0 }.saturating_add(moved);
    Ok(Effect { outputs: vec![output], products: all, steps })
}

fn equation(call: &Call<'_>, ranks: &[usize]) -> Inferred<Equation> {
    let text = std::str::from_utf8(call.text("equation", "")?).map_err(|_| "its equation is no text")?;
    Equation::parse(text, ranks)
}

/// Refuses what the kernel does not do.
#[cfg(feature = "onnxruntime")]
pub(super) fn check(call: &Call<'_>) -> Result<(), String> {
    let ranks = call.inputs.iter().flatten().map(|value| value.shape.len()).collect::<Vec<_>>();
    for labels in equation(call, &ranks)?.operands {
        if let Some((_, label)) = labels.iter().enumerate().find(|(at, label)| labels[..*at].contains(label)) {
            return Err(format!("it has '{label}' twice in one operand, for which there is no reproducible kernel"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Equation;

    fn parsed(text: &str, ranks: &[usize]) -> Result<String, String> {
        let Equation { operands, output } = Equation::parse(text, ranks)?;
        let terms = operands.iter().chain([&output]).map(|labels| labels.iter().collect::<String>());
        Ok(terms.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn equations_name_dimensions() {
        for (text, ranks, expected) in [
            ("ij, jk -> ik", &[2, 2][..], "ij jk ik"),
            ("ij,jk", &[2, 2], "ij jk ik"),
            ("ba", &[2], "ba ab"),
            ("i,i", &[1, 1], "i i "),
            ("", &[0], " "),
            ("...ij,...jk->...ik", &[4, 4], "89ij 89jk 89ik"),
            ("a...b->b...a", &[4], "a89b b89a"),
            ("...", &[2], "89 89"),
            ("i...->...", &[1], "i "),
            ("...ii->...i", &[3], "9ii 9i"),
            ("Ab->bA", &[2], "Ab bA"),
        ] {
            assert_eq!(parsed(text, ranks).as_deref(), Ok(expected), "{text}");
        }
        for (text, ranks) in [
            ("ij,jk->ik", &[2][..]),
            ("ij->i", &[3]),
            ("i1->i", &[2]),
            ("i......->i", &[2]),
            ("i..->i", &[3]),
            ("ij->ii", &[2]),
            ("ij->k", &[2]),
            ("...i->i", &[2]),
            ("Ab", &[2]),
            ("i->j->k", &[1]),
            ("...", &[11]),
            ("...ij,...jk->...ik", &[4, 3]),
        ] {
            assert!(parsed(text, ranks).is_err(), "{text}");
        }
    }
}
