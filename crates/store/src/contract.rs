//! The suite that every backend passes. Each function takes an empty store and panics on a broken promise.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;

use crate::{CommitError, Entry, EventKind, Expect, Key, Listing, Op, Page, ReadError, Revision, Store, Txn};

/// Runs every case, each against a store made by `make`.
pub async fn run_all<S: Store, F: AsyncFnMut() -> S>(mut make: F) {
    commits_take_one_revision_each(&make().await).await;
    expectations_guard_all_or_nothing(&make().await).await;
    lists_page_through_one_snapshot(&make().await).await;
    lists_keep_to_their_prefix(&make().await).await;
    watches_see_every_commit_once(&make().await).await;
    watches_give_previous_values(&make().await).await;
    compaction_ends_old_watches(&make().await).await;
    racing_writers_never_both_win(Arc::new(make().await)).await;
    a_revision_that_was_seen_can_be_watched(Arc::new(make().await)).await;
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: Key::from(key), value: Bytes::copy_from_slice(value.as_bytes()) }
}

fn delete(key: &str) -> Op {
    Op::Delete { key: Key::from(key) }
}

async fn write(store: &impl Store, ops: Vec<Op>) -> Revision {
    store.commit(Txn { expect: Vec::new(), ops }).await.expect("an unconditional commit succeeds")
}

async fn value(store: &impl Store, key: &str) -> Option<String> {
    let entry = store.get(&Key::from(key)).await.expect("a read succeeds");
    entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
}

async fn list(store: &impl Store, prefix: &str, page: Page) -> Listing {
    store.list(prefix, page).await.expect("a list succeeds")
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

async fn commits_take_one_revision_each(store: &impl Store) {
    let start = store.revision();
    let first = write(store, vec![put("a", "1"), put("b", "1")]).await;
    assert_eq!(first, start.next(), "a commit takes the next revision, however many keys it writes");
    let second = write(store, vec![put("a", "2")]).await;
    assert_eq!(second, first.next());
    let entry = store.get(&Key::from("a")).await.expect("a read succeeds").expect("a exists");
    assert_eq!((entry.created, entry.modified), (first, second));
    let third = write(store, vec![delete("a")]).await;
    assert_eq!(value(store, "a").await, None);
    let fourth = write(store, vec![put("a", "3")]).await;
    assert_eq!(fourth, third.next());
    let entry = store.get(&Key::from("a")).await.expect("a read succeeds").expect("a exists again");
    assert_eq!(entry.created, fourth, "a key that was deleted begins anew");
    assert_eq!(
        write(store, vec![delete("nothing")]).await,
        fourth,
        "a commit without effect takes no revision"
    );
}

async fn expectations_guard_all_or_nothing(store: &impl Store) {
    let at = write(store, vec![put("a", "1")]).await;
    let refused = Txn {
        expect: vec![Expect::At(Key::from("a"), at), Expect::Absent(Key::from("a"))],
        ops: vec![put("a", "2"), put("b", "2")],
    };
    match store.commit(refused).await {
        Err(CommitError::Conflict { key, actual }) => {
            assert_eq!(key.as_str(), "a");
            assert_eq!(actual.expect("the conflict shows the entry").modified, at);
        }
        other => panic!("expected a conflict, got {other:?}"),
    }
    assert_eq!(value(store, "a").await.as_deref(), Some("1"));
    assert_eq!(value(store, "b").await, None, "no part of a refused transaction applies");
    assert_eq!(store.revision(), at);
    let gone = Txn { expect: vec![Expect::At(Key::from("b"), at)], ops: vec![put("c", "1")] };
    assert!(matches!(store.commit(gone).await, Err(CommitError::Conflict { actual: None, .. })));
    let accepted = Txn {
        expect: vec![Expect::At(Key::from("a"), at), Expect::Absent(Key::from("b"))],
        ops: vec![put("b", "2")],
    };
    store.commit(accepted).await.expect("expectations that hold let the transaction through");
}

async fn lists_page_through_one_snapshot(store: &impl Store) {
    write(store, vec![put("p/1", "x"), put("p/2", "x"), put("p/3", "x")]).await;
    let limit = NonZeroUsize::new(2);
    let first = list(store, "p/", Page { limit, ..Page::default() }).await;
    assert_eq!((keys(&first.entries), first.remaining), (vec!["p/1", "p/2"], 1));
    write(store, vec![put("p/4", "x"), delete("p/3")]).await;
    let after = first.entries.last().map(|entry| entry.key.clone());
    let rest = list(store, "p/", Page { after, limit, at: Some(first.revision) }).await;
    assert_eq!((keys(&rest.entries), rest.remaining), (vec!["p/3"], 0), "a page belongs to its revision");
    let future = store.revision().next();
    let answer = store.list("p/", Page { at: Some(future), ..Page::default() }).await;
    assert!(matches!(answer, Err(ReadError::Future { .. })), "got {answer:?}");
}

async fn lists_keep_to_their_prefix(store: &impl Store) {
    write(store, vec![put("a/1", ""), put("a0", ""), put("a/2", ""), put("b/1", "")]).await;
    assert_eq!(keys(&list(store, "a/", Page::default()).await.entries), ["a/1", "a/2"]);
    assert_eq!(keys(&list(store, "", Page::default()).await.entries), ["a/1", "a/2", "a0", "b/1"]);
    assert!(list(store, "c", Page::default()).await.entries.is_empty());
}

async fn watches_see_every_commit_once(store: &impl Store) {
    let start = write(store, vec![put("w/1", "1")]).await;
    let mut watch = store.watch("w/", start).await.expect("a watch from now starts");
    let early = write(store, vec![put("w/2", "1"), put("x/1", "1")]).await;
    write(store, vec![put("x/2", "1")]).await;
    let late = write(store, vec![delete("w/1")]).await;
    let batch = watch.next().await.expect("the watch goes on");
    assert_eq!(batch.revision, early);
    assert_eq!(batch.events.len(), 1, "events outside the prefix are left out");
    let batch = watch.next().await.expect("the watch goes on");
    assert_eq!((batch.revision, batch.events[0].kind), (late, EventKind::Delete));
    let other = write(store, vec![put("x/3", "1")]).await;
    assert_eq!(watch.progress(), other, "commits elsewhere move the watch's progress");
    let mut replay = store.watch("w/", start).await.expect("a watch can start in the past");
    assert_eq!(replay.next().await.expect("the watch goes on").revision, early);
}

async fn watches_give_previous_values(store: &impl Store) {
    let mut watch = store.watch("k", store.revision()).await.expect("a watch from now starts");
    write(store, vec![put("k", "1")]).await;
    write(store, vec![put("k", "2")]).await;
    let removed = write(store, vec![delete("k")]).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = watch.next().await.expect("the watch goes on").events.remove(0);
        seen.push((event.entry.value, event.previous.map(|entry| entry.value), event.entry.modified));
    }
    let one = Bytes::from_static(b"1");
    let two = Bytes::from_static(b"2");
    assert_eq!((&seen[0].0, &seen[0].1), (&one, &None));
    assert_eq!((&seen[1].0, &seen[1].1), (&two, &Some(one)));
    assert_eq!(seen[2], (two.clone(), Some(two), removed), "a removal carries the last value");
}

async fn compaction_ends_old_watches(store: &impl Store) {
    let first = write(store, vec![put("c", "1")]).await;
    let mut slow = store.watch("c", first).await.expect("a watch from now starts");
    write(store, vec![put("c", "2")]).await;
    let last = write(store, vec![put("c", "3")]).await;
    store.compact(last).await.expect("compaction succeeds");
    let answer = store.watch("c", first).await;
    assert!(matches!(answer, Err(ReadError::Compacted { .. })), "got {answer:?}");
    assert!(slow.next().await.is_err(), "a watch that has not read what is forgotten is told");
    store.watch("c", last).await.expect("a watch from the newest revision starts");
}

async fn racing_writers_never_both_win<S: Store>(store: Arc<S>) {
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..32 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let expect = vec![Expect::Absent(Key::from("race"))];
            store.commit(Txn { expect, ops: vec![put("race", &number.to_string())] }).await.is_ok()
        });
    }
    let won = writers.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1, "one writer creates the key, all others see the conflict");
}

/// A client that lists and then watches from there is never told that it comes from the future.
async fn a_revision_that_was_seen_can_be_watched<S: Store>(store: Arc<S>) {
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for _ in 0..200 {
                write(&*store, vec![put("k", "v")]).await;
            }
        }
    });
    let mut seen = Revision::ZERO;
    while !writer.is_finished() {
        let now = list(&*store, "k", Page::default()).await.revision;
        if now > seen {
            store.watch("k", now).await.expect("a watch from what was listed starts");
            seen = now;
        }
        tokio::task::yield_now().await;
    }
    writer.await.expect("the writer ends well");
}
