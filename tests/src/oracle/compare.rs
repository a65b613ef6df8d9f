//! Compares two answers, and says where they differ.

use serde_json::{Map, Value};

use super::scenario::{Expected, Step};

/// Stands for what differed between two recordings.
pub(super) const ANY: &str = "{any}";

/// The members of a list that are told apart by one of these are compared by it when lists differ in length.
const KEYS: [&str; 5] = ["name", "type", "field", "manager", "key"];

/// Lists of which the API reference says that "the list ordering isn't significant".
const UNORDERED: [&str; 2] = [".resourceRules", ".nonResourceRules"];

/// After this follows a listing of the object whose blanks Go chooses at random.
const LISTING: &str = "may not change fields other than";

/// One place at which answers differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// `body.spec.ports[0]`.
    pub path: String,
    /// What kube-apiserver said; none for nothing.
    pub want: Option<Value>,
    /// What the server said.
    pub got: Option<Value>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
        write!(f, "{}: want {} got {}", self.path, shown(&self.want), shown(&self.got))
    }
}

/// How an answer differs from what is expected of a step.
pub(super) fn compare(step: &Step, got: &Expected) -> Vec<Difference> {
    let want = &step.expect;
    let mut found = Vec::new();
    if want.code == got.code {
        let empty = Value::Object(Map::new());
        let headers = |of: &Value| if of.is_null() { empty.clone() } else { of.clone() };
        differences(Some(&headers(&want.headers)), Some(&headers(&got.headers)), "header", &mut found);
        differences(Some(&want.body), Some(&got.body), "body", &mut found);
    } else {
        let said = |of: &Expected| format!("{} {}", of.code, of.body["message"].as_str().unwrap_or_default());
        let (want, got) = (said(want), said(got));
        found.push(Difference { path: "code".to_owned(), want: Some(want.into()), got: Some(got.into()) });
    }
    found.retain(|found| !step.ignore.iter().any(|ignored| found.path.starts_with(ignored)));
    found
}

fn differences(want: Option<&Value>, got: Option<&Value>, path: &str, found: &mut Vec<Difference>) {
    if want.is_some_and(|want| want == ANY) || want == got {
        return;
    }
    match (want, got) {
        (Some(Value::String(want)), Some(Value::String(got))) if same_text(want, got) => {}
        (Some(Value::Object(want)), Some(Value::Object(got))) => {
            let keys = want.keys().chain(got.keys().filter(|key| !want.contains_key(*key)));
            for key in keys {
                differences(want.get(key), got.get(key), &below(path, key), found);
            }
        }
        (Some(Value::Array(want)), Some(Value::Array(got))) => lists(want, got, path, found),
        _ => found.push(Difference { path: path.to_owned(), want: want.cloned(), got: got.cloned() }),
    }
}

fn below(path: &str, key: &str) -> String {
    if key.contains(['.', '/']) { format!("{path}[{key}]") } else { format!("{path}.{key}") }
}

fn lists(want: &[Value], got: &[Value], path: &str, found: &mut Vec<Difference>) {
    let sorted = |list: &[Value]| {
        let mut list = list.to_vec();
        if UNORDERED.iter().any(|end| path.ends_with(end)) {
            list.sort_by_key(Value::to_string);
        }
        list
    };
    let (want, got) = (&sorted(want)[..], &sorted(got)[..]);
    if want.len() == got.len() {
        for (at, (want, got)) in want.iter().zip(got).enumerate() {
            differences(Some(want), Some(got), &format!("{path}[{at}]"), found);
        }
        return;
    }
    let Some((key, want_by_key, got_by_key)) =
        KEYS.iter().find_map(|key| Some((key, by_key(want, key)?, by_key(got, key)?)))
    else {
        let only = |these: &[Value], those: &[Value]| -> Vec<Value> {
            these.iter().filter(|value| !those.contains(value)).cloned().collect()
        };
        let lost = only(want, got).into_iter();
        let extra = only(got, want).into_iter();
        let (none, before) = (None, found.len());
        let path_lost = format!("{path}[-]");
        found.extend(lost.map(|want| Difference {
            path: path_lost.clone(),
            want: Some(want),
            got: none.clone(),
        }));
        let path_extra = format!("{path}[+]");
        found.extend(extra.map(|got| Difference {
            path: path_extra.clone(),
            want: none.clone(),
            got: Some(got),
        }));
        if found.len() == before {
            let (want, got) = (Some(want.len().into()), Some(got.len().into()));
            found.push(Difference { path: format!("{path}(length)"), want, got });
        }
        return;
    };
    for (name, value) in &want_by_key {
        let other = got_by_key.iter().find(|(other, _)| other == name).map(|(_, other)| *other);
        differences(Some(value), other, &format!("{path}[{key}={name}]"), found);
    }
    for (name, value) in
        got_by_key.iter().filter(|(name, _)| !want_by_key.iter().any(|(other, _)| other == name))
    {
        differences(None, Some(value), &format!("{path}[{key}={name}]"), found);
    }
}

/// A list's members with what tells them apart, when that is so.
fn by_key<'a>(list: &'a [Value], key: &str) -> Option<Vec<(&'a str, &'a Value)>> {
    let named: Vec<(&str, &Value)> =
        list.iter().map(|member| Some((member.get(key)?.as_str()?, member))).collect::<Option<_>>()?;
    let distinct: std::collections::BTreeSet<&str> = named.iter().map(|(name, _)| *name).collect();
    (distinct.len() == named.len()).then_some(named)
}

fn same_text(want: &str, got: &str) -> bool {
    if want.contains(LISTING) {
        let first = |text| str::lines(text).next().map(str::to_owned);
        return first(want) == first(got);
    }
    want == got || want.contains(ANY) && fits(want, got)
}

/// Whether a text is the pattern with anything at its `{any}`s.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once(ANY) else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once(ANY).unwrap_or(("", rest));
    let Some(mut text) = text.strip_suffix(end) else { return false };
    for part in middle.split(ANY) {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    true
}

/// The first value with `{any}` wherever the second differs from it.
pub(super) fn mask(first: &Value, second: &Value) -> Value {
    match (first, second) {
        _ if first == second => first.clone(),
        (Value::Object(first), Value::Object(second)) => {
            let keys = first.keys().chain(second.keys());
            let masked = |key: &String| match (first.get(key), second.get(key)) {
                (Some(first), Some(second)) => mask(first, second),
                _ => ANY.into(),
            };
            keys.map(|key| (key.clone(), masked(key))).collect()
        }
        (Value::Array(first), Value::Array(second)) if first.len() == second.len() => {
            first.iter().zip(second).map(|(first, second)| mask(first, second)).collect()
        }
        (Value::String(first), Value::String(second)) => mask_text(first, second).into(),
        _ => ANY.into(),
    }
}

/// Texts of which enough is the same keep that; numbers are masked whole.
fn mask_text(first: &str, second: &str) -> String {
    const ENOUGH: usize = 12;
    let same = |pair: &(char, char)| pair.0 == pair.1;
    let start: String = first.chars().zip(second.chars()).take_while(same).map(|pair| pair.0).collect();
    let (rest, other) = (&first[start.len()..], &second[start.len()..]);
    let end: Vec<char> =
        rest.chars().rev().zip(other.chars().rev()).take_while(same).map(|pair| pair.0).collect();
    let end: String = end.into_iter().rev().collect();
    let digit = |char: char| char.is_ascii_digit();
    let (start, end) = (start.trim_end_matches(digit), end.trim_start_matches(digit));
    if start.len() + end.len() >= ENOUGH { format!("{start}{ANY}{end}") } else { ANY.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(want: &Value, got: &Value) -> Vec<String> {
        let mut found = Vec::new();
        differences(Some(want), Some(got), "body", &mut found);
        found.into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn differences_are_found_where_they_are() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), vec![]),
            (json!({"a": 1, "b": 2}), json!({"a": 2, "c": 3}), vec!["body.a", "body.b", "body.c"]),
            (json!({"x/y": [1, 2]}), json!({"x/y": [1, 3]}), vec!["body[x/y][1]"]),
            (
                json!([{"name": "a", "v": 1}, {"name": "b"}]),
                json!([{"name": "a", "v": 2}]),
                vec!["body[name=a].v", "body[name=b]"],
            ),
            (json!([1, 2]), json!([2]), vec!["body[-]"]),
            (json!([1, 1]), json!([1]), vec!["body(length)"]),
            (json!({"a": ANY}), json!({}), vec![]),
            (json!("at {any} of {any}."), json!("at 3 of 7."), vec![]),
            (json!("at {any} of {any}."), json!("at 3 in 7."), vec!["body"]),
            (json!("at {any}t"), json!("at"), vec!["body"]),
        ];
        for (want, got, expected) in cases {
            assert_eq!(paths(&want, &got), expected, "{want} and {got}");
        }
    }

    #[test]
    fn recordings_that_differ_are_masked() {
        let cases = [
            (json!({"a": 1, "b": 2}), json!({"a": 1, "c": 2}), json!({"a": 1, "b": ANY, "c": ANY})),
            (json!(["a"]), json!(["a", "b"]), json!(ANY)),
            (
                json!("a long text of 15 words"),
                json!("a long text of 16 words"),
                json!("a long text of {any} words"),
            ),
            (json!("short 1"), json!("short 2"), json!(ANY)),
        ];
        for (first, second, expected) in cases {
            assert_eq!(mask(&first, &second), expected);
        }
    }
}
