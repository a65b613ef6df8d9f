//! What a string or bytes literal stands for.

/// The content of a string literal, quotes and prefix included in `literal`.
pub(super) fn string(literal: &str) -> Result<String, &'static str> {
    let (content, raw) = content(literal);
    if raw || !content.contains('\\') {
        return Ok(content);
    }
    let mut text = String::with_capacity(content.len());
    let mut rest = content.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let code = escape(&mut rest)?;
                text.push(char::from_u32(code.value).ok_or("invalid unicode code point")?);
            }
            c => text.push(c),
        }
    }
    Ok(text)
}

/// The content of a bytes literal, without its `b`.
pub(super) fn bytes(literal: &str) -> Result<Vec<u8>, &'static str> {
    let (content, raw) = content(literal);
    if raw {
        return Ok(content.into_bytes());
    }
    let mut bytes = Vec::with_capacity(content.len());
    let mut rest = content.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let code = escape(&mut rest)?;
                if code.unicode {
                    return Err("unable to unescape string");
                }
                bytes.push(u8::try_from(code.value).map_err(|_| "unable to unescape string")?);
            }
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(bytes)
}

/// What is between the quotes, with line ends made one kind; and whether backslashes stand for themselves.
fn content(literal: &str) -> (String, bool) {
    let raw = literal.starts_with(['r', 'R']);
    let quoted = if raw { &literal[1..] } else { literal };
    let quotes =
        if quoted.len() >= 6 && (quoted.starts_with("'''") || quoted.starts_with("\"\"\"")) { 3 } else { 1 };
    let inside = quoted.get(quotes..quoted.len().saturating_sub(quotes)).unwrap_or_default();
    (inside.replace("\r\n", "\n").replace('\r', "\n"), raw)
}

struct Code {
    value: u32,
    /// Written as a code point, not as a byte.
    unicode: bool,
}

fn escape(rest: &mut std::str::Chars<'_>) -> Result<Code, &'static str> {
    let byte = |value| Ok(Code { value, unicode: false });
    match rest.next() {
        Some('a') => byte(7),
        Some('b') => byte(8),
        Some('f') => byte(12),
        Some('n') => byte(10),
        Some('r') => byte(13),
        Some('t') => byte(9),
        Some('v') => byte(11),
        Some(c @ ('\\' | '\'' | '"' | '`' | '?')) => byte(u32::from(c)),
        Some('x' | 'X') => byte(digits(rest, 0, 2, 16)?),
        Some(c @ '0'..='3') => byte(digits(rest, u32::from(c) - u32::from('0'), 2, 8)?),
        Some('u') => Ok(Code { value: digits(rest, 0, 4, 16)?, unicode: true }),
        Some('U') => Ok(Code { value: digits(rest, 0, 8, 16)?, unicode: true }),
        _ => Err("unable to unescape string"),
    }
}

fn digits(rest: &mut std::str::Chars<'_>, first: u32, count: usize, radix: u32) -> Result<u32, &'static str> {
    (0..count)
        .try_fold(first, |value, _| {
            let digit = rest.next().and_then(|c| c.to_digit(radix))?;
            value.checked_mul(radix)?.checked_add(digit)
        })
        .ok_or("unable to unescape string")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_what_the_language_says() {
        let check = |literal: &str, content: Result<&str, &'static str>| {
            assert_eq!(string(literal), content.map(str::to_owned), "{literal}");
        };
        check(r#""plain""#, Ok("plain"));
        check(r"'\\ \' \` \? \x41 \101 \u00e9 \U0001F600'", Ok("\\ ' ` ? A A é 😀"));
        check(r"r'\n'", Ok(r"\n"));
        check("'''a\r\n'b'''", Ok("a\n'b"));
        check(r"'\ud800'", Err("invalid unicode code point"));
        check(r"'\Uffffffff'", Err("invalid unicode code point"));
        assert_eq!(bytes(r"'é\xff\377'"), Ok(vec![0xc3, 0xa9, 0xff, 0xff]));
        assert_eq!(bytes(r"'\u00e9'"), Err("unable to unescape string"));
    }
}
