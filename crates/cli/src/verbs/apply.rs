//! `apply`: objects made to be as files say, merged by the server.

use serde_json::Value;

use super::create::{VALIDATE, validation};
use crate::api::Patch;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::manifest;
use crate::print::Change;
use crate::print::objects::{DRY_RUN, FIELD_MANAGER, PRINT};
use crate::select::{FILES, namespace_of};
use crate::uri::with_query;

const SERVER_SIDE: Flag =
    Flag::switch("server-side", "Fail where a field belongs to somebody else (see --force-conflicts)");
const FORCE_CONFLICTS: Flag = Flag::switch("force-conflicts", "With --server-side: take fields from others");

pub(crate) const COMMAND: Command =
    Command::new("apply", "(-f FILENAME) [options]", "Create or change objects to be as files say")
        .examples("# Make the cluster like the file\nkubectl apply -f kubia.yaml")
        .flags(&[FILES, PRINT, &[SERVER_SIDE, FORCE_CONFLICTS, DRY_RUN, FIELD_MANAGER, VALIDATE]])
        .run(|cx, given| Box::pin(run(cx, given)));

/// Whom the fields belong to when nobody is named.
const MANAGER: &str = "skiff-kubectl";

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let objects = manifest::given(given)?;
    if given.is_on(&FORCE_CONFLICTS) && !given.is_on(&SERVER_SIDE) {
        return Err(Error::usage("--force-conflicts only works with --server-side"));
    }
    let change = Change::of(given)?;
    let mut results = Vec::new();
    for object in &objects {
        results.push(apply(cx, given, &change, object).await);
    }
    Error::of_all(results)?;
    Ok(Outcome::Done)
}

async fn apply(cx: &Context, given: &Given, change: &Change, object: &Value) -> Result<(), Error> {
    let resource = cx.resources().await?.of_object(object)?;
    let namespace = object["metadata"]["namespace"].as_str();
    let namespace = match namespace {
        Some(namespace) => {
            namespace_of(cx, resource, object).await?;
            namespace
        }
        None => cx.namespace().await?,
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        return Err(Error::usage(
            "error when retrieving current configuration: resource name may not be empty",
        ));
    }
    let path = resource.path(Some(namespace), Some(name));
    let api = cx.api().await?;
    let before = match api.get(&path).await {
        Ok(before) => Some(before),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let server_side = given.is_on(&SERVER_SIDE);
    let told = |after: &Value| match &before {
        _ if server_side => "serverside-applied",
        None => "created",
        Some(before) if before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"] => {
            "unchanged"
        }
        Some(_) => "configured",
    };
    if change.dry_run.is_client() {
        return change.print(
            before.as_ref().unwrap_or(object),
            if before.is_some() { "configured" } else { "created" },
        );
    }
    let query = [
        ("fieldManager", Some(given.some(&FIELD_MANAGER).unwrap_or(MANAGER))),
        ("force", (!server_side || given.is_on(&FORCE_CONFLICTS)).then_some("true")),
        ("fieldValidation", Some(validation(given)?)),
        ("dryRun", change.dry_run.query()),
    ];
    let after = api.patch(&with_query(&path, &query), Patch::Apply, object).await?;
    change.print(&after, told(&after))
}
