//! `drain`, `cordon` and `uncordon`.

mod filter;

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::change::{Sent, change};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::objects::DRY_RUN;
use crate::print::{Change, DryRun};
use crate::select::{Item, SELECTOR, Selection};
use crate::uri::with_query;
use crate::verbs::delete::wait_until_gone;

use filter::{Filter, Pods};

const FORCE: Flag = Flag::switch("force", "Also pods that nobody replaces");
const IGNORE_DAEMONSETS: Flag =
    Flag::switch("ignore-daemonsets", "Leave the pods of DaemonSets where they are");
const DELETE_EMPTYDIR_DATA: Flag =
    Flag::switch("delete-emptydir-data", "Also pods whose emptyDir volumes go with them");
const GRACE_PERIOD: Flag =
    Flag::number("grace-period", "-1", "Seconds that pods get to end; as they say themselves when negative");
const TIMEOUT: Flag = Flag::duration("timeout", "0s", "How long to wait; without a bound when 0");
const POD_SELECTOR: Flag = Flag::text("pod-selector", "Only the pods of this label selector");
const DISABLE_EVICTION: Flag =
    Flag::switch("disable-eviction", "Delete pods whatever disruption budgets say");

pub(crate) const DRAIN: Command =
    Command::new("drain", "NODE", "Move all pods away from a node and let no more come")
        .examples(
            "# Whatever runs there\nkubectl drain node-1 --ignore-daemonsets --delete-emptydir-data --force",
        )
        .flags(&[&[
            FORCE,
            IGNORE_DAEMONSETS,
            DELETE_EMPTYDIR_DATA,
            GRACE_PERIOD,
            TIMEOUT,
            POD_SELECTOR,
            DISABLE_EVICTION,
            SELECTOR,
            DRY_RUN,
        ]])
        .run(|cx, given| Box::pin(run(cx, given)));

pub(crate) const CORDON: Command = Command::new("cordon", "NODE", "Let no more pods come to a node")
    .examples("# What runs there goes on\nkubectl cordon node-1")
    .flags(&[&[SELECTOR, DRY_RUN]])
    .run(|cx, given| {
        Box::pin(async move { cordon(cx, given, "cordon NODE", true).await.map(|_| Outcome::Done) })
    });

pub(crate) const UNCORDON: Command = Command::new("uncordon", "NODE", "Let pods come to a node again")
    .examples("# After the work is done\nkubectl uncordon node-1")
    .flags(&[&[SELECTOR, DRY_RUN]])
    .run(|cx, given| {
        Box::pin(async move { cordon(cx, given, "uncordon NODE", false).await.map(|_| Outcome::Done) })
    });

/// Sets whether pods may come to the nodes that are named.
async fn cordon(cx: &Context, given: &Given, usage: &str, on: bool) -> Result<Vec<Item>, Error> {
    if given.words.is_empty() && !given.is_given(&SELECTOR) {
        return Err(given.misuse(format_args!("USAGE: {usage} [flags]")));
    }
    if !given.words.is_empty() && given.is_given(&SELECTOR) {
        return Err(given.misuse("error: cannot specify both a node name and a --selector option"));
    }
    let told = Change::of(given)?;
    let words: Vec<String> = match given.words.iter().any(|word| word.contains('/')) {
        true => given.words.clone(),
        false => std::iter::once("nodes".to_owned()).chain(given.words.iter().cloned()).collect(),
    };
    let found = Selection::of(given, &words).find(cx).await?;
    Error::all(found.errors)?;
    for node in &found.items {
        let sent = Sent { dry_run: told.dry_run, manager: "kubectl-cordon", part: None };
        let make = |node: &mut Value| {
            if (node["spec"]["unschedulable"] == true) != on {
                node["spec"]["unschedulable"] = if on { json!(true) } else { Value::Null };
            }
            Ok(())
        };
        let verb = if on { "cordon" } else { "uncordon" };
        match change(cx, node, sent, make).await {
            Ok((_, true)) => told.print(&node.object, &format!("{verb}ed"))?,
            Ok((_, false)) => told.print(&node.object, &format!("already {verb}ed"))?,
            Err(error) => {
                skiff_print::note(format_args!("error: unable to {verb} node \"{}\": {error}", node.name))
            }
        }
    }
    Ok(found.items)
}

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let nodes = cordon(cx, given, "drain NODE", true).await?;
    let told = Change::of(given)?;
    let (mut errors, mut pending) = (Vec::new(), Vec::new());
    for node in &nodes {
        match drain(cx, given, &told, &node.name).await {
            Ok(()) => told.print(&node.object, "drained")?,
            Err(error) => {
                let text = plain(&error);
                skiff_print::note(format_args!(
                    "error: unable to drain node \"{}\" due to error: {text}, continuing command...",
                    node.name
                ));
                pending.push(node.name.clone());
                errors.push(match error {
                    Error::Usage(text) => Error::Plain(text),
                    other => other,
                });
            }
        }
    }
    if !pending.is_empty() {
        skiff_print::note("There are pending nodes to be drained:");
        pending.iter().for_each(|name| skiff_print::note(format_args!(" {name}")));
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

/// The error without what is put before it when it ends a command; several in brackets.
fn plain(error: &Error) -> String {
    match error {
        Error::Many(errors) => format!("[{}]", errors.iter().map(plain).collect::<Vec<_>>().join(", ")),
        Error::Usage(text) => text.clone(),
        Error::Server(status) => status.message.clone(),
        other => other.to_string(),
    }
}

async fn drain(cx: &Context, given: &Given, told: &Change, node: &str) -> Result<(), Error> {
    let pods = pods(cx, given, node).await?;
    if let Some(warning) = pods.warning() {
        skiff_print::note(format_args!("Warning: {warning}"));
    }
    if told.dry_run.is_client() {
        return pods.doomed.iter().try_for_each(|pod| {
            Ok(skiff_print::line(format_args!("evicting pod {} (dry run)", filter::full_name(&pod.object)))?)
        });
    }
    let work = join_all(pods.doomed.iter().map(|pod| remove(cx, given, told, pod)));
    let done = match given.time(&TIMEOUT).filter(|time| !time.is_zero()) {
        None => work.await,
        Some(time) => match tokio::time::timeout(time, work).await {
            Ok(done) => done,
            Err(_) => vec![Err(Error::Usage(format!("global timeout reached: {}", given.text(&TIMEOUT))))],
        },
    };
    let failed = Error::all(done.into_iter().filter_map(Result::err).collect());
    if let Err(error) = &failed {
        let left = self::pods(cx, given, node).await?.doomed;
        if !left.is_empty() {
            skiff_print::note(format_args!(
                "There are pending pods in node \"{node}\" when an error occurred: {}",
                plain(error)
            ));
            left.iter().for_each(|pod| skiff_print::note(format_args!("pod/{}", pod.name)));
        }
    }
    failed
}

/// The pods of a node, and which of them are to go.
async fn pods(cx: &Context, given: &Given, node: &str) -> Result<Pods, Error> {
    let field = format!("spec.nodeName={node}");
    let query = [("fieldSelector", Some(field.as_str())), ("labelSelector", given.some(&POD_SELECTOR))];
    let api = cx.api().await?;
    let list = api.get(&with_query("/api/v1/pods", &query)).await?;
    let sets = api.get("/apis/apps/v1/daemonsets").await?;
    let filter = Filter {
        force: given.is_on(&FORCE),
        ignore_daemon_sets: given.is_on(&IGNORE_DAEMONSETS),
        delete_local_data: given.is_on(&DELETE_EMPTYDIR_DATA),
        daemon_sets: &sets,
    };
    let resource = cx.resources().await?.one("pods").cloned();
    let resource =
        resource.ok_or_else(|| Error::usage("the server doesn't have a resource type \"pods\""))?;
    let pods = filter.sort(&resource, list["items"].as_array().map_or(&[], Vec::as_slice));
    Error::all(pods.refusals())?;
    Ok(pods)
}

/// Evicts a pod, again and again while a disruption budget forbids it, and waits until it is gone.
async fn remove(cx: &Context, given: &Given, told: &Change, pod: &Item) -> Result<(), Error> {
    let evict = !given.is_on(&DISABLE_EVICTION);
    let mut options = json!({});
    if given.number(&GRACE_PERIOD) >= 0 {
        options["gracePeriodSeconds"] = json!(given.number(&GRACE_PERIOD));
    }
    if let Some(all) = told.dry_run.query() {
        options["dryRun"] = json!([all]);
    }
    let place = filter::full_name(&pod.object);
    let what = format!("pods/\"{}\" -n \"{}\"", pod.name, pod.namespace.as_deref().unwrap_or_default());
    loop {
        if evict {
            skiff_print::line(format_args!("evicting pod {place}{}", told.dry_run.suffix()))?;
        }
        match send(cx, pod, evict, &options).await {
            Ok(_) => break,
            Err(error) if error.is_not_found() => return Ok(()),
            // The budget says nothing of when it allows more: there is no event to wait for.
            Err(Error::Server(status)) if status.code == 429 => {
                let text = &status.message;
                skiff_print::note(format_args!("error when evicting {what} (will retry after 5s): {text}"));
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            Err(error) => return Err(error.context(&format!("error when evicting {what}: "))),
        }
    }
    if told.dry_run == DryRun::Server {
        return Ok(());
    }
    let uid = pod.object["metadata"]["uid"].as_str().unwrap_or_default();
    wait_until_gone(cx, pod, uid, None).await?;
    told.print(&pod.object, if evict { "evicted" } else { "deleted" })
}

async fn send(cx: &Context, pod: &Item, evict: bool, options: &Value) -> Result<Value, Error> {
    let api = cx.api().await?;
    if !evict {
        return api.delete(&pod.path(), options).await;
    }
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": options,
        "metadata": {"name": pod.name, "namespace": pod.namespace},
    });
    api.post(&format!("{}/eviction", pod.path()), &eviction).await
}
