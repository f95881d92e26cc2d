//! What is on, out of modules that also use what is off.
//!
//! The suite tests `br_table`, `select`, globals and tables with references of all kinds in one module. Such a module is refused,
//! and everything in it with it. So that it says something all the same, it is also tried with functions in the place of external
//! references, and without fields that use more than that.

use wast::lexer::{Lexer, TokenKind};

/// Keywords of references that are off. A field with one of them is left out.
const OFF: [&str; 17] = [
    "any",
    "anyref",
    "array",
    "br_on_non_null",
    "br_on_null",
    "call_ref",
    "eqref",
    "exnref",
    "i31",
    "noextern",
    "nofunc",
    "none",
    "nullexternref",
    "nullfuncref",
    "nullref",
    "ref",
    "ref.as_non_null",
];

/// The module whose first keyword is at `offset` of `script`, as text; `None` if it is not written as fields.
pub(super) fn adapted(script: &str, offset: usize) -> Option<String> {
    let mut lexer = Lexer::new(script);
    lexer.allow_confusing_unicode(true);
    let mut module = "(".to_owned();
    let (mut field, mut off, mut depth) = (String::new(), false, 0);
    for token in lexer.iter(offset) {
        let token = token.ok()?;
        let text = token.src(script);
        match token.kind {
            TokenKind::LineComment | TokenKind::BlockComment => continue,
            TokenKind::LParen => depth += 1,
            TokenKind::RParen if depth == 0 => {
                module.push(')');
                return Some(module);
            }
            TokenKind::RParen => depth -= 1,
            TokenKind::Keyword if depth == 0 && matches!(text, "binary" | "quote") => return None,
            TokenKind::Keyword => off |= OFF.contains(&text),
            _ => {}
        }
        field.push_str(match text {
            "externref" => "funcref",
            "extern" => "func",
            _ => text,
        });
        if depth == 0 {
            if !off {
                module.push_str(&field);
            }
            field.clear();
            off = false;
        }
    }
    None
}
