//! `describe`: an object for reading, with its events.

mod containers;
mod events;
mod fields;
mod pod_template;
mod service;
mod text;
mod volumes;
mod workloads;

pub(super) use events::age;
pub(super) use pod_template::pod_template;

use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::columns::FIELDS;
use crate::select::{ALL_NAMESPACES, FILES, Item, SELECTOR, Selection};
use crate::selector;
use crate::uri::with_query;

use workloads::Related;

const SHOW_EVENTS: Flag = Flag::switch("show-events", "With the events of the object").default("true");

pub(crate) const COMMAND: Command = Command::new(
    "describe",
    "(-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME) [options]",
    "Show an object for reading, with its events",
)
.examples("# What a pod is like, and what happened to it\nkubectl describe pod kubia-2q7v7")
.flags(&[FILES, &[SELECTOR, ALL_NAMESPACES, SHOW_EVENTS]])
.run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let found = Selection::of(given, &given.words).or_all().find(cx).await?;
    let mut items = found.items;
    let mut errors = found.errors;
    if items.is_empty() && errors.iter().all(Error::is_not_found) && !errors.is_empty() {
        let prefixed = with_prefix(cx, given).await?;
        if !prefixed.is_empty() {
            items = prefixed;
            errors.clear();
        }
    }
    if items.is_empty() && errors.is_empty() {
        match given.is_on(&ALL_NAMESPACES) {
            true => skiff_print::note("No resources found"),
            false => {
                skiff_print::note(format_args!("No resources found in {} namespace.", cx.namespace().await?))
            }
        }
    }
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            skiff_print::line("\n")?;
        }
        let mut text = describe(cx, &item.object).await?;
        let mut events = String::new();
        if given.is_on(&SHOW_EVENTS) {
            events = events::text(cx, &item.object).await?;
        }
        // A table of events is set by itself; that there are none is a field like others.
        if events.lines().count() == 1 {
            text.push_str(&std::mem::take(&mut events));
        }
        skiff_print::text(FIELDS.set(&text) + &FIELDS.set(&events))?;
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

/// The objects whose names begin with the one that was given.
async fn with_prefix(cx: &Context, given: &Given) -> Result<Vec<Item>, Error> {
    let [kind, prefix] = given.words.as_slice() else { return Ok(Vec::new()) };
    let found = Selection::of(given, std::slice::from_ref(kind)).or_all().find(cx).await?;
    Ok(found.items.into_iter().filter(|item| item.name.starts_with(prefix.as_str())).collect())
}

/// The object as text whose columns are not set yet.
async fn describe(cx: &Context, object: &Value) -> Result<String, Error> {
    let related = related(cx, object).await?;
    Ok(workloads::describe(object, &related).unwrap_or_else(|| fields::describe(object)))
}

/// What belongs to the object and is told of with it.
async fn related(cx: &Context, object: &Value) -> Result<Related, Error> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let selector = selector::text(&object["spec"]["selector"]);
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut related = Related::default();
    match object["kind"].as_str() {
        Some("Deployment") => {
            let path = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
            related.sets = owned(cx, &path, &selector, object).await?;
        }
        Some("ReplicaSet" | "ReplicationController" | "StatefulSet" | "DaemonSet") => {
            let path = format!("/api/v1/namespaces/{namespace}/pods");
            related.pods = owned(cx, &path, &selector, object).await?;
        }
        Some("Service") => {
            let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
            let selector = format!("kubernetes.io/service-name={name}");
            related.slices = list(cx, &path, &selector).await?;
        }
        _ => {}
    }
    Ok(related)
}

async fn list(cx: &Context, path: &str, selector: &str) -> Result<Vec<Value>, Error> {
    let list = cx.api().await?.get(&with_query(path, &[("labelSelector", Some(selector))])).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Those that the object controls.
async fn owned(cx: &Context, path: &str, selector: &str, object: &Value) -> Result<Vec<Value>, Error> {
    let mut all = list(cx, path, selector).await?;
    let uid = &object["metadata"]["uid"];
    all.retain(|each| {
        let mut owners = each["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        owners.any(|owner| owner["uid"] == *uid && owner["controller"] == true)
    });
    Ok(all)
}
