//! `wait`: until objects are as they should be.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Change;
use crate::print::jsonpath::{JsonPath, word};
use crate::print::objects::PRINT;
use crate::select::{ALL, ALL_NAMESPACES, FIELD_SELECTOR, FILES, Item, SELECTOR, Selection};
use crate::watch::{Place, Seen, until};

const FOR: Flag = Flag::each("for", "create, delete, condition=NAME[=VALUE] or jsonpath={PATH}[=VALUE]");
const TIMEOUT: Flag =
    Flag::duration("timeout", "30s", "How long to wait; not at all when 0, a week when negative");

pub(crate) const COMMAND: Command = Command::new(
    "wait",
    "([-f FILENAME] | resource.group/resource.name | resource.group [(-l label | --all)]) [--for=create|--for=delete|--for condition=available|--for=jsonpath='{}'[=value]]",
    "Wait until objects are as they should be",
)
.examples(
    "# Until a pod is ready, and until it is gone
     kubectl wait pod/kubia --for=condition=Ready --timeout=60s
     kubectl wait pod/kubia --for=delete
     # Until a field has a value
     kubectl wait pod/kubia --for=jsonpath='{.status.phase}'=Running",
)
.flags(&[FILES, PRINT, &[ALL, ALL_NAMESPACES, SELECTOR, FIELD_SELECTOR, FOR, TIMEOUT]])
.run(|cx, given| Box::pin(run(cx, given)));

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
enum Condition {
    Create,
    Delete,
    Status { name: String, status: String },
    Path { path: JsonPath, value: Option<String> },
}

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let condition = Condition::parse(given.text(&FOR)).map_err(Error::Usage)?;
    let told = Change::without_dry_run(given)?;
    let time = given.time(&TIMEOUT).unwrap_or(Duration::from_secs(7 * 24 * 60 * 60));
    let start = Instant::now();
    let items = objects(cx, given, &condition).await?;
    if items.is_empty() && condition != Condition::Delete {
        return Err(Error::usage("no matching resources found"));
    }
    let mut errors = Vec::new();
    for item in &items {
        let left = time.saturating_sub(start.elapsed());
        match wait(cx, item, &condition, left).await {
            Ok(object) => told.print(&object, "condition met")?,
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

/// The objects to wait for. Those that are to be gone may be so already; those that are to come need not be there.
async fn objects(cx: &Context, given: &Given, condition: &Condition) -> Result<Vec<Item>, Error> {
    let selection = Selection::of(given, &given.words);
    if *condition == Condition::Create {
        let mut items = Vec::new();
        for target in cx.resources().await?.targets(&given.words)? {
            let Some(name) = target.name else {
                return Err(Error::usage("resource(s) were provided, but no name was specified"));
            };
            let namespace = target.resource.namespaced.then_some(cx.namespace().await?.to_owned());
            items.push(Item { resource: target.resource, namespace, name, object: Value::Null });
        }
        return Ok(items);
    }
    let mut found = selection.find(cx).await?;
    if *condition == Condition::Delete {
        found.errors.retain(|error| !error.is_not_found());
    }
    Error::all(found.errors)?;
    Ok(found.items)
}

async fn wait(cx: &Context, item: &Item, condition: &Condition, time: Duration) -> Result<Value, Error> {
    let place = Place { resource: &item.resource, namespace: item.namespace.as_deref(), name: &item.name };
    let uid = item.object["metadata"]["uid"].clone();
    let resource = item.resource.group_resource();
    let check = |seen: Seen| match (seen, condition) {
        (Seen::There(object), Condition::Create) => Ok(Some(object)),
        (Seen::There(object), Condition::Delete) if object["metadata"]["uid"] == uid => Ok(None),
        (_, Condition::Delete) => Ok(Some(item.object.clone())),
        (Seen::There(object), condition) => Ok(condition.holds(&object)?.then_some(object)),
        (Seen::Missing | Seen::Deleted(_), Condition::Create) => Ok(None),
        (Seen::Missing, _) => {
            Err(Error::Plain(format!("Error from server (NotFound): {resource} \"{}\" not found", item.name)))
        }
        (Seen::Deleted(_), _) => {
            Err(Error::Usage(format!("{resource} \"{}\" was deleted while it was waited for", item.name)))
        }
    };
    let timed_out = || {
        Error::Usage(format!("timed out waiting for the condition on {}/{}", item.resource.plural, item.name))
    };
    if time.is_zero() {
        // Once, without waiting.
        let seen = match cx.api().await?.get(&item.path()).await {
            Ok(object) => Seen::There(object),
            Err(error) if error.is_not_found() => Seen::Missing,
            Err(error) => return Err(error),
        };
        return check(seen)?.ok_or_else(timed_out);
    }
    until(cx.api().await?, place, Some(time), check).await?.ok_or_else(timed_out)
}

impl Condition {
    fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_lowercase();
        if lower == "delete" {
            return Ok(Self::Delete);
        }
        if lower == "create" {
            return Ok(Self::Create);
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, status) = condition.split_once('=').unwrap_or((condition, "true"));
            return Ok(Self::Status { name: name.to_owned(), status: status.to_owned() });
        }
        if let Some(expression) = text.strip_prefix("jsonpath=") {
            let (path, value) = split(expression);
            if path.is_empty() {
                return Err("jsonpath expression cannot be empty".to_owned());
            }
            if value == Some("") {
                return Err("jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3".to_owned());
            }
            let value = value.map(|value| value.trim_matches(['"', '\'']).to_owned());
            return Ok(Self::Path { path: JsonPath::relaxed(path)?, value });
        }
        Err(format!("unrecognized condition: \"{text}\""))
    }

    fn holds(&self, object: &Value) -> Result<bool, Error> {
        match self {
            Self::Create => Ok(true),
            Self::Delete => Ok(false),
            Self::Status { name, status } => {
                let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
                let same =
                    |value: &Value, text: &str| value.as_str().is_some_and(|v| v.eq_ignore_ascii_case(text));
                let Some(found) = conditions.find(|c| same(&c["type"], name)) else { return Ok(false) };
                let observed = found["observedGeneration"].as_i64();
                let current = object["metadata"]["generation"].as_i64();
                let old = observed.zip(current).is_some_and(|(observed, current)| observed < current);
                Ok(!old && same(&found["status"], status))
            }
            Self::Path { path, value } => {
                let found = path.values(object).map_err(Error::Usage)?;
                match (found.as_slice(), value) {
                    ([], _) => Ok(false),
                    (_, None) => Ok(true),
                    ([one], Some(value)) => match one {
                        Value::Object(_) | Value::Array(_) => Err(Error::usage(
                            "jsonpath leads to a nested object or list which is not supported",
                        )),
                        one => Ok(word(one).trim() == value.trim()),
                    },
                    _ => Err(Error::usage("given jsonpath expression matches more than one value")),
                }
            }
        }
    }
}

/// The path and the value behind the equals sign that stands in no brackets.
fn split(text: &str) -> (&str, Option<&str>) {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            '=' if depth == 0 => return (&text[..at], Some(&text[at + 1..])),
            _ => {}
        }
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_hold_or_do_not() {
        let object = json!({
            "metadata": {"generation": 2},
            "status": {"phase": "Running", "n": 3, "conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1},
            ]},
        });
        for (text, holds) in [
            ("condition=Ready", true),
            ("condition=ready=true", true),
            ("condition=Ready=False", false),
            ("condition=Old", false),
            ("condition=None", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath=.status.phase=Pending", false),
            ("jsonpath={.status.n}=3", true),
            ("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True", true),
            ("jsonpath={.status.phase}", true),
            ("jsonpath={.status.none}", false),
        ] {
            assert_eq!(Condition::parse(text).unwrap().holds(&object).unwrap(), holds, "{text}");
        }
        assert_eq!(Condition::parse("x"), Err("unrecognized condition: \"x\"".to_owned()));
    }
}
