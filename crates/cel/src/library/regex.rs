//! Regular expressions: Go's syntax by way of the crate `regex`.

use regex::{Regex, RegexBuilder};

use crate::error::EvalError;
use crate::value::{Meter, Value};

use super::{Outcome, Table};

pub(super) const FUNCTIONS: Table = &[
    ("matches", &["matches (string, string) -> bool", "matches_string string.(string) -> bool"], matches),
    ("find", &["string_find_string string.(string) -> string"], find),
    (
        "findAll",
        &[
            "string_find_all_string string.(string) -> list(string)",
            "string_find_all_string_int string.(string, int) -> list(string)",
        ],
        find_all,
    ),
];

/// Bytes that a compiled pattern may have.
const SIZE: usize = 4 * 1024 * 1024;

/// Compiles a pattern; the message of an error is Go's.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern).map_err(|problem| format!("error parsing regexp: {problem}"))?;
    RegexBuilder::new(&translated)
        .size_limit(SIZE)
        .build()
        .map_err(|_| format!("error parsing regexp: invalid or too large expression: `{pattern}`"))
}

fn run<'a>(args: &[Value<'a>], prefix: &str, run: impl FnOnce(&Regex, &str) -> Value<'a>) -> Outcome<'a> {
    let [Value::String(text), Value::String(pattern), ..] = args else {
        return Err(EvalError::no_such_overload());
    };
    let regex = compile(pattern).map_err(|message| EvalError::new(format!("{prefix}{message}")))?;
    Ok(run(&regex, text))
}

fn matches<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    run(args, "", |regex, text| Value::Bool(regex.is_match(text)))
}

fn find<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let first = |regex: &Regex, text: &str| regex.find(text).map(|found| found.as_str().to_owned());
    run(args, "Illegal regex: ", |regex, text| Value::text(first(regex, text).unwrap_or_default()))
}

fn find_all<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let most = match args {
        [_, _] => usize::MAX,
        [_, _, Value::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
        _ => return Err(EvalError::no_such_overload()),
    };
    run(args, "Illegal regex: ", |regex, text| {
        let found = regex.find_iter(text).take(most);
        Value::list(found.map(|found| Value::text(found.as_str().to_owned())).collect())
    })
}

/// A pattern with Go's meaning in the syntax of the crate: letters like `\d` are ASCII, brackets within brackets are
/// plain, and braces that repeat nothing are plain, too.
fn translate(pattern: &str) -> Result<String, String> {
    let mut translator =
        Translator { rest: pattern, whole: pattern, out: String::new(), depth: 0, repeated: true };
    while let Some(c) = translator.rest.chars().next() {
        translator.step(c)?;
    }
    if translator.depth > 0 {
        return Err(format!("missing closing ): `{pattern}`"));
    }
    Ok(translator.out)
}

struct Translator<'p> {
    rest: &'p str,
    whole: &'p str,
    out: String,
    /// Open parentheses.
    depth: usize,
    /// Whether nothing stands before that could be repeated.
    repeated: bool,
}

impl<'p> Translator<'p> {
    fn take(&mut self, length: usize) -> &'p str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn step(&mut self, c: char) -> Result<(), String> {
        match c {
            '\\' => return self.escape(),
            '[' => return self.class(),
            '(' => return self.group(),
            ')' => {
                if self.depth == 0 {
                    return Err(format!("unexpected ): `{}`", self.whole));
                }
                self.depth -= 1;
            }
            '*' | '+' | '?' => return self.repeat(1),
            '{' => match repetition(self.rest) {
                Some((length, valid)) if valid => return self.repeat(length),
                Some((length, _)) => return Err(format!("invalid repeat count: `{}`", &self.rest[..length])),
                None => {
                    self.out.push('\\');
                }
            },
            '}' => self.out.push('\\'),
            '|' => {
                let taken = self.take_char(c);
                self.out.push_str(taken);
                self.repeated = true;
                return Ok(());
            }
            _ => {}
        }
        let taken = self.take_char(c);
        self.out.push_str(taken);
        self.repeated = false;
        Ok(())
    }

    fn take_char(&mut self, c: char) -> &'p str {
        self.take(c.len_utf8())
    }

    /// `*`, `+`, `?` or `{n,m}`, perhaps with a `?` that makes it reluctant.
    fn repeat(&mut self, length: usize) -> Result<(), String> {
        let operator = &self.rest[..length];
        if self.repeated {
            return Err(format!("missing argument to repetition operator: `{operator}`"));
        }
        let start = self.rest;
        let mut taken = length;
        taken += usize::from(self.rest[length..].starts_with('?'));
        let text = self.take(taken);
        self.out.push_str(text);
        let next = self.rest.chars().next();
        let again = match next {
            Some('*' | '+' | '?') => 1,
            Some('{') => repetition(self.rest).map_or(0, |(length, _)| length),
            _ => 0,
        };
        if again > 0 {
            return Err(format!("invalid nested repetition operator: `{}`", &start[..taken + again]));
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        if !self.rest.starts_with("(?") {
            self.depth += 1;
            let taken = self.take(1);
            self.out.push_str(taken);
            self.repeated = true;
            return Ok(());
        }
        let named = self.rest.starts_with("(?P<") || self.rest.starts_with("(?<");
        let end = self.rest.find(if named { ['>', '>'] } else { [':', ')'] });
        let Some(end) = end else { return Err(format!("missing argument to group: `{}`", self.rest)) };
        let flags = &self.rest[2..end];
        if !named && !flags.chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
            let end = 2 + flags.find(|c| !matches!(c, 'i' | 'm' | 's' | 'U' | '-')).unwrap_or(0);
            let shown: String = self.rest.chars().take(end + 1).collect();
            return Err(format!("invalid or unsupported Perl syntax: `{shown}`"));
        }
        let only_flags = self.rest[end..].starts_with(')');
        self.depth += usize::from(!only_flags);
        let taken = self.take(end + 1);
        self.out.push_str(taken);
        self.repeated = true;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let mut chars = self.rest.chars();
        chars.next();
        let Some(c) = chars.next() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        self.repeated = false;
        let replaced = match c {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            's' => r"[\t\n\f\r ]",
            'S' => r"[^\t\n\f\r ]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            'b' => r"(?-u:\b)",
            'B' => r"\B",
            'Q' => return self.literal(),
            _ => {
                let text = self.escaped_char(c)?;
                self.out.push_str(&text);
                return Ok(());
            }
        };
        self.take(2);
        self.out.push_str(replaced);
        Ok(())
    }

    /// `\Q…\E`
    fn literal(&mut self) -> Result<(), String> {
        self.take(2);
        let end = self.rest.find("\\E").unwrap_or(self.rest.len());
        let text = self.take(end);
        self.out.push_str(&regex::escape(text));
        let closing = self.rest.len().min(2);
        self.take(closing);
        Ok(())
    }

    /// An escape that both know, or that is written otherwise, in or outside of brackets.
    fn escaped_char(&mut self, c: char) -> Result<String, String> {
        let invalid = |text: &str| Err(format!("invalid escape sequence: `{text}`"));
        match c {
            'p' | 'P' => {
                let end = match self.rest[2..].strip_prefix('{') {
                    Some(name) => 3 + name.find('}').map_or(name.len(), |end| end + 1),
                    None => 2 + self.rest[2..].chars().next().map_or(0, char::len_utf8),
                };
                Ok(self.take(end).to_owned())
            }
            'x' => {
                let end = match self.rest[2..].strip_prefix('{') {
                    Some(digits) => 3 + digits.find('}').map_or(digits.len(), |end| end + 1),
                    None => self.rest.char_indices().nth(4).map_or(self.rest.len(), |(at, _)| at),
                };
                Ok(self.take(end).to_owned())
            }
            '0'..='7' => {
                let digits = self.rest[1..].chars().take(3).take_while(|c| ('0'..='7').contains(c)).count();
                if digits == 1 && c != '0' {
                    return invalid(&self.rest[..2]);
                }
                let code = u32::from_str_radix(&self.rest[1..=digits], 8).unwrap_or(0);
                self.take(1 + digits);
                Ok(format!("\\x{{{code:x}}}"))
            }
            'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'A' | 'z' => Ok(self.take(2).to_owned()),
            c if c.is_ascii_punctuation() => {
                self.take(2);
                Ok(regex::escape(&c.to_string()))
            }
            c => invalid(&format!("\\{c}")),
        }
    }

    /// `[…]`
    fn class(&mut self) -> Result<(), String> {
        let start = self.rest;
        let missing = || Err(format!("missing closing ]: `{start}`"));
        self.take(1);
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.take(1);
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.chars().next() else { return missing() };
            match c {
                ']' if !first => break,
                '[' if self.rest.starts_with("[:") && self.rest[2..].contains(":]") => {
                    let end = 2 + self.rest[2..].find(":]").unwrap_or(0) + 2;
                    let taken = self.take(end);
                    self.out.push_str(taken);
                }
                '\\' => self.class_escape()?,
                '[' | ']' | '&' | '~' => {
                    self.out.push('\\');
                    let taken = self.take(1);
                    self.out.push_str(taken);
                }
                '-' if first || self.rest.starts_with("-]") => {
                    self.out.push_str("\\-");
                    self.take(1);
                }
                c => {
                    let taken = self.take_char(c);
                    self.out.push_str(taken);
                }
            }
            first = false;
        }
        self.take(1);
        self.out.push(']');
        self.repeated = false;
        Ok(())
    }

    fn class_escape(&mut self) -> Result<(), String> {
        let Some(c) = self.rest.chars().nth(1) else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let replaced = match c {
            'd' => "0-9",
            's' => r"\t\n\f\r ",
            'w' => "0-9A-Za-z_",
            'D' => "[^0-9]",
            'S' => r"[^\t\n\f\r ]",
            'W' => "[^0-9A-Za-z_]",
            _ => {
                let text = self.escaped_char(c)?;
                self.out.push_str(&text);
                return Ok(());
            }
        };
        self.take(2);
        self.out.push_str(replaced);
        Ok(())
    }
}

/// The length of `{n}`, `{n,}` or `{n,m}`, and whether its numbers are allowed.
fn repetition(text: &str) -> Option<(usize, bool)> {
    const MOST: u32 = 1000;
    let end = text.find('}')?;
    let (least, most) = text[1..end].split_once(',').map_or((&text[1..end], None), |(a, b)| (a, Some(b)));
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if least.is_empty() || !digits(least) || !most.is_none_or(digits) {
        return None;
    }
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number <= MOST);
    let valid = match (number(least), most) {
        (None, _) => false,
        (Some(_), None | Some("")) => true,
        (Some(least), Some(most)) => number(most).is_some_and(|most| least <= most),
    };
    Some((end + 1, valid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let check = |pattern: &str, text: &str, matches: bool| {
            assert_eq!(compile(pattern).unwrap().is_match(text), matches, "{pattern} {text}");
        };
        check(r"^\d+$", "12", true);
        check(r"^\d+$", "१२", false);
        check(r"^[\d\W]$", "é", true);
        check(r"^[[a]$", "[", true);
        check(r"^[]a]$", "]", true);
        check(r"^[a&&b]$", "&", true);
        check(r"^a{,2}$", "a{,2}", true);
        check(r"^a{2}$", "aa", true);
        check(r"^\Qa.b\E$", "a.b", true);
        check(r"^\Qa.b\E$", "axb", false);
        check(r"\bé", "é", false);
        check(r"(?i)ABC", "abc", true);
        check(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a-b", true);
        check(r"^[[:alpha:]]+$", "ab", true);
        check(r"^\101$", "A", true);
        check(r"^}$", "}", true);
    }

    #[test]
    fn mistakes_are_named_as_go_names_them() {
        let check = |pattern: &str, problem: &str| {
            assert_eq!(
                compile(pattern).unwrap_err(),
                format!("error parsing regexp: {problem}"),
                "{pattern}"
            );
        };
        check("(", "missing closing ): `(`");
        check("a)", "unexpected ): `a)`");
        check("*", "missing argument to repetition operator: `*`");
        check("a**", "invalid nested repetition operator: `**`");
        check("a{1001}", "invalid repeat count: `{1001}`");
        check("[a", "missing closing ]: `[a`");
        check(r"\q", r"invalid escape sequence: `\q`");
        check("\\", "trailing backslash at end of expression: ``");
        check("(?=a)", "invalid or unsupported Perl syntax: `(?=`");
    }
}
