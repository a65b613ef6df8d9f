//! The embedded backend: the contract, and what happens to its file.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use skiff_store::{CommitError, Embedded, Key, Op, OpenError, Page, Store, Txn, contract, no_terms};

fn put(key: &str, value: &str) -> Txn {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Txn { expect: Vec::new(), ops: vec![Op::Put { key: Key::from(key), value }] }
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    (dir, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let mut number = 0;
    contract::run_all(async || {
        number += 1;
        Arc::new(Embedded::open(dir.path().join(number.to_string()), contract::terms).unwrap())
    })
    .await;
}

#[tokio::test]
async fn finds_everything_again() {
    let (_dir, path) = file();
    let store = Embedded::open(&path, no_terms).unwrap();
    store.commit(put("a", "1")).await.unwrap();
    store.commit(put("b", "1")).await.unwrap();
    let revision = store.commit(put("a", "2")).await.unwrap();
    let before = store.list("".into(), Page::default()).await.unwrap();
    drop(store);
    let store = Embedded::open(&path, no_terms).unwrap();
    let after = store.list("".into(), Page::default()).await.unwrap();
    assert_eq!((after.revision, &after.entries), (revision, &before.entries));
    assert!(store.watch("".into(), revision).await.is_ok());
}

#[tokio::test]
async fn a_closed_store_refuses_writes_and_ends_watches() {
    let (_dir, path) = file();
    let store = Embedded::open(path, no_terms).unwrap();
    let mut watch = store.watch("".into(), store.revision()).await.unwrap();
    store.close();
    assert!(matches!(store.commit(put("a", "1")).await, Err(CommitError::Closed)));
    assert!(watch.next().await.is_err());
}

#[test]
fn refuses_a_file_in_use() {
    let (_dir, path) = file();
    let _open = Embedded::open(&path, no_terms).unwrap();
    let error = Embedded::open(&path, no_terms).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "got {error}");
}

#[test]
fn refuses_a_damaged_file() {
    let (_dir, path) = file();
    std::fs::write(&path, b"this is no database, whatever its name says").unwrap();
    let error = Embedded::open(&path, no_terms).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "got {error}");
    assert!(error.to_string().contains("is damaged"));
}

#[test]
fn refuses_a_directory_that_is_missing() {
    let (dir, _) = file();
    let error = Embedded::open(dir.path().join("missing/state.redb"), no_terms).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "got {error}");
}
