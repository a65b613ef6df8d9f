//! `logs`.

use futures::AsyncBufReadExt;
use serde_json::Value;

use super::target;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given, duration};
use crate::select::{SELECTOR, Selection};
use crate::uri::with_query;

const CONTAINER: Flag =
    Flag::text("container", "Container; the only one, or the first, when not given").short('c');
const ALL_CONTAINERS: Flag = Flag::switch("all-containers", "Of all containers, one after the other");
const ALL_PODS: Flag = Flag::switch("all-pods", "Of all pods, each line with the pod's name");
const FOLLOW: Flag = Flag::switch("follow", "Go on as the container writes").short('f');
const PREVIOUS: Flag = Flag::switch("previous", "Of the container before its last restart").short('p');
const TIMESTAMPS: Flag = Flag::switch("timestamps", "With the time of each line");
const TAIL: Flag = Flag::number("tail", "-1", "Only the last lines; all when -1");
const SINCE: Flag = Flag::duration("since", "0s", "Only what was written in the last time, e.g. 5m");
const SINCE_TIME: Flag =
    Flag::text("since-time", "Only what was written after a time such as 2026-01-02T03:04:05Z");
const LIMIT_BYTES: Flag = Flag::number("limit-bytes", "0", "No more bytes than this");
const PREFIX: Flag = Flag::switch("prefix", "With the pod and container before each line");
const IGNORE_ERRORS: Flag = Flag::switch("ignore-errors", "Go on when the log of a container cannot be read");

pub(crate) const COMMAND: Command = Command::new(
    "logs",
    "[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER] [options]",
    "Print what containers have written",
)
.examples(
    "# The last lines, and those to come
             kubectl logs -f --tail=20 kubia-2q7v7
             # Of a pod of a Deployment
             kubectl logs deployment/kubia
             # Of all pods of a label
             kubectl logs -l app=kubia --prefix",
)
.flags(&[&[
    CONTAINER,
    ALL_CONTAINERS,
    ALL_PODS,
    FOLLOW,
    PREVIOUS,
    TIMESTAMPS,
    TAIL,
    SINCE,
    SINCE_TIME,
    LIMIT_BYTES,
    PREFIX,
    IGNORE_ERRORS,
    SELECTOR,
]])
.run(|cx, given| Box::pin(run(cx, given)));

const EXPECTED: &str = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command";

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let mut given = given.clone();
    let word = match given.words.as_slice() {
        [] if given.is_given(&SELECTOR) => None,
        [_, ..] if given.is_given(&SELECTOR) => {
            return Err(given.misuse("only a selector (-l) or a POD name is allowed"));
        }
        [word] => Some(word.clone()),
        // The second word names the container.
        [word, container] if !given.is_given(&CONTAINER) => {
            let (word, container) = (word.clone(), container.clone());
            given = given.with(&CONTAINER, container);
            Some(word)
        }
        _ => return Err(given.misuse(EXPECTED)),
    };
    if given.is_on(&ALL_CONTAINERS) && given.is_given(&CONTAINER) {
        return Err(Error::usage("--all-containers=true should not be specified with container name"));
    }
    if given.is_given(&SINCE) && given.is_given(&SINCE_TIME) {
        return Err(Error::usage("at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    let pods = match &word {
        Some(word) => named(cx, &given, word).await?,
        None => selected(cx, &given).await?,
    };
    let requests: Vec<(String, String)> =
        pods.iter().map(|pod| containers(&given, pod)).collect::<Result<Vec<_>, _>>()?.concat();
    if given.is_on(&FOLLOW) && requests.len() > 1 {
        return Err(Error::usage(
            "following the logs of several containers at once is not supported here; name one with -c",
        ));
    }
    for (pod, container) in &requests {
        match log(cx, &given, pod, container).await {
            Err(error) if given.is_on(&IGNORE_ERRORS) => skiff_print::note(&error),
            done => done?,
        }
    }
    Ok(Outcome::Done)
}

/// The pods that a word names.
async fn named(cx: &Context, given: &Given, word: &str) -> Result<Vec<Value>, Error> {
    let words =
        if word.contains('/') { vec![word.to_owned()] } else { vec!["pods".to_owned(), word.to_owned()] };
    let mut found = Selection::named(words).find(cx).await?;
    if let Some(error) = found.errors.pop() {
        let namespace = cx.namespace().await?;
        return Err(match error {
            Error::Server(status) => Error::Usage(format!(
                "error from server ({}): {} in namespace \"{namespace}\"",
                status.reason, status.message
            )),
            other => other,
        });
    }
    let Some(item) = found.items.pop() else { return Err(given.misuse(EXPECTED)) };
    if item.resource.kind == "Pod" {
        return Ok(vec![item.object]);
    }
    let mut pods = target::pods_of(cx, &item.object).await?;
    skiff_ordered::sort_by_key(&mut pods, |pod| std::cmp::Reverse(target::fitness(pod)));
    if pods.is_empty() {
        return Err(Error::Usage(format!("no pods found for {}/{}", item.resource.plural, item.name)));
    }
    if !given.is_on(&ALL_PODS) {
        if pods.len() > 1 {
            let name = pods[0]["metadata"]["name"].as_str().unwrap_or_default();
            skiff_print::note(format_args!("Found {} pods, using pod/{name}", pods.len()));
        }
        pods.truncate(1);
    }
    Ok(pods)
}

async fn selected(cx: &Context, given: &Given) -> Result<Vec<Value>, Error> {
    let found = Selection::of(given, &["pods".to_owned()]).find(cx).await?;
    if found.items.is_empty() {
        skiff_print::note(format_args!("No resources found in {} namespace.", cx.namespace().await?));
    }
    Ok(found.items.into_iter().map(|item| item.object).collect())
}

/// Pod and container of each log that is asked for.
fn containers(given: &Given, pod: &Value) -> Result<Vec<(String, String)>, Error> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if !given.is_on(&ALL_CONTAINERS) {
        return Ok(vec![(name, target::container(pod, given.some(&CONTAINER), false)?)]);
    }
    let of = |list: &str| pod["spec"][list].as_array().cloned().unwrap_or_default();
    let all = [of("initContainers"), of("containers"), of("ephemeralContainers")].concat();
    Ok(all
        .iter()
        .filter_map(|container| Some((name.clone(), container["name"].as_str()?.to_owned())))
        .collect())
}

async fn log(cx: &Context, given: &Given, pod: &str, container: &str) -> Result<(), Error> {
    let flag = |flag: &Flag| given.is_on(flag).then_some("true");
    // A selector means many pods, of which a few lines are enough unless one says otherwise.
    let tail = match given.number(&TAIL) {
        -1 if given.is_given(&SELECTOR) && !given.is_given(&TAIL) => Some("10".to_owned()),
        lines if lines >= 0 => Some(lines.to_string()),
        _ => None,
    };
    let since = duration::parse(given.text(&SINCE)).filter(|nanos| *nanos > 0);
    let since = since
        .map(|nanos| (nanos.div_euclid(1_000_000_000) + i64::from(nanos % 1_000_000_000 > 0)).to_string());
    let limit = Some(given.number(&LIMIT_BYTES)).filter(|bytes| *bytes > 0).map(|bytes| bytes.to_string());
    let query = [
        ("container", Some(container)),
        ("follow", flag(&FOLLOW)),
        ("previous", flag(&PREVIOUS)),
        ("timestamps", flag(&TIMESTAMPS)),
        ("tailLines", tail.as_deref()),
        ("sinceSeconds", since.as_deref()),
        ("sinceTime", given.some(&SINCE_TIME)),
        ("limitBytes", limit.as_deref()),
    ];
    let prefix = given.is_on(&PREFIX) || given.is_on(&ALL_PODS);
    let prefix = prefix.then(|| format!("[pod/{pod}/{container}] "));
    copy(cx, pod, &query, prefix.as_deref()).await
}

/// Prints what the pod's only container has written.
pub(super) async fn print(cx: &Context, pod: &str) -> Result<Outcome, Error> {
    copy(cx, pod, &[], None).await?;
    Ok(Outcome::Done)
}

async fn copy(
    cx: &Context,
    pod: &str,
    query: &[(&str, Option<&str>)],
    prefix: Option<&str>,
) -> Result<(), Error> {
    let path = with_query(&format!("/api/v1/namespaces/{}/pods/{pod}/log", cx.namespace().await?), query);
    let mut text = std::pin::pin!(cx.api().await?.stream(&path, "*/*").await?);
    let mut at_start = true;
    loop {
        let chunk = text.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(());
        }
        let length = chunk.len();
        match prefix {
            None => skiff_print::bytes(chunk)?,
            Some(prefix) => {
                for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                    if at_start {
                        skiff_print::text(prefix)?;
                    }
                    skiff_print::bytes(line)?;
                    at_start = line.ends_with(b"\n");
                }
            }
        }
        text.as_mut().consume_unpin(length);
    }
}
