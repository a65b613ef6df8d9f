//! What the store does when its disk fails, on a medium that fails as told.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use redb::{Database, DatabaseError, StorageBackend};
use tokio::sync::watch;

use super::Embedded;
use super::disk::Place;
use super::medium::{self, Allocated, Medium};
use crate::contract::Mask;
use crate::types::{CommitError, Condition, Key, Op, Page, Txn, no_terms};
use crate::{Store, contract};

/// A disk that fails.
#[derive(Debug, Default)]
struct Faults {
    /// Writes and syncs until one fails; 0 for none.
    countdown: AtomicU64,
    /// The countdown begins anew with this many, 0 for none.
    again: AtomicU64,
    /// All writes and syncs fail.
    dead: AtomicBool,
    /// The most bytes that the file may have; 0 for no bound.
    quota: AtomicU64,
}

impl Faults {
    fn pass(&self) -> io::Result<()> {
        let left = self.countdown.load(Ordering::SeqCst);
        self.countdown.store(left.saturating_sub(1), Ordering::SeqCst);
        if left == 1 {
            self.countdown.store(self.again.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        if left == 1 || self.dead.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5)); // EIO
        }
        Ok(())
    }

    fn bound(&self) -> u64 {
        match self.quota.load(Ordering::SeqCst) {
            0 => u64::MAX,
            quota => quota,
        }
    }
}

#[derive(Debug)]
struct Failing(Arc<Faults>);

impl Medium for Failing {
    fn open(&self, path: &Path) -> Result<Database, DatabaseError> {
        medium::database(FailingFile { file: Allocated::open(path)?, faults: Arc::clone(&self.0) })
    }

    fn file(&self, path: &Path) -> Result<Box<dyn StorageBackend>, DatabaseError> {
        Ok(Box::new(FailingFile { file: Allocated::open(path)?, faults: Arc::clone(&self.0) }))
    }

    fn available(&self, path: &Path) -> io::Result<u64> {
        Ok(self.0.bound().saturating_sub(std::fs::metadata(path)?.len()))
    }
}

#[derive(Debug)]
struct FailingFile {
    file: Allocated,
    faults: Arc<Faults>,
}

impl StorageBackend for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > self.faults.bound() && len > self.file.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.pass()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.faults.pass()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

struct Setup {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    faults: Arc<Faults>,
    store: Embedded,
}

/// What is written there is sealed, so that repairs have to seal it again.
fn place(medium: Failing, path: &Path) -> Place {
    Place { medium: Arc::new(medium), path: path.to_owned(), seals: Mask::new(0..=1) }
}

/// The file again, on a disk that does not fail.
fn reopen(path: &Path) -> Embedded {
    Embedded::open_sealed(path, no_terms, Mask::new(0..=1)).unwrap()
}

fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let faults = Arc::new(Faults::default());
    let store = Embedded::open_on(place(Failing(Arc::clone(&faults)), &path), no_terms.into()).unwrap();
    Setup { _dir: dir, path, faults, store }
}

fn put(key: &str, value: impl Into<Vec<u8>>) -> Txn {
    let value = Bytes::from(value.into());
    Txn { expect: Vec::new(), ops: vec![Op::Put { key: Key::from(key), value }] }
}

fn delete(key: &str) -> Txn {
    Txn { expect: Vec::new(), ops: vec![Op::Delete { key: Key::from(key) }] }
}

async fn content(store: &Embedded) -> BTreeMap<String, Bytes> {
    let entries = store.list("".into(), Page::default()).await.unwrap().entries;
    entries.into_iter().map(|entry| (entry.key.as_str().to_owned(), entry.value.bytes())).collect()
}

async fn until(condition: &mut watch::Receiver<Condition>, wanted: impl FnMut(&Condition) -> bool) {
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), condition.wait_for(wanted)).await;
    waited.expect("the condition comes").expect("the store is open");
}

/// The contract holds on a disk on which every five hundredth write fails: clients notice nothing.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_on_a_disk_that_fails_now_and_then() {
    let mut all = Vec::new();
    let mut number = 0_usize;
    let dir = tempfile::tempdir().unwrap();
    contract::run_all(async || {
        number += 1;
        let faults = Arc::new(Faults::default());
        let place = place(Failing(Arc::clone(&faults)), &dir.path().join(number.to_string()));
        let store = Embedded::open_on(place, contract::terms.into()).unwrap();
        faults.again.store(500, Ordering::SeqCst);
        faults.countdown.store(5, Ordering::SeqCst);
        all.push(faults);
        Arc::new(store)
    })
    .await;
    assert_eq!(all.len(), number);
}

/// At whichever write or sync of a commit the disk fails: what was acknowledged is there, also after a restart, and
/// what was refused never is.
#[tokio::test(flavor = "multi_thread")]
async fn shows_what_it_acknowledged_wherever_a_write_fails() {
    let Setup { _dir, path, faults, store } = setup();
    let mut model = BTreeMap::new();
    for round in 1..60_u64 {
        faults.countdown.store(round % 12 + 1, Ordering::SeqCst);
        // The repair fails as well in every third round, so that the commit is refused.
        faults.again.store(if round % 3 == 0 { 1 } else { 0 }, Ordering::SeqCst);
        let key = format!("key/{}", round % 7);
        let value = vec![u8::try_from(round).unwrap(); 3000];
        match store.commit(put(&key, value.clone())).await {
            Ok(_) => drop(model.insert(key, Bytes::from(value))),
            Err(CommitError::Storage(_)) => {}
            Err(other) => panic!("{other}"),
        }
        assert_eq!(content(&store).await, model, "round {round}");
        faults.again.store(0, Ordering::SeqCst);
        faults.countdown.store(0, Ordering::SeqCst);
        until(&mut store.condition(), |condition| *condition == Condition::Good).await;
    }
    let revision = store.revision();
    drop(store);
    let store = reopen(&path);
    assert_eq!((content(&store).await, store.revision()), (model, revision));
}

/// However far the making of a file came, the next start is a first start.
#[tokio::test]
async fn a_file_half_made_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut cut_short = 0;
    for write in 1.. {
        let path = dir.path().join(write.to_string());
        let faults = Arc::new(Faults::default());
        faults.countdown.store(write, Ordering::SeqCst);
        let opened = Embedded::open_on(place(Failing(faults), &path), no_terms.into());
        let done = opened.is_ok();
        drop(opened);
        assert!(content(&reopen(&path)).await.is_empty(), "write {write}");
        if done {
            break;
        }
        cut_short += 1;
    }
    assert!(cut_short > 3, "{cut_short}");
}

#[tokio::test]
async fn says_that_it_cannot_be_put_right() {
    let Setup { _dir, path, faults, store } = setup();
    store.commit(put("kept", "1")).await.unwrap();
    faults.dead.store(true, Ordering::SeqCst);
    assert!(matches!(store.commit(put("lost", "1")).await, Err(CommitError::Storage(_))));
    until(&mut store.condition(), |condition| matches!(condition, Condition::Failed(_))).await;
    assert!(matches!(store.commit(put("lost", "1")).await, Err(CommitError::Storage(_))));
    let there = BTreeMap::from([("kept".to_owned(), Bytes::from_static(b"1"))]);
    assert_eq!(content(&store).await, there, "reads go on");
    drop(store);
    assert_eq!(content(&reopen(&path)).await, there);
}

#[tokio::test]
async fn comes_back_by_itself_when_the_disk_does() {
    let Setup { _dir, path, faults, store } = setup();
    faults.dead.store(true, Ordering::SeqCst);
    assert!(matches!(store.commit(put("a", "1")).await, Err(CommitError::Storage(_))));
    faults.dead.store(false, Ordering::SeqCst);
    until(&mut store.condition(), |condition| *condition == Condition::Good).await;
    store.commit(put("a", "2")).await.unwrap();
    drop(store);
    assert_eq!(content(&reopen(&path)).await["a"], "2");
}

/// Objects of many sizes until the disk is full: everything can be deleted, and then there is room again.
#[tokio::test]
async fn a_full_disk_takes_deletions_and_recovers() {
    for size in [1_000_usize, 70_000] {
        let Setup { _dir, path, faults, store } = setup();
        faults.quota.store(24 << 20, Ordering::SeqCst);
        let mut number = 0_usize;
        // Many to a commit first, then as many as fit.
        let refused = loop {
            let many = 1 + (2_000_000 / size).saturating_sub(number / 4);
            let name = |object: usize| format!("object/{object:05}");
            let ops =
                (number..number + many).flat_map(|object| put(&name(object), vec![1; size]).ops).collect();
            match store.commit(Txn { expect: Vec::new(), ops }).await {
                Ok(_) => number += many,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, CommitError::Full), "{refused}");
        assert_eq!(*store.condition().borrow(), Condition::Full);
        assert_eq!(content(&store).await.len(), number, "reads go on");
        let first = store.get(&Key::from("object/00000")).await.unwrap().unwrap();
        assert_eq!(first.value.len(), size);
        // A restart finds everything, and is full again when what was left is used.
        drop(store);
        let store = Embedded::open_on(place(Failing(Arc::clone(&faults)), &path), no_terms.into()).unwrap();
        assert_eq!(content(&store).await.len(), number);
        let refused = loop {
            match store.commit(put(&format!("object/{number:05}"), vec![1; size])).await {
                Ok(_) => number += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, CommitError::Full), "{refused}");
        let end = async |object: usize| {
            let key = format!("object/{object:05}");
            // As a graceful deletion does: a mark first.
            store.commit(put(&key, vec![2; size + 80])).await.unwrap();
            store.commit(delete(&key)).await.unwrap();
        };
        futures::stream::iter(0..number).for_each_concurrent(16, end).await;
        assert_eq!(content(&store).await.len(), 0);
        faults.quota.store(64 << 20, Ordering::SeqCst);
        until(&mut store.condition(), |condition| *condition == Condition::Good).await;
        store.commit(put("new", vec![1; size])).await.unwrap();
    }
}
