//! From Go's syntax to that of the `regex` crate.

use super::PatternError;
use super::class::{bracket, escape, perl, push_char, unicode};

/// Groups within groups; Go's own limit is 1000.
const DEPTH: usize = 250;
/// What one repetition may ask for, and what repetitions within each other may ask for together.
const REPEATS: u32 = 1000;

pub(super) fn fail(code: &'static str, part: &str) -> PatternError {
    PatternError { code, part: part.to_owned() }
}

/// A group that is open.
#[derive(Default)]
struct Level {
    /// Whether there is something that a repetition can repeat.
    has_operand: bool,
    /// The most copies that repetitions within the group ask for.
    copies: u32,
    /// The same for the last operand alone.
    last: u32,
}

struct Translator<'p> {
    whole: &'p str,
    out: String,
    levels: Vec<Level>,
}

/// The same pattern for the `regex` crate.
pub(super) fn translate(pattern: &str) -> Result<String, PatternError> {
    let mut translator = Translator {
        whole: pattern,
        out: String::with_capacity(pattern.len() + 16),
        levels: vec![Level { copies: 1, ..Level::default() }],
    };
    let mut rest = pattern;
    let mut last_repeat = None;
    while let Some(letter) = rest.chars().next() {
        let before = rest;
        (rest, last_repeat) = translator.step(letter, before, last_repeat)?;
    }
    match translator.levels.len() {
        1 => Ok(translator.out),
        _ => Err(fail("missing closing )", pattern)),
    }
}

/// The text that is left, and that from the last repetition on if nothing followed it yet.
type Rest<'p> = (&'p str, Option<&'p str>);

impl<'p> Translator<'p> {
    fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("the outermost level is never closed")
    }

    /// Notes that something stands there which can be repeated.
    fn operand(&mut self, copies: u32) {
        let level = self.level();
        level.has_operand = true;
        level.last = copies;
        level.copies = level.copies.max(copies);
    }

    fn literal(&mut self, letter: char) {
        push_char(&mut self.out, letter);
        self.operand(1);
    }

    fn step(&mut self, letter: char, text: &'p str, last: Option<&'p str>) -> Result<Rest<'p>, PatternError> {
        let rest = &text[letter.len_utf8()..];
        match letter {
            '(' => return self.open(text).map(|rest| (rest, None)),
            ')' => self.close()?,
            '|' => {
                self.out.push('|');
                self.level().has_operand = false;
            }
            '^' | '$' | '.' => {
                self.out.push(letter);
                self.operand(1);
            }
            '[' => {
                let (class, rest) = bracket(text)?;
                self.out.push_str(&class);
                self.operand(1);
                return Ok((rest, None));
            }
            '*' | '+' | '?' => return self.repeat(text, rest, last, None),
            '{' => match counts(text) {
                Some((counts, rest)) => return self.repeat(text, rest, last, Some(counts)),
                None => self.literal('{'),
            },
            '\\' => return self.escaped(text).map(|rest| (rest, None)),
            other => self.literal(other),
        }
        Ok((rest, None))
    }

    fn close(&mut self) -> Result<(), PatternError> {
        if self.levels.len() == 1 {
            return Err(fail("unexpected )", self.whole));
        }
        let copies = self.levels.pop().map_or(1, |level| level.copies);
        self.out.push(')');
        self.operand(copies);
        Ok(())
    }

    fn push_level(&mut self) -> Result<(), PatternError> {
        if self.levels.len() > DEPTH {
            return Err(fail("expression nests too deeply", self.whole));
        }
        self.levels.push(Level { copies: 1, ..Level::default() });
        Ok(())
    }

    fn open(&mut self, text: &'p str) -> Result<&'p str, PatternError> {
        let Some(inner) = text.strip_prefix("(?") else {
            self.out.push('(');
            self.push_level()?;
            return Ok(&text[1..]);
        };
        if let Some(named) =
            inner.strip_prefix("P<").or_else(|| inner.strip_prefix('<')).filter(|n| !n.is_empty())
        {
            return self.named(text, named);
        }
        self.flags(text, inner)
    }

    fn named(&mut self, text: &'p str, named: &'p str) -> Result<&'p str, PatternError> {
        let Some((name, rest)) = named.split_once('>') else {
            return Err(fail("invalid named capture", text));
        };
        if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
            return Err(fail("invalid named capture", &text[..text.len() - rest.len()]));
        }
        // Names mean nothing here, and Go has some that Rust has not.
        self.out.push('(');
        self.push_level()?;
        Ok(rest)
    }

    /// `(?flags)` or `(?flags:`.
    fn flags(&mut self, text: &'p str, inner: &'p str) -> Result<&'p str, PatternError> {
        let mut letters = inner.chars();
        let (mut saw_flag, mut negative) = (false, false);
        while let Some(letter) = letters.next() {
            match letter {
                'i' | 'm' | 's' | 'U' => saw_flag = true,
                '-' if !negative => (negative, saw_flag) = (true, false),
                ':' | ')' if saw_flag || !negative => {
                    let rest = letters.as_str();
                    let flags = &inner[..inner.len() - rest.len()];
                    if letter == ':' {
                        self.out.push_str("(?");
                        self.out.push_str(flags);
                        self.push_level()?;
                    } else if flags != ")" {
                        self.out.push_str("(?");
                        self.out.push_str(flags);
                    }
                    return Ok(rest);
                }
                _ => break,
            }
        }
        let read = text.len() - letters.as_str().len();
        Err(fail("invalid or unsupported Perl syntax", &text[..read]))
    }

    fn repeat(
        &mut self,
        text: &'p str,
        rest: &'p str,
        last: Option<&'p str>,
        counts: Option<Counts>,
    ) -> Result<Rest<'p>, PatternError> {
        let operator = &text[..text.len() - rest.len()];
        if let Some(Counts { least, most }) = counts
            && (least > REPEATS || most.is_some_and(|most| most > REPEATS || most < least))
        {
            return Err(fail("invalid repeat count", operator));
        }
        let rest = rest.strip_prefix('?').unwrap_or(rest);
        let read = |from: &'p str| &from[..from.len() - rest.len()];
        if let Some(last) = last {
            return Err(fail("invalid nested repetition operator", read(last)));
        }
        if !self.level().has_operand {
            return Err(fail("missing argument to repetition operator", read(text)));
        }
        if let Some(Counts { least, most }) = counts {
            let times = most.unwrap_or(least);
            let copies = self.level().last.saturating_mul(times.max(1));
            if times >= 2 && copies > REPEATS {
                return Err(fail("invalid repeat count", read(text)));
            }
            self.operand(copies);
        }
        self.out.push_str(read(text));
        Ok((rest, Some(text)))
    }

    fn escaped(&mut self, text: &'p str) -> Result<&'p str, PatternError> {
        let rest = text.get(2..).unwrap_or_default();
        let word = match text.as_bytes().get(1) {
            Some(b'A') => r"\A",
            Some(b'z') => r"\z",
            Some(b'b') => r"(?-u:\b)",
            Some(b'B') => r"\B",
            Some(b'C') => return Err(fail("invalid escape sequence", &text[..2])),
            Some(b'Q') => {
                let (quoted, rest) = rest.split_once(r"\E").unwrap_or((rest, ""));
                quoted.chars().for_each(|letter| self.literal(letter));
                return Ok(rest);
            }
            _ => "",
        };
        if !word.is_empty() {
            self.out.push_str(word);
            self.operand(1);
            return Ok(rest);
        }
        if let Some((class, rest)) = unicode(text)? {
            self.out.push_str(&class);
            self.operand(1);
            return Ok(rest);
        }
        if let Some((set, negated)) = text[1..].chars().next().and_then(perl) {
            let not = if negated { "^" } else { "" };
            self.out.push_str(&format!("(?-i:[{not}{set}])"));
            self.operand(1);
            return Ok(rest);
        }
        let (letter, rest) = escape(text)?;
        self.literal(letter);
        Ok(rest)
    }
}

#[derive(Clone, Copy)]
struct Counts {
    least: u32,
    /// None: any number.
    most: Option<u32>,
}

/// Reads `{n}`, `{n,}` or `{n,m}`; anything else after a brace is text.
fn counts(text: &str) -> Option<(Counts, &str)> {
    let (inner, rest) = text[1..].split_once('}')?;
    let number = |digits: &str| {
        let fits = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits.len() == 1 || !digits.starts_with('0'));
        // What overflows is too much in any case.
        fits.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let counts = match inner.split_once(',') {
        None => number(inner).map(|n| Counts { least: n, most: Some(n) })?,
        Some((least, "")) => Counts { least: number(least)?, most: None },
        Some((least, most)) => Counts { least: number(least)?, most: Some(number(most)?) },
    };
    Some((counts, rest))
}
