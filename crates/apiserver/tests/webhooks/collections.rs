//! Deletions of collections, while a webhook is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};
use tokio::time::timeout;

use super::common::Api;
use super::common::hook::Hook;
use super::{MAPS, VALIDATING, answer, validate};

/// Answers deletions as `wait` lets go of them, by the name of the object, which those of a collection say of the old one only.
async fn deletions_wait(
    wait: impl Fn(String) -> BoxFuture<'static, ()> + Clone + Send + Sync + 'static,
) -> Hook {
    Hook::start_slow(move |review| {
        let wait = wait.clone();
        Box::pin(async move {
            if review["request"]["operation"] == "DELETE" {
                wait(review["request"]["oldObject"]["metadata"]["name"].as_str().unwrap().to_owned()).await;
            }
            answer(&review, json!({"allowed": true}))
        })
    })
    .await
}

/// Makes as many objects, named by their numbers.
async fn make_maps(api: &Api, count: usize) {
    for number in 0..count {
        api.post(MAPS, json!({"metadata": {"name": format!("m{number}")}})).await.expect(201);
    }
}

/// Nothing here takes as long, but for what is wrong.
const BOUND: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_collection_is_deleted_32_objects_at_a_time() {
    let api = Api::start().await;
    make_maps(&api, 96).await;
    // Nobody is answered before 32 ask, and nobody else may ask meanwhile.
    let barrier = Arc::new(Barrier::new(32));
    let (waiting, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let hook = deletions_wait(move |_| {
        let (barrier, waiting, most) = (barrier.clone(), waiting.clone(), most.clone());
        Box::pin(async move {
            most.fetch_max(waiting.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait().await;
            waiting.fetch_sub(1, Ordering::SeqCst);
        })
    })
    .await;
    validate(&api, &hook.client(), json!({"timeoutSeconds": 30})).await;
    let deleted = timeout(BOUND, api.delete(MAPS, Value::Null)).await.expect("32 are under way");
    assert_eq!(deleted.expect(200).names().len(), 96);
    assert_eq!(seen.load(Ordering::SeqCst), 32);
    assert!(api.get(MAPS).await.names().is_empty());
}

#[tokio::test]
async fn a_slow_deletion_holds_up_no_other_of_its_collection() {
    let api = Api::start().await;
    make_maps(&api, 70).await;
    let (go, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (held, last) = (go.clone(), gone.clone());
    let others = Arc::new(AtomicUsize::new(0));
    let hook = deletions_wait(move |name| {
        let (held, last, others) = (held.clone(), last.clone(), others.clone());
        Box::pin(async move {
            if name == "m5" {
                held.notified().await;
            } else if others.fetch_add(1, Ordering::SeqCst) == 68 {
                last.notify_one();
            }
        })
    })
    .await;
    validate(&api, &hook.client(), json!({"timeoutSeconds": 30})).await;
    let release = async {
        gone.notified().await;
        go.notify_one();
    };
    let both = async { tokio::join!(api.delete(MAPS, Value::Null), release) };
    let (deleted, ()) = timeout(BOUND, both).await.expect("all others are asked about while one waits");
    assert_eq!(deleted.expect(200).names().len(), 70);
    assert!(api.get(MAPS).await.names().is_empty());
}

#[tokio::test]
async fn a_webhook_that_never_answers_stops_only_its_own_deletion() {
    let api = Api::start().await;
    make_maps(&api, 70).await;
    let hook = deletions_wait(|name| match &*name {
        "m5" => std::future::pending().boxed(),
        _ => std::future::ready(()).boxed(),
    })
    .await;
    validate(&api, &hook.client(), json!({"timeoutSeconds": 1})).await;
    let refused = api.delete(MAPS, Value::Null).await.expect(500);
    assert!(refused.message().ends_with("context deadline exceeded"), "{}", refused.message());
    assert_eq!(api.get(MAPS).await.names(), ["m5"]);
    let ignored = json!({"webhooks": [{"name": "hook.example.com", "failurePolicy": "Ignore"}]});
    let path = format!("{VALIDATING}/hook");
    api.send("PATCH", &path, "application/strategic-merge-patch+json", &ignored.to_string())
        .await
        .expect(200);
    assert_eq!(api.delete(MAPS, Value::Null).await.expect(200).names(), ["m5"]);
    assert!(api.get(MAPS).await.names().is_empty());
}
