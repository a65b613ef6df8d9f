//! `kill -9` in a loop under load: every acknowledged write is there, in order, and nothing else.
//!
//! The test starts itself again as the writer, which prints the number of each write once it is acknowledged.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use skiff_store::contract::Mask;
use skiff_store::{Embedded, Entry, Key, Op, Page, Store, Txn, no_terms};

const WRITER: &str = "SKIFF_CRASH_TEST_FILE";
const ROUNDS: usize = 12;
const CLIENTS: usize = 8;

#[test]
fn keeps_every_acknowledged_write() {
    if let Some(path) = std::env::var_os(WRITER) {
        write_until_killed(Path::new(&path));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let mut acknowledged = vec![0; CLIENTS];
    for round in 0..ROUNDS {
        kill_a_writer(&path, 20 + 37 * round, &mut acknowledged);
        check(&path, &mut acknowledged);
    }
}

/// Each client writes 1, 2, 3, … to its own key in one transaction with a shared key.
fn write_until_killed(path: &Path) -> ! {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Embedded::open_sealed(path, no_terms, Mask::new(0..=1)).unwrap());
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let store = Arc::clone(&store);
            clients.spawn(async move {
                let start = number(&store, &key(client)).await;
                for number in start + 1.. {
                    let ops = vec![put(&key(client), number), put(&format!("{}/twin", key(client)), number)];
                    store.commit(Txn { expect: Vec::new(), ops }).await.unwrap();
                    let line = format!("{client} {number}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
        clients.join_all().await;
    });
    unreachable!("clients write until they are killed")
}

fn kill_a_writer(path: &Path, after: usize, acknowledged: &mut [u64]) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "keeps_every_acknowledged_write", "--nocapture"])
        .env(WRITER, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut note = |line: &str| {
        let Some((client, number)) = line.split_once(' ') else { return false };
        let (Ok(client), Ok(number)) = (client.parse::<usize>(), number.parse::<u64>()) else { return false };
        acknowledged[client] = number.max(acknowledged[client]);
        true
    };
    let mut seen = 0;
    while seen < after {
        seen += usize::from(note(&lines.next().expect("the writer runs until it is killed").unwrap()));
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    // A line cut off by the kill is no acknowledgement that anyone could have read.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    for line in rest.iter().rev().skip(1) {
        note(line);
    }
}

fn check(path: &Path, acknowledged: &mut [u64]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Embedded::open_sealed(path, no_terms, Mask::new(0..=1)).unwrap();
        let entries = store.list("".into(), Page::default()).await.unwrap().entries;
        let known =
            |entry: &Entry| (0..CLIENTS).any(|c| entry.key.as_str().trim_end_matches("/twin") == key(c));
        assert!(entries.iter().all(known), "something else is there: {entries:?}");
        for (client, acknowledged) in acknowledged.iter_mut().enumerate() {
            let kept = number(&store, &key(client)).await;
            let wanted = *acknowledged;
            assert!(kept >= wanted, "client {client}: {wanted} was acknowledged, {kept} is there");
            let twin = number(&store, &format!("{}/twin", key(client))).await;
            assert_eq!(twin, kept, "client {client}: a transaction applied in part");
            *acknowledged = kept;
        }
        let newest = entries.iter().map(|entry| entry.modified).max().unwrap();
        assert_eq!(store.revision(), newest, "the revision is that of the last write");
    });
}

fn key(client: usize) -> String {
    format!("client/{client}")
}

fn put(key: &str, number: u64) -> Op {
    Op::Put { key: Key::from(key), value: Bytes::from(number.to_string()) }
}

/// The number under a key; 0 when the key is not there.
async fn number(store: &Embedded, key: &str) -> u64 {
    let entry = store.get(&Key::from(key)).await.unwrap();
    entry.map_or(0, |entry| std::str::from_utf8(&entry.value.bytes()).unwrap().parse().unwrap())
}
