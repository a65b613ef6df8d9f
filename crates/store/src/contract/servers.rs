//! What holds when several servers stand on one store, and when a call is given up.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use super::{keys, list, next, put, value, watch, write};
use crate::{CommitError, Expect, Key, Page, Revision, Store, Txn};

/// Runs every case, each with two handles on one store, made by `make`.
pub async fn run_pairs<A: Store, B: Store, F: AsyncFnMut() -> (Arc<A>, Arc<B>)>(mut make: F) {
    let (a, b) = make().await;
    each_sees_what_the_other_wrote(&*a, &*b).await;
    let (a, b) = make().await;
    both_tell_one_history(a, b).await;
    let (a, b) = make().await;
    a_commit_that_was_given_up_is_whole_or_not_at_all(&*a, &*b).await;
    let (a, b) = make().await;
    a_watch_that_was_given_up_loses_nothing(&*a, &*b).await;
}

async fn each_sees_what_the_other_wrote(a: &impl Store, b: &impl Store) {
    for round in 0..50 {
        let text = round.to_string();
        let at = write(a, vec![put("k", &text)]).await;
        assert_eq!(value(b, "k").await.as_deref(), Some(&*text));
        let listing = list(b, "k", Page::default()).await;
        assert!(listing.revision >= at && listing.entries[0].modified == at);
        let expect = vec![Expect::At(Key::from("k"), at)];
        let ours = b.commit(Txn { expect: expect.clone(), ops: vec![put("k", "b")] }).await;
        let ours = ours.expect("what the other wrote can be expected");
        assert!(ours > at);
        let late = a.commit(Txn { expect, ops: vec![put("k", "a")] }).await;
        match late {
            Err(CommitError::Conflict { actual: Some(actual), .. }) => assert_eq!(actual.modified, ours),
            other => panic!("expected a conflict, got {other:?}"),
        }
    }
}

async fn both_tell_one_history<A: Store, B: Store>(a: Arc<A>, b: Arc<B>) {
    const EACH: usize = 40;
    let start = a.revision();
    let (mut of_a, mut of_b) = (watch(&*a, "", start).await, watch(&*b, "", start).await);
    let first = tokio::spawn(async move {
        for number in 0..EACH {
            write(&*a, vec![put("shared", "a"), put(&format!("a/{number}"), "a")]).await;
        }
    });
    let second = tokio::spawn(async move {
        for number in 0..EACH {
            write(&*b, vec![put(&format!("b/{number}"), "b"), put("shared", "b")]).await;
        }
    });
    let mut last = start;
    for _ in 0..2 * EACH {
        let (batch, other) = (next(&mut of_a).await, next(&mut of_b).await);
        assert_eq!(batch, other);
        assert!(batch.revision > last && batch.events.len() == 2);
        last = batch.revision;
    }
    first.await.expect("the writer ends well");
    second.await.expect("the writer ends well");
}

/// Begins a piece of work and drops it unless it is done at once.
async fn give_up(work: impl Future) {
    let mut work = Box::pin(work);
    poll_fn(|context| {
        drop(work.as_mut().poll(context));
        Poll::Ready(())
    })
    .await;
}

async fn a_commit_that_was_given_up_is_whole_or_not_at_all(a: &impl Store, b: &impl Store) {
    let start = a.revision();
    let mut seen = watch(b, "", start).await;
    for number in 0..40 {
        let ops = vec![put(&format!("{number:02}/1"), "x"), put(&format!("{number:02}/2"), "x")];
        give_up(a.commit(Txn { expect: Vec::new(), ops })).await;
    }
    let last = write(a, vec![put("end", "x")]).await;
    let mut revision = start;
    let mut written = Vec::new();
    while revision < last {
        let batch = next(&mut seen).await;
        assert!(batch.revision > revision);
        revision = batch.revision;
        assert!(revision == last || batch.events.len() == 2);
        written.extend(batch.events.into_iter().map(|event| event.entry.key));
    }
    written.sort();
    let listing = list(b, "", Page::default()).await;
    let written: Vec<&str> = written.iter().map(Key::as_str).collect();
    assert_eq!(keys(&listing.entries), written, "what the watch told is what is there");
}

async fn a_watch_that_was_given_up_loses_nothing(a: &impl Store, b: &impl Store) {
    let mut watch = watch(b, "w", Revision::max(a.revision(), b.revision())).await;
    for number in 0..20 {
        for _ in 0..3 {
            give_up(watch.next()).await;
        }
        let at = write(a, vec![put("w", &number.to_string())]).await;
        assert_eq!(next(&mut watch).await.revision, at);
    }
}
