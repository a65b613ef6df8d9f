//! A disk that is really full: a small file system in a mount namespace of the test's own, filled by another program.
//!
//! The test starts itself again below `unshare --mount`, so the file system goes with that process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use skiff_store::{CommitError, Condition, Embedded, Key, Op, Page, Store, Txn, no_terms};

const DISK: &str = "SKIFF_FULL_DISK_TEST";
const SIZE: usize = 2_000;

#[test]
fn other_programs_cannot_take_the_room_for_deletions() {
    if let Some(disk) = std::env::var_os(DISK) {
        return tokio::runtime::Runtime::new().unwrap().block_on(on_a_small_disk(Path::new(&disk)));
    }
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: mounting needs root");
    }
    let dir = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=32m tmpfs "$0" && exec "$@""#;
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "other_programs_cannot_take_the_room_for_deletions", "--nocapture"])
        .env(DISK, dir.path())
        .status()
        .unwrap();
    assert!(status.success());
}

async fn on_a_small_disk(disk: &Path) {
    let path = disk.join("state.redb");
    let store = Embedded::open(&path, no_terms).unwrap();
    for object in 0..200 {
        store.commit(put(object, SIZE)).await.unwrap();
    }
    let filler = fill(disk);
    let number = until_full(&store, 200).await;
    assert_eq!(*store.condition().borrow(), Condition::Full);

    // A restart on the full disk.
    drop(store);
    let store = Embedded::open(&path, no_terms).unwrap();
    assert_eq!(store.list("".into(), Page::default()).await.unwrap().entries.len(), number);
    let number = until_full(&store, number).await;
    for object in 0..number {
        store.commit(put(object, SIZE + 80)).await.unwrap();
        store.commit(Txn { expect: Vec::new(), ops: vec![Op::Delete { key: key(object) }] }).await.unwrap();
    }

    std::fs::remove_file(filler).unwrap();
    let mut condition = store.condition();
    let good = condition.wait_for(|condition| *condition == Condition::Good);
    tokio::time::timeout(Duration::from_secs(60), good).await.unwrap().unwrap();
    store.commit(put(0, SIZE)).await.unwrap();
}

/// Makes objects until the store takes no more: the file itself may have room for some. Returns how many there are.
async fn until_full(store: &Embedded, from: usize) -> usize {
    for number in from..20_000 {
        match store.commit(put(number, SIZE)).await {
            Ok(_) => {}
            Err(CommitError::Full) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk is not full")
}

fn key(object: usize) -> Key {
    Key::from(format!("object/{object:05}"))
}

fn put(object: usize, size: usize) -> Txn {
    let value = Bytes::from(vec![1; size]);
    Txn { expect: Vec::new(), ops: vec![Op::Put { key: key(object), value }] }
}

/// Takes all of the disk's room.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut file = File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    path
}
