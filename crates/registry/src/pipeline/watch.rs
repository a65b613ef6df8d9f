//! WATCH: the store's commits as what the client is told of the objects that it selected. How that is written, a
//! [`Scribe`] knows.
//!
//! A watch wakes for commits under its prefix, for its next bookmark and for its end; it never polls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use serde_json::Value;
use skiff_store::{Batch, Entry, Event, EventKind, ReadError, Revision, Watch, WatchError};
use tokio::time::{Instant, Sleep};

use super::call::Call;
use super::paging::{self, parse_revision};
use super::select::Selection;
use super::withdrawal::Withdrawal;
use super::{list, versions};
use crate::errors::ApiError;
use crate::registry::Registry;

/// How often a quiet watch tells how far it is, for clients that asked for bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How long before its end a watch tells it once more.
const BEFORE_END: Duration = Duration::from_secs(2);

/// How long a watch lasts when the client does not say: this, and up to as much again at random, so that
/// clients do not all come back at the same time.
const DEFAULT_LIFE: Duration = Duration::from_secs(1800);

/// Events are sent in chunks of about this many bytes.
const CHUNK: usize = 64 * 1024;

/// What happened to an object, as those see it who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is there, or has begun to be selected.
    Added,
    /// It is another.
    Modified,
    /// It is gone, or is selected no more.
    Deleted,
}

/// Writes down what a watch tells, one event after the other.
pub trait Scribe: Send {
    /// Whether it makes a tree of each object, which takes its time.
    fn makes_trees(&self) -> bool;

    /// Appends what happened to a stored object.
    ///
    /// # Errors
    /// When it cannot be written, which ends the watch.
    fn object(&mut self, out: &mut Vec<u8>, told: Told, entry: &Entry) -> Result<(), ApiError>;

    /// Appends how far the watch is, and whether the objects that there were at its beginning have been told with that.
    fn bookmark(&mut self, out: &mut Vec<u8>, revision: Revision, initial_end: bool);

    /// Appends why the watch ends, as a Status.
    fn failure(&mut self, out: &mut Vec<u8>, status: Value);

    /// What there was at the beginning has been told; from now on there is what happens.
    fn begun(&mut self);
}

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With the current objects as synthetic `ADDED` events.
    Current,
    /// With the commits after a revision (the newest when `None`).
    After(Option<Revision>),
}

#[derive(Debug)]
struct Request {
    start: Start,
    bookmarks: bool,
    /// Whether the end of the current objects is marked by an annotated bookmark.
    mark_initial_end: bool,
    life: Duration,
}

impl Request {
    fn read(registry: &Registry, call: &Call) -> Result<Self, ApiError> {
        let query = &call.query;
        let (version, rule) = (query.get("resourceVersion"), query.get("resourceVersionMatch"));
        let send_initial = query.all("sendInitialEvents").next().map(|_| query.flag("sendInitialEvents"));
        let (token, is_said) = (query.get("continue"), send_initial.is_some());
        paging::refuse(paging::check_watch_options(version, rule, token, is_said))?;
        let revision = parse_revision(version)
            .map_err(|error| ApiError::Unclassified(error.to_string()))?
            .filter(|revision| *revision != Revision::ZERO);
        if let Some(wanted) = revision.filter(|wanted| *wanted > registry.store.revision()) {
            return Err(ApiError::FutureRevision { requested: wanted, current: registry.store.revision() });
        }
        let bookmarks = query.flag("allowWatchBookmarks");
        let start = match (send_initial, revision) {
            (Some(true), _) | (None, None) => Start::Current,
            (Some(false), None) => Start::After(None),
            (_, Some(revision)) => Start::After(Some(revision)),
        };
        let seconds = query.number("timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        let life = seconds.map_or_else(default_life, Duration::from_secs);
        Ok(Self { start, bookmarks, mark_initial_end: send_initial == Some(true) && bookmarks, life })
    }
}

fn default_life() -> Duration {
    DEFAULT_LIFE.mul_f64(1.0 + rand::rng().random_range(0.0..1.0))
}

/// A running watch.
pub struct Watching<S> {
    registry: Arc<Registry>,
    call: Arc<Call>,
    scribe: S,
    selection: Selection,
    source: Source,
    bookmarks: bool,
    last_bookmark: Revision,
    withdrawal: Withdrawal,
    timer: std::pin::Pin<Box<Sleep>>,
    end: Instant,
}

/// Where the next events come from.
enum Source {
    /// Current objects (in reverse, to be popped), then the commits after their revision.
    Initial { rest: Vec<Entry>, revision: Revision, mark_end: bool, watch: Watch },
    /// Commits.
    Live(Watch),
    /// One last event, then the end.
    Failed(Option<Value>),
}

/// How much work a watch is before it begins, as [`super::list::searched`] has it.
pub fn searched(registry: &Registry, call: &Call) -> usize {
    let begins_with_list = Request::read(registry, call).is_ok_and(|request| request.start == Start::Current);
    if begins_with_list { list::searched(registry, call) } else { 0 }
}

impl<S: Scribe> Watching<S> {
    /// Begins to watch what a call selects.
    ///
    /// # Errors
    /// When the kind cannot be watched, or not so.
    pub async fn start(registry: Arc<Registry>, call: Arc<Call>, mut scribe: S) -> Result<Self, ApiError> {
        call.check_verb()?;
        let selection = Selection::of(&call, &*registry.store)?;
        let request = Request::read(&registry, &call)?;
        let source = source(&registry, &call, &selection, &request).await?;
        if !matches!(source, Source::Initial { .. }) {
            scribe.begun();
        }
        let now = Instant::now();
        let end = now + request.life;
        let first = if request.bookmarks { next_bookmark(now, end) } else { end };
        let withdrawal = Withdrawal::new(call.kind.clone(), registry.offer.catalogues());
        Ok(Self {
            registry,
            call,
            scribe,
            selection,
            source,
            bookmarks: request.bookmarks,
            last_bookmark: Revision::ZERO,
            withdrawal,
            timer: Box::pin(tokio::time::sleep_until(first)),
            end,
        })
    }

    /// How much work the next bytes are, in bytes of objects of which trees are made.
    pub fn work(&self) -> usize {
        let Source::Initial { rest, .. } = &self.source else { return 0 };
        if !self.scribe.makes_trees() {
            return 0;
        }
        let mut looked_at = 0;
        // As many as `initial` looks at.
        for entry in rest.iter().rev() {
            if looked_at >= CHUNK {
                break;
            }
            looked_at += entry.value.len();
        }
        looked_at
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut out = Vec::new();
            match &mut self.source {
                Source::Failed(last) => {
                    let status = last.take()?;
                    self.scribe.failure(&mut out, status);
                }
                Source::Initial { .. } => self.initial(&mut out),
                Source::Live(_) => self.live(&mut out).await?,
            }
            if !out.is_empty() {
                return Some(out.into());
            }
        }
    }

    fn initial(&mut self, out: &mut Vec<u8>) {
        // Of a tree there may be little to tell, and still it takes time: so many bytes are looked at.
        let mut looked_at = 0;
        while out.len() < CHUNK && looked_at < CHUNK {
            let Source::Initial { rest, revision, mark_end, .. } = &mut self.source else { return };
            let Some(entry) = rest.pop() else {
                let (revision, mark_end) = (*revision, *mark_end);
                if mark_end {
                    self.bookmark(out, revision, true);
                }
                let Source::Initial { watch, .. } = std::mem::replace(&mut self.source, Source::Failed(None))
                else {
                    return;
                };
                self.source = Source::Live(watch);
                self.scribe.begun();
                return;
            };
            if self.scribe.makes_trees() {
                looked_at += entry.value.len();
            }
            self.event(out, Told::Added, &entry);
        }
    }

    /// Waits for commits, a bookmark or the end (`None`).
    async fn live(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let Source::Live(watch) = &mut self.source else { return Some(()) };
        let batch = tokio::select! {
            batch = watch.next() => batch,
            () = self.timer.as_mut() => return self.tick(out),
            () = self.withdrawal.happened() => {
                self.withdraw(out).await;
                return Some(());
            }
        };
        match batch {
            Ok(batch) => self.send(out, batch, CHUNK).await,
            Err(error) => self.ended(error),
        }
        Some(())
    }

    /// The kind is no longer offered: what was committed before is told, then comes the end.
    async fn withdraw(&mut self, out: &mut Vec<u8>) {
        let Source::Live(watch) = &mut self.source else { return };
        match watch.try_next() {
            Ok(None) => {}
            Ok(Some(batch)) => self.send(out, batch, usize::MAX).await,
            Err(error) => self.ended(error),
        }
        if matches!(self.source, Source::Live(_)) {
            self.source = Source::Failed(None);
        }
    }

    /// Writes a batch and those that have come after it, up to about so many bytes.
    async fn send(&mut self, out: &mut Vec<u8>, first: Batch, limit: usize) {
        let mut batch = Some(first);
        while let Some(current) = batch.take() {
            for event in &current.events {
                match versions::shown_event(&self.call, event).await {
                    Ok(None) => self.change(out, event),
                    Ok(Some(shown)) => self.change(out, &shown),
                    Err(error) => self.fail(&error),
                }
            }
            if out.len() < limit
                && let Source::Live(watch) = &mut self.source
            {
                match watch.try_next() {
                    Ok(more) => batch = more,
                    Err(error) => self.ended(error),
                }
            }
        }
    }

    fn tick(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let now = Instant::now();
        if now >= self.end {
            return None;
        }
        if let Source::Live(watch) = &mut self.source {
            let revision = watch.progress();
            if revision > self.last_bookmark {
                self.last_bookmark = revision;
                self.bookmark(out, revision, false);
            }
        }
        self.timer.as_mut().reset(next_bookmark(now, self.end));
        Some(())
    }

    fn ended(&mut self, error: WatchError) {
        let status = match error {
            WatchError::Compacted { .. } => too_old(&error.to_string()),
            other => ApiError::Unavailable { message: other.to_string() }.status(),
        };
        self.source = Source::Failed(Some(status));
    }

    fn fail(&mut self, error: &ApiError) {
        self.source = Source::Failed(Some(error.status()));
    }

    /// One change, as seen through the selectors: an object that begins to match is added, one that stops
    /// is deleted (and shown as it last matched).
    fn change(&mut self, out: &mut Vec<u8>, event: &Event) {
        let seen = |entry: &Entry| self.selection.matches(&self.registry, &self.call, entry);
        let before = event.previous.as_ref().map(seen).transpose().map(|matched| matched.unwrap_or(false));
        let after = match event.kind {
            EventKind::Put => seen(&event.entry),
            EventKind::Delete => Ok(false),
        };
        match (before, after) {
            (Ok(false), Ok(false)) => {}
            (Ok(false), Ok(true)) => self.event(out, Told::Added, &event.entry),
            (Ok(true), Ok(true)) => self.event(out, Told::Modified, &event.entry),
            (Ok(true), Ok(false)) => {
                let last = event.previous.clone().unwrap_or_else(|| event.entry.clone());
                self.event(out, Told::Deleted, &Entry { modified: event.entry.modified, ..last });
            }
            (Err(error), _) | (_, Err(error)) => self.fail(&error),
        }
    }

    fn event(&mut self, out: &mut Vec<u8>, told: Told, entry: &Entry) {
        let start = out.len();
        if let Err(error) = self.scribe.object(out, told, entry) {
            out.truncate(start);
            self.fail(&error);
        }
    }

    fn bookmark(&mut self, out: &mut Vec<u8>, revision: Revision, initial_end: bool) {
        if self.bookmarks {
            self.scribe.bookmark(out, revision, initial_end);
        }
    }
}

async fn source(
    registry: &Registry,
    call: &Call,
    selection: &Selection,
    request: &Request,
) -> Result<Source, ApiError> {
    let store = &registry.store;
    let range = selection.range();
    match request.start {
        Start::Current => {
            let selected = list::select_all(registry, call, selection).await?;
            let mut rest = selected.entries;
            rest.reverse();
            let watch = store.watch(range, selected.revision).await?;
            Ok(Source::Initial {
                rest,
                revision: selected.revision,
                mark_end: request.mark_initial_end,
                watch,
            })
        }
        Start::After(revision) => {
            let after = revision.unwrap_or_else(|| store.revision());
            match store.watch(range, after).await {
                Ok(watch) => Ok(Source::Live(watch)),
                Err(ReadError::Compacted { requested, oldest }) => {
                    let text = format!("too old resource version: {requested} ({oldest})");
                    Ok(Source::Failed(Some(too_old(&text))))
                }
                Err(other) => Err(other.into()),
            }
        }
    }
}

/// Bookmarks are given in turn, and shortly before the end, so that who comes back need not hear again what was said.
fn next_bookmark(now: Instant, end: Instant) -> Instant {
    let last = end.checked_sub(BEFORE_END).filter(|last| *last > now);
    (now + BOOKMARK_EVERY).min(last.unwrap_or(end))
}

fn too_old(message: &str) -> Value {
    ApiError::Expired { message: message.to_owned(), continue_token: String::new() }.status()
}
