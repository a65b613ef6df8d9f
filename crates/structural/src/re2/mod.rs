//! Regular expressions as Go's `regexp` reads them (RE2's syntax), run by the `regex` crate.
//!
//! The two agree on what matching means and promise time linear in the text. They differ in syntax (`\d` and its like are
//! ASCII in Go, brackets nest in Rust, `a**` is an error in Go …), so a pattern is read by [`translate`] first, which
//! also words errors as Go does.

mod class;
mod translate;

use std::fmt;
use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

/// Bytes that the program of one pattern may take.
const SIZE: usize = 16 << 20;

/// Why a pattern cannot be used, in Go's words: ``error parsing regexp: missing closing ): `(a` ``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    code: &'static str,
    part: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error parsing regexp: {}: `{}`", self.code, self.part)
    }
}

impl std::error::Error for PatternError {}

/// A pattern, compiled when it is first used.
pub struct Pattern {
    source: String,
    compiled: OnceLock<Result<Regex, PatternError>>,
}

impl Pattern {
    /// A pattern of this text, which may be malformed.
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned(), compiled: OnceLock::new() }
    }

    /// The text that it was made from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is found anywhere in a text.
    pub fn is_match(&self, text: &str) -> Result<bool, &PatternError> {
        self.regex().map(|regex| regex.is_match(text))
    }

    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<&PatternError> {
        self.regex().err()
    }

    fn regex(&self) -> Result<&Regex, &PatternError> {
        self.compiled.get_or_init(|| compile(&self.source)).as_ref()
    }
}

fn compile(source: &str) -> Result<Regex, PatternError> {
    let translated = translate::translate(source)?;
    let fail = |code| PatternError { code, part: source.to_owned() };
    RegexBuilder::new(&translated).size_limit(SIZE).dfa_size_limit(SIZE).build().map_err(
        |error| match error {
            regex::Error::CompiledTooBig(_) => fail("expression too large"),
            _ => fail("invalid character class range"),
        },
    )
}

impl Clone for Pattern {
    fn clone(&self) -> Self {
        Self { source: self.source.clone(), compiled: self.compiled.clone() }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_go_does() {
        let check = |pattern: &str, text: &str, wanted: bool| {
            assert_eq!(Pattern::new(pattern).is_match(text), Ok(wanted), "{pattern} in {text:?}");
        };
        check("^[a-z]+$", "abc", true);
        check("^[a-z]+$", "abc\n", false);
        check("b", "abc", true);
        check(r"^\d$", "٣", false);
        check(r"^\w$", "é", false);
        check(r"^\W$", "é", true);
        check(r"^\s$", "\u{a0}", false);
        check(r"^[\d\-x]+$", "4-x", true);
        check(r"^[[a]$", "[", true);
        check("^[a&&b]+$", "&", true);
        check("^[+--b]$", ",", true);
        check("^[+--b]$", "/", false);
        check("(?P<a>x)(?P<a>y)", "xy", true);
        check("^[a~~b]$", "~", true);
        check("^[]a]$", "]", true);
        check("^[^]a]$", "b", true);
        check("^[[:alpha:]_]$", "_", true);
        check("^[^[:alpha:]]$", "1", true);
        check("^a{,2}$", "a{,2}", true);
        check("^a{2$", "a{2", true);
        check("^a{2}$", "aa", true);
        check("^x{1,2}?y", "xy", true);
        check(r"^\Qa.b\E$", "a.b", true);
        check(r"^\Qa.b\E$", "axb", false);
        check(r"^\x41\x{1F600}\101$", "A😀A", true);
        check(r"^\p{Greek}\pN\P{L}$", "α1-", true);
        check(r"^\p{^Greek}$", "a", true);
        check("(?i)^ab(?-i)c$", "ABc", true);
        check("(?i)^ab(?-i)c$", "ABC", false);
        check("^(?P<a>x)(?<b>y)(?:z)$", "xyz", true);
        check("(?s)^.$", "\n", true);
        check("^.$", "\n", false);
        check("(?m)^b$", "a\nb\nc", true);
        check(r"\bé", "é", false);
        check("", "x", true);
        check("a|", "", true);
        check("^*a", "a", true);
        check("#x y", "#x y", true);
        check(r"^[0-9-\p{L}]{1,63}$", "é-1", true);
        check(r"^[\w.+-]+$", "a.b+c-d", true);
        check(r"^[\D]$", "x", true);
        check(r"^[^\D]$", "1", true);
        check(r"^\a\f\v\t$", "\x07\x0c\x0b\t", true);
    }

    #[test]
    fn words_errors_as_go_does() {
        let check = |pattern: &str, wanted: &str| {
            let got = Pattern::new(pattern).problem().map(ToString::to_string);
            assert_eq!(got, Some(format!("error parsing regexp: {wanted}")), "{pattern}");
        };
        check("(", "missing closing ): `(`");
        check("a(b|c", "missing closing ): `a(b|c`");
        check("a)b", "unexpected ): `a)b`");
        check("[a", "missing closing ]: `[a`");
        check("[", "missing closing ]: `[`");
        check("[b-a]", "invalid character class range: `b-a`");
        check("[[:foo:]]", "invalid character class range: `[:foo:]`");
        check("*a", "missing argument to repetition operator: `*`");
        check("a|+?b", "missing argument to repetition operator: `+?`");
        check("(*)", "missing argument to repetition operator: `*`");
        check("a**", "invalid nested repetition operator: `**`");
        check("a*{2}", "invalid nested repetition operator: `*{2}`");
        check("a{1001}", "invalid repeat count: `{1001}`");
        check("a{2,1}", "invalid repeat count: `{2,1}`");
        check("(a{500}){3}", "invalid repeat count: `{3}`");
        check(r"\", "trailing backslash at end of expression: ``");
        check(r"\8", r"invalid escape sequence: `\8`");
        check(r"\1", r"invalid escape sequence: `\1`");
        check(r"\Z", r"invalid escape sequence: `\Z`");
        check(r"\C", r"invalid escape sequence: `\C`");
        check(r"[\y]", r"invalid escape sequence: `\y`");
        check(r"\x4", r"invalid escape sequence: `\x4`");
        check(r"\p{Foo}", r"invalid character class range: `\p{Foo}`");
        check(r"\pX", r"invalid character class range: `\pX`");
        check("(?=a)", "invalid or unsupported Perl syntax: `(?=`");
        check("(?<!a)", "invalid named capture: `(?<!a)`");
        check("(?P<n", "invalid named capture: `(?P<n`");
        check("(?P<1-a>x)", "invalid named capture: `(?P<1-a>`");
        check("(?x)a", "invalid or unsupported Perl syntax: `(?x`");
        check("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`");
        check("(?i", "invalid or unsupported Perl syntax: `(?i`");
        check(r"[\x{zz}]", r"invalid escape sequence: `\x{z`");
        check("(?i)*", "missing argument to repetition operator: `*`");
    }
}
