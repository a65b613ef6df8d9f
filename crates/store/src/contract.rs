//! The suite that every backend passes. Each function takes an empty store and panics on a broken promise.
//!
//! The stores are indexed by [`terms`].

mod mask;
mod servers;
mod writers;

pub use mask::Mask;
pub use servers::run_pairs;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::{
    Batch, CommitError, Entry, EventKind, Expect, Extent, Key, Listing, Op, Page, Range, ReadError, Revision,
    Store, Term, Txn, Value, Watch,
};

/// The terms of a value of this suite: its words with an equals sign.
pub fn terms(_: &Key, value: &[u8]) -> Vec<Term> {
    let text = String::from_utf8_lossy(value);
    text.split(' ').filter(|word| word.contains('=')).map(Term::new).collect()
}

/// Runs every case, each against a store made by `make`.
pub async fn run_all<S: Store, F: AsyncFnMut() -> Arc<S>>(mut make: F) {
    servers::run_pairs(async || {
        let store = make().await;
        (Arc::clone(&store), store)
    })
    .await;
    commits_take_one_revision_each(&*make().await).await;
    a_key_changes_once_at_a_revision(&*make().await).await;
    expectations_guard_all_or_nothing(&*make().await).await;
    lists_page_through_one_snapshot(&*make().await).await;
    lists_go_back_as_far_as_the_history(&*make().await).await;
    lists_keep_to_their_prefix(&*make().await).await;
    lists_by_term(&*make().await).await;
    extents_count_and_measure(&*make().await).await;
    watches_see_every_commit_once(&*make().await).await;
    watches_give_previous_values(&*make().await).await;
    watches_by_term(&*make().await).await;
    quiet_watches_outlive_the_history_of_others(&*make().await).await;
    watches_outlive_what_is_forgotten(&*make().await).await;
    compaction_ends_old_watches(&*make().await).await;
    writers::run(&mut make).await;
    a_revision_that_was_seen_can_be_watched(make().await).await;
}

async fn extents_count_and_measure(store: &impl Store) {
    assert_eq!(store.extent("a/".into()), Extent::default());
    write(store, vec![put("a/1", "1234"), put("a/2", "12"), put("b/1", "1"), put("a", "123456789")]).await;
    assert_eq!(store.extent("a/".into()), Extent { count: 2, average: 3 });
    write(store, (3..10).map(|i| put(&format!("a/{i}"), "123")).collect()).await;
    assert_eq!(store.extent("a/".into()), Extent { count: 9, average: 3 });
    let terms = [Term::new("n=1")];
    let of_term = Range { prefix: "a/", terms: &terms };
    assert_eq!(store.extent(of_term), Extent::default());
    write(store, vec![put("a/1", "n=1"), put("a/2", "n=1  "), put("a/3", "n=2"), put("b/1", "n=1")]).await;
    assert_eq!(store.extent(of_term), Extent { count: 2, average: 4 });
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
    entry.map(|entry| String::from_utf8_lossy(&entry.value.bytes()).into_owned())
}

async fn list<'a>(store: &impl Store, range: impl Into<Range<'a>>, page: Page) -> Listing {
    store.list(range.into(), page).await.expect("a list succeeds")
}

async fn watch<'a>(store: &impl Store, range: impl Into<Range<'a>>, after: Revision) -> Watch {
    store.watch(range.into(), after).await.expect("a watch starts")
}

async fn next(watch: &mut Watch) -> Batch {
    watch.next().await.expect("the watch goes on")
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

async fn a_key_changes_once_at_a_revision(store: &impl Store) {
    let start = store.revision();
    let mut watch = watch(store, "", start).await;
    let first =
        write(store, vec![put("a", "1"), put("b", "1"), put("a", "2"), delete("c"), delete("b")]).await;
    assert_eq!(first, start.next());
    let events = next(&mut watch).await.events;
    let seen: Vec<_> = events.iter().map(|e| (e.entry.key.as_str(), e.kind, e.entry.value.bytes())).collect();
    assert_eq!(seen, [("a", EventKind::Put, Bytes::from_static(b"2"))], "the last operation on a key counts");
    let same = write(store, vec![delete("a"), put("a", "3")]).await;
    let entry = store.get(&Key::from("a")).await.expect("a read succeeds").expect("a exists");
    assert_eq!(
        (entry.created, entry.modified),
        (first, same),
        "a key that is put again at once was never gone"
    );
    assert_eq!(next(&mut watch).await.events[0].previous.as_ref().map(|e| e.modified), Some(first));
    let last = write(store, vec![put("a", "4"), put("d", "1"), delete("a")]).await;
    let events = next(&mut watch).await.events;
    let seen: Vec<_> = events.iter().map(|e| (e.entry.key.as_str(), e.kind, e.entry.modified)).collect();
    assert_eq!(seen, [("d", EventKind::Put, last), ("a", EventKind::Delete, last)]);
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
    let answer = store.list("p/".into(), Page { at: Some(future), ..Page::default() }).await;
    assert!(matches!(answer, Err(ReadError::Future { .. })), "got {answer:?}");
}

async fn lists_go_back_as_far_as_the_history(store: &impl Store) {
    write(store, vec![put("h/1", "n=1"), put("h/2", "n=1"), put("i/1", "x")]).await;
    let old = write(store, vec![put("h/3", "n=1")]).await;
    write(store, vec![delete("h/1"), put("h/2", "n=2"), put("h/4", "n=1"), delete("i/1")]).await;
    let last = write(store, vec![put("h/2", "n=3")]).await;
    let terms = [Term::new("n=1"), Term::new("n=9")];
    for range in
        ["h/".into(), Range { prefix: "h/", terms: &terms[..1] }, Range { prefix: "h/", terms: &terms }]
    {
        let then = list(store, range, Page { at: Some(old), ..Page::default() }).await;
        assert_eq!((keys(&then.entries), then.revision), (vec!["h/1", "h/2", "h/3"], old), "{range:?}");
        assert!(then.entries.iter().all(|entry| entry.value == b"n=1"[..]));
        let page = Page { at: Some(old), limit: NonZeroUsize::new(1), after: Some(Key::from("h/1")) };
        let page = list(store, range, page).await;
        assert_eq!((keys(&page.entries), page.remaining), (vec!["h/2"], 1), "{range:?}");
    }
    store.compact(last).await.expect("compaction succeeds");
    let answer = store.list("h/".into(), Page { at: Some(old), ..Page::default() }).await;
    assert!(matches!(answer, Err(ReadError::Compacted { .. })), "got {answer:?}");
}

async fn lists_by_term(store: &impl Store) {
    let values =
        [("a/1", "n=1"), ("a/2", "n=2 m=1"), ("a/3", "n=1 m=1"), ("b/1", "n=1"), ("b/2", "n=12"), ("c", "")];
    write(store, values.iter().map(|(key, value)| put(key, value)).collect()).await;
    let check = async |prefix: &str, terms: &str, expected: &[&str]| {
        let terms: Vec<Term> = terms.split(' ').map(Term::new).collect();
        let range = Range { prefix, terms: &terms };
        let all = list(store, range, Page::default()).await;
        assert_eq!((keys(&all.entries), all.remaining), (expected.to_vec(), 0), "{prefix} {terms:?}");
        let first = list(store, range, Page { limit: NonZeroUsize::new(1), ..Page::default() }).await;
        let after = first.entries.last().map(|entry| entry.key.clone());
        assert_eq!(first.remaining, expected.len().saturating_sub(1));
        let rest = list(store, range, Page { after, at: Some(first.revision), limit: None }).await;
        assert_eq!(keys(&rest.entries), expected.get(1..).unwrap_or_default());
    };
    check("", "n=1", &["a/1", "a/3", "b/1"]).await;
    check("a/", "n=1", &["a/1", "a/3"]).await;
    check("a/3", "n=1", &["a/3"]).await;
    check("", "m=1", &["a/2", "a/3"]).await;
    check("", "n=3", &[]).await;
    check("", "n=3 n=1", &["a/1", "a/3", "b/1"]).await;
    check("a/", "m=1 n=1", &["a/1", "a/2", "a/3"]).await;
    check("b/", "n=12 m=1 n=3 n=1", &["b/1", "b/2"]).await;
    write(store, vec![put("a/1", "n=3"), delete("a/3"), put("c", "n=1")]).await;
    check("", "n=1", &["b/1", "c"]).await;
    check("", "n=3", &["a/1"]).await;
    check("", "m=1", &["a/2"]).await;
}

async fn lists_keep_to_their_prefix(store: &impl Store) {
    write(store, vec![put("a/1", ""), put("a0", ""), put("a/2", ""), put("b/1", "")]).await;
    assert_eq!(keys(&list(store, "a/", Page::default()).await.entries), ["a/1", "a/2"]);
    assert_eq!(keys(&list(store, "", Page::default()).await.entries), ["a/1", "a/2", "a0", "b/1"]);
    assert!(list(store, "c", Page::default()).await.entries.is_empty());
}

async fn watches_see_every_commit_once(store: &impl Store) {
    let start = write(store, vec![put("w/1", "1")]).await;
    let mut watch = watch(store, "w/", start).await;
    let early = write(store, vec![put("w/2", "1"), put("x/1", "1")]).await;
    write(store, vec![put("x/2", "1")]).await;
    let late = write(store, vec![delete("w/1")]).await;
    let batch = next(&mut watch).await;
    assert_eq!(batch.revision, early);
    assert_eq!(batch.events.len(), 1, "events outside the prefix are left out");
    let batch = next(&mut watch).await;
    assert_eq!((batch.revision, batch.events[0].kind), (late, EventKind::Delete));
    let other = write(store, vec![put("x/3", "1")]).await;
    assert_eq!(watch.progress(), other, "commits elsewhere move the watch's progress");
    let mut replay = self::watch(store, "w/", start).await;
    assert_eq!(next(&mut replay).await.revision, early, "a watch can start in the past");
}

async fn watches_give_previous_values(store: &impl Store) {
    let mut watch = watch(store, "k", store.revision()).await;
    write(store, vec![put("k", "1")]).await;
    write(store, vec![put("k", "2")]).await;
    let removed = write(store, vec![delete("k")]).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = next(&mut watch).await.events.remove(0);
        seen.push((event.entry.value, event.previous.map(|entry| entry.value), event.entry.modified));
    }
    let one = Value::from(&b"1"[..]);
    let two = Value::from(&b"2"[..]);
    assert_eq!((&seen[0].0, &seen[0].1), (&one, &None));
    assert_eq!((&seen[1].0, &seen[1].1), (&two, &Some(one)));
    assert_eq!(seen[2], (two.clone(), Some(two), removed), "a removal carries the last value");
}

async fn watches_by_term(store: &impl Store) {
    let terms = [Term::new("n=1"), Term::new("o=1")];
    let range = Range { prefix: "t/", terms: &terms };
    let start = store.revision();
    let mut live = watch(store, range, start).await;
    let comes = write(store, vec![put("t/1", "n=1"), put("t/2", "n=2"), put("u/1", "n=1")]).await;
    write(store, vec![put("t/2", "n=3")]).await;
    let leaves = write(store, vec![put("t/1", "n=2")]).await;
    write(store, vec![put("t/1", "n=3")]).await;
    let returns = write(store, vec![put("t/2", "m=1 o=1 n=1")]).await;
    let ends = write(store, vec![delete("t/1"), delete("t/2")]).await;
    let last = write(store, vec![put("t/3", "n=2")]).await;
    let mut replay = watch(store, range, start).await;
    for watch in [&mut live, &mut replay] {
        for (revision, key) in [(comes, "t/1"), (leaves, "t/1"), (returns, "t/2"), (ends, "t/2")] {
            let batch = next(watch).await;
            let seen: Vec<&str> = batch.events.iter().map(|event| event.entry.key.as_str()).collect();
            assert_eq!((batch.revision, seen), (revision, vec![key]));
        }
        assert_eq!(watch.progress(), last);
    }
}

/// Half a mebibyte. Nothing in it repeats, so it is as large as it is long.
fn large() -> String {
    let letter = |number: u32| {
        let mixed = (number ^ (number >> 16)).wrapping_mul(0x7FEB_352D);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x846C_A68B);
        char::from(b'A' + u8::try_from(mixed >> 27).unwrap_or(0))
    };
    (0..1 << 19).map(letter).collect()
}

/// What others write, and how much of it is kept, is nothing to a watch that it does not concern.
async fn quiet_watches_outlive_the_history_of_others(store: &impl Store) {
    let start = write(store, vec![put("/r/g/quiet/1", "1")]).await;
    let mut quiet = watch(store, "/r/g/quiet/", start).await;
    let large = large();
    for _ in 0..24 {
        write(store, vec![put("/r/g/noisy/1", &large)]).await;
    }
    let answer = store.watch("/r/g/noisy/".into(), start).await;
    assert!(matches!(answer, Err(ReadError::Compacted { .. })), "a history has a bound: {:?}", answer.err());
    let mut late = watch(store, "/r/g/quiet/", start).await;
    let second = write(store, vec![put("/r/g/quiet/2", "2")]).await;
    assert_eq!(next(&mut quiet).await.revision, second);
    assert_eq!(next(&mut late).await.revision, second);
    store.compact(second).await.expect("compaction succeeds");
    let third = write(store, vec![put("/r/g/quiet/2", "3")]).await;
    assert_eq!(next(&mut quiet).await.revision, third, "what was delivered may be forgotten");
}

/// What is forgotten after a burst is nothing to a watch that has begun, however far behind it is.
async fn watches_outlive_what_is_forgotten(store: &impl Store) {
    let (start, large) = (store.revision(), large());
    let mut slow = watch(store, "/r/g/slow/", start).await;
    for _ in 0..4 {
        write(store, vec![put("/r/g/slow/1", &large)]).await;
    }
    store.forget(Instant::now());
    let mut last = start;
    for _ in 0..4 {
        last = next(&mut slow).await.revision;
    }
    assert_eq!(last, store.revision());
    store.forget(Instant::now());
    let after = write(store, vec![delete("/r/g/slow/1")]).await;
    assert_eq!(next(&mut slow).await.revision, after);
}

async fn compaction_ends_old_watches(store: &impl Store) {
    let first = write(store, vec![put("c", "1")]).await;
    let mut slow = watch(store, "c", first).await;
    write(store, vec![put("c", "2")]).await;
    let last = write(store, vec![put("c", "3")]).await;
    store.compact(last).await.expect("compaction succeeds");
    let answer = store.watch("c".into(), first).await;
    assert!(matches!(answer, Err(ReadError::Compacted { .. })), "got {answer:?}");
    assert!(slow.next().await.is_err(), "a watch that has not read what is forgotten is told");
    watch(store, "c", last).await;
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
            watch(&*store, "k", now).await;
            seen = now;
        }
        tokio::task::yield_now().await;
    }
    writer.await.expect("the writer ends well");
}
