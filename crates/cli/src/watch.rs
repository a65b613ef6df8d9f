//! One object, watched until something is so.

use std::time::Duration;

use futures::{AsyncBufReadExt, TryStreamExt};
use serde_json::Value;

use crate::api::Api;
use crate::error::Error;
use crate::resources::Resource;
use crate::uri::with_query;

/// What is seen of the object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    /// It is like this.
    There(Value),
    /// There is none.
    Missing,
    /// It was like this when it was deleted.
    Deleted(Value),
}

/// Where an object is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
}

/// Shows the object to `decide` as it is and after each change, until that returns something. `None` when the time is up.
pub(crate) async fn until<T>(
    api: &Api,
    place: Place<'_>,
    time: Option<Duration>,
    decide: impl FnMut(Seen) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    match time {
        None => follow(api, place, decide).await.map(Some),
        Some(time) => match tokio::time::timeout(time, follow(api, place, decide)).await {
            Ok(outcome) => outcome.map(Some),
            Err(_) => Ok(None),
        },
    }
}

async fn follow<T>(
    api: &Api,
    place: Place<'_>,
    mut decide: impl FnMut(Seen) -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let field = format!("metadata.name={}", place.name);
    let path = place.resource.path(place.namespace, None);
    // Watches end now and then; the object is then read again.
    loop {
        let list = api.get(&with_query(&path, &[("fieldSelector", Some(&field))])).await?;
        let seen = list["items"].get(0).map_or(Seen::Missing, |object| Seen::There(named(&list, object)));
        if let Some(done) = decide(seen)? {
            return Ok(done);
        }
        let version = list["metadata"]["resourceVersion"].as_str();
        let query =
            [("fieldSelector", Some(field.as_str())), ("watch", Some("true")), ("resourceVersion", version)];
        let stream = api.stream(&with_query(&path, &query), "application/json").await?;
        let mut lines = std::pin::pin!(stream.lines());
        while let Some(line) = lines.try_next().await? {
            let mut event: Value = serde_json::from_str(&line)?;
            let object = event["object"].take();
            let seen = match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => Seen::There(object),
                Some("DELETED") => Seen::Deleted(object),
                Some("ERROR") if object["code"] == 410 => break,
                Some("ERROR") => return Err(Error::Server(Box::new(serde_json::from_value(object)?))),
                _ => continue,
            };
            if let Some(done) = decide(seen)? {
                return Ok(done);
            }
        }
    }
}

/// An item of a list as an object by itself, which says what it is.
fn named(list: &Value, item: &Value) -> Value {
    let mut object = item.clone();
    let kind = list["kind"].as_str().unwrap_or_default();
    object["apiVersion"] = list["apiVersion"].clone();
    object["kind"] = kind.strip_suffix("List").unwrap_or(kind).into();
    object
}
