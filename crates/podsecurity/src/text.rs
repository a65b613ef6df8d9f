//! Words that several messages share.

use std::collections::BTreeSet;

/// `"a", "b"`, without escapes.
pub(crate) fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<String> = items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect();
    quoted.join(", ")
}

/// `noun` for one, `nouns` for more.
pub(crate) fn plural(noun: &str, count: usize) -> String {
    format!("{noun}{}", if count == 1 { "" } else { "s" })
}

/// `volume "a"`, `volumes "a", "b"`
pub(crate) fn named(noun: &str, names: &[&str]) -> String {
    format!("{} {}", plural(noun, names.len()), quoted(names))
}

/// `uses` for one, `use` for more.
pub(crate) fn uses(count: usize) -> &'static str {
    if count == 1 { "uses" } else { "use" }
}

/// Who sets a field to what is forbidden: the pod, some of its containers, both.
#[derive(Default)]
pub(crate) struct Setters<'a> {
    pub(crate) pod: bool,
    pub(crate) containers: Vec<&'a str>,
}

impl Setters<'_> {
    pub(crate) fn none(&self) -> bool {
        !self.pod && self.containers.is_empty()
    }

    /// `pod`, `container "a"`, `pod and containers "a", "b"`
    pub(crate) fn parts(&self) -> Vec<String> {
        let pod = self.pod.then(|| "pod".to_owned());
        let containers = (!self.containers.is_empty()).then(|| named("container", &self.containers));
        pod.into_iter().chain(containers).collect()
    }

    pub(crate) fn text(&self) -> String {
        self.parts().join(" and ")
    }
}

/// The values that were set and are forbidden, each once and sorted.
pub(crate) type Values<'a> = BTreeSet<&'a str>;

/// A string as Go's `%q` shows it.
pub(crate) fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            _ if shown(c) => out.push(c),
            _ => out.push_str(&escaped(u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Whether a character is shown as it is: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn shown(c: char) -> bool {
    // Only the first character of a string is escaped for being a mark.
    c == '\'' || format!("x{c}").escape_debug().count() == 2
}

fn escaped(code: u32) -> String {
    match code {
        0..=0x7f => format!("\\x{code:02x}"),
        0x80..=0xffff => format!("\\u{code:04x}"),
        _ => format!("\\U{code:08x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_go_does() {
        let cases = [
            ("unconfined", r#""unconfined""#),
            ("it's \"é\" \\", r#""it's \"é\" \\""#),
            ("a\u{7}\u{8}\u{c}\n\r\t\u{b}\0\u{7f}", r#""a\a\b\f\n\r\t\v\x00\x7f""#),
            ("\u{a0}\u{200b}\u{10ffff}", r#""\u00a0\u200b\U0010ffff""#),
            ("e\u{301}世\u{301}", "\"e\u{301}世\u{301}\""),
        ];
        for (text, quoted) in cases {
            assert_eq!(go_quoted(text), quoted);
        }
    }

    #[test]
    fn the_pod_is_named_before_its_containers() {
        let check = |pod, containers: &[&str], text: &str| {
            let setters = Setters { pod, containers: containers.to_vec() };
            assert_eq!(setters.text(), text);
            assert_eq!(setters.none(), text.is_empty());
        };
        check(false, &[], "");
        check(true, &[], "pod");
        check(false, &["a"], r#"container "a""#);
        check(true, &["a", "b"], r#"pod and containers "a", "b""#);
    }
}
