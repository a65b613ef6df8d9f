//! Links in HTML, moved below the path of a proxy. Pure; any bytes will do.

/// The attributes that hold links, by tag; as Kubernetes' proxy has them.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["formaction", "src", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// The page with every link replaced by what `rewrite` makes of it; `None` keeps a link.
pub(super) fn rewrite_links(page: &[u8], rewrite: impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.len() + page.len() / 8);
    let mut rest = page;
    while let Some(start) = rest.iter().position(|byte| *byte == b'<') {
        out.extend_from_slice(&rest[..start]);
        rest = &rest[start..];
        let length = if rest.starts_with(b"<!--") {
            find(rest, b"-->").map_or(rest.len(), |end| end + 3)
        } else {
            tag(rest, &mut out, &rewrite)
        };
        if length == 0 {
            out.push(b'<');
            rest = &rest[1..];
        } else {
            if rest.starts_with(b"<!--") {
                out.extend_from_slice(&rest[..length]);
            }
            rest = &rest[length..];
        }
    }
    out.extend_from_slice(rest);
    out
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Writes one opening tag, and the text of a script or style, which has no tags; returns its length, 0 if it is no
/// opening tag.
fn tag(text: &[u8], out: &mut Vec<u8>, rewrite: &impl Fn(&str) -> Option<String>) -> usize {
    let mut at = 1;
    let name_end = at + text[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let Some(name) = std::str::from_utf8(&text[at..name_end]).ok().filter(|name| !name.is_empty()) else {
        return 0;
    };
    let name = name.to_ascii_lowercase();
    let links = LINKS.iter().find(|(tag, _)| *tag == name).map_or(&[][..], |(_, attributes)| attributes);
    at = name_end;
    out.extend_from_slice(&text[..at]);
    while at < text.len() && text[at] != b'>' {
        let (attribute, value, end) = attribute(text, at);
        let is_link = links.iter().any(|link| attribute.eq_ignore_ascii_case(link.as_bytes()));
        let link = value.clone().filter(|_| is_link).and_then(|value| std::str::from_utf8(&text[value]).ok());
        match (link.and_then(rewrite), value) {
            (Some(link), Some(value)) => {
                out.extend_from_slice(&text[at..value.start]);
                out.extend_from_slice(link.as_bytes());
                out.extend_from_slice(&text[value.end..end]);
            }
            _ => out.extend_from_slice(&text[at..end]),
        }
        at = end;
    }
    let raw = matches!(name.as_str(), "script" | "style");
    let end = if raw { at + find(&text[at..], b"</").unwrap_or(text.len() - at) } else { at };
    out.extend_from_slice(&text[at..end]);
    end
}

/// The attribute at `at`: its name, where its value is (without quotes), and its end, which is at least one further.
fn attribute(text: &[u8], at: usize) -> (&[u8], Option<std::ops::Range<usize>>, usize) {
    let skip = |from: usize, while_: fn(u8) -> bool| {
        from + text[from..].iter().take_while(|byte| while_(**byte)).count()
    };
    let start = skip(at, |byte| byte.is_ascii_whitespace() || byte == b'/');
    let end = skip(start, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'=' | b'>' | b'/'));
    let equals = skip(end, |byte| byte.is_ascii_whitespace());
    if text.get(equals) != Some(&b'=') {
        return (&text[start..end], None, end.max(at + 1).min(text.len()));
    }
    let value = skip(equals + 1, |byte| byte.is_ascii_whitespace());
    match text.get(value) {
        Some(quote @ (b'"' | b'\'')) => {
            let length = text[value + 1..].iter().position(|byte| byte == quote);
            let close = length.map_or(text.len(), |length| value + 1 + length);
            (&text[start..end], Some(value + 1..close), (close + 1).min(text.len()))
        }
        _ => {
            let close = skip(value, |byte| !byte.is_ascii_whitespace() && byte != b'>');
            (&text[start..end], Some(value..close), close.max(at + 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(page: &[u8]) -> Vec<u8> {
        rewrite_links(page, |link| link.starts_with('/').then(|| format!("/p{link}")))
    }

    #[test]
    fn links_are_moved_and_nothing_else() {
        let check = |page: &str, expected: &str| {
            assert_eq!(String::from_utf8(moved(page.as_bytes())).unwrap(), expected);
        };
        check("<a href=\"/x\">y</a>", "<a href=\"/p/x\">y</a>");
        check("<A  class=b HREF = '/x'/>", "<A  class=b HREF = '/p/x'/>");
        check("<a href=/x>/x</a><p title=\"/x\">", "<a href=/p/x>/x</a><p title=\"/x\">");
        check("<img src=\"x\" longdesc=\"/l\">", "<img src=\"x\" longdesc=\"/p/l\">");
        check("<!-- <a href=\"/x\"> --><a href=\"/x\">", "<!-- <a href=\"/x\"> --><a href=\"/p/x\">");
        check(
            "<script src=/a>\"<a href='/x'>\"</script><a href='/x'>",
            "<script src=/p/a>\"<a href='/x'>\"</script><a href='/p/x'>",
        );
        check("1 < 2 <a href=\"/unclosed", "1 < 2 <a href=\"/p/unclosed");
        check(
            "<!DOCTYPE html><input disabled formaction=/f>",
            "<!DOCTYPE html><input disabled formaction=/p/f>",
        );
    }

    proptest::proptest! {
        #[test]
        fn pages_without_links_stay_as_they_are(page in "([<>/='\" a-z!\\-]|<a|href=|\\PC){0,40}") {
            proptest::prop_assert_eq!(rewrite_links(page.as_bytes(), |_| None), page.into_bytes());
        }

        #[test]
        fn any_bytes_will_do(page in proptest::collection::vec(0_u8.., 0..200)) {
            proptest::prop_assert!(rewrite_links(&page, |_| Some(String::new())).len() <= page.len());
        }
    }
}
