//! Objects changed: what is different is sent, and nothing that others set in between is overwritten unseen.

use serde_json::{Map, Value};

use crate::api::Patch;
use crate::context::Context;
use crate::error::Error;
use crate::print::DryRun;
use crate::select::Item;
use crate::uri::with_query;

/// How often a change is made anew upon an object that others change.
const TRIES: usize = 5;

/// How a change is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) dry_run: DryRun,
    /// Whom the fields belong to.
    pub(crate) manager: &'a str,
    /// Below the object: `scale`, `status` and the like.
    pub(crate) part: Option<&'a str>,
}

/// Changes an object by a function, which is called again when somebody else changed the object meanwhile. Returns the object as it
/// is then, and whether anything is different.
pub(crate) async fn change(
    cx: &Context,
    item: &Item,
    sent: Sent<'_>,
    make: impl Fn(&mut Value) -> Result<(), Error>,
) -> Result<(Value, bool), Error> {
    tried(cx, item, sent, TRIES, make).await
}

/// Changes an object by a function, unless somebody else changed it since it was read.
pub(crate) async fn once(
    cx: &Context,
    item: &Item,
    sent: Sent<'_>,
    make: impl Fn(&mut Value) -> Result<(), Error>,
) -> Result<(Value, bool), Error> {
    tried(cx, item, sent, 1, make).await
}

async fn tried(
    cx: &Context,
    item: &Item,
    sent: Sent<'_>,
    tries: usize,
    make: impl Fn(&mut Value) -> Result<(), Error>,
) -> Result<(Value, bool), Error> {
    let mut before = item.object.clone();
    for attempt in 1.. {
        let mut after = before.clone();
        make(&mut after)?;
        let Some(mut patch) = difference(&before, &after) else { return Ok((before, false)) };
        if sent.dry_run.is_client() {
            return Ok((after, true));
        }
        patch["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        let path = item.path() + &sent.part.map_or_else(String::new, |part| format!("/{part}"));
        let query = [("fieldManager", Some(sent.manager)), ("dryRun", sent.dry_run.query())];
        match cx.api().await?.patch(&with_query(&path, &query), Patch::Merge, &patch).await {
            Ok(object) => return Ok((object, true)),
            Err(error) if error.is_conflict() && attempt < tries => {
                before = cx.api().await?.get(&item.path()).await?
            }
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last try returns what came of it")
}

/// What must be merged into `before` to make `after` of it.
pub(crate) fn difference(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        let part = match old.get(key) {
            Some(old) => difference(old, value),
            None => Some(value.clone()),
        };
        if let Some(part) = part {
            patch.insert(key.clone(), part);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::difference;
    use serde_json::json;

    #[test]
    fn names_what_is_different() {
        let check = |before, after, patch| assert_eq!(difference(&before, &after), patch);
        check(json!({"a": 1}), json!({"a": 1}), None);
        check(
            json!({"a": 1, "b": {"c": 2, "d": 3}}),
            json!({"b": {"c": 4, "d": 3}, "e": []}),
            Some(json!({"a": null, "b": {"c": 4}, "e": []})),
        );
        check(json!({"a": [1, 2]}), json!({"a": [1]}), Some(json!({"a": [1]})));
    }
}
