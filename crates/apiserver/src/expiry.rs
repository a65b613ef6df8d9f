//! Events go when nothing was written of them for a while, an hour by default: else they would be kept for ever. Each is known by
//! the time at which it goes, in order, so nobody looks through them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use skiff_machinery::duration;
use skiff_store::{CommitError, Entry, Expect, Key, Model, Op, ReadError, Store, Txn, View};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long an Event is kept after it was last written; never to let one go is [`EventTtl::NEVER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTtl(Option<SignedDuration>);

impl EventTtl {
    /// Events are kept until somebody deletes them.
    pub const NEVER: Self = Self(None);
}

impl Default for EventTtl {
    fn default() -> Self {
        Self(Some(SignedDuration::from_hours(1)))
    }
}

impl fmt::Display for EventTtl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.unwrap_or_default().as_secs())
    }
}

impl FromStr for EventTtl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = duration::parse(text).map_err(|error| error.to_string())?;
        match read.as_secs() {
            _ if read.is_negative() => Err("it is negative".to_owned()),
            0 if !read.is_zero() => Err("it is less than a second".to_owned()),
            0 => Ok(Self::NEVER),
            seconds => Ok(Self(Some(SignedDuration::from_secs(seconds)))),
        }
    }
}

/// So many go in one transaction.
const TOGETHER: usize = 100;
/// How long a store that fails is left alone.
const PAUSE: Duration = Duration::from_secs(10);
/// Times in objects are cut to seconds.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Starts the task that removes events, until the shutdown.
pub(crate) fn keep(store: Arc<dyn Store>, ttl: EventTtl, shutdown: CancellationToken) {
    let Some(ttl) = ttl.0 else { return };
    tokio::spawn(async move {
        if let Some(Err(error)) = shutdown.run_until_cancelled(run(store, ttl)).await {
            tracing::error!(error = &error as &dyn std::error::Error, "events are not removed any more");
        }
    });
}

async fn run(store: Arc<dyn Store>, ttl: SignedDuration) -> Result<(), ReadError> {
    let sooner = Arc::<Notify>::default();
    let ages = View::start(store.clone(), Ages::new(ttl, sooner.clone())).await?;
    loop {
        let next = ages.read().next();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep(until(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = sooner.notified() => continue,
        }
        let due = ages.read().due(Timestamp::now(), TOGETHER);
        if let Err(error) = remove(&*store, &due, ttl).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "events cannot be removed now");
            // The store gives no sign of recovery that could be waited for.
            tokio::time::sleep(PAUSE).await;
        }
        ages.catch_up(store.revision()).await;
    }
}

fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default()
}

/// Why events stay.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("an event cannot be read")]
    Read(#[from] ReadError),
    #[error("events cannot be deleted")]
    Write(#[from] CommitError),
}

/// Removes those that nobody has written meanwhile.
async fn remove(store: &dyn Store, keys: &[Key], ttl: SignedDuration) -> Result<(), Error> {
    let mut txn = Txn::default();
    for key in keys {
        let Some(entry) = store.get(key).await? else { continue };
        if goes(&entry, ttl) <= Timestamp::now() {
            txn.expect.push(Expect::At(key.clone(), entry.modified));
            txn.ops.push(Op::Delete { key: key.clone() });
        }
    }
    match store.commit(txn).await {
        // Somebody was faster. What is still due is looked at again.
        Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn goes(entry: &Entry, ttl: SignedDuration) -> Timestamp {
    after(written(&entry.value.bytes()), ttl)
}

fn after(written: Timestamp, ttl: SignedDuration) -> Timestamp {
    written.checked_add(ttl.saturating_add(SECOND)).unwrap_or(Timestamp::MAX)
}

/// What an event says of when it was written. Clients write the times of what happened; these are the server's.
#[derive(Default, Deserialize)]
struct Head {
    #[serde(default)]
    metadata: Times,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Times {
    creation_timestamp: Option<Timestamp>,
    managed_fields: Vec<Managed>,
}

#[derive(Deserialize)]
struct Managed {
    time: Option<Timestamp>,
}

/// When it was last written. What cannot be read is as old as anything.
fn written(value: &[u8]) -> Timestamp {
    let times = serde_json::from_slice::<Head>(value).unwrap_or_default().metadata;
    let managed = times.managed_fields.into_iter().filter_map(|managed| managed.time);
    managed.chain(times.creation_timestamp).max().unwrap_or_default()
}

/// When each event goes.
struct Ages {
    ttl: SignedDuration,
    /// By key.
    goes: HashMap<Arc<str>, Timestamp>,
    order: BTreeSet<(Timestamp, Arc<str>)>,
    /// What was the first when it was told.
    told: Option<Timestamp>,
    /// Told when one goes sooner than those before.
    sooner: Arc<Notify>,
}

impl Ages {
    fn new(ttl: SignedDuration, sooner: Arc<Notify>) -> Self {
        Self { ttl, goes: HashMap::new(), order: BTreeSet::new(), told: None, sooner }
    }

    fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The first that are due, at most so many.
    fn due(&self, now: Timestamp, most: usize) -> Vec<Key> {
        let due = self.order.iter().take_while(|(at, _)| *at <= now);
        due.take(most).map(|(_, key)| Key::from(&**key)).collect()
    }
}

impl Model for Ages {
    const PREFIX: &'static str = "/registry/core/events/";

    fn reset(&mut self) {
        self.goes.clear();
        self.order.clear();
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        self.remove(key);
        let (key, at) = (Arc::<str>::from(key), after(written(value), self.ttl));
        self.goes.insert(key.clone(), at);
        self.order.insert((at, key));
    }

    fn remove(&mut self, key: &str) {
        if let Some((key, at)) = self.goes.remove_entry(key) {
            self.order.remove(&(at, key));
        }
    }

    fn settle(&mut self) {
        let next = self.next();
        if next.is_some_and(|next| self.told.is_none_or(|told| next < told)) {
            self.sooner.notify_one();
        }
        self.told = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(created: &str, updated: Option<&str>) -> Vec<u8> {
        let managed: Vec<_> = updated.into_iter().map(|time| serde_json::json!({"time": time})).collect();
        let metadata = serde_json::json!({"creationTimestamp": created, "managedFields": managed});
        serde_json::json!({"metadata": metadata, "lastTimestamp": "2090-01-01T00:00:00Z"})
            .to_string()
            .into_bytes()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn events_go_in_the_order_in_which_they_were_last_written() {
        let mut ages = Ages::new(SignedDuration::from_hours(1), Arc::default());
        ages.put("/a", &event("2026-01-01T00:00:00Z", None));
        ages.put("/b", &event("2026-01-01T00:10:00Z", None));
        ages.put("/c", &event("2026-01-01T00:20:00Z", None));
        ages.put("/a", &event("2026-01-01T00:00:00Z", Some("2026-01-01T00:30:00Z")));
        ages.remove("/c");
        let due = |ages: &Ages, now: &str| {
            ages.due(at(now), 10).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(ages.next(), Some(at("2026-01-01T01:10:01Z")));
        assert!(due(&ages, "2026-01-01T01:10:00Z").is_empty());
        assert_eq!(due(&ages, "2026-01-01T01:10:01Z"), ["/b"]);
        assert_eq!(due(&ages, "2026-01-01T02:00:00Z"), ["/b", "/a"]);
        assert_eq!(ages.due(at("2026-01-01T02:00:00Z"), 1).len(), 1);
        ages.put("/d", b"{");
        assert_eq!(due(&ages, "2026-01-01T00:00:00Z"), ["/d"]);
        ages.reset();
        assert_eq!(ages.next(), None);
    }

    #[test]
    fn a_time_is_a_duration_as_go_writes_it() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let read = text.parse::<EventTtl>().map(|ttl| ttl.to_string());
            assert_eq!(read.as_deref().map_err(String::as_str), expected, "{text}");
        };
        check("1h0m0s", Ok("3600s"));
        check("90s", Ok("90s"));
        check("0", Ok("0s"));
        check("-1s", Err("it is negative"));
        check("10ms", Err("it is less than a second"));
        assert!("1".parse::<EventTtl>().is_err());
        assert_eq!(EventTtl::default().to_string().parse(), Ok(EventTtl::default()));
    }
}
