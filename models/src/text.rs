//! Text from models and libraries, made fit to be stored and logged.

/// Bytes of a reason that are kept: a sentence and a name or two.
pub(crate) const MAX_REASON: usize = 400;

/// Bytes of a name that are shown.
const MAX_NAME: usize = 48;

/// `text` on one line, cut at `max` bytes.
pub(crate) fn bounded(text: &str, max: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(max));
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        if kept.len() + character.len_utf8() > max {
            kept.push('…');
            break;
        }
        kept.push(character);
    }
    kept
}

/// A name from a model, in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("'{}'", bounded(name, MAX_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_multi_line_text_is_cut_and_flattened() {
        assert_eq!(bounded("one\ntwo\u{7}", 100), "one two ");
        assert_eq!(bounded("ééé", 4), "éé…");
        assert!(quoted(&"x".repeat(1_000_000)).len() <= MAX_NAME + 2 + '…'.len_utf8());
    }
}
