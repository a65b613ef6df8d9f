//! `scale`.

use serde_json::json;

use crate::api::Patch;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Change;
use crate::print::objects::{DRY_RUN, PRINT};
use crate::select::{ALL, FILES, Item, SELECTOR, Selection};
use crate::uri::with_query;
use crate::watch::{Place, Seen, until};

const REPLICAS: Flag = Flag::number("replicas", "0", "How many pods").required();
const CURRENT_REPLICAS: Flag =
    Flag::number("current-replicas", "-1", "Only if there are to be this many now");
const RESOURCE_VERSION: Flag = Flag::text("resource-version", "Only if the object is at this version");
const TIMEOUT: Flag =
    Flag::duration("timeout", "0s", "How long to wait until there are that many; not at all when 0");

pub(crate) const COMMAND: Command = Command::new(
    "scale",
    "[--resource-version=version] [--current-replicas=count] --replicas=COUNT (-f FILENAME | TYPE NAME)",
    "Set how many pods there are to be",
)
.examples("# Five pods\nkubectl scale deployment/kubia --replicas=5")
.flags(&[FILES, PRINT, &[ALL, SELECTOR, REPLICAS, CURRENT_REPLICAS, RESOURCE_VERSION, TIMEOUT, DRY_RUN]])
.run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let replicas = given.number(&REPLICAS);
    if replicas < 0 {
        return Err(Error::usage(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
        ));
    }
    if given.is_given(&CURRENT_REPLICAS) && given.number(&CURRENT_REPLICAS) < -1 {
        return Err(Error::usage("The --current-replicas must specify an integer of -1 or greater"));
    }
    let change = Change::of(given)?;
    let selection = Selection::of(given, &given.words);
    let found = selection.find(cx).await?;
    let mut errors = found.errors;
    if found.items.is_empty() && errors.is_empty() {
        return Err(Error::usage("no objects passed to scale"));
    }
    for item in &found.items {
        if let Err(error) = scale(cx, given, &change, item, replicas).await {
            errors.push(error);
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

async fn scale(
    cx: &Context,
    given: &Given,
    change: &Change,
    item: &Item,
    replicas: i64,
) -> Result<(), Error> {
    if change.dry_run.is_client() {
        return change.print(&item.object, "scaled");
    }
    let (api, path) = (cx.api().await?, format!("{}/scale", item.path()));
    let mut patch = json!({"spec": {"replicas": replicas}});
    let expected = Some(given.number(&CURRENT_REPLICAS)).filter(|count| *count >= 0);
    if expected.is_some() || given.is_given(&RESOURCE_VERSION) {
        let scale = api.get(&path).await?;
        let current = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if let Some(expected) = expected.filter(|expected| *expected != current) {
            return Err(Error::Usage(format!("Expected replicas to be {expected}, was {current}")));
        }
        let version = scale["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if let Some(expected) = given.some(&RESOURCE_VERSION).filter(|expected| *expected != version) {
            return Err(Error::Usage(format!("Expected resource version to be {expected}, was {version}")));
        }
        patch["metadata"] = json!({"resourceVersion": version});
    }
    api.patch(&with_query(&path, &[("dryRun", change.dry_run.query())]), Patch::Merge, &patch).await?;
    change.print(&item.object, "scaled")?;
    let time = given.time(&TIMEOUT).filter(|time| !time.is_zero());
    if time.is_none() {
        return Ok(());
    }
    let place = Place { resource: &item.resource, namespace: item.namespace.as_deref(), name: &item.name };
    let reached = |seen: Seen| match seen {
        Seen::There(object) => {
            Ok((object["status"]["replicas"].as_i64().unwrap_or(0) == replicas).then_some(()))
        }
        _ => Err(Error::usage("object has been deleted")),
    };
    until(api, place, time, reached).await?.ok_or_else(|| Error::usage("timed out waiting for the condition"))
}
