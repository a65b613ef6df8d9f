//! `events`.

use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Format;
use crate::print::columns::TABLE;
use crate::print::objects::{self, PRINT};
use crate::select::ALL_NAMESPACES;
use crate::uri::with_query;
use crate::verbs::describe::age;

const FOR: Flag = Flag::text("for", "Only those of an object, as TYPE/NAME");
const TYPES: Flag = Flag::list("types", "Only those of these types, Normal or Warning");
const NO_HEADERS: Flag = Flag::switch("no-headers", "Leave the header line out");

pub(crate) const COMMAND: Command = Command::new(
    "events",
    "[(-o|--output=)json|yaml|name|jsonpath] [--for TYPE/NAME]",
    "List what has happened",
)
.examples(
    "# Of an object, and what went wrong everywhere
             kubectl events --for pod/kubia-2q7v7
             kubectl events -A --types=Warning",
)
.flags(&[PRINT, &[ALL_NAMESPACES, FOR, TYPES, NO_HEADERS]])
.run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    given.no_words()?;
    let format = Format::of(given)?;
    let types = given.all(&TYPES);
    if let Some(wrong) =
        types.iter().find(|kind| !["normal", "warning"].contains(&kind.to_lowercase().as_str()))
    {
        return Err(Error::Usage(format!("valid --types are Normal or Warning, not {wrong}")));
    }
    let fields = match given.some(&FOR) {
        Some(word) => Some(of_object(cx, word).await?),
        None => None,
    };
    let everywhere = given.is_on(&ALL_NAMESPACES);
    let path = match everywhere {
        true => "/api/v1/events".to_owned(),
        false => format!("/api/v1/namespaces/{}/events", cx.namespace().await?),
    };
    let list = cx.api().await?.get(&with_query(&path, &[("fieldSelector", fields.as_deref())])).await?;
    let mut events = list["items"].as_array().cloned().unwrap_or_default();
    events.retain(|event| {
        types.is_empty()
            || types.iter().any(|kind| event["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(kind)))
    });
    if events.is_empty() {
        match everywhere {
            true => skiff_print::note("No events found."),
            false => {
                skiff_print::note(format_args!("No events found in {} namespace.", cx.namespace().await?))
            }
        }
        return Ok(Outcome::Done);
    }
    skiff_ordered::sort_by_key(&mut events, last);
    if let Some(format) = format {
        for event in &mut events {
            event["apiVersion"] = "v1".into();
            event["kind"] = "Event".into();
        }
        objects::print(&format, &objects::list(events), given)?;
        return Ok(Outcome::Done);
    }
    let now = k8s_openapi::jiff::Timestamp::now().as_second();
    skiff_print::text(TABLE.set(&table(&events, everywhere, !given.is_on(&NO_HEADERS), now)))?;
    Ok(Outcome::Done)
}

/// The field selector of the events of an object.
async fn of_object(cx: &Context, word: &str) -> Result<String, Error> {
    let (kind, name) = word
        .split_once('/')
        .filter(|(kind, name)| !kind.is_empty() && !name.is_empty())
        .ok_or_else(|| Error::usage("--for must be in resource/name form"))?;
    let Some(resource) = cx.resources().await?.one(kind) else {
        return Err(Error::Usage(format!("the server doesn't have a resource type \"{kind}\"")));
    };
    Ok(format!(
        "involvedObject.kind={},involvedObject.apiVersion={},involvedObject.name={name}",
        resource.kind,
        resource.api_version()
    ))
}

/// When the event came last.
fn last(event: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    text(&event["series"]["lastObservedTime"])
        .or_else(|| text(&event["lastTimestamp"]))
        .or_else(|| text(&event["eventTime"]))
        .unwrap_or_default()
}

fn table(events: &[Value], everywhere: bool, headers: bool, now: i64) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
    let mut rows = String::new();
    if headers {
        let place = if everywhere { "NAMESPACE\t" } else { "" };
        rows.push_str(&format!("{place}LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n"));
    }
    for event in events {
        let place = if everywhere { text(&event["metadata"]["namespace"]) + "\t" } else { String::new() };
        let object = &event["involvedObject"];
        rows.push_str(&format!(
            "{place}{}\t{}\t{}\t{}/{}\t{}\n",
            age(event, now),
            text(&event["type"]),
            text(&event["reason"]),
            text(&object["kind"]),
            text(&object["name"]),
            text(&event["message"])
        ));
    }
    rows
}
