//! The events of an object.

use serde_json::Value;

use crate::context::Context;
use crate::error::Error;
use crate::line::duration::human;
use crate::uri::with_query;

/// The events as text whose columns are not set yet.
pub(super) async fn text(cx: &Context, object: &Value) -> Result<String, Error> {
    let metadata = &object["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fields = format!(
        "involvedObject.name={},involvedObject.namespace={},involvedObject.kind={},involvedObject.uid={}",
        text(&metadata["name"]),
        text(&metadata["namespace"]),
        text(&object["kind"]),
        text(&metadata["uid"])
    );
    let path = match metadata["namespace"].as_str() {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/events"),
        None => "/api/v1/events".to_owned(),
    };
    let list = cx.api().await?.get(&with_query(&path, &[("fieldSelector", Some(&fields))])).await?;
    let now = k8s_openapi::jiff::Timestamp::now().as_second();
    Ok(table(list["items"].as_array().map_or(&[], Vec::as_slice), now))
}

fn table(events: &[Value], now: i64) -> String {
    if events.is_empty() {
        return "Events:\t<none>\n".to_owned();
    }
    let mut events: Vec<&Value> = events.iter().collect();
    skiff_ordered::sort_by_key(&mut events, |event| {
        seconds(&event["lastTimestamp"]).or(seconds(&event["eventTime"]))
    });
    let mut rows =
        "Events:\n  Type\tReason\tAge\tFrom\tMessage\n  ----\t------\t----\t----\t-------\n".to_owned();
    for event in events {
        let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
        let from = text(&event["source"]["component"]);
        let from = if from.is_empty() { text(&event["reportingComponent"]) } else { from };
        let place = text(&event["involvedObject"]["fieldPath"]);
        let place = if place.is_empty() { place } else { format!("{place}: ") };
        rows.push_str(&format!(
            "  {}\t{}\t{}\t{from}\t{place}{}\n",
            text(&event["type"]),
            text(&event["reason"]),
            age(event, now),
            text(&event["message"])
        ));
    }
    rows
}

fn seconds(time: &Value) -> Option<i64> {
    time.as_str()?.parse::<k8s_openapi::jiff::Timestamp>().ok().map(|time| time.as_second())
}

/// `5s`, or `5s (x3 over 2m)` of an event that came several times.
pub(in crate::verbs) fn age(event: &Value, now: i64) -> String {
    let since = |time: &Value| seconds(time).map_or("<unknown>".to_owned(), |time| human(now - time));
    let first = match event["eventTime"].is_string() {
        true => since(&event["eventTime"]),
        false => since(&event["firstTimestamp"]),
    };
    let series = &event["series"];
    match event["count"].as_i64() {
        _ if series.is_object() => {
            format!("{} (x{} over {first})", since(&series["lastObservedTime"]), series["count"])
        }
        Some(count) if count > 1 => format!("{} (x{count} over {first})", since(&event["lastTimestamp"])),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tells_when_and_how_often() {
        let now = seconds(&json!("2026-01-01T00:10:00Z")).unwrap();
        let event = |count: i64| json!({"firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:09:00Z", "count": count});
        assert_eq!(age(&event(1), now), "10m");
        assert_eq!(age(&event(3), now), "60s (x3 over 10m)");
        assert_eq!(age(&json!({}), now), "<unknown>");
        assert_eq!(table(&[], now), "Events:\t<none>\n");
    }
}
