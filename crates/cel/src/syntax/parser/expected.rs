//! What may stand where, and what is said when something else does.

use super::super::lexer::{Spanned, Token};
use super::{Parser, Step, Stop, stop};

pub(super) const EXPECTED: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, \
                        BYTES, IDENTIFIER}";
pub(super) const EXPECTED_ARGUMENT: &str = "{'[', '{', '(', ')', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, \
                                 NUM_UINT, STRING, BYTES, IDENTIFIER}";
pub(super) const EXPECTED_INDEX: &str = "{'[', '{', '(', '.', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, \
                              NUM_UINT, STRING, BYTES, IDENTIFIER}";
pub(super) const EXPECTED_ELEMENT: &str = "{'[', ']', '{', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, \
                                NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
pub(super) const EXPECTED_ENTRY: &str = "{'[', '{', '}', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, \
                              NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

impl Parser<'_> {
    /// The next token, which must be this symbol. When the token after it is what is expected, one is too many; when the
    /// next one could follow the symbol, that is missing.
    pub(super) fn expect(&mut self, symbol: &'static str, expected: &str) -> Step<Spanned> {
        if let Some(token) = self.take(symbol) {
            return Ok(token);
        }
        let token = self.peek();
        let shown = self.shown(token);
        let single = expected.starts_with('\'');
        let follows = match symbol {
            ":" => starts_value(token.token),
            _ => continues(token.token, self.open > 1),
        };
        let message = if self.is_symbol(1, symbol) || (!single && self.is_symbol(1, ",")) {
            format!("Syntax error: extraneous input '{shown}' expecting {expected}")
        } else if single && follows {
            format!("Syntax error: missing {expected} at '{shown}'")
        } else {
            format!("Syntax error: mismatched input '{shown}' expecting {expected}")
        };
        Err(stop(token.start, message))
    }

    /// Nothing of the grammar goes on like this, from `first` on.
    pub(super) fn no_alternative(&self, first: Spanned) -> Stop {
        let token = self.peek();
        let text: String = self.text[first.start as usize..token.end as usize].iter().collect();
        stop(token.start, format!("Syntax error: no viable alternative at input '{text}'"))
    }

    /// Checks that a value begins here, where something else might be expected, too.
    pub(super) fn begins_value(&self, expected: &str) -> Step<()> {
        let token = self.peek();
        if starts_value(token.token) { Ok(()) } else { Err(self.unexpected(token, expected)) }
    }

    /// Whether an element or entry begins here.
    pub(super) fn begins_part(&self) -> bool {
        starts_value(self.peek().token) || self.is_symbol(0, "?")
    }

    /// Something else stands where a value should begin.
    pub(super) fn unexpected(&self, token: Spanned, expected: &str) -> Stop {
        let shown = self.shown(token);
        // One token too many is skipped when what follows would do.
        let closer = match expected {
            EXPECTED_ARGUMENT => ")",
            EXPECTED_ELEMENT => "]",
            EXPECTED_ENTRY => "}",
            _ => "",
        };
        let more = matches!(expected, EXPECTED_ELEMENT | EXPECTED_ENTRY);
        let closes =
            self.is_symbol(1, closer) || (more && (self.is_symbol(1, ",") || self.is_symbol(1, "?")));
        let follows = closes || self.tokens.get(self.at + 1).is_some_and(|next| starts_value(next.token));
        let what = if follows { "extraneous" } else { "mismatched" };
        stop(token.start, format!("Syntax error: {what} input '{shown}' expecting {expected}"))
    }
}

pub(super) fn starts_member(token: Token) -> bool {
    starts_value(token) && token != Token::Symbol("!")
}

fn starts_value(token: Token) -> bool {
    match token {
        Token::Symbol(symbol) => matches!(symbol, "[" | "{" | "(" | "." | "-" | "!"),
        Token::Word(word) => word != "in",
        Token::EscapedIdent | Token::End => false,
        _ => true,
    }
}

/// Whether an expression that is complete can be followed by this; within brackets it can by more.
fn continues(token: Token, inside: bool) -> bool {
    match token {
        Token::End => true,
        Token::Symbol("," | ":" | ")" | "]" | "}") => inside,
        Token::Symbol(symbol) => !matches!(symbol, "(" | "{" | "!"),
        Token::Word(word) => word == "in",
        _ => false,
    }
}
