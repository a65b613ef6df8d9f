//! `rollout undo`.

use serde_json::{Map, Value, json};

use super::named;
use super::revisions::{self, Revisions};
use crate::api::Patch;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::objects::{DRY_RUN, PRINT};
use crate::print::{Change, DryRun};
use crate::select::{FILES, Item, SELECTOR};
use crate::uri::with_query;
use crate::verbs::describe::pod_template;

const TO_REVISION: Flag =
    Flag::number("to-revision", "0", "The revision to go back to; that before the last when 0");

pub(super) const COMMAND: Command =
    Command::new("undo", "(TYPE NAME | TYPE/NAME) [flags]", "Go back to an earlier version")
        .examples(
            "# To the version before
         kubectl rollout undo deployment/kubia
         # To a certain one
         kubectl rollout undo deployment/kubia --to-revision=2",
        )
        .flags(&[FILES, PRINT, &[SELECTOR, TO_REVISION, DRY_RUN]])
        .run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let change = Change::of(given)?;
    let (items, mut errors) = named(cx, given).await?;
    for item in &items {
        match undo(cx, item, given.number(&TO_REVISION), change.dry_run).await {
            Ok(told) => change.print(&item.object, &told)?,
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

async fn undo(cx: &Context, item: &Item, number: i64, dry_run: DryRun) -> Result<String, Error> {
    let revisions = revisions::of(cx, item, "rollbacker").await?;
    let is_deployment = item.resource.kind == "Deployment";
    let target = target(&revisions, number, &item.name, is_deployment).map_err(Error::Usage)?;
    let mut template = revisions[&target].template.clone();
    forget_hash(&mut template);
    if dry_run.is_client() {
        let prefix = if is_deployment { "" } else { "will roll back to " };
        return Ok(format!("{prefix}{}", pod_template(&template)));
    }
    if item.object["spec"]["paused"] == true {
        return Err(Error::usage(
            "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
        ));
    }
    let mut current = item.object["spec"]["template"].clone();
    forget_hash(&mut current);
    if current == template {
        return Ok(format!("skipped rollback (current template already matches revision {number})"));
    }
    let patch = match is_deployment {
        true => json!([
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "replace", "path": "/metadata/annotations", "value": annotations(&item.object, &revisions[&target].object)},
        ]),
        false => revisions[&target].object["data"].clone(),
    };
    let kind = if is_deployment { Patch::Json } else { Patch::Strategic };
    let path = with_query(&item.path(), &[("dryRun", dry_run.query())]);
    let done = cx.api().await?.patch(&path, kind, &patch).await;
    done.map_err(|error| error.context(&format!("failed restoring revision {number}: ")))?;
    Ok("rolled back".to_owned())
}

/// The number of the revision that is meant.
fn target(revisions: &Revisions, number: i64, name: &str, is_deployment: bool) -> Result<i64, String> {
    if number != 0 {
        return match revisions.contains_key(&number) {
            true => Ok(number),
            false => Err(format!("unable to find specified revision {number} in history")),
        };
    }
    let before = revisions.keys().rev().nth(1).copied();
    before.ok_or_else(|| match is_deployment {
        true => format!("no rollout history found for deployment \"{name}\""),
        false => "no last revision to roll back to".to_owned(),
    })
}

fn forget_hash(template: &mut Value) {
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
}

/// The annotations of the version, but for those that are about a Deployment as it is.
fn annotations(deployment: &Value, version: &Value) -> Map<String, Value> {
    const OWN: [&str; 6] = [
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        "deployment.kubernetes.io/revision-history",
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    ];
    let of = |object: &Value, own: bool| -> Map<String, Value> {
        let annotations = object["metadata"]["annotations"].as_object().into_iter().flatten();
        annotations
            .filter(|(key, _)| OWN.contains(&key.as_str()) == own)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let mut all = of(deployment, true);
    all.extend(of(version, false));
    all
}

#[cfg(test)]
mod tests {
    use super::super::revisions::Revision;
    use super::*;

    #[test]
    fn goes_back_to_the_version_before_or_one_that_is_there() {
        let revisions: Revisions =
            [1, 3, 4].map(|number| (number, Revision { object: json!({}), template: json!({}) })).into();
        assert_eq!(target(&revisions, 0, "x", true), Ok(3));
        assert_eq!(target(&revisions, 1, "x", true), Ok(1));
        assert_eq!(
            target(&revisions, 2, "x", true),
            Err("unable to find specified revision 2 in history".to_owned())
        );
        let none = Revisions::new();
        assert_eq!(
            target(&none, 0, "x", true),
            Err("no rollout history found for deployment \"x\"".to_owned())
        );
        assert_eq!(target(&none, 0, "x", false), Err("no last revision to roll back to".to_owned()));
    }

    #[test]
    fn annotations_of_the_deployment_itself_stay() {
        let object = |annotations: Value| json!({"metadata": {"annotations": annotations}});
        let kept = annotations(
            &object(json!({"deployment.kubernetes.io/revision": "4", "x": "new"})),
            &object(json!({"deployment.kubernetes.io/revision": "3", "x": "old"})),
        );
        assert_eq!(Value::Object(kept), json!({"deployment.kubernetes.io/revision": "4", "x": "old"}));
    }
}
