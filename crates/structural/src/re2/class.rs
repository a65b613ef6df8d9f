//! Bracketed classes and escapes.

use super::PatternError;
use super::translate::fail;

/// `\d`, `\s`, `\w` and their opposites: what stands for them between brackets, and whether it is negated.
pub(super) fn perl(letter: char) -> Option<(&'static str, bool)> {
    Some(match letter {
        'd' => ("0-9", false),
        'D' => ("0-9", true),
        's' => (r"\t\n\x0C\r\x20", false),
        'S' => (r"\t\n\x0C\r\x20", true),
        'w' => ("0-9A-Za-z_", false),
        'W' => ("0-9A-Za-z_", true),
        _ => return None,
    })
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Reads `[…]` at the start of `text`; what stands for it, and the rest.
pub(super) fn bracket(text: &str) -> Result<(String, &str), PatternError> {
    let mut out = String::from("[");
    let mut rest = &text[1..];
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        rest = member(text, rest, &mut out)?;
    }
    out.push(']');
    Ok((out, &rest[1..]))
}

/// Reads one member of a class.
fn member<'t>(class: &str, rest: &'t str, out: &mut String) -> Result<&'t str, PatternError> {
    if let Some(end) = rest.strip_prefix("[:").and_then(|inner| inner.find(":]")) {
        let (name, after) = rest.split_at(end + 4);
        let word = name[2..end + 2].trim_start_matches('^');
        if !POSIX.contains(&word) || name[2..].starts_with("^^") {
            return Err(fail("invalid character class range", name));
        }
        out.push_str(name);
        return Ok(after);
    }
    if let Some((class, after)) = unicode(rest)? {
        out.push_str(&class);
        return Ok(after);
    }
    let mut letters = rest.chars();
    if letters.next() == Some('\\')
        && let Some((set, negated)) = letters.next().and_then(perl)
    {
        out.push_str(&if negated { format!("[^{set}]") } else { set.to_owned() });
        return Ok(letters.as_str());
    }
    let (low, after) = character(class, rest)?;
    push_char(out, low);
    let Some(upper) = after.strip_prefix('-').filter(|upper| !upper.is_empty() && !upper.starts_with(']'))
    else {
        return Ok(after);
    };
    let (high, after) = character(class, upper)?;
    if high < low {
        return Err(fail("invalid character class range", &rest[..rest.len() - after.len()]));
    }
    out.push('-');
    push_char(out, high);
    Ok(after)
}

fn character<'t>(class: &str, rest: &'t str) -> Result<(char, &'t str), PatternError> {
    if rest.starts_with('\\') {
        return escape(rest);
    }
    let mut letters = rest.chars();
    match letters.next() {
        Some(letter) => Ok((letter, letters.as_str())),
        None => Err(fail("missing closing ]", class)),
    }
}

/// Writes one character so that it means itself, within brackets and without.
pub(super) fn push_char(out: &mut String, letter: char) {
    if letter.is_ascii_alphanumeric() || letter == '_' || !letter.is_ascii() {
        out.push(letter);
    } else {
        out.push_str(&format!("\\x{:02X}", u32::from(letter)));
    }
}

/// Reads `\p…` or `\P…` at the start of `text`, if it is one.
pub(super) fn unicode(text: &str) -> Result<Option<(String, &str)>, PatternError> {
    let negated = match text.get(..2) {
        Some(r"\p") => false,
        Some(r"\P") => true,
        _ => return Ok(None),
    };
    let Some(first) = text[2..].chars().next() else { return Ok(None) };
    let (whole, name) = if first == '{' {
        let Some(end) = text.find('}') else { return Err(fail("invalid character class range", text)) };
        (&text[..=end], &text[3..end])
    } else {
        let end = 2 + first.len_utf8();
        (&text[..end], &text[2..end])
    };
    let (name, negated) = name.strip_prefix('^').map_or((name, negated), |name| (name, !negated));
    let class = format!(r"\{}{{{name}}}", if negated { 'P' } else { 'p' });
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !plain || regex::Regex::new(&class).is_err() {
        return Err(fail("invalid character class range", whole));
    }
    Ok(Some((class, &text[whole.len()..])))
}

/// Reads an escape that stands for one character.
pub(super) fn escape(text: &str) -> Result<(char, &str), PatternError> {
    let mut letters = text[1..].chars();
    let Some(letter) = letters.next() else {
        return Err(fail("trailing backslash at end of expression", ""));
    };
    let rest = letters.as_str();
    let octal = |rest: &str| rest.starts_with(|c: char| c.is_digit(8));
    let plain = |letter: char| Ok((letter, rest));
    match letter {
        '0'..='7' if letter == '0' || octal(rest) => {
            let more = rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
            let value = u32::from_str_radix(&text[1..2 + more], 8).ok().and_then(char::from_u32);
            value.map(|value| (value, &rest[more..])).ok_or_else(|| fail("invalid escape sequence", text))
        }
        'x' => hexadecimal(text, rest),
        'a' => plain('\x07'),
        'f' => plain('\x0c'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\x0b'),
        _ if letter.is_ascii() && !letter.is_ascii_alphanumeric() => plain(letter),
        _ => Err(fail("invalid escape sequence", &text[..text.len() - rest.len()])),
    }
}

fn hexadecimal<'t>(text: &'t str, rest: &'t str) -> Result<(char, &'t str), PatternError> {
    let braced = rest.strip_prefix('{');
    let digits = braced.unwrap_or(rest);
    let count = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
    let count = if braced.is_some() { count } else { count.min(2) };
    let after = &digits[count..];
    let after = if braced.is_some() { after.strip_prefix('}') } else { Some(after).filter(|_| count == 2) };
    let value = u32::from_str_radix(&digits[..count], 16).ok().and_then(char::from_u32);
    match (value, after) {
        (Some(value), Some(after)) => Ok((value, after)),
        _ => {
            // What Go had read when it gave up: one character more than it understood.
            let read = text.len() - digits.len() + count;
            let one = text[read..].chars().next().map_or(0, char::len_utf8);
            Err(fail("invalid escape sequence", &text[..read + one]))
        }
    }
}
