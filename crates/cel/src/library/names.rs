//! What names of Kubernetes may be, in the words of its messages.

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const KEY_TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                        alphanumeric character";

fn too_long(most: usize) -> String {
    format!("must be no more than {most} characters")
}

fn mismatch(text: &str, pattern: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{text} (e.g. {}regex used for validation is '{pattern}')", examples.join(" or "))
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// Characters that match within, and those that match at both ends.
fn shaped(text: &str, inner: impl Fn(char) -> bool, outer: impl Fn(char) -> bool) -> bool {
    text.chars().all(|c| inner(c) || outer(c)) && text.starts_with(&outer) && text.ends_with(&outer)
}

fn is_label(text: &str) -> bool {
    shaped(text, |c| c == '-', lower)
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_key(text: &str) -> bool {
    shaped(text, |c| matches!(c, '-' | '_' | '.'), |c| c.is_ascii_alphanumeric())
}

/// For names that something is appended to, a dash at the end is no mistake.
fn maybe_prefix(name: &str, prefix: bool) -> String {
    match name.strip_suffix('-') {
        Some(rest) if prefix && !rest.is_empty() => {
            let mut chars = rest.chars();
            chars.next_back();
            format!("{}a", chars.as_str())
        }
        _ => name.to_owned(),
    }
}

fn problems(all: impl IntoIterator<Item = Option<String>>) -> Option<Vec<String>> {
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() { None } else { Some(all) }
}

/// What is wrong with a label of RFC 1123.
pub(crate) fn dns1123_label(name: &str, prefix: bool) -> Option<Vec<String>> {
    let name = maybe_prefix(name, prefix);
    let shape = if is_label(&name) {
        None
    } else if is_subdomain(&name) {
        Some("must not contain dots".to_owned())
    } else {
        let text = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                    start and end with an alphanumeric character";
        Some(mismatch(text, LABEL, &["my-name", "123-abc"]))
    };
    problems([(name.len() > 63).then(|| too_long(63)), shape])
}

/// What is wrong with a subdomain of RFC 1123.
pub(crate) fn dns1123_subdomain(name: &str, prefix: bool) -> Option<Vec<String>> {
    let name = maybe_prefix(name, prefix);
    let shape = (!is_subdomain(&name)).then(|| {
        let text = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                    and must start and end with an alphanumeric character";
        mismatch(text, &format!(r"{LABEL}(\.{LABEL})*"), &["example.com"])
    });
    problems([(name.len() > 253).then(|| too_long(253)), shape])
}

/// What is wrong with a label of RFC 1035.
pub(crate) fn dns1035_label(name: &str, prefix: bool) -> Option<Vec<String>> {
    let name = maybe_prefix(name, prefix);
    let good = is_label(&name) && name.starts_with(|c: char| c.is_ascii_lowercase());
    let shape = (!good).then(|| {
        let text = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                    alphabetic character, and end with an alphanumeric character";
        mismatch(text, LABEL_1035, &["my-name", "abc-123"])
    });
    problems([(name.len() > 63).then(|| too_long(63)), shape])
}

/// What is wrong with a label's key.
pub(crate) fn qualified_name(value: &str) -> Option<Vec<String>> {
    let examples = &["MyName", "my.name", "123-abc"];
    let parts: Vec<&str> = value.split('/').collect();
    let (prefix, name) = match parts.as_slice() {
        [name] => (None, *name),
        [prefix, name] => (Some(*prefix), *name),
        _ => {
            let text = mismatch(KEY_TEXT, KEY, examples);
            return Some(vec![format!(
                "a valid label key {text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )]);
        }
    };
    let mut all: Vec<Option<String>> = Vec::new();
    match prefix {
        Some("") => all.push(Some("prefix part must be non-empty".to_owned())),
        Some(prefix) => {
            let wrong = dns1123_subdomain(prefix, false).unwrap_or_default();
            all.extend(wrong.into_iter().map(|problem| Some(format!("prefix part {problem}"))));
        }
        None => {}
    }
    if name.is_empty() {
        all.push(Some("name part must be non-empty".to_owned()));
    } else if name.len() > 63 {
        all.push(Some(format!("name part {}", too_long(63))));
    }
    all.push((!is_key(name)).then(|| format!("name part {}", mismatch(KEY_TEXT, KEY, examples))));
    problems(all)
}

/// What is wrong with a label's value.
pub(crate) fn label_value(value: &str) -> Option<Vec<String>> {
    let shape = (!value.is_empty() && !is_key(value)).then(|| {
        let text =
            format!("a valid label must be an empty string or {}", KEY_TEXT.trim_start_matches("must "));
        mismatch(&text, &format!("({KEY})?"), &["MyValue", "my_value", "12345"])
    });
    problems([(value.len() > 63).then(|| too_long(63)), shape])
}
