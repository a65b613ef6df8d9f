//! `scale` and `label`: small changes of one object.

use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::args::{LabelArgs, ScaleArgs};
use crate::error::{Error, Outcome};
use crate::resources::{Resources, Target};

pub(crate) async fn scale(api: &Api, args: &ScaleArgs) -> Result<Outcome, Error> {
    for target in Resources::discover(api).await?.targets(&args.targets)? {
        let path = format!("{}/scale", path(api, &target)?);
        let mut scale = api.get(&path).await?;
        let current = scale["spec"]["replicas"].as_u64().unwrap_or(0);
        if let Some(expected) = args.current_replicas.filter(|expected| u64::from(*expected) != current) {
            return Err(Error::Usage(format!("Expected replicas to be {expected}, was {current}")));
        }
        scale["spec"] = json!({"replicas": args.replicas});
        api.put(&path, &scale).await?;
        skiff_print::line(format_args!(
            "{}/{} scaled",
            target.resource.prefix(),
            target.name.unwrap_or_default()
        ))?;
    }
    Ok(Outcome::Done)
}

pub(crate) async fn label(api: &Api, args: &LabelArgs) -> Result<Outcome, Error> {
    let is_change = |word: &&String| word.contains('=') || word.ends_with('-');
    let (changes, targets): (Vec<&String>, Vec<&String>) = args.words.iter().partition(is_change);
    let targets: Vec<String> = targets.into_iter().cloned().collect();
    for target in Resources::discover(api).await?.targets(&targets)? {
        let path = path(api, &target)?;
        let object = api.get(&path).await?;
        let labels = patch(&object["metadata"]["labels"], &changes, args.overwrite)?;
        // The version makes sure that a label set in between is not overwritten unseen.
        let version = &object["metadata"]["resourceVersion"];
        api.merge(&path, &json!({"metadata": {"labels": labels, "resourceVersion": version}})).await?;
        skiff_print::line(format_args!(
            "{}/{} labeled",
            target.resource.prefix(),
            target.name.unwrap_or_default()
        ))?;
    }
    Ok(Outcome::Done)
}

fn path(api: &Api, target: &Target) -> Result<String, Error> {
    let name = target.name.as_deref();
    let name =
        name.ok_or_else(|| Error::Usage("resource(s) were provided, but no name was specified".to_owned()))?;
    Ok(target.resource.path(Some(&api.namespace), Some(name)))
}

/// The labels to merge: a value sets, `null` removes.
fn patch(current: &Value, changes: &[&String], overwrite: bool) -> Result<Map<String, Value>, Error> {
    let mut labels = Map::new();
    for change in changes {
        let Some((key, value)) = change.split_once('=') else {
            labels.insert(change.trim_end_matches('-').to_owned(), Value::Null);
            continue;
        };
        if let Some(old) = current[key].as_str().filter(|old| *old != value && !overwrite) {
            let text = format!("'{key}' already has a value ({old}), and --overwrite is false");
            return Err(Error::Usage(text));
        }
        labels.insert(key.to_owned(), value.into());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_removes_but_does_not_overwrite_unasked() {
        let words: Vec<String> = ["a=1", "b-"].map(str::to_owned).to_vec();
        let changes: Vec<&String> = words.iter().collect();
        let merged = |current: Value, overwrite| patch(&current, &changes, overwrite).map(Value::Object).ok();
        assert_eq!(merged(json!({}), false), Some(json!({"a": "1", "b": null})));
        assert_eq!(merged(json!({"a": "2"}), false), None);
        assert_eq!(merged(json!({"a": "2"}), true), Some(json!({"a": "1", "b": null})));
    }
}
