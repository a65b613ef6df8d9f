//! Names of properties that are no identifiers, or words of the language, as identifiers.

/// Words that no identifier may be.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

const ESCAPES: &[(&str, &str)] = &[("__", "underscores"), (".", "dot"), ("-", "dash"), ("/", "slash")];

/// Whether a name is a word of the language, which no identifier may be.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// The identifier by which expressions select the property `name`; none when it cannot be selected. `a.b-c` is `a__dot__b__dash__c`, `namespace` is
/// `__namespace__`.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        match ESCAPES.iter().find(|(text, _)| rest.starts_with(text)) {
            Some((text, word)) => {
                escaped.extend(["__", word, "__"]);
                rest = &rest[text.len()..];
            }
            None if c.is_ascii_alphanumeric() || c == '_' => {
                escaped.push(c);
                rest = &rest[1..];
            }
            None => return None,
        }
    }
    Some(escaped)
}

/// The property that an identifier stands for; none when it contains what no property is escaped to.
pub fn unescape(identifier: &str) -> Option<String> {
    let mut name = String::with_capacity(identifier.len());
    let mut rest = identifier;
    while let Some(at) = rest.find("__") {
        let (before, sequence) = rest.split_at(at);
        // More underscores in front belong to the name: the sequence starts at the last two.
        let extra = sequence.len() - sequence.trim_start_matches('_').len() - 2;
        let word = sequence[2 + extra..].split('_').next().unwrap_or_default();
        let end = 2 + extra + word.len() + 2;
        if word.is_empty() || !sequence[2 + extra + word.len()..].starts_with("__") {
            let kept = (2 + extra + word.len()).max(1);
            name.push_str(before);
            name.push_str(&sequence[..kept]);
            rest = &sequence[kept..];
            continue;
        }
        name.push_str(before);
        name.push_str(&sequence[..extra]);
        match ESCAPES.iter().find(|(_, escape)| *escape == word) {
            Some((text, _)) => name.push_str(text),
            None if RESERVED.contains(&word) && extra == 0 && end == identifier.len() => name.push_str(word),
            None => return None,
        }
        rest = &sequence[end..];
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_found_again() {
        for name in
            ["a", "_a", "a_b", "a__b", "a.b", "a-b/c", "___", "in", "inside", "namespace", "-", "a-_b", "_-"]
        {
            let escaped = escape(name).unwrap();
            assert_eq!(unescape(&escaped).as_deref(), Some(name), "{escaped}");
        }
    }

    #[test]
    fn some_names_are_no_identifiers() {
        for name in ["", "1a", "a b", "é", "a$"] {
            assert_eq!(escape(name), None, "{name}");
        }
        for identifier in ["a__b__", "__x__", "a__in__"] {
            assert_eq!(unescape(identifier), None, "{identifier}");
        }
    }
}
