//! What holds for writers that come alone, together, or while another writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{next, put, watch, write};
use crate::{CommitError, Expect, Key, Revision, Store, Txn};

/// Runs every case, each against a store made by `make`.
pub(super) async fn run<S: Store, F: AsyncFnMut() -> Arc<S>>(make: &mut F) {
    racing_writers_never_both_win(make().await).await;
    all_writers_make_one_history(make().await).await;
}

async fn racing_writers_never_both_win<S: Store>(store: Arc<S>) {
    let mut writers = JoinSet::new();
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

/// Whoever writes, each commit is seen once, at the revision that its writer was told, and as soon as it was told.
async fn all_writers_make_one_history<S: Store>(store: Arc<S>) {
    let start = store.revision();
    let mut seen = watch(&*store, "", start).await;
    let mut told = BTreeMap::new();
    for round in 0..20 {
        let key = format!("{round}/alone");
        let at = written(&*store, key.clone()).await;
        assert_eq!(store.revision(), at.0, "nobody else writes");
        let refused = Txn { expect: vec![Expect::Absent(Key::from(&*key))], ops: vec![put(&key, "again")] };
        assert!(matches!(store.commit(refused).await, Err(CommitError::Conflict { .. })));
        let of = |name: &str| written(&*store, format!("{round}/{name}"));
        let (a, b, c) = tokio::join!(of("a"), of("b"), of("c"));
        told.extend([at, a, b, c]);
        let mut writers = JoinSet::new();
        for number in 0..round {
            let store = Arc::clone(&store);
            writers.spawn(async move { written(&*store, format!("{round}/of-many-{number}")).await });
        }
        told.extend([of("beside").await]);
        told.extend(writers.join_all().await);
    }
    assert_eq!(store.revision().get() - start.get(), told.len() as u64, "a revision for each");
    for (revision, key) in told {
        let batch = next(&mut seen).await;
        assert_eq!((batch.revision, batch.events[0].entry.key.as_str()), (revision, &*key));
    }
}

/// Writes a key; at which revision.
async fn written(store: &impl Store, key: String) -> (Revision, String) {
    let at = write(store, vec![put(&key, "")]).await;
    let entry = store.get(&Key::from(&*key)).await.expect("a read succeeds");
    assert_eq!(entry.map(|entry| entry.modified), Some(at), "what was acknowledged is shown");
    (at, key)
}
