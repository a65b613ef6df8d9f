//! Code points to tokens.

use crate::issue::Issue;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Ident,
    EscapedIdent,
    Int,
    Uint,
    Float,
    String,
    Bytes,
    /// An operator or a bracket, by its spelling.
    Symbol(&'static str),
    /// `true`, `false`, `null` or `in`
    Word(&'static str),
    End,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Spanned {
    pub(crate) token: Token,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The longest come first.
const SYMBOLS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":",
    "+", "*", "/", "%",
];
const WORDS: &[&str] = &["true", "false", "null", "in"];

/// Reads all tokens, the end included; what is none is reported and skipped.
pub(crate) fn tokens(text: &[char], issues: &mut Vec<Issue>) -> Vec<Spanned> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        if start >= text.len() {
            tokens.push(Spanned { token: Token::End, start: offset(start), end: offset(start) });
            return tokens;
        }
        match lexer.token() {
            Ok((token, end)) => {
                tokens.push(Spanned { token, start: offset(start), end: offset(end) });
                lexer.at = end;
            }
            Err(failed) => {
                let shown = text[start..text.len().min(failed + 1)].iter().flat_map(|c| match c {
                    '\n' => vec!['\\', 'n'],
                    '\r' => vec!['\\', 'r'],
                    '\t' => vec!['\\', 't'],
                    c => vec![*c],
                });
                let shown: String = shown.collect();
                let message = format!("Syntax error: token recognition error at: '{shown}'");
                issues.push(Issue { offset: Some(offset(start)), message });
                lexer.at = text.len().min(failed + 1);
            }
        }
    }
}

/// Expressions are bounded in size, far below this type's.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

struct Lexer<'a> {
    text: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, at: usize) -> Option<char> {
        self.text.get(at).copied()
    }

    fn skip_blank(&mut self) {
        while let Some(c) = self.peek(self.at) {
            match c {
                '\t' | ' ' | '\r' | '\n' | '\u{c}' => self.at += 1,
                '/' if self.peek(self.at + 1) == Some('/') => {
                    while self.peek(self.at).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// The token here and its end; or where reading failed.
    fn token(&self) -> Result<(Token, usize), usize> {
        let c = self.text[self.at];
        match c {
            '0'..='9' => Ok(self.number()),
            '.' if self.peek(self.at + 1).is_some_and(|c| c.is_ascii_digit()) => Ok(self.number()),
            '"' | '\'' => self.string(self.at, false).map(|end| (Token::String, end)),
            '`' => self.escaped(),
            'a'..='z' | 'A'..='Z' | '_' => Ok(self.prefixed_string().unwrap_or_else(|| self.word())),
            _ => self.symbol(),
        }
    }

    fn symbol(&self) -> Result<(Token, usize), usize> {
        let rest = &self.text[self.at..];
        let starts = |symbol: &&&str| symbol.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
        if let Some(symbol) = SYMBOLS.iter().find(starts) {
            return Ok((Token::Symbol(symbol), self.at + symbol.len()));
        }
        // The first half of an operator is read before the missing half is noticed.
        let half = matches!(rest[0], '=' | '&' | '|');
        Err(self.at + usize::from(half))
    }

    fn word(&self) -> (Token, usize) {
        let length =
            self.text[self.at..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').count();
        let end = self.at + length;
        let text = &self.text[self.at..end];
        let word = WORDS.iter().find(|word| word.chars().eq(text.iter().copied()));
        (word.map_or(Token::Ident, |word| Token::Word(word)), end)
    }

    fn digits(&self, from: usize) -> usize {
        from + self.text.iter().skip(from).take_while(|c| c.is_ascii_digit()).count()
    }

    fn number(&self) -> (Token, usize) {
        if self.peek(self.at) == Some('0') && self.peek(self.at + 1) == Some('x') {
            let from = self.at + 2;
            let end = from + self.text.iter().skip(from).take_while(|c| c.is_ascii_hexdigit()).count();
            if end > from {
                return self.maybe_unsigned(end);
            }
        }
        let mut end = self.digits(self.at);
        let mut float = false;
        if self.peek(end) == Some('.') && self.digits(end + 1) > end + 1 {
            end = self.digits(end + 1);
            float = true;
        }
        if matches!(self.peek(end), Some('e' | 'E')) {
            let from = end + 1 + usize::from(matches!(self.peek(end + 1), Some('+' | '-')));
            if self.digits(from) > from {
                return (Token::Float, self.digits(from));
            }
        }
        if float { (Token::Float, end) } else { self.maybe_unsigned(end) }
    }

    fn maybe_unsigned(&self, end: usize) -> (Token, usize) {
        match self.peek(end) {
            Some('u' | 'U') => (Token::Uint, end + 1),
            _ => (Token::Int, end),
        }
    }

    fn escaped(&self) -> Result<(Token, usize), usize> {
        let mut at = self.at + 1;
        while let Some(c) = self.peek(at) {
            match c {
                '`' if at > self.at + 1 => return Ok((Token::EscapedIdent, at + 1)),
                c if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ') => at += 1,
                _ => break,
            }
        }
        Err(at)
    }

    /// A string after `r`, `b` or `br`; unless it is none, then these letters are a name.
    fn prefixed_string(&self) -> Option<(Token, usize)> {
        let is = |at, letters: [char; 2]| self.peek(at).is_some_and(|c| letters.contains(&c));
        let bytes = is(self.at, ['b', 'B']);
        let after = self.at + usize::from(bytes);
        let raw = is(after, ['r', 'R']);
        let quote = after + usize::from(raw);
        if quote == self.at || !is(quote, ['"', '\'']) {
            return None;
        }
        let end = self.string(quote, raw).ok()?;
        Some((if bytes { Token::Bytes } else { Token::String }, end))
    }

    /// The end of the string whose first quote is at `open`.
    fn string(&self, open: usize, raw: bool) -> Result<usize, usize> {
        let quote = self.text[open];
        let tripled = |at: usize| (0..3).all(|i| self.peek(at + i) == Some(quote));
        if tripled(open) {
            let mut at = open + 3;
            loop {
                match self.peek(at) {
                    // An empty string was read before.
                    None => return Ok(open + 2),
                    _ if tripled(at) => return Ok(at + 3),
                    Some('\\') if !raw => match self.escape(at) {
                        Ok(end) => at = end,
                        Err(_) => return Ok(open + 2),
                    },
                    Some(_) => at += 1,
                }
            }
        }
        let mut at = open + 1;
        loop {
            match self.peek(at) {
                None | Some('\n' | '\r') => return Err(at),
                Some(c) if c == quote => return Ok(at + 1),
                Some('\\') if !raw => at = self.escape(at)?,
                Some(_) => at += 1,
            }
        }
    }

    /// The end of the escape sequence at a backslash; or where it turned out to be none.
    fn escape(&self, at: usize) -> Result<usize, usize> {
        let hex = |count: usize| {
            let wrong = (0..count).find(|i| !self.peek(at + 2 + i).is_some_and(|c| c.is_ascii_hexdigit()));
            wrong.map_or(Ok(at + 2 + count), |i| Err(at + 2 + i))
        };
        match self.peek(at + 1) {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`') => Ok(at + 2),
            Some('x' | 'X') => hex(2),
            Some('u') => hex(4),
            Some('U') => hex(8),
            Some('0'..='3') => {
                let wrong = (2..4).find(|i| !self.peek(at + i).is_some_and(|c| ('0'..='7').contains(&c)));
                wrong.map_or(Ok(at + 4), |i| Err(at + i))
            }
            _ => Err(at + 1),
        }
    }
}
