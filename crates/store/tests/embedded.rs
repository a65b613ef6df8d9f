//! The embedded backend: the contract, and what happens to its file.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use redb::TableDefinition;
use skiff_store::contract::Mask;
use skiff_store::{
    CommitError, Embedded, Key, Op, OpenError, Page, Range, ReadError, Revision, Store, Term, Txn, contract,
    no_terms,
};

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

async fn values(path: &Path) -> Vec<(String, Bytes)> {
    let store = Embedded::open(path, no_terms).unwrap();
    let entries = store.list("".into(), Page::default()).await.unwrap().entries;
    entries.into_iter().map(|entry| (entry.key.as_str().to_owned(), entry.value.bytes())).collect()
}

/// The files of a store that is open, as they are after a crash, in a directory of their own; with or without the journal.
fn crashed(path: &Path, with_journal: bool) -> (tempfile::TempDir, PathBuf) {
    let (dir, copy) = file();
    fs::copy(path, &copy).unwrap();
    if with_journal {
        fs::copy(path.with_extension("journal"), copy.with_extension("journal")).unwrap();
    }
    (dir, copy)
}

#[tokio::test]
async fn finds_what_only_the_journal_has() {
    let (_dir, path) = file();
    let store = Embedded::open(&path, no_terms).unwrap();
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("d", "1")] {
        store.commit(put(key, value)).await.unwrap();
    }
    let delete = vec![Op::Delete { key: Key::from("c") }];
    let revision = store.commit(Txn { expect: Vec::new(), ops: delete }).await.unwrap();
    let expected =
        [("a", "2"), ("b", "1"), ("d", "1")].map(|(key, value)| (key.to_owned(), Bytes::from(value)));
    let (_copied, copy) = crashed(&path, true);
    // And again, before the database has it.
    for _ in 0..2 {
        let again = Embedded::open(&copy, no_terms).unwrap();
        assert_eq!(again.revision(), revision);
        let (_copied, copy) = crashed(&copy, true);
        assert_eq!(values(&copy).await, expected);
    }
    let again = Embedded::open(&copy, no_terms).unwrap();
    assert_eq!(again.commit(put("e", "1")).await.unwrap(), revision.next());
    drop((again, store));
    // Closed in order, the database has it all.
    let (_copied, alone) = crashed(&path, false);
    assert_eq!(values(&alone).await, expected);
    assert_eq!(values(&copy).await.len(), 4);
}

#[tokio::test]
async fn more_than_the_journal_has_room_for() {
    let (_dir, path) = file();
    let store = Embedded::open(&path, no_terms).unwrap();
    let value = |number: u32| format!("{number}").repeat(3000);
    for number in 0..400 {
        store.commit(put(&format!("key/{}", number % 150), &value(number))).await.unwrap();
    }
    let (_copied, copy) = crashed(&path, true);
    let found = values(&copy).await;
    assert_eq!(found.len(), 150);
    for (key, found) in found {
        let key: u32 = key["key/".len()..].parse().unwrap();
        let last = if key < 100 { key + 300 } else { key + 150 };
        assert_eq!(found, value(last), "{key}");
    }
}

#[tokio::test]
async fn refuses_a_journal_with_a_hole() {
    let (_dir, path) = file();
    let store = Embedded::open(&path, no_terms).unwrap();
    for value in ["1", "2", "3", "4"] {
        store.commit(put("a", value)).await.unwrap();
    }
    let (_copied, copy) = crashed(&path, true);
    let journal = copy.with_extension("journal");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[50] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let error = Embedded::open(&copy, no_terms).unwrap_err();
    assert!(error.to_string().contains("is damaged (DB corrupted: in its journal"), "{error}");
}

/// A file of the first format: it had no journal.
#[tokio::test]
async fn takes_over_an_older_file() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let (_dir, path) = file();
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    for (name, value) in [("format", 1), ("revision", 7)] {
        transaction.open_table(META).unwrap().insert(name, value).unwrap();
    }
    let row = [3_u64.to_le_bytes().as_slice(), &7_u64.to_le_bytes(), b"1"].concat();
    let objects = TableDefinition::<&str, &[u8]>::new("objects");
    transaction.open_table(objects).unwrap().insert("a", row.as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let store = Embedded::open(&path, no_terms).unwrap();
    let entry = store.get(&Key::from("a")).await.unwrap().unwrap();
    assert_eq!(
        (entry.created.get(), entry.modified, &*entry.value.bytes()),
        (3, store.revision(), &b"1"[..])
    );
    for value in ["1", "2"] {
        store.commit(put("b", value)).await.unwrap();
    }
    let (_copied, copy) = crashed(&path, true);
    let expected = [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), Bytes::from(value)));
    assert_eq!(values(&copy).await, expected);
}

/// Values that do not become smaller when they are packed.
fn mixed(seed: u64, length: usize) -> Bytes {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn after_a_burst_little_is_kept_for_those_who_come_late() {
    let (_dir, path) = file();
    let store = Embedded::open(&path, no_terms).unwrap();
    let (start, before) = (store.revision(), Instant::now());
    for number in 0..100 {
        let op = Op::Put { key: Key::from(format!("key/{number}")), value: mixed(number, 20_000) };
        store.commit(Txn { expect: Vec::new(), ops: vec![op] }).await.unwrap();
    }
    let first_hundred = Instant::now();
    store.forget(before);
    assert!(store.watch("".into(), start).await.is_ok(), "what is young stays");
    store.forget(first_hundred);
    assert!(matches!(store.watch("".into(), start).await, Err(ReadError::Compacted { .. })));
    let now = store.revision().get();
    assert!(store.watch("".into(), Revision::new(now - 5)).await.is_ok(), "100 KB are little");
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

/// The contract holds for values that are sealed on disk.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_with_seals() {
    let dir = tempfile::tempdir().unwrap();
    let mut number = 0_usize;
    contract::run_all(async || {
        number += 1;
        let path = dir.path().join(number.to_string());
        Arc::new(Embedded::open_sealed(path, contract::terms, Mask::new(0..=1)).unwrap())
    })
    .await;
}

/// Whether any of the store's files has this text.
fn is_on_disk(path: &Path, text: &str) -> bool {
    let has = |path: &Path| fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes());
    has(path) || has(&path.with_extension("journal"))
}

#[tokio::test]
async fn what_is_sealed_is_nowhere_on_disk() {
    let (_dir, path) = file();
    let store = Embedded::open_sealed(&path, no_terms, Mask::new(0..=1)).unwrap();
    store.commit(put("a", "nobody may read this")).await.unwrap();
    assert!(!is_on_disk(&path, "nobody may read"));
    let (_copied, copy) = crashed(&path, true);
    drop(store);
    assert!(!is_on_disk(&path, "nobody may read"));
    for path in [path, copy] {
        let store = Embedded::open_sealed(&path, no_terms, Mask::new(0..=1)).unwrap();
        let entry = store.get(&Key::from("a")).await.unwrap().unwrap();
        assert_eq!(entry.value.bytes(), "nobody may read this");
        assert!(!store.is_stale(&entry));
    }
}

/// Without its key a value cannot be read, and what else there is can; nothing is lost by that.
#[tokio::test]
async fn a_value_without_its_key_waits_for_it() {
    let (_dir, path) = file();
    let store = Embedded::open_sealed(&path, contract::terms, Mask::new(0..=1)).unwrap();
    store.commit(put("s/a", "n=1")).await.unwrap();
    drop(store);
    let keys = Mask::new(2..=3);
    let store = Embedded::open_sealed(&path, contract::terms, keys.clone()).unwrap();
    store.commit(put("s/b", "n=1")).await.unwrap();
    store.commit(put("t/c", "n=1")).await.unwrap();
    let error = store.get(&Key::from("s/a")).await.unwrap_err();
    assert_eq!(error.to_string(), "unable to transform key \"s/a\": no matching prefix found");
    let error = store.list("s/".into(), Page::default()).await.unwrap_err();
    assert!(matches!(&error, ReadError::Closed { key, .. } if key.as_str() == "s/a"), "{error}");
    assert_eq!(store.list("t/".into(), Page::default()).await.unwrap().entries.len(), 1);
    assert_eq!(store.renew().await.unwrap(), 0);
    // Neither the journal's way to disk nor a restart changes what cannot be read.
    drop(store);
    let keys_again = Mask::new(2..=3);
    let store = Embedded::open_sealed(&path, contract::terms, keys_again.clone()).unwrap();
    keys_again.change(1..=3);
    let mut watch = store.watch("s/".into(), store.revision()).await.unwrap();
    assert_eq!(store.renew().await.unwrap(), 1);
    let batch = watch.next().await.unwrap();
    assert!(batch.events[0].previous.is_none(), "{batch:?}");
    let terms = [Term::new("n=1")];
    let range = Range { prefix: "s/", terms: &terms };
    assert_eq!(store.list(range, Page::default()).await.unwrap().entries.len(), 2);
}

/// What a key is taken away of while the store is open is written with the one that there is.
#[tokio::test]
async fn a_key_that_goes_takes_nothing_with_it() {
    let (_dir, path) = file();
    let keys = Mask::new(0..=1);
    let store = Embedded::open_sealed(&path, no_terms, keys.clone()).unwrap();
    for number in 0..100 {
        store.commit(put(&format!("a/{number}"), "1")).await.unwrap();
    }
    keys.change(0..=2);
    let entry = store.get(&Key::from("a/7")).await.unwrap().unwrap();
    assert!(store.is_stale(&entry));
    assert_eq!(store.renew().await.unwrap(), 0, "they can be opened");
    store.commit(put("a/7", "1")).await.unwrap();
    assert!(!store.is_stale(&store.get(&Key::from("a/7")).await.unwrap().unwrap()));
    keys.change(2..=2);
    assert_eq!(store.renew().await.unwrap(), 99);
    drop(store);
    let store = Embedded::open_sealed(&path, no_terms, Mask::new(2..=2)).unwrap();
    assert_eq!(store.list("a/".into(), Page::default()).await.unwrap().entries.len(), 100);
    drop(store);
    let error = Embedded::open(&path, no_terms).unwrap().get(&Key::from("a/7")).await.unwrap_err();
    assert!(error.to_string().ends_with("identity transformer tried to read encrypted data"), "{error}");
}
