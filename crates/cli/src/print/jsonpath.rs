//! JSONPath templates: text with paths in braces, as `-o jsonpath` and `--for=jsonpath` take them.

mod parse;

use std::cmp::Ordering;

use serde_json::Value;

/// A template. What a path does not find is left out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonPath {
    nodes: Vec<Node>,
    source: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    /// For each value that the path finds, the nodes.
    Range(Vec<Step>, Vec<Node>),
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// `['a','b']`
    Fields(Vec<String>),
    Wildcard,
    /// `..`: the value and all below it.
    Recursive,
    /// `[3]`, `[-1]`
    Index(i64),
    /// `[start:end:step]`
    Slice(Option<i64>, Option<i64>, i64),
    /// `[?(@.a == "b")]`
    Filter(Operand, Option<(Operator, Operand)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Vec<Step>),
    Value(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let nodes =
            parse::template(text).map_err(|error| format!("error parsing jsonpath {text}, {error}"))?;
        Ok(Self { nodes, source: text.to_owned() })
    }

    /// Reads a path that may lack its braces and its first dot.
    pub(crate) fn relaxed(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        if bare.contains(['{', '}']) {
            return Err(
                "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'"
                    .to_owned(),
            );
        }
        let bare = bare.strip_prefix('.').unwrap_or(bare);
        Self::parse(&if bare.starts_with('[') { format!("{{{bare}}}") } else { format!("{{.{bare}}}") })
    }

    /// The template with what its paths find.
    pub(crate) fn text(&self, object: &Value) -> Result<String, String> {
        let mut text = String::new();
        print(&self.nodes, object, &mut text).map_err(|error| self.failed(&error))?;
        Ok(text)
    }

    /// What the paths find.
    pub(crate) fn values<'a>(&self, object: &'a Value) -> Result<Vec<&'a Value>, String> {
        let mut found = Vec::new();
        for node in &self.nodes {
            if let Node::Path(steps) | Node::Range(steps, _) = node {
                found.extend(follow(steps, object).map_err(|error| self.failed(&error))?);
            }
        }
        Ok(found)
    }

    fn failed(&self, error: &str) -> String {
        format!("error executing jsonpath \"{}\": Error executing template: {error}", self.source)
    }
}

fn print(nodes: &[Node], current: &Value, text: &mut String) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(words) => text.push_str(words),
            Node::Path(steps) => {
                let words: Vec<String> = follow(steps, current)?.into_iter().map(word).collect();
                text.push_str(&words.join(" "));
            }
            Node::Range(steps, inner) => {
                for value in follow(steps, current)? {
                    print(inner, value, text)?;
                }
            }
        }
    }
    Ok(())
}

/// A value as it stands in text.
pub(crate) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

fn follow<'a>(steps: &[Step], from: &'a Value) -> Result<Vec<&'a Value>, String> {
    let mut values = vec![from];
    for step in steps {
        let mut next = Vec::new();
        for value in values {
            take(step, value, &mut next)?;
        }
        values = next;
    }
    Ok(values)
}

fn take<'a>(step: &Step, value: &'a Value, next: &mut Vec<&'a Value>) -> Result<(), String> {
    match step {
        Step::Field(name) => next.extend(value.get(name.as_str())),
        Step::Fields(names) => next.extend(names.iter().filter_map(|name| value.get(name.as_str()))),
        Step::Wildcard => next.extend(children(value)),
        Step::Recursive => descend(value, next),
        Step::Index(index) => {
            let Some(list) = value.as_array() else { return Ok(()) };
            let length = i64::try_from(list.len()).map_err(|error| error.to_string())?;
            let at = if *index < 0 { index + length } else { *index };
            let found = usize::try_from(at).ok().and_then(|at| list.get(at));
            let missing = || format!("array index out of bounds: index {index}, length {length}");
            next.push(found.ok_or_else(missing)?);
        }
        Step::Slice(start, end, step) => next.extend(slice(value, *start, *end, *step)?),
        Step::Filter(left, rest) => {
            for child in children(value) {
                if holds(child, left, rest.as_ref())? {
                    next.push(child);
                }
            }
        }
    }
    Ok(())
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn descend<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(value);
    children(value).into_iter().for_each(|child| descend(child, found));
}

fn slice(value: &Value, start: Option<i64>, end: Option<i64>, step: i64) -> Result<Vec<&Value>, String> {
    let Some(list) = value.as_array() else { return Ok(Vec::new()) };
    let length = i64::try_from(list.len()).map_err(|error| error.to_string())?;
    let place = |at: i64| (if at < 0 { at + length } else { at }).clamp(0, length);
    let (start, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(length)));
    let step = usize::try_from(step).ok().filter(|step| *step > 0).ok_or("step must be > 0")?;
    let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
    Ok(list.get(range).unwrap_or(&[]).iter().step_by(step).collect())
}

fn holds(value: &Value, left: &Operand, rest: Option<&(Operator, Operand)>) -> Result<bool, String> {
    let left = operand(left, value)?;
    let Some((operator, right)) = rest else { return Ok(left.is_some()) };
    let (Some(left), Some(right)) = (left, operand(right, value)?) else { return Ok(false) };
    let ordering = compare(left, right);
    Ok(match operator {
        Operator::Equal => ordering == Some(Ordering::Equal),
        Operator::NotEqual => ordering != Some(Ordering::Equal),
        Operator::Less => ordering == Some(Ordering::Less),
        Operator::LessOrEqual => ordering.is_some_and(Ordering::is_le),
        Operator::Greater => ordering == Some(Ordering::Greater),
        Operator::GreaterOrEqual => ordering.is_some_and(Ordering::is_ge),
    })
}

fn operand<'a>(operand: &'a Operand, value: &'a Value) -> Result<Option<&'a Value>, String> {
    match operand {
        Operand::Path(steps) => Ok(follow(steps, value)?.into_iter().next()),
        Operand::Value(value) => Ok(Some(value)),
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (left, right) => (left == right).then_some(Ordering::Equal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_what_kubectl_finds() {
        let object = json!({
            "kind": "List", "metadata": {"labels": {"app": "w", "a.b/c": "d"}, "name": "n"},
            "items": [{"name": "x", "n": 1, "ports": [{"p": 80}]}, {"name": "y", "n": 2}],
        });
        for (template, text) in [
            ("plain", "plain"),
            ("{.kind}", "List"),
            ("{$.kind},{.metadata.name}", "List,n"),
            ("{.metadata.labels.app}{\"\\n\"}{.items[*].n}", "w\n1 2"),
            ("{.metadata.labels.a\\.b/c}", "d"),
            ("{.metadata.labels['a.b/c']}", "d"),
            ("{.metadata['name','labels']}", "n {\"a.b/c\":\"d\",\"app\":\"w\"}"),
            ("{.items[?(@.name=='x')].n}", "1"),
            ("{.items[?(@.n>1)].name}", "y"),
            ("{.items[?(@.ports)].name}", "x"),
            ("{.items[?(@.name!=\"x\")].name}", "y"),
            ("{.items[-1:].name}", "y"),
            ("{.items[-1].name}", "y"),
            ("{.items[0:2:2].name}", "x"),
            ("{..p}", "80"),
            ("{.items[*]['name']}", "x y"),
            ("{range .items[*]}{.name}={.n};{end}", "x=1;y=2;"),
            ("{range .items[*]}{.name}{' '}{range .ports[*]}{.p}{end}{end}", "x 80y "),
            ("{.nothing.at.all}", ""),
            ("{.kind.foo}", ""),
            (
                "{.items[5].name}",
                "error executing jsonpath \"{.items[5].name}\": Error executing template: array index out of bounds: index 5, length 2",
            ),
            ("{.items[0].name", "error parsing jsonpath {.items[0].name, unclosed action"),
        ] {
            let told =
                JsonPath::parse(template).and_then(|path| path.text(&object)).unwrap_or_else(|error| error);
            assert_eq!(told, text, "{template}");
        }
        for path in ["metadata.name", ".metadata.name", "{metadata.name}", "{.metadata.name}"] {
            assert_eq!(JsonPath::relaxed(path).and_then(|p| p.text(&object)), Ok("n".to_owned()), "{path}");
        }
    }
}
